"""SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK (MQTT 5 §3.8 to §3.11)."""

from __future__ import annotations

import msgspec

from tokenmq.mqtt import codes, properties, wire
from tokenmq.mqtt.codes import PacketType
from tokenmq.mqtt.properties import UserPropertyLimits

_SHARE = "$share/"
_NO_LOCAL, _RETAIN_AS_PUBLISHED = 0x04, 0x08


class Subscription(msgspec.Struct, gc=False):
    """One Topic Filter with its Subscription Options (§3.8.3.1).

    Attributes:
        topic_filter: well-formed UTF-8 without U+0000; its grammar is not checked.
        qos: the maximum that is asked for, 0 to 2.
        retain_handling: 0 send retained messages, 1 for a new subscription, 2 never.
    """

    topic_filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


class Subscribe(msgspec.Struct, gc=False):
    """SUBSCRIBE."""

    packet_id: int
    subscriptions: tuple[Subscription, ...]
    subscription_identifier: int | None = None
    user_properties: tuple[tuple[str, str], ...] = ()


class Suback(msgspec.Struct, gc=False):
    """SUBACK, a reason code for each filter in order; 3.1.1 knows 0, 1, 2 and 0x80."""

    packet_id: int
    reason_codes: tuple[int, ...]
    reason_string: str | None = None
    user_properties: tuple[tuple[str, str], ...] = ()


class Unsubscribe(msgspec.Struct, gc=False):
    """UNSUBSCRIBE; the filters' grammar is not checked."""

    packet_id: int
    topic_filters: tuple[str, ...]
    user_properties: tuple[tuple[str, str], ...] = ()


class Unsuback(msgspec.Struct, gc=False):
    """UNSUBACK, a reason code for each filter in order; none in 3.1.1."""

    packet_id: int
    reason_codes: tuple[int, ...] = ()
    reason_string: str | None = None
    user_properties: tuple[tuple[str, str], ...] = ()


def decode_subscribe(
    data: bytes, start: int, stop: int, version: int, limits: UserPropertyLimits
) -> Subscribe:
    """Decode a SUBSCRIBE."""
    packet_id, pos = wire.read_packet_id(data, start, stop)
    subscribe = Subscribe(packet_id, ())
    if version == 5:
        pos = properties.read_block(subscribe, PacketType.SUBSCRIBE, data, pos, stop, limits)
    if pos == stop:
        # [MQTT-3.8.3-2] [MQTT311-3.8.3-3]
        raise wire.protocol_error("a SUBSCRIBE without a topic filter")
    subscriptions: list[Subscription] = []
    while pos < stop:
        topic_filter, pos = wire.read_filter(data, pos, stop)  # [MQTT-3.8.3-1] [MQTT311-3.8.3-1]
        options, pos = wire.read_byte(data, pos, stop)
        subscriptions.append(_subscription(topic_filter, options, version))
    subscribe.subscriptions = tuple(subscriptions)
    return subscribe


def _subscription(topic_filter: str, options: int, version: int) -> Subscription:
    if options >> (6 if version == 5 else 2):
        # [MQTT-3.8.3-5] [MQTT311-3.8.3-4]
        raise wire.malformed("reserved bits of subscription options are set")
    qos = options & 3
    retain_handling = options >> 4
    if qos == 3:
        raise wire.protocol_error("a subscription with QoS 3")  # [MQTT311-3.8.3-4]
    if retain_handling == 3:
        raise wire.protocol_error("retain handling 3")
    no_local = bool(options & _NO_LOCAL)
    if no_local and topic_filter.startswith(_SHARE):
        raise wire.protocol_error("no local on a shared subscription")  # [MQTT-3.8.3-4]
    return Subscription(topic_filter, qos, no_local, bool(options & _RETAIN_AS_PUBLISHED), retain_handling)


def encode_subscribe(subscribe: Subscribe, version: int) -> bytes:
    """Encode a SUBSCRIBE."""
    parts = [wire.write_two_bytes(subscribe.packet_id)]
    if version == 5:
        parts.append(properties.block(subscribe, PacketType.SUBSCRIBE))
    for one in subscribe.subscriptions:
        options = one.qos
        if version == 5:
            options |= one.retain_handling << 4 | (one.no_local and _NO_LOCAL)
            options |= one.retain_as_published and _RETAIN_AS_PUBLISHED
        parts += (wire.write_text(one.topic_filter), bytes((options,)))
    return wire.packet(0x82, *parts)


