"""Bytes to packets and back, for MQTT 3.1.1 and 5.0 (MQTT 5 §2).

`frame` finds where a packet ends, `decode` makes the packet, strictly: whatever the
standard calls malformed or a protocol error is a `ProtocolError` with its reason code,
and nothing else leaves. What needs memory of earlier packets is `connection`'s affair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tokenmq.errors import ProtocolError
from tokenmq.mqtt import wire
from tokenmq.mqtt.codes import PacketType, ReasonCode
from tokenmq.mqtt.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    acknowledge,
    connect,
    control,
    publish,
    subscribe,
)
from tokenmq.mqtt.packets.publish import encode_publish, forward_properties, publish_halves
from tokenmq.mqtt.properties import DEFAULT_LIMITS, UserPropertyLimits

__all__ = ["decode", "encode", "encode_publish", "forward_properties", "frame", "publish_halves"]

_ENCODERS: dict[type[Packet], Callable[[Any, int], bytes]] = {
    Connect: connect.encode_connect,
    Connack: connect.encode_connack,
    Publish: publish.encode,
    Puback: acknowledge.encode_acknowledgement,
    Pubrec: acknowledge.encode_acknowledgement,
    Pubrel: acknowledge.encode_acknowledgement,
    Pubcomp: acknowledge.encode_acknowledgement,
    Subscribe: subscribe.encode_subscribe,
    Suback: subscribe.encode_suback,
    Unsubscribe: subscribe.encode_unsubscribe,
    Unsuback: subscribe.encode_unsuback,
    Pingreq: control.encode_ping,
    Pingresp: control.encode_ping,
    Disconnect: control.encode_disconnect,
    Auth: connect.encode_auth,
}
_FROM_SERVER_ONLY = frozenset(
    {PacketType.CONNACK, PacketType.SUBACK, PacketType.UNSUBACK, PacketType.PINGRESP}
)
_FROM_CLIENT_ONLY = frozenset(
    {PacketType.CONNECT, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE, PacketType.PINGREQ}
)

# Looked up once: a member is found through its class at ten times the cost of a name.
_CONNECT, _CONNACK = PacketType.CONNECT, PacketType.CONNACK
_SUBSCRIBE, _SUBACK = PacketType.SUBSCRIBE, PacketType.SUBACK
_UNSUBSCRIBE, _PINGREQ = PacketType.UNSUBSCRIBE, PacketType.PINGREQ
_DISCONNECT, _AUTH = PacketType.DISCONNECT, PacketType.AUTH


def _fault_of(first: int) -> str:
    """Say what is wrong with a packet's first byte (§2.1); nothing if it is right."""
    packet_type, flags = first >> 4, first & 0x0F
    if not packet_type:
        return "packet type 0 is forbidden"
    if packet_type == PacketType.PUBLISH:
        if flags & 0x06 == 0x06:
            return "QoS 3"  # [MQTT-3.3.1-4] [MQTT311-3.3.1-4]
        return "DUP at QoS 0" if flags & 0x0E == 0x08 else ""  # [MQTT-3.3.1-2] [MQTT311-3.3.1-2]
    # PUBREL, SUBSCRIBE, UNSUBSCRIBE: [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT311-3.6.1-1]
    # [MQTT311-3.8.1-1] [MQTT311-3.10.1-1]; DISCONNECT and AUTH: [MQTT-3.14.1-1] [MQTT311-3.14.1-1]
    # [MQTT-3.15.1-1]; all: [MQTT-2.1.3-1] [MQTT311-2.2.2-1] [MQTT311-2.2.2-2].
    wanted = 2 if packet_type in (PacketType.PUBREL, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE) else 0
    return "" if flags == wanted else f"flags {flags} of packet type {packet_type}, wanted {wanted}"


_FAULTS = tuple(map(_fault_of, range(256)))


