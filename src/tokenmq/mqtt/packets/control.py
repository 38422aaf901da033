"""PINGREQ, PINGRESP and DISCONNECT (MQTT 5 §3.12 to §3.14)."""

from __future__ import annotations

import msgspec

from tokenmq.mqtt import codes, properties, wire
from tokenmq.mqtt.codes import PacketType, ReasonCode
from tokenmq.mqtt.properties import UserPropertyLimits


class Pingreq(msgspec.Struct, gc=False):
    """PINGREQ."""


class Pingresp(msgspec.Struct, gc=False):
    """PINGRESP."""


class Disconnect(msgspec.Struct, gc=False):
    """DISCONNECT; in 3.1.1 it has no content and only clients send it.

    Attributes:
        session_expiry_interval: seconds, from a client only; None leaves it as it is.
        server_reference: from a server only.
    """

    reason_code: int = ReasonCode.NORMAL_DISCONNECTION
    session_expiry_interval: int | None = None
    reason_string: str | None = None
    user_properties: tuple[tuple[str, str], ...] = ()
    server_reference: str | None = None


def decode_ping(kind: int, start: int, stop: int) -> Pingreq | Pingresp:
    """Decode a PINGREQ or PINGRESP, which have no body."""
    if start != stop:
        raise wire.left_over(stop, start)
    return Pingreq() if kind == PacketType.PINGREQ else Pingresp()


def encode_ping(packet: Pingreq | Pingresp, _version: int) -> bytes:
    """Encode a PINGREQ or PINGRESP."""
    return b"\xc0\x00" if type(packet) is Pingreq else b"\xd0\x00"


def decode_disconnect(
    data: bytes, start: int, stop: int, version: int, limits: UserPropertyLimits, *, from_client: bool
) -> Disconnect:
    """Decode a DISCONNECT."""
    disconnect = Disconnect()
    if start == stop:
        return disconnect
    if version == 4:
        raise wire.left_over(stop, start)
    disconnect.reason_code = reason_code = data[start]
    allowed = codes.CLIENT_DISCONNECT_CODES if from_client else codes.SERVER_DISCONNECT_CODES
    if reason_code not in allowed:
        raise wire.protocol_error(f"reason code 0x{reason_code:02x} in a DISCONNECT")  # [MQTT-3.14.2-1]
    if stop == start + 1:
        return disconnect
    pos = properties.read_block(disconnect, PacketType.DISCONNECT, data, start + 1, stop, limits)
    if pos != stop:
        raise wire.left_over(stop, pos)
    if from_client and disconnect.server_reference is not None:
        raise wire.protocol_error("a server reference from a client")
    if not from_client and disconnect.session_expiry_interval is not None:
        raise wire.protocol_error("a session expiry interval from a server")  # [MQTT-3.14.2-2]
    return disconnect


def encode_disconnect(disconnect: Disconnect, version: int) -> bytes:
    """Encode a DISCONNECT in its shortest form."""
    if version == 4:
        return b"\xe0\x00"
    block = properties.block(disconnect, PacketType.DISCONNECT)
    if block != b"\x00":
        return wire.packet(0xE0, bytes((disconnect.reason_code,)), block)
    if disconnect.reason_code:
        return bytes((0xE0, 1, disconnect.reason_code))
    return b"\xe0\x00"
