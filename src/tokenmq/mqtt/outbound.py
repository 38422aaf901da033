"""Packets within what a peer accepts (MQTT 5 §3.1.2.11.4 and .7).

Reason Strings and User Properties explain; where they are too much or not wanted, the
packet goes without them, the Reason String first: of CONNACK [MQTT-3.2.2-19] [MQTT-3.2.2-20],
PUBACK [MQTT-3.4.2-2] [MQTT-3.4.2-3], PUBREC [MQTT-3.5.2-2] [MQTT-3.5.2-3],
PUBREL [MQTT-3.6.2-2] [MQTT-3.6.2-3], PUBCOMP [MQTT-3.7.2-2] [MQTT-3.7.2-3],
SUBACK [MQTT-3.9.2-1] [MQTT-3.9.2-2], UNSUBACK [MQTT-3.11.2-1] [MQTT-3.11.2-2],
DISCONNECT [MQTT-3.14.2-3] [MQTT-3.14.2-4] and AUTH [MQTT-3.15.2-2] [MQTT-3.15.2-3].
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from tokenmq.errors import ProtocolError
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Acknowledgement, Auth, Connack, Disconnect, Packet, Suback, Unsuback

_EXPLAINING = (Connack, Acknowledgement, Suback, Unsuback, Disconnect, Auth)


def unexplained(packet: Packet) -> Packet:
    """Return the packet without Reason String and User Properties, if it is an answer."""
    if isinstance(packet, _EXPLAINING):
        return msgspec.structs.replace(packet, reason_string=None, user_properties=())
    return packet


def fitting(packet: Packet, version: int, max_bytes: int) -> bytes | None:
    """Encode a packet in at most max_bytes; None if it cannot be done.

    The Reason String goes first: User Properties may be meant for programs.
    """
    encoded = _encoded(packet, version, max_bytes)
    if encoded is None and isinstance(packet, _EXPLAINING):
        encoded = _encoded(msgspec.structs.replace(packet, reason_string=None), version, max_bytes)
        if encoded is None:
            encoded = _encoded(unexplained(packet), version, max_bytes)
    return encoded


def _encoded(packet: Packet, version: int, max_bytes: int) -> bytes | None:
    try:
        if isinstance(packet, Connack) and not (packet.assigned_client_identifier or packet.user_properties):
            encoded = _connack(version, msgspec.structs.astuple(packet))
        else:
            encoded = codec.encode(packet, version)
    except ProtocolError:  # a string longer than MQTT has them
        return None
    return encoded if len(encoded) <= max_bytes else None


@lru_cache(maxsize=256)
def _connack(version: int, fields: tuple[Any, ...]) -> bytes:
    """Encode a CONNACK; nearly all clients of a broker get one of the same few."""
    return codec.encode(Connack(*fields), version)
