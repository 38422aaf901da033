"""`tokenmq pub`: publish one message."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from cyclopts import Parameter

from tokenmq.cli.broker import LOCAL, TIMEOUT_SECONDS, Broker, connected
from tokenmq.cli.credentials import ANONYMOUS, Credential
from tokenmq.cli.output import print_json, print_lines, printable
from tokenmq.errors import InvalidRequest, Unreachable


def pub(
    topic: str,
    payload: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    qos: Literal["0", "1"] = "1",
    credential: Credential = ANONYMOUS,
    broker: Broker = LOCAL,
) -> None:
    """Publish one message, and wait until the broker has it.

    At QoS 0 the broker never answers, so a refusal stays unknown. MQTT 3.1.1 has no answer that
    refuses: with --protocol 3.1.1 a message that the broker refused is "published" all the same.

    Args:
        topic: Where to.
        payload: The message; - reads it from stdin.
        qos: Quality of service.
        credential: The token and whose it is.
        broker: The broker and the output.
    """
    if payload == "-" and (credential.token == "-" or str(credential.token_file) == "-"):
        raise InvalidRequest(("stdin", "cannot be both the message and the token"))
    content = sys.stdin.buffer.read() if payload == "-" else payload.encode("utf-8", "surrogateescape")
    try:
        with connected(broker, credential) as (client, _):
            result = client.publish(topic, content, qos=int(qos), timeout_seconds=TIMEOUT_SECONDS)
    except TimeoutError as error:
        raise Unreachable("the broker does not answer in time") from error
    reason = "No matching subscribers" if result.has_no_subscribers else "Success"
    if broker.json:
        print_json(
            {"topic": topic, "qos": int(qos), "reason_code": result.reason_code or 0, "reason": reason}
        )
    else:
        note = f" ({reason.lower()})" if result.has_no_subscribers else ""
        print_lines(f"published to {printable(topic)}{note}")
