from __future__ import annotations

from typing import Any

import pytest

from tokenmq.errors import ProtocolError
from tokenmq.mqtt import codec, packets
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.connection import Connection, ConnectionLimits
from tokenmq.mqtt.phases import Phase

LIMITS = ConnectionLimits(topic_alias_maximum=2)
CONNECT_5 = packets.Connect(5, "c", keep_alive=60)
CONNECT_4 = packets.Connect(4, "c", keep_alive=60)
WITH_METHOD = packets.Connect(5, "c", authentication_method="JWT", authentication_data=b"token")


def give(connection: Connection, data: bytes, mono: float = 0.0) -> Any:
    """Hand the bytes of one packet to a connection, as its owner does."""
    connection.check_first(data[0])
    found = codec.frame(data, 0, connection.max_packet_bytes)
    assert found is not None
    first, start, stop = found
    return connection.accept(first, data, start, stop, mono)


def given(connection: Connection, packet: packets.Packet, version: int = 5, mono: float = 0.0) -> Any:
    """The same with a packet."""
    return give(connection, codec.encode(packet, version), mono)


def refusal(connection: Connection, data: bytes) -> int:
    """Return the reason code with which the bytes are refused; the connection is closed then."""
    with pytest.raises(ProtocolError) as caught:
        give(connection, data)
    assert connection.phase == Phase.CLOSED
    return caught.value.reason_code


def opened(connect: packets.Connect | None = None, **limits: Any) -> Connection:
    """Make a connection, with a CONNECT that waits for its answer if one is given."""
    connection = Connection(ConnectionLimits(**limits) if limits else LIMITS, 0.0)
    if connect is not None:
        given(connection, connect)
    return connection


def connected(
    connect: packets.Connect = CONNECT_5, *, keep_alive_seconds: int = 60, **limits: Any
) -> Connection:
    """Make a connection whose CONNECT was accepted."""
    connection = opened(connect, **limits)
    connection.connected(packets.Connack(), keep_alive_seconds=keep_alive_seconds)
    return connection


# What comes


def test_a_connect_tells_the_version_and_what_the_peer_accepts() -> None:
    connect = packets.Connect(
        5, "c", receive_maximum=7, maximum_packet_size=100, request_problem_information=False
    )
    connection = opened()
    assert connection.version == 0
    assert given(connection, connect) == connect
    assert (connection.version, connection.phase) == (5, Phase.AUTHENTICATING)
    assert (connection.peer_receive_maximum, connection.peer_max_packet_bytes) == (7, 100)
    assert not connection.request_problem_information


@pytest.mark.parametrize("connect", [CONNECT_4, CONNECT_5])
def test_what_a_connect_does_not_tell_has_the_standards_default(connect: packets.Connect) -> None:
    connection = opened(connect)
    assert connection.version == connect.protocol_version
    assert connection.peer_receive_maximum == 65_535
    assert connection.peer_max_packet_bytes == 268_435_460
    assert connection.request_problem_information


def test_v03_a_first_byte_that_is_no_connect_is_refused_before_the_rest_arrives() -> None:
    """[MQTT-3.1.0-1] [MQTT311-3.1.0-1]."""
    for first in range(256):
        connection = opened()
        if first >> 4 == 1:
            connection.check_first(first)
            continue
        with pytest.raises(ProtocolError) as caught:
            connection.check_first(first)
        assert caught.value.reason_code == 0x82
        assert connection.phase == Phase.CLOSED


def test_a_topic_alias_is_resolved_and_belongs_to_the_connection() -> None:
    """[MQTT-3.3.2-7]."""
    connection = connected()
    given(connection, packets.Publish("a/b", topic_alias=2))
    assert given(connection, packets.Publish("", topic_alias=2)).topic == "a/b"
    assert refusal(connection, codec.encode(packets.Publish("", topic_alias=1), 5)) == 0x82
    assert refusal(connected(), codec.encode(packets.Publish("", topic_alias=2), 5)) == 0x82
    assert refusal(connected(), codec.encode(packets.Publish("a", topic_alias=3), 5)) == 0x94


def test_user_properties_are_held_to_the_limits() -> None:
    connection = connected(max_user_properties=2, max_user_property_bytes=4)
    pair = ("k", "v")
    given(connection, packets.Publish("a", user_properties=(pair, pair)))
    assert refusal(connection, codec.encode(packets.Publish("a", user_properties=(pair,) * 3), 5)) == 0x97


def test_after_an_error_nothing_is_accepted() -> None:
    connection = connected()
    assert refusal(connection, bytes.fromhex("30 03 0000 00")) == 0x82
    assert refusal(connection, codec.encode(packets.Pingreq(), 5)) == 0x82


