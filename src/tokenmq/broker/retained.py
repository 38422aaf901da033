"""Retained messages of one tenant (MQTT 5 §3.3.1.3), of no session [MQTT311-3.1.2-7].

Each remembers who left it there: whether it is delivered is judged by the receiver's
rights, and by what its publisher may still do (SECURITY, ruling 11).
"""

from __future__ import annotations

from tokenmq.broker.message import Message
from tokenmq.broker.records import RetainedRecord
from tokenmq.mqtt import properties
from tokenmq.mqtt.codes import PacketType
from tokenmq.mqtt.properties import MESSAGE_EXPIRY_INTERVAL
from tokenmq.topics.tree import NameTree


class Retained:
    """A retained message and its publisher.

    Attributes:
        record: as it is kept.
        message: ready to be encoded.
    """

    __slots__ = ("message", "record")

    def __init__(self, record: RetainedRecord) -> None:
        """Make it out of its record."""
        self.record = record
        expires = properties.position(record.forward, PacketType.PUBLISH, MESSAGE_EXPIRY_INTERVAL) >= 0
        self.message = Message(
            record.topic,
            record.payload,
            record.qos,
            0,
            record.forward,
            retain=True,
            expires_at=record.expires_at if expires else None,
        )


class RetainedMessages:
    """The retained messages of one tenant, one a topic. `len()` counts them."""

    __slots__ = ("_families", "_names")

    def __init__(self) -> None:
        self._names: NameTree[Retained] = NameTree()
        self._families: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._names)

    def get(self, topic: str) -> Retained | None:
        """Return the message of a topic."""
        return self._names.get(topic)

    def set(self, retained: Retained) -> None:
        """Put a message in the place of what its topic had [MQTT-3.3.1-5]."""
        topic, token_id = retained.record.topic, retained.record.token_id
        self.pop(topic)
        self._names.set(topic, retained)
        if token_id is not None:
            self._families.setdefault(token_id, {})[topic] = None

    def pop(self, topic: str) -> Retained | None:
        """Take a topic's message out [MQTT-3.3.1-6]."""
        retained = self._names.pop(topic)
        if retained is not None and (token_id := retained.record.token_id) is not None:
            topics = self._families[token_id]
            del topics[topic]
            if not topics:
                del self._families[token_id]
        return retained

    def topics_of(self, token_id: str) -> list[str]:
        """Return the topics on which a token family has left something."""
        return list(self._families.get(token_id, ()))

    def matching(self, topic_filter: str) -> list[str]:
        """Return the topics with a message that a filter matches."""
        return [topic for topic, _ in self._names.matched_by(topic_filter)]
