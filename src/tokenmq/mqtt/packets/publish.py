"""PUBLISH (MQTT 5 §3.3), and the encoder that the broker composes deliveries with."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tokenmq.mqtt import properties, wire
from tokenmq.mqtt.codes import PacketType
from tokenmq.mqtt.properties import UserPropertyLimits

# A plain number: this is the inner loop.
_PUBLISH = int(PacketType.PUBLISH)
_DUP, _RETAIN = 0x08, 0x01
_NOT_FORWARDED = frozenset({properties.TOPIC_ALIAS, properties.SUBSCRIPTION_IDENTIFIER})
_FIRST = tuple(bytes((0x30 | flags,)) for flags in range(16))
_SUBSCRIPTION_IDENTIFIER = bytes((properties.SUBSCRIPTION_IDENTIFIER,))


class Publish(msgspec.Struct, gc=False):
    """PUBLISH.

    Attributes:
        topic: Topic Name; empty only until `aliases` has resolved the Topic Alias.
        packet_id: 0 at QoS 0, where there is none; 0 is no Packet Identifier.
        payload_format_indicator: 1 says that the payload is UTF-8, which was checked.
        message_expiry_interval: seconds.
        forward: of a decoded MQTT 5 PUBLISH of a client the encoded properties, without
            their length, that go on to receivers: all but the Topic Alias. The encoder
            does not look at it.
    """

    topic: str
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    forward: bytes = b""
    topic_alias: int | None = None
    payload_format_indicator: int | None = None
    message_expiry_interval: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    subscription_identifiers: tuple[int, ...] = ()
    user_properties: tuple[tuple[str, str], ...] = ()


def decode_publish(
    first: int,
    data: bytes,
    start: int,
    stop: int,
    version: int,
    *,
    from_client: bool,
    limits: UserPropertyLimits,
) -> Publish:
    """Decode a PUBLISH whose first byte has been checked."""
    pos = start + 2
    end = pos + (data[start] << 8 | data[start + 1]) if pos <= stop else pos
    if end > stop:
        raise wire.malformed("the topic name ends beyond the packet")
    raw_topic = data[pos:end]  # [MQTT-3.3.2-1] [MQTT311-3.3.2-1]
    packet_id = 0
    qos = first >> 1 & 3
    if qos:
        packet_id, end = wire.read_packet_id(data, end, stop)
    retain, dup = first & _RETAIN == _RETAIN, first & _DUP == _DUP
    if version == 4:
        return Publish(wire.decode_topic(raw_topic), data[end:stop], qos, retain, dup, packet_id)
    pos, end = properties.read_length(data, end, stop)
    topic = wire.decode_topic(raw_topic) if raw_topic else ""
    publish = Publish(topic, data[end:stop], qos, retain, dup, packet_id)
    if pos < end:
        properties.read(publish, _PUBLISH, data, pos, end, limits)
        if publish.payload_format_indicator:
            wire.check_payload(publish.payload)
        if from_client:
            if publish.subscription_identifiers:
                raise wire.protocol_error("a subscription identifier from a client")  # [MQTT-3.3.4-6]
            publish.forward = (
                data[pos:end] if publish.topic_alias is None else _forward(publish, data, pos, end)
            )
    if not topic and publish.topic_alias is None:
        raise wire.protocol_error("an empty topic name without a topic alias")
    return publish


def _forward(publish: Publish, data: bytes, pos: int, end: int) -> bytes:
    if data[pos] == properties.TOPIC_ALIAS:
        return data[pos + 3 : end]
    return forward_properties(publish)


def forward_properties(publish: Publish) -> bytes:
    """Encode the properties of a PUBLISH that go on to receivers, without their length."""
    return properties.write(publish, _PUBLISH, leave_out=_NOT_FORWARDED)


def encode_publish(
    topic: bytes,
    payload: bytes,
    *,
    version: int,
    qos: int = 0,
    retain: bool = False,
    dup: bool = False,
    packet_id: int = 0,
    forward: bytes = b"",
    subscription_identifiers: Iterable[int] = (),
) -> bytes:
    """Compose a PUBLISH out of encoded parts.

    Args:
        topic: Topic Name in UTF-8, at most 65,535 bytes.
        payload: Application Message.
        version: 4 or 5; 4 has no properties.
        qos: 0 to 2.
        retain: as the receiver shall see it.
        dup: a second attempt, QoS 1 and 2 only; never what a publisher said [MQTT-3.3.1-3]
            [MQTT311-3.3.1-3].
        packet_id: written at QoS 1 and 2; 0 leaves room for one to be patched in.
        forward: encoded properties without their length, such as `Publish.forward`.
        subscription_identifiers: of the receiver's subscriptions that match.

    Raises: ProtocolError 0x95 when MQTT cannot express the packet's length.
    """
    length = b""
    if version == 5:
        for identifier in subscription_identifiers:
            forward += _SUBSCRIPTION_IDENTIFIER + wire.write_variable(identifier)
        length = wire.write_variable(len(forward))
    else:
        forward = b""
    flags = qos << 1
    if retain:
        flags |= _RETAIN
    if dup:
        flags |= _DUP
    size = len(topic)
    rest = 2 + size + len(length) + len(forward) + len(payload)
    first, topic_size = _FIRST[flags], size.to_bytes(2, "big")
    if not qos:  # no identifier, no DUP: [MQTT-2.2.1-2] [MQTT-4.3.1-1] [MQTT311-2.3.1-5] [MQTT311-4.3.1-1]
        return b"".join((first, wire.write_variable(rest), topic_size, topic, length, forward, payload))
    # [MQTT-4.3.2-2] [MQTT-4.3.3-2] [MQTT311-4.3.2-1]
    rest_size, identifier_bytes = wire.write_variable(rest + 2), packet_id.to_bytes(2, "big")
    return b"".join((first, rest_size, topic_size, topic, identifier_bytes, length, forward, payload))


def publish_halves(
    topic: bytes,
    payload: bytes,
    *,
    version: int,
    qos: int,
    retain: bool = False,
    dup: bool = False,
    forward: bytes = b"",
    subscription_identifiers: Iterable[int] = (),
) -> tuple[bytes, bytes]:
    """Compose what stands before and after the Packet Identifier, as `encode_publish`.

    At QoS 0 there is none: the whole packet, and nothing.
    """
    whole = encode_publish(
        topic,
        payload,
        version=version,
        qos=qos,
        retain=retain,
        dup=dup,
        forward=forward,
        subscription_identifiers=subscription_identifiers,
    )
    if not qos:
        return whole, b""
    start = 1
    while whole[start] > 0x7F:
        start += 1
    start += 3 + len(topic)
    return whole[:start], whole[start + 2 :]


def encode(publish: Publish, version: int) -> bytes:
    """Encode a PUBLISH from its attributes."""
    block = properties.block(publish, _PUBLISH) if version == 5 else b""
    first = 0x30 | publish.qos << 1 | (publish.dup and _DUP) | publish.retain
    packet_id = wire.write_two_bytes(publish.packet_id) if publish.qos else b""
    return wire.packet(first, wire.write_text(publish.topic), packet_id, block, publish.payload)
