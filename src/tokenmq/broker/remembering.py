"""What a session remembers of what its client publishes, so that the same again costs little.

All of it is bounded, and forgotten as rights or connection change.
"""

from __future__ import annotations

from sys import getsizeof
from typing import TYPE_CHECKING

from tokenmq.broker.blocks import PLAIN, Block
from tokenmq.broker.receiver import Receiver
from tokenmq.errors import ProtocolError
from tokenmq.mqtt import properties
from tokenmq.mqtt.codes import PacketType
from tokenmq.mqtt.packets import Publish
from tokenmq.mqtt.properties import MESSAGE_EXPIRY_INTERVAL

if TYPE_CHECKING:
    from tokenmq.broker.lane import Lane
    from tokenmq.broker.refusals import Refusal
    from tokenmq.mqtt.packets import connect

# User properties whose names begin so are the broker's own (the wire contract, section 3).
_RESERVED = "tokenmq-"
# Topics of one session whose judgement is kept; enough for a client's working set.
_MAX_JUDGEMENTS = 1_024
# Lanes of one session that are kept, for the same reason.
_MAX_LANES = 1_024
# What the topics among these may take, each of the two: they may be long. Whatever was
# forgotten since it was last emptied still counts, so it is emptied too soon at worst.
_MAX_REMEMBERED_BYTES = 128 * 1_024
# Property blocks of one session that are kept: most clients send the same few.
_MAX_BLOCKS = 64
# MQTT 5 §1.5.5: longer ones have a length of two bytes or more.
_MAX_BLOCK_BYTES = 127
# The block of a PUBLISH without properties.
_NO_PROPERTIES = b"\x00"


def reserved_name(packet: Publish | connect.Will) -> str | None:
    """Return the name of a user property that only the broker may set, None if there is none."""
    for name, _ in packet.user_properties:
        if name.startswith(_RESERVED):
            return name
    return None


class Remembering(Receiver):
    """The half of a session that publishes: what is known of its topics and property blocks.

    Attributes:
        judgements: why publishing to a topic is refused, None where it is not.
        lanes: by the raw bytes of a topic, see `lane`.
        blocks: raw property blocks, with their length, that were looked at and go on as they
            are; empty in 3.1.1.
    """

    __slots__ = ("_judged_bytes", "_lane_bytes", "blocks", "judgements", "lanes")

    def remember_nothing(self) -> None:
        """Begin with a connection."""
        self.judgements: dict[str, Refusal | None] = {}
        self.lanes: dict[bytes, Lane] = {}
        self._judged_bytes = 0
        self._lane_bytes = 0
        self.blocks: dict[bytes, Block] = {_NO_PROPERTIES: PLAIN} if self.version == 5 else {}

    def keep_judgement(self, topic: str, refusal: Refusal | None) -> None:
        """Remember what publishing to a topic comes to."""
        size = getsizeof(topic) + (0 if refusal is None else getsizeof(refusal.text))
        self._judged_bytes += size
        if len(self.judgements) >= _MAX_JUDGEMENTS or self._judged_bytes > _MAX_REMEMBERED_BYTES:
            self.judgements.clear()
            self._judged_bytes = size
        self.judgements[topic] = refusal

    def keep_lane(self, topic: bytes, lane: Lane) -> None:
        """Remember the lane of a topic that this session publishes to."""
        self._lane_bytes += len(topic)
        if len(self.lanes) >= _MAX_LANES or self._lane_bytes > _MAX_REMEMBERED_BYTES:
            self.lanes.clear()
            self._lane_bytes = len(topic)
        self.lanes[topic] = lane

    def look_at(self, block: bytes) -> Block | None:
        """Look at the properties of a PUBLISH, so that the same ones need no second look.

        Args:
            block: raw, with its length, which must be of one byte.

        Returns: what they ask for; None where something is wrong with them or they do not
            go on as they are: that is for the full path.
        """
        if block[0] > _MAX_BLOCK_BYTES:
            return None
        packet = Publish("")
        limits = self.outbox.connection.user_property_limits
        try:
            properties.read(packet, PacketType.PUBLISH, block, 1, len(block), limits)
        except ProtocolError:
            return None
        if packet.topic_alias is not None or packet.subscription_identifiers or reserved_name(packet):
            return None
        after = packet.message_expiry_interval
        if after == 0:
            return None
        if len(self.blocks) >= _MAX_BLOCKS:
            self.blocks = {_NO_PROPERTIES: PLAIN}
        at = 0
        if after:
            at = 1 + properties.position(block[1:], PacketType.PUBLISH, MESSAGE_EXPIRY_INTERVAL)
        found = Block(bool(packet.payload_format_indicator), after or 0, at)
        self.blocks[block] = found
        return found
