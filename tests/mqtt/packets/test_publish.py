from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmq.errors import ProtocolError
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Publish, Will


def _decoded(data: bytes, version: int = 5, *, from_client: bool = True) -> Any:
    found = codec.frame(data, 0, 268_435_460)
    assert found is not None
    first, start, stop = found
    return codec.decode(first, data, start, stop, version, from_client=from_client)


@settings(deadline=None)
@given(
    topic=st.sampled_from(["a", "chat/room1", "0" * 48, "é" * 40, "t" * 130]),
    payload=st.one_of(st.binary(max_size=40), st.integers(100, 20_000).map(bytes)),
    version=st.sampled_from([4, 5]),
    qos=st.integers(0, 2),
    retain=st.booleans(),
    dup=st.booleans(),
    packet_id=st.integers(1, 65_535),
    identifiers=st.lists(st.integers(1, 268_435_455), max_size=3),
)
def test_composing_is_encoding(
    topic: str,
    payload: bytes,
    version: int,
    qos: int,
    retain: bool,
    dup: bool,
    packet_id: int,
    identifiers: list[int],
) -> None:
    dup = dup and qos > 0
    properties: dict[str, Any] = {"message_expiry_interval": 7, "user_properties": (("k", "v"),)}
    packet = Publish(topic, payload, qos, retain, dup, packet_id if qos else 0, **properties)
    forward = codec.forward_properties(packet)
    packet.subscription_identifiers = tuple(identifiers)
    settings = {"version": version, "qos": qos, "retain": retain, "dup": dup}
    composed = codec.encode_publish(
        topic.encode(),
        payload,
        packet_id=packet_id,
        forward=forward,
        subscription_identifiers=identifiers,
        **settings,
    )
    if version == 4:
        packet = Publish(topic, payload, qos, retain, dup, packet_id if qos else 0)
    assert _decoded(composed, version, from_client=False) == packet
    before, after = codec.publish_halves(
        topic.encode(), payload, forward=forward, subscription_identifiers=identifiers, **settings
    )
    assert before + (packet_id.to_bytes(2, "big") if qos else b"") + after == composed


def test_the_halves_of_a_topic_that_also_stands_before_itself() -> None:
    """The length of 48 is the character 0, and so is the second byte of the remaining length."""
    before, after = codec.publish_halves(b"0" * 48, bytes(6_000), version=4, qos=1)
    assert before == bytes.fromhex("32 a42f 0030") + b"0" * 48
    assert after == bytes(6_000)


def test_a_packet_that_mqtt_cannot_say_is_not_composed() -> None:
    with pytest.raises(ProtocolError) as caught:
        codec.encode_publish(b"a", bytes(268_435_455), version=4)
    assert caught.value.reason_code == 0x95


@pytest.mark.parametrize(
    ("block", "forward"),
    [
        ("", ""),
        ("0100", "0100"),
        ("230001", ""),
        ("230001 0100", "0100"),
        ("0100 230001", "0100"),
        ("26000162000161 230001 0100 26 0000 0000", "0100 26000162000161 26 0000 0000"),
        ("26000162000161 0100", "26000162000161 0100"),
    ],
)
def test_what_goes_on_to_receivers_is_what_came_without_the_alias(block: str, forward: str) -> None:
    """The others go on unaltered.

    [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20].
    """
    raw = bytes.fromhex(block)
    body = b"\x00\x01a" + bytes((len(raw),)) + raw
    assert _decoded(bytes((0x30, len(body))) + body).forward == bytes.fromhex(forward)


def test_what_a_server_sent_goes_on_nowhere() -> None:
    assert _decoded(bytes.fromhex("30 08 0001 61 04 0b 01 01 00"), from_client=False).forward == b""


def test_a_will_goes_on_without_its_delay() -> None:
    will = Will("w", b"", will_delay_interval=5, payload_format_indicator=1, user_properties=(("k", "v"),))
    assert will.forward == bytes.fromhex("01 01 26 0001 6b 0001 76")


@pytest.mark.parametrize("payload", [b"\x00text", "é".encode(), b""])
def test_a_payload_that_is_the_utf8_it_says_is_accepted(payload: bytes) -> None:
    body = b"\x00\x01a\x02\x01\x01" + payload
    assert _decoded(bytes((0x30, len(body))) + body).payload == payload


def test_q5_a_subscription_identifier_from_a_client_is_a_protocol_error() -> None:
    """[MQTT-3.3.4-6]."""
    with pytest.raises(ProtocolError) as caught:
        _decoded(bytes.fromhex("30 06 0001 61 02 0b 01"))
    assert caught.value.reason_code == 0x82
