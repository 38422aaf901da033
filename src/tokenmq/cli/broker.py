"""How `pub` and `sub` find the broker."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from tokenmq.cli.credentials import Credential, login
from tokenmq.cli.management import SHARED, ConfigPath, Json, broker_address
from tokenmq.client.mqtt import MqttClient
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
    client_id: Annotated[str, Parameter(group=SHARED, help="Client id; the broker gives one without it.")] = (
        ""
    )
    protocol: Annotated[Literal["5", "3.1.1"], Parameter(group=SHARED, help="MQTT version.")] = "5"
    config: ConfigPath = None
    json: Json = False


LOCAL: Final = Broker()


def client_of(broker: Broker, credential: Credential) -> tuple[MqttClient, str]:
    """Return a client that is not connected yet, and the username that it has."""
    who = login(credential)
    url = broker.url
    if url is None:
        url = broker_address(load(broker.config))
    client = MqttClient(
        url,
        username=who.username,
        password=who.password,
        client_id=broker.client_id,
        version=broker.protocol,
    )
    return client, who.username