def frame(data: bytes, pos: int, max_packet_bytes: int) -> tuple[int, int, int] | None:
    """Find the packet that begins at pos.

    Args:
        data: received bytes.
        pos: where a packet begins.
        max_packet_bytes: largest whole packet that is accepted.

    Returns: first byte, where the body begins, where it ends; None when the packet has
        not arrived whole.
    Raises: ProtocolError 0x81 for a first byte or length that no packet has, 0x95 for
        a packet that is or must become too large; both before the rest has arrived.
    """
    size = len(data)
    if pos >= size:
        return None
    first = data[pos]
    if _FAULTS[first]:
        raise wire.malformed(_FAULTS[first])
    if pos + 1 < size and data[pos + 1] < 0x80:
        start = pos + 2
        stop = start + data[pos + 1]
    else:
        start, stop = _long_length(data, pos, min(size, pos + 5))
    if stop - pos > max_packet_bytes:
        raise ProtocolError(
            ReasonCode.PACKET_TOO_LARGE, f"a packet of {stop - pos} bytes or more, over {max_packet_bytes}"
        )
    if not start or stop > size:
        return None
    return first, start, stop


def _long_length(data: bytes, pos: int, limit: int) -> tuple[int, int]:
    """Return start and stop of a body whose length takes two bytes or more.

    Of a length that has not arrived whole: 0, and where the body ends at the earliest.
    """
    length = shift = 0
    for at in range(pos + 1, limit):
        byte = data[at]
        if byte < 0x80:
            if not byte:
                raise wire.malformed("the remaining length is not minimal")  # [MQTT-1.5.5-1]
            return at + 1, at + 1 + (length | byte << shift)
        length |= (byte & 0x7F) << shift
        shift += 7
    if shift == 28:
        raise wire.malformed("the remaining length has more than four bytes")
    if not shift:
        return 0, limit
    return 0, limit + 1 + (length | 1 << shift)


def decode(
    first: int,
    data: bytes,
    start: int,
    stop: int,
    version: int,
    *,
    from_client: bool = True,
    limits: UserPropertyLimits = DEFAULT_LIMITS,
) -> Packet:
    """Decode one whole packet.

    Args:
        first: its first byte.
        data: received bytes; nothing outside of start and stop is looked at.
        start: where the body begins, as `frame` told.
        stop: where it ends.
        version: 4 or 5; a CONNECT says its own.
        from_client: whether a client sent it.
        limits: for User Properties.

    Raises: ProtocolError with the reason code that the standard gives.
    """
    if _FAULTS[first]:
        raise wire.malformed(_FAULTS[first])
    kind = first >> 4
    if kind == 3:
        return publish.decode_publish(
            first, data, start, stop, version, from_client=from_client, limits=limits
        )
    if 4 <= kind <= 7:
        return acknowledge.decode_acknowledgement(
            kind, data, start, stop, version, from_client=from_client, limits=limits
        )
    if kind in (_FROM_SERVER_ONLY if from_client else _FROM_CLIENT_ONLY):
        raise wire.protocol_error(f"{PacketType(kind).name} from the wrong side")
    if kind >= _PINGREQ:
        return _decode_control(kind, data, start, stop, version, from_client=from_client, limits=limits)
    if kind == _CONNECT:
        return connect.decode_connect(data, start, stop, limits)
    if kind == _CONNACK:
        return connect.decode_connack(data, start, stop, version, limits)
    if kind == _SUBSCRIBE:
        return subscribe.decode_subscribe(data, start, stop, version, limits)
    if kind == _SUBACK:
        return subscribe.decode_suback(data, start, stop, version, limits)
    if kind == _UNSUBSCRIBE:
        return subscribe.decode_unsubscribe(data, start, stop, version, limits)
    return subscribe.decode_unsuback(data, start, stop, version, limits)


def _decode_control(
    kind: int,
    data: bytes,
    start: int,
    stop: int,
    version: int,
    *,
    from_client: bool,
    limits: UserPropertyLimits,
) -> Packet:
    if kind == _DISCONNECT:
        return control.decode_disconnect(data, start, stop, version, limits, from_client=from_client)
    if kind == _AUTH:
        if version == 4:
            raise wire.malformed("packet type 15 is forbidden in MQTT 3.1.1")
        return connect.decode_auth(data, start, stop, limits, from_client=from_client)
    return control.decode_ping(kind, start, stop)


def encode(packet: Packet, version: int) -> bytes:
    """Encode a packet for a protocol version, 4 or 5; 4 leaves out what it does not know.

    Raises: ProtocolError 0x95 for a string, binary or packet longer than MQTT can say.
    """
    return _ENCODERS[type(packet)](packet, version)
