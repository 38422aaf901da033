"""What a connection lets its owner send: CONNACK both ways, and everything after it."""

from __future__ import annotations

from typing import Any

import pytest

from tokenmq.errors import ProtocolError
from tokenmq.mqtt import codec, packets
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.connection import Connection, ConnectionLimits
from tokenmq.mqtt.phases import Phase


def _opened(data: bytes | packets.Connect) -> Connection:
    connection = Connection(ConnectionLimits(), 0.0)
    whole = data if isinstance(data, bytes) else codec.encode(data, 5)
    found = codec.frame(whole, 0, connection.max_packet_bytes)
    assert found is not None
    first, start, stop = found
    try:
        connection.accept(first, whole, start, stop, 0.0)
    except ProtocolError:
        assert connection.phase == Phase.CLOSED
    return connection


def _connected(version: int = 5, **fields: Any) -> Connection:
    connection = _opened(packets.Connect(version, "c", **fields))
    connection.connected(packets.Connack(), keep_alive_seconds=60)
    return connection


@pytest.mark.parametrize(("version", "answer"), [(4, "20 02 01 00"), (5, "20 03 01 00 00")])
def test_an_accepted_connect_is_answered_in_its_version(version: int, answer: str) -> None:
    """[MQTT-3.1.4-5] [MQTT-3.2.2-1] [MQTT311-3.1.4-4]."""
    connection = _opened(packets.Connect(version, "c"))
    connack = packets.Connack(session_present=True)
    assert connection.connected(connack, keep_alive_seconds=60) == bytes.fromhex(answer)
    assert connection.phase == Phase.CONNECTED


def test_only_a_connect_that_waits_is_accepted() -> None:
    """[MQTT-3.2.0-2]."""
    closed = _opened(packets.Connect(5, "c", authentication_data=b"x"))
    for connection in (Connection(ConnectionLimits(), 0.0), closed, _connected()):
        phase = connection.phase
        with pytest.raises(ProtocolError) as caught:
            connection.connected(packets.Connack(), keep_alive_seconds=60)
        assert (caught.value.reason_code, connection.phase) == (0x82, phase)


def test_q9_a_connack_goes_without_explanations_to_a_peer_of_small_packets() -> None:
    """[MQTT-3.2.2-19] [MQTT-3.2.2-20]."""
    connack = packets.Connack(reason_string="welcome", user_properties=(("k", "v"),))
    connection = _opened(packets.Connect(5, "c", maximum_packet_size=5))
    assert connection.connected(connack, keep_alive_seconds=0) == bytes.fromhex("20 03 00 00 00")


def test_q9_a_peer_that_accepts_no_connack_is_closed() -> None:
    connection = _opened(packets.Connect(5, "c", maximum_packet_size=4))
    with pytest.raises(ProtocolError) as caught:
        connection.connected(packets.Connack(), keep_alive_seconds=0)
    assert caught.value.reason_code == 0x95
    assert connection.phase == Phase.CLOSED


REFUSALS = {
    "5": (packets.Connect(5, "c"), 0x87, "20 03 00 87 00"),
    "3.1.1": (packets.Connect(4, "c"), 0x87, "20 02 00 05"),
    "5, a code that CONNACK does not have": (packets.Connect(5, "c"), 0x94, "20 03 00 80 00"),
    "5, malformed": (bytes.fromhex("10 0d 0004 4d515454 05 03 003c 00 0000"), 0x81, "20 03 00 81 00"),
    "3.1.1, malformed": (bytes.fromhex("10 0c 0004 4d515454 04 03 003c 0000"), 0x81, None),
    "3.1.1, will topic": (bytes.fromhex("10 11 0004 4d515454 04 06 003c 0000 0001 23 0000"), 0x90, None),
    "3.1.1, no client id": (bytes.fromhex("10 0c 0004 4d515454 04 00 003c 0000"), 0x85, "20 02 00 02"),
    "version 6": (bytes.fromhex("10 0d 0004 4d515454 06 02 003c 00 0000"), 0x84, "20 03 00 84 00"),
    "version 3": (bytes.fromhex("10 0d 0004 4d515454 03 02 003c 0001 61"), 0x84, "20 02 00 01"),
    "a bridge of 3.1.1": (bytes.fromhex("10 0d 0004 4d515454 84 02 003c 0001 61"), 0x84, "20 02 00 01"),
    "a bridge of 5": (bytes.fromhex("10 0d 0004 4d515454 85 02 003c 00 0000"), 0x84, "20 03 00 84 00"),
    "MQIsdp": (bytes.fromhex("10 0f 0006 4d5149736470 03 02 003c 0001 61"), 0x84, "20 02 00 01"),
    "another protocol": (bytes.fromhex("10 0d 0004 48545450 05 02 003c 00 0000"), 0x84, None),
    "no CONNECT": (bytes.fromhex("c0 00"), 0x82, None),
}


