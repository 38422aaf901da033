"""What the broker says of a recorded message to those who read its history (the wire contract).

User properties of MQTT 5, encoded: under which id it is recorded, when the broker took it in,
and who published it; and that something is missing before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenmq.mqtt import wire
from tokenmq.mqtt.properties import USER_PROPERTY
from tokenmq.timestamps import rfc3339_milliseconds

if TYPE_CHECKING:
    from tokenmq.broker.records import HistoryRecord

_PAIR = bytes((USER_PROPERTY,))
_ID = "tokenmq-history-id"
_ID_HEAD = _PAIR + wire.write_text(_ID)
# Something that should come before a message cannot be had any more.
GAP = _PAIR + wire.write_pair(("tokenmq-history-gap", "true"))


def stamp_of(record: HistoryRecord) -> bytes:
    """Return the properties of a recorded message."""
    return (
        _ID_HEAD
        + wire.write_text(str(record.id))
        + _PAIR
        + wire.write_pair(("tokenmq-history-at", rfc3339_milliseconds(record.at)))
        + _PAIR
        + wire.write_pair(("tokenmq-history-user", record.user_id))
    )


def id_of(stamp: bytes) -> int:
    """Return the id that such properties name, 0 where there are none."""
    if not stamp:
        return 0
    text, _ = wire.read_text(stamp, len(_ID_HEAD), len(stamp))
    return int(text)


def marked(packet: bytes, qos: int, most_bytes: int) -> bytes:
    """Have an MQTT 5 PUBLISH say that something is missing before it; it itself if that is too large."""
    grown, _, _ = with_property(packet, qos, GAP)
    return grown if len(grown) <= most_bytes else packet


def with_property(packet: bytes, qos: int, more: bytes) -> tuple[bytes, int, int]:
    """Add an encoded property to an MQTT 5 PUBLISH, behind those that it has.

    Returns: the packet, and by how much its Packet Identifier and its properties have moved.
    """
    remaining, head = wire.read_variable(packet, 1, len(packet))
    body = packet[head : head + remaining]
    at = 2 + int.from_bytes(body[:2]) + (2 if qos else 0)
    length, start = wire.read_variable(body, at, len(body))
    written = wire.write_variable(length + len(more))
    grown = body[:at] + written + body[start : start + length] + more + body[start + length :]
    first = packet[:1] + wire.write_variable(len(grown))
    moved = len(first) - head
    return first + grown, moved, moved + len(written) - (start - at)