def test_after_a_disconnect_nothing_is_accepted() -> None:
    """[MQTT-3.14.4-1]."""
    connection = connected()
    assert given(connection, packets.Disconnect(ReasonCode.DISCONNECT_WITH_WILL_MESSAGE)).reason_code == 4
    assert connection.phase == Phase.CLOSED
    assert refusal(connection, codec.encode(packets.Publish("a"), 5)) == 0x82


@pytest.mark.parametrize(("at_connect", "allowed"), [(None, False), (0, False), (10, True)])
def test_q22_disconnect_does_not_raise_a_session_expiry_of_zero(
    at_connect: int | None, allowed: bool
) -> None:
    connection = connected(packets.Connect(5, "c", session_expiry_interval=at_connect))
    disconnect = packets.Disconnect(session_expiry_interval=60)
    if allowed:
        assert given(connection, disconnect) == disconnect
    else:
        assert refusal(connection, codec.encode(disconnect, 5)) == 0x82


# Authentication by AUTH


def test_re_authentication_goes_by_the_method_of_the_connect() -> None:
    connection = connected(WITH_METHOD)
    given(connection, packets.Auth(0x19, "JWT", b"new"))
    assert connection.send(packets.Auth(0x18, "JWT")) == bytes.fromhex("f0 08 18 06 15 0003 4a5754")
    given(connection, packets.Auth(0x18, "JWT", b"more"))
    assert connection.send(packets.Auth(0x00, "JWT")) == bytes.fromhex("f0 08 00 06 15 0003 4a5754")
    assert refusal(connection, codec.encode(packets.Auth(0x18, "JWT"), 5)) == 0x82


def test_v70_before_the_answer_three_rounds_of_auth_and_no_fourth() -> None:
    connection = opened(WITH_METHOD)
    for _ in range(3):
        assert connection.send(packets.Auth(0x18, "JWT")) is not None
        given(connection, packets.Auth(0x18, "JWT", b"x"))
    assert refusal(connection, codec.encode(packets.Auth(0x18, "JWT"), 5)) == 0x87


def test_q10_without_a_method_no_auth_is_sent() -> None:
    """[MQTT-4.12.0-6]."""
    assert connected().send(packets.Auth(0x18, "JWT")) is None


# Sizes


def test_v02_all_that_comes_before_the_answer_is_within_max_connect_bytes() -> None:
    connection = opened(WITH_METHOD, max_connect_bytes=100)
    given(connection, packets.Auth(0x18, "JWT", bytes(20)))
    assert connection.max_packet_bytes < 100 - len(codec.encode(WITH_METHOD, 5)) - 20
    assert refusal_of_frame(connection, codec.encode(packets.Auth(0x18, "JWT", bytes(40)), 5)) == 0x95


def refusal_of_frame(connection: Connection, data: bytes) -> int:
    with pytest.raises(ProtocolError) as caught:
        codec.frame(data, 0, connection.max_packet_bytes)
    return caught.value.reason_code


def test_q9_after_the_answer_a_packet_may_have_max_packet_bytes() -> None:
    connection = connected(max_connect_bytes=50, max_packet_bytes=70)
    whole = codec.encode(packets.Publish("a", bytes(64)), 5)
    assert len(whole) == 70
    assert give(connection, whole).payload == bytes(64)
    assert refusal_of_frame(connection, codec.encode(packets.Publish("a", bytes(65)), 5)) == 0x95


def test_a_setting_below_the_connect_limit_holds_for_the_connect_too() -> None:
    assert opened(max_packet_bytes=30).max_packet_bytes == 30


# Time


def test_the_connect_deadline_is_moved_by_nothing() -> None:
    connection = Connection(ConnectionLimits(connect_timeout_seconds=10), 100.0)
    assert connection.expires_at_mono == 110.0
    given(connection, WITH_METHOD, mono=105.0)
    given(connection, packets.Auth(0x18, "JWT"), mono=109.0)
    connection.touch(109.5)
    assert connection.expires_at_mono == 110.0
    assert connection.timeout_code == ReasonCode.SERVER_BUSY
    assert connection.timeout_text == "connecting took longer than 10 s"


def test_q8_keep_alive_is_over_one_and_a_half_times_after_the_last_packet() -> None:
    """[MQTT-3.1.2-22] [MQTT311-3.1.2-24]."""
    connection = connected(keep_alive_seconds=60)
    given(connection, packets.Pingreq(), mono=10.0)
    assert connection.expires_at_mono == 100.0
    connection.touch(20.0)
    assert connection.expires_at_mono == 110.0
    assert connection.timeout_code == ReasonCode.KEEP_ALIVE_TIMEOUT
    assert connection.timeout_text == "nothing came within 1.5 times 60 s of keep alive"


def test_without_keep_alive_and_once_closed_there_is_no_deadline() -> None:
    assert connected(keep_alive_seconds=0).expires_at_mono is None
    connection = connected()
    given(connection, packets.Disconnect())
    assert connection.expires_at_mono is None