@pytest.mark.parametrize(("came", "code", "answer"), REFUSALS.values(), ids=REFUSALS)
def test_a_refused_connect_is_answered_as_far_as_its_version_has_an_answer(
    came: bytes | packets.Connect, code: int, answer: str | None
) -> None:
    """[MQTT-3.2.2-8]; 3.1.1 has six return codes and closes without a word otherwise.

    [MQTT311-3.1.2-2] [MQTT311-3.1.3-8] [MQTT311-3.1.4-1] [MQTT311-3.2.2-6].
    """
    connection = _opened(came)
    encoded = connection.refused(packets.Connack(code))
    assert (None if encoded is None else encoded.hex()) == (
        None if answer is None else bytes.fromhex(answer).hex()
    )
    assert connection.phase == Phase.CLOSED


def test_what_was_accepted_is_not_refused_any_more() -> None:
    """[MQTT-3.2.0-2]."""
    assert _connected().refused(packets.Connack(0x87)) is None


@pytest.mark.parametrize(
    "packet",
    [packets.Disconnect(0x87), packets.Pingresp(), packets.Publish("a"), packets.Suback(1, (0,))],
    ids=lambda packet: type(packet).__name__,
)
def test_q15_before_the_connack_nothing_but_auth_is_sent(packet: Any) -> None:
    """[MQTT-3.2.0-1] [MQTT-3.14.0-1] [MQTT311-3.2.0-1]."""
    assert Connection(ConnectionLimits(), 0.0).send(packet) is None
    assert _opened(packets.Connect(5, "c")).send(packet) is None
    assert _connected().send(packet) == codec.encode(packet, 5)


def test_311_has_no_disconnect_of_a_server() -> None:
    assert _connected(4).send(packets.Disconnect(ReasonCode.SERVER_SHUTTING_DOWN)) is None
    assert _connected(4).send(packets.Puback(1, 0x87, "why")) == bytes.fromhex("40 02 0001")


@pytest.mark.parametrize("wanted", [None, True, False])
def test_explanations_are_sent_unless_they_are_not_wanted(wanted: bool | None) -> None:
    """[MQTT-3.1.2-29]: PUBLISH, CONNACK and DISCONNECT may carry them all the same."""
    connection = _connected(request_problem_information=wanted)
    pairs = (("k", "v"),)
    suback = packets.Suback(1, (0x87,), "why", pairs)
    bare = suback if wanted is not False else packets.Suback(1, (0x87,))
    assert connection.send(suback) == codec.encode(bare, 5)
    for packet in (packets.Publish("a", user_properties=pairs), packets.Disconnect(0x87, None, "why", pairs)):
        assert connection.send(packet) == codec.encode(packet, 5)


def test_q9_a_packet_over_the_peers_maximum_is_not_sent() -> None:
    """[MQTT-3.1.2-24]."""
    connection = _connected(maximum_packet_size=20)
    assert connection.send(packets.Publish("a", bytes(14))) is not None
    assert connection.send(packets.Publish("a", bytes(15))) is None
    assert connection.send(packets.Puback(1, 0x87, "a long reason string")) == bytes.fromhex("40 03 0001 87")
