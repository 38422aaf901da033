"""How `pub` and `sub` find the broker."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from tokenmq.cli.credentials import Credential, login
from tokenmq.cli.management import SHARED, ConfigPath, Json, broker_address
from tokenmq.client.sync import Client
from tokenmq.config import load


@Parameter(name="*")
@dataclasses.dataclass(frozen=True, slots=True)
class Broker:
    """The broker to connect to, how to connect, and the output."""

    url: Annotated[
        str | None,
        Parameter(
            group=SHARED,
            help="mqtt://, mqtts://, ws:// or wss://, host and port; the local broker without it.",
        ),
    ] = None
    client_id: Annotated[str, Parameter(group=SHARED, help="Client id; one is made up without it.")] = ""
    protocol: Annotated[Literal["5", "3.1.1"], Parameter(group=SHARED, help="MQTT version.")] = "5"
    config: ConfigPath = None
    json: Json = False


LOCAL: Final = Broker()
# For the connection and for each answer.
TIMEOUT_SECONDS: Final = 10.0


@contextlib.contextmanager
def connected(broker: Broker, credential: Credential) -> Iterator[tuple[Client, str]]:
    """Give a client that is connected, and the username that it has.

    Nothing is renewed and nothing connects again: a command ends when its connection does.
    """
    who = login(credential)
    url = broker.url
    if url is None:
        url = broker_address(load(broker.config))
    client = Client(
        protocol_version=5 if broker.protocol == "5" else 4,
        clean_session=True,
        session_expiry_seconds=0,
        connect_timeout_seconds=TIMEOUT_SECONDS,
        request_timeout_seconds=TIMEOUT_SECONDS,
        auto_reconnect=False,
    )
    with client:
        client.connect(url, username=who.username, password=who.password, client_id=broker.client_id or None)
        yield client, who.username
