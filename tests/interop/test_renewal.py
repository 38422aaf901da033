"""Connections that take on another token under a flow of messages: paho by `$auth/token`, MQTT 5 by AUTH."""

from __future__ import annotations

import json
import queue
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Puback,
    Publish,
    Suback,
    Subscribe,
)
from tokenmq.mqtt.packets.subscribe import Subscription

PATIENCE_SECONDS = 20
MESSAGES = 200
RENEWED_AT = range(25, MESSAGES, 50)


class Raw:
    """An MQTT 5 client that sends exactly what it is told."""

    def __init__(self, where: tuple[str, int]) -> None:
        self._socket = socket.create_connection(where, PATIENCE_SECONDS)
        self._data = b""

    def send(self, packet: Packet) -> None:
        self._socket.sendall(codec.encode(packet, 5))

    def receive(self) -> Packet:
        """Wait for the next packet; a message at QoS 1 is acknowledged."""
        while (found := codec.frame(self._data, 0, 1 << 28)) is None:
            more = self._socket.recv(65_536)
            assert more, "the broker has closed the connection"
            self._data += more
        first, start, stop = found
        packet = codec.decode(first, self._data, start, stop, 5, from_client=False)
        self._data = self._data[stop:]
        if isinstance(packet, Publish) and packet.qos:
            self.send(Puback(packet.packet_id))
        return packet

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def by_auth(service: Any) -> Iterator[Callable[[dict[str, Any]], Raw]]:
    """Make connections with the method JWT."""
    made: list[Raw] = []

    def make(token: dict[str, Any]) -> Raw:
        client = Raw(service.mqtt)
        made.append(client)
        client.send(
            Connect(
                5,
                "by-auth",
                authentication_method="JWT",
                authentication_data=token["token"].encode(),
                keep_alive=60,
            )
        )
        connack = client.receive()
        assert isinstance(connack, Connack)
        assert (connack.reason_code, connack.authentication_method) == (0, "JWT")
        return client

    yield make
    for client in made:
        client.close()


@pytest.mark.interop
@pytest.mark.parametrize("version", [4, 5])
def test_paho_renews_by_topic_under_a_flow_and_nothing_is_lost_or_doubled(
    service: Any, paho: Callable[..., Any], version: int
) -> None:
    reader = paho(service.create_token("reader"), version=version, client_id=f"reader-{version}")
    writer = paho(service.create_token("writer"), version=version, client_id=f"writer-{version}")
    assert reader.connect() == writer.connect() == 0
    assert reader.subscribe("chat/flow", qos=1) == [1]
    for number in range(MESSAGES):
        if number in RENEWED_AT:
            for name, client in (("reader", reader), ("writer", writer)):
                assert client.publish("$auth/token", service.create_token(name)["token"]) == 0
        assert writer.publish("chat/flow", str(number)) == 0
    got = [reader.receive() for _ in range(MESSAGES)]
    assert got == [("chat/flow", str(number).encode()) for number in range(MESSAGES)]
    assert reader.is_connected and writer.is_connected


@pytest.mark.interop
def test_mqtt_5_renews_by_auth_under_a_flow_and_nothing_is_lost_or_doubled(
    service: Any, paho: Callable[..., Any], by_auth: Callable[..., Raw]
) -> None:
    reader = by_auth(service.create_token("reader"))
    writer = paho(service.create_token("writer"))
    assert writer.connect() == 0
    reader.send(Subscribe(1, (Subscription("chat/flow", qos=1),)))
    assert isinstance(reader.receive(), Suback)
    got, answers = [], []
    for number in range(MESSAGES):
        if number in RENEWED_AT:
            token = service.create_token("reader")["token"].encode()
            reader.send(Auth(0x19, authentication_method="JWT", authentication_data=token))
        assert writer.publish("chat/flow", str(number)) == 0
        while len(got) <= number:
            packet = reader.receive()
            (got if isinstance(packet, Publish) else answers).append(packet)
    assert [packet.payload for packet in got] == [b"%d" % number for number in range(MESSAGES)]
    assert [(type(packet), packet.reason_code) for packet in answers] == [(Auth, 0)] * len(RENEWED_AT)


@pytest.mark.interop
def test_a_failed_auth_closes_and_a_narrower_one_that_is_heard_does_not(
    service: Any, by_auth: Callable[..., Raw]
) -> None:
    client = by_auth(service.create_token("reader", topics=["chat/#", "news/#"]))
    filters = tuple(Subscription(name) for name in ("chat/#", "news/#", "$auth/events"))
    client.send(Subscribe(1, filters))
    assert isinstance(client.receive(), Suback)
    narrower = service.create_token("reader", topics=["news/#"])["token"].encode()
    client.send(Auth(0x19, authentication_method="JWT", authentication_data=narrower))
    answer, refreshed, narrowed = (client.receive() for _ in range(3))
    assert isinstance(answer, Auth) and answer.reason_code == 0
    assert [json.loads(packet.payload)["event"] for packet in (refreshed, narrowed)] == [
        "refreshed",
        "narrowed",
    ]
    assert json.loads(narrowed.payload)["suspended"] == ["chat/#"]
    other = service.create_token("writer")["token"].encode()
    client.send(Auth(0x19, authentication_method="JWT", authentication_data=other))
    end = client.receive()
    assert isinstance(end, Disconnect)
    assert (end.reason_code, end.reason_string) == (0x87, "token is another user's")


@pytest.mark.interop
@pytest.mark.parametrize("version", [4, 5])
def test_paho_with_a_narrower_token_is_closed_unless_it_listens(
    service: Any, paho: Callable[..., Any], version: int
) -> None:
    narrower = service.create_token("reader", topics=["chat/+"])["token"]
    deaf = paho(service.create_token("reader"), version=version, client_id="deaf")
    assert deaf.connect() == 0
    assert deaf.subscribe("chat/#") == [0]
    assert deaf.publish("$auth/token", narrower) == 0
    _, code = deaf.wait_ended()
    assert code == (0x98 if version == 5 else None)

    listener = paho(service.create_token("reader"), version=version, client_id="listener")
    assert listener.connect() == 0
    assert listener.subscribe("chat/#", "chat/a", "$auth/events") == [0, 0, 0]
    assert listener.publish("$auth/token", narrower) == 0
    events = [json.loads(listener.receive()[1]) for _ in range(2)]
    assert events[1] == {"event": "narrowed", "suspended": ["chat/#"]}
    for topic in ("chat/b", "chat/a"):
        assert listener.publish(topic, topic) in (0, 0x10)
    assert listener.receive() == ("chat/a", b"chat/a")
    with pytest.raises(queue.Empty):
        listener.messages.get(block=False)


@pytest.mark.interop
@pytest.mark.parametrize("version", [4, 5])
def test_paho_with_a_bad_token_is_refused_as_its_version_can(
    service: Any, paho: Callable[..., Any], version: int
) -> None:
    client = paho(service.create_token("reader"), version=version, client_id="bad")
    assert client.connect() == 0
    if version == 5:
        assert client.publish("$auth/token", "nonsense") == 0x87
        assert client.publish("chat/a", "still") == 0x10
        assert client.is_connected
    else:
        client._client.publish("$auth/token", "nonsense", 1)
        client.wait_ended()
