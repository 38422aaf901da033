"""`tokenmq sub`: print messages as they come."""

from __future__ import annotations

import base64
import itertools
from typing import Annotated, Literal

from cyclopts import Parameter

from tokenmq.cli.broker import LOCAL, Broker, connected
from tokenmq.cli.credentials import ANONYMOUS, Credential
from tokenmq.cli.exits import OK
from tokenmq.cli.output import print_json, print_lines, printable, warn
from tokenmq.client import Message


def sub(
    *topic_filters: Annotated[str, Parameter(required=True)],
    qos: Literal["0", "1"] = "1",
    count: int | None = None,
    credential: Credential = ANONYMOUS,
    broker: Broker = LOCAL,
) -> int:
    """Print messages as they come, one a line, until Ctrl-C.

    Ends with exit code 3 and a sentence when the token's life is over or it is revoked.

    Args:
        topic_filters: What to listen to, as 'chat/#' (in quotes: # and + mean things to a shell).
        qos: Quality of service.
        count: End after so many messages.
        credential: The token and whose it is.
        broker: The broker and the output.
    """
    try:
        with connected(broker, credential) as (client, username):
            for topic_filter in topic_filters:
                client.subscribe(topic_filter, qos=int(qos))
            warn(f"listening to {', '.join(topic_filters)} as {username}, Ctrl-C ends")
            for message in itertools.islice(client.messages, count):
                _show(message, as_json=broker.json)
    except KeyboardInterrupt:
        # The one way to end it that is asked for.
        return OK
    return OK


def _show(message: Message, *, as_json: bool) -> None:
    if not as_json:
        print_lines(
            f"{printable(message.topic)} {printable(message.payload.decode('utf-8', 'backslashreplace'))}"
        )
        return
    told: dict[str, object] = {"topic": message.topic, "qos": message.qos, "retain": message.retain}
    try:
        told["payload"] = message.payload.decode()
    except UnicodeDecodeError:
        told["payload_base64"] = base64.b64encode(message.payload).decode()
    print_json(told)
