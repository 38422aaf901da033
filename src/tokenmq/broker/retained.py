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


class Notes:
    """What was noted for the store of topics for which messages wait there.

    The store ends up with what was noted last, memory with what came through last. That is
    not always the same: of two messages that wait one may be taken back, or come through
    late, and a message may expire while its successor waits. Notes are numbered, so that who
    comes through sees that something noted later has been followed already: then it must be
    noted once more.
    """

    __slots__ = ("_last", "_topics")

    def __init__(self) -> None:
        self._last = 0
        # By topic: how many wait, and the newest note that memory has followed.
        self._topics: dict[str, tuple[int, int]] = {}

    def begin(self, topic: str) -> int:
        """Number the note of a message that waits from now on."""
        waiting, followed = self._topics.get(topic, (0, 0))
        self._topics[topic] = (waiting + 1, followed)
        return self.add()

    def add(self) -> int:
        """Number another note of a message that waits."""
        self._last += 1
        return self._last

    def follow(self, topic: str, note: int) -> None:
        """Have memory as a note says."""
        waiting, followed = self._topics[topic]
        self._topics[topic] = (waiting, max(followed, note))

    def restored(self, topic: str) -> None:
        """Have noted what memory has, whoever may wait."""
        if topic in self._topics:
            self.follow(topic, self.add())

    def is_stale(self, topic: str, note: int) -> bool:
        """Tell whether a message that comes through was not noted last of all that memory follows."""
        return self._topics[topic][1] > note

    def end(self, topic: str) -> None:
        """Have a message wait no longer."""
        waiting, followed = self._topics[topic]
        if waiting > 1:
            self._topics[topic] = (waiting - 1, followed)
        else:
            del self._topics[topic]


class RetainedMessages:
    """The retained messages of one tenant, one a topic. `len()` counts them.

    Attributes:
        notes: what was noted for the store of those that wait for it.
    """

    __slots__ = ("_families", "_names", "notes")

    def __init__(self) -> None:
        self.notes = Notes()
        self._names: NameTree[Retained] = NameTree()
        self._families: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._names)

    @property
    def looked_at(self) -> int:
        """Prefixes of topics that `matching` has gone through so far."""
        return self._names.looked_at

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
