"""PUBACK, PUBREC, PUBREL and PUBCOMP (MQTT 5 §3.4 to §3.7), which share one shape."""

from __future__ import annotations

import msgspec

from tokenmq.mqtt import codes, properties, wire
from tokenmq.mqtt.codes import PacketType, ReasonCode
from tokenmq.mqtt.properties import UserPropertyLimits


class Acknowledgement(msgspec.Struct, gc=False):
    """What the four have; in 3.1.1 the Packet Identifier alone."""

    packet_id: int
    reason_code: int = ReasonCode.SUCCESS
    reason_string: str | None = None
    user_properties: tuple[tuple[str, str], ...] = ()


class Puback(Acknowledgement, gc=False):
    """PUBACK, the answer to a PUBLISH with QoS 1."""


class Pubrec(Acknowledgement, gc=False):
    """PUBREC, the first answer to a PUBLISH with QoS 2."""


class Pubrel(Acknowledgement, gc=False):
    """PUBREL, the answer to a PUBREC."""


class Pubcomp(Acknowledgement, gc=False):
    """PUBCOMP, the answer to a PUBREL."""


_FIRST: dict[type[Acknowledgement], int] = {Puback: 0x40, Pubrec: 0x50, Pubrel: 0x62, Pubcomp: 0x70}
_CLASSES: dict[int, type[Puback | Pubrec | Pubrel | Pubcomp]] = {
    PacketType.PUBACK: Puback,
    PacketType.PUBREC: Pubrec,
    PacketType.PUBREL: Pubrel,
    PacketType.PUBCOMP: Pubcomp,
}


def decode_acknowledgement(
    kind: int,
    data: bytes,
    start: int,
    stop: int,
    version: int,
    *,
    from_client: bool,
    limits: UserPropertyLimits,
) -> Puback | Pubrec | Pubrel | Pubcomp:
    """Decode one of the four, whose first byte has been checked."""
    packet_id, pos = wire.read_packet_id(data, start, stop)
    if pos == stop:
        return _CLASSES[kind](packet_id)
    if version == 4:
        raise wire.left_over(stop, pos)
    reason_code = data[pos]
    if kind >= PacketType.PUBREL:
        allowed = codes.PUBREL_CODES
    else:
        allowed = codes.CLIENT_PUBACK_CODES if from_client else codes.SERVER_PUBACK_CODES
    if reason_code not in allowed:
        # [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]
        raise wire.protocol_error(f"reason code 0x{reason_code:02x} in a {PacketType(kind).name}")
    packet = _CLASSES[kind](packet_id, reason_code)
    pos += 1
    if pos < stop:
        pos = properties.read_block(packet, kind, data, pos, stop, limits)
        if pos != stop:
            raise wire.left_over(stop, pos)
    return packet


def encode_acknowledgement(packet: Acknowledgement, version: int) -> bytes:
    """Encode one of the four in its shortest form."""
    first = _FIRST[type(packet)]
    packet_id = packet.packet_id.to_bytes(2, "big")
    if version == 4 or (
        not packet.reason_code and packet.reason_string is None and not packet.user_properties
    ):
        return b"%c\x02%b" % (first, packet_id)
    block = properties.block(packet, first >> 4)
    if block == b"\x00":
        return b"%c\x03%b%c" % (first, packet_id, packet.reason_code)
    return wire.packet(first, packet_id, bytes((packet.reason_code,)), block)