def decode_unsubscribe(
    data: bytes, start: int, stop: int, version: int, limits: UserPropertyLimits
) -> Unsubscribe:
    """Decode an UNSUBSCRIBE."""
    packet_id, pos = wire.read_packet_id(data, start, stop)
    unsubscribe = Unsubscribe(packet_id, ())
    if version == 5:
        pos = properties.read_block(unsubscribe, PacketType.UNSUBSCRIBE, data, pos, stop, limits)
    if pos == stop:
        # [MQTT-3.10.3-2] [MQTT311-3.10.3-2]
        raise wire.protocol_error("an UNSUBSCRIBE without a topic filter")
    topic_filters: list[str] = []
    while pos < stop:
        topic_filter, pos = wire.read_filter(data, pos, stop)  # [MQTT-3.10.3-1] [MQTT311-3.10.3-1]
        topic_filters.append(topic_filter)
    unsubscribe.topic_filters = tuple(topic_filters)
    return unsubscribe


def encode_unsubscribe(unsubscribe: Unsubscribe, version: int) -> bytes:
    """Encode an UNSUBSCRIBE."""
    block = properties.block(unsubscribe, PacketType.UNSUBSCRIBE) if version == 5 else b""
    filters = map(wire.write_text, unsubscribe.topic_filters)
    return wire.packet(0xA2, wire.write_two_bytes(unsubscribe.packet_id), block, *filters)


def decode_suback(data: bytes, start: int, stop: int, version: int, limits: UserPropertyLimits) -> Suback:
    """Decode a SUBACK, as a client does."""
    packet_id, pos = wire.read_packet_id(data, start, stop)
    suback = Suback(packet_id, ())
    if version == 5:
        pos = properties.read_block(suback, PacketType.SUBACK, data, pos, stop, limits)
    allowed = codes.SUBACK_CODES if version == 5 else codes.SUBACK_CODES_311
    suback.reason_codes = _reason_codes(data[pos:stop], allowed)
    return suback


def decode_unsuback(data: bytes, start: int, stop: int, version: int, limits: UserPropertyLimits) -> Unsuback:
    """Decode an UNSUBACK, as a client does."""
    packet_id, pos = wire.read_packet_id(data, start, stop)
    unsuback = Unsuback(packet_id)
    if version == 4:
        if pos != stop:
            raise wire.left_over(stop, pos)
        return unsuback
    pos = properties.read_block(unsuback, PacketType.UNSUBACK, data, pos, stop, limits)
    unsuback.reason_codes = _reason_codes(data[pos:stop], codes.UNSUBACK_CODES)
    return unsuback


def _reason_codes(raw: bytes, allowed: frozenset[int]) -> tuple[int, ...]:
    if not raw:
        raise wire.protocol_error("an acknowledgement without a reason code")
    if not allowed.issuperset(raw):
        # [MQTT-3.9.3-2] [MQTT-3.11.3-2] [MQTT311-3.9.3-2]
        raise wire.protocol_error("a reason code that this acknowledgement may not carry")
    return tuple(raw)


def encode_suback(suback: Suback, version: int) -> bytes:
    """Encode a SUBACK; every refusal is 0x80 in 3.1.1 [MQTT311-3.9.3-2]."""
    packet_id = wire.write_two_bytes(suback.packet_id)
    if version == 4:
        return wire.packet(0x90, packet_id, bytes(min(code, 0x80) for code in suback.reason_codes))
    return wire.packet(
        0x90, packet_id, properties.block(suback, PacketType.SUBACK), bytes(suback.reason_codes)
    )


def encode_unsuback(unsuback: Unsuback, version: int) -> bytes:
    """Encode an UNSUBACK."""
    packet_id = wire.write_two_bytes(unsuback.packet_id)
    if version == 4:
        return b"\xb0\x02" + packet_id
    return wire.packet(
        0xB0, packet_id, properties.block(unsuback, PacketType.UNSUBACK), bytes(unsuback.reason_codes)
    )
