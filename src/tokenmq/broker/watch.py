"""One filter whose presence is watched: how many are there, and what is to be told of it.

What happens is noted in order and encoded once; `watching` has how it reaches those who watch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from tokenmq.broker.message import Message
from tokenmq.timestamps import rfc3339
from tokenmq.topics.filter import has_wildcard, matches

if TYPE_CHECKING:
    from tokenmq.broker.presence import Audience, Member
    from tokenmq.broker.session import Session
    from tokenmq.broker.watching import Watcher

# What a watch's topic begins with.
PREFIX = "$presence/"
# A watched filter and what is written before it and in place of wildcards must fit into a topic.
MAX_FILTER_BYTES = 60_000
_BATCH, _BATCH_END = b'{"event":"batch","events":[', b"]}"

State = msgspec.Raw | None
States = dict[str, msgspec.Raw]


class Event(msgspec.Struct, frozen=True, gc=False):
    """A member that has joined, left or said something (the wire contract, "Presence")."""

    event: str
    filter: str
    member: str
    user_id: str
    at: str
    count: int
    reason: str | UnsetType = UNSET
    topic: str | UnsetType = UNSET
    state: State | UnsetType = UNSET
    states: States | UnsetType = UNSET


class Watch:
    """One filter that is watched, by however many.

    Attributes:
        topic: where its events are published.
        is_open: it knows its members, and is told of changes.
        unlooked: client ids of sessions that are still to be looked at before; None before that begins.
        audiences: they have its members.
        count: how many members there are.
        watchers: by session.
    """

    __slots__ = (
        "_due",
        "_is_single",
        "_noted",
        "_roster",
        "_updates",
        "audiences",
        "count",
        "is_open",
        "topic",
        "topic_filter",
        "unlooked",
        "watchers",
    )

    def __init__(self, topic_filter: str, due: dict[Watch, None]) -> None:
        """Begin without members.

        Args:
            topic_filter: without `$presence/`.
            due: where a watch is noted that has something to tell.
        """
        self.topic_filter = topic_filter
        self.topic = PREFIX + topic_filter.replace("+", "%2B").replace("#", "%23")
        self.is_open = False
        self.unlooked: list[str] | None = None
        self.audiences: dict[Audience, None] = {}
        self.count = 0
        self.watchers: dict[Session, Watcher] = {}
        self._due = due
        self._is_single = not has_wildcard(topic_filter)
        self._noted: list[bytes | None] = []
        # Where the last update of a member and topic stands in that.
        self._updates: dict[Member, dict[str, int]] = {}
        self._roster: list[Member] | None = None

    def has(self, member: Member, *, beside: Audience | None = None) -> bool:
        """Tell whether a member is present, beside what one audience says."""
        mine, theirs = self.audiences, member.audiences
        if len(mine) < len(theirs):
            return any(one in theirs and one is not beside for one in mine)
        return any(one in mine and one is not beside for one in theirs)

    def roster(self) -> list[Member]:
        """Return all members, each once."""
        if self._roster is None:
            self._roster = list(dict.fromkeys(one for audience in self.audiences for one in audience.members))
        return self._roster

    # What is noted

    def joined(self, member: Member) -> None:
        """Take note of a new member."""
        self.count += 1
        self._roster = None
        self._note("join", member)

    def left(self, member: Member, reason: str) -> None:
        """Take note that a member is gone."""
        self.count -= 1
        self._roster = None
        self._updates.pop(member, None)  # it may come back: then what it says is said anew
        self._note("leave", member, reason=reason)

    def updated(self, member: Member, topic: str) -> None:
        """Take note of what a member says of itself; only the last of it on a topic goes out."""
        if not self.is_open:
            return
        updates = self._updates.setdefault(member, {})
        earlier = updates.get(topic)
        if earlier is not None:
            self._noted[earlier] = None
        updates[topic] = len(self._noted)
        self._note("update", member, topic=topic)

    def _note(
        self,
        event: str,
        member: Member,
        *,
        reason: str | UnsetType = UNSET,
        topic: str | UnsetType = UNSET,
    ) -> None:
        if not self.is_open:
            return
        state, states = self.states_of(member)
        noted = Event(
            event,
            self.topic_filter,
            member.member_id,
            member.user_id,
            rfc3339(member.session.now),
            self.count,
            reason,
            topic,
            state,
            states,
        )
        self._noted.append(msgspec.json.encode(noted))
        self._due[self] = None

    def states_of(self, member: Member) -> tuple[State | UnsetType, States | UnsetType]:
        """Return what is shown of a member's states: one of one topic, or those of topics that match."""
        known = member.states
        if self._is_single:
            state = known.get(self.topic_filter)
            return None if state is None else msgspec.Raw(state), UNSET
        return UNSET, {
            topic: msgspec.Raw(state) for topic, state in known.items() if matches(self.topic_filter, topic)
        }

    def flush(self) -> None:
        """Tell all watchers what was noted."""
        self._due.pop(self, None)
        events = [event for event in self._noted if event is not None]
        self._noted, self._updates = [], {}
        if events:
            burst = Burst(self.topic, events)
            for watcher in self.watchers.values():
                watcher.take(burst)


class Burst:
    """Events of one watch that go out together; encoded once for all who want them alike.

    Attributes:
        size: bytes of the events.
    """

    __slots__ = ("_events", "_messages", "_topic", "size")

    def __init__(self, topic: str, events: list[bytes]) -> None:
        self._topic = topic
        self._events = events
        self._messages: dict[int, list[Message]] = {}
        self.size = sum(map(len, events))

    def messages(self, limit: int) -> list[Message]:
        """Return them in payloads of at most `limit` bytes, as far as single events allow that."""
        messages = self._messages.get(limit)
        if messages is None:
            messages = [Message(self._topic, payload, 0, 0, b"") for payload in _batches(self._events, limit)]
            self._messages[limit] = messages
        return messages


def _batches(events: list[bytes], limit: int) -> Iterator[bytes]:
    """Yield payloads: an event that is alone as it is, several as a batch."""
    part: list[bytes] = []
    size = 0
    for event in events:
        if part and size + len(event) > limit:
            yield _payload(part)
            part, size = [], 0
        part.append(event)
        size += len(event) + 1
    yield _payload(part)


def _payload(events: list[bytes]) -> bytes:
    return events[0] if len(events) == 1 else _BATCH + b",".join(events) + _BATCH_END
