"""Who is present on topics: the broker's events about it, as values, and the roster they make.

Pure. The broker sends a snapshot (in pages), then what changes; every payload is one JSON
object, and several that come close together are one `batch`. `Roster` puts them together:
it knows who is present now, and returns typed events in order. What would not change
anything (a join of one who is there, a leave of one who is not) is no event.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec

from tokenmq.client.moments import read

PREFIX: Final = "$presence/"


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """One session that is present.

    Attributes:
        id: names the session, and says nothing else about it.
        user_id: whose it is; one user may have several.
        state: what it has said about itself, where one topic is watched.
        states: the same by topic, where a filter with wildcards is.
    """

    id: str
    user_id: str
    state: Any = None
    states: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class PresenceSnapshot:
    """Who is present; it comes first, and again after each reconnect."""

    topic_filter: str
    members: tuple[Member, ...]

    @property
    def count(self) -> int:
        """How many sessions."""
        return len(self.members)

    @property
    def user_ids(self) -> tuple[str, ...]:
        """Every user once, in the order of the members."""
        return tuple(dict.fromkeys(member.user_id for member in self.members))


@dataclasses.dataclass(frozen=True, slots=True)
class PresenceJoin:
    """A session has come; `count` are present now."""

    topic_filter: str
    member: Member
    count: int
    at: datetime | None


@dataclasses.dataclass(frozen=True, slots=True)
class PresenceLeave:
    """A session has gone, by `disconnected`, `unsubscribed`, `expired`, `revoked` or `timeout`."""

    topic_filter: str
    member: Member
    reason: str
    count: int
    at: datetime | None


@dataclasses.dataclass(frozen=True, slots=True)
class PresenceUpdate:
    """A session has said something new about itself, for `topic`."""

    topic_filter: str
    member: Member
    topic: str
    count: int
    at: datetime | None


PresenceEvent: TypeAlias = PresenceSnapshot | PresenceJoin | PresenceLeave | PresenceUpdate


class _Listed(msgspec.Struct):
    """A member as a snapshot lists it."""

    member: str
    user_id: str
    state: Any = None
    states: dict[str, Any] = {}


class _Told(msgspec.Struct):
    """Whatever the broker sends about presence."""

    event: str
    page: int = 1
    pages: int = 1
    members: list[_Listed] = []
    member: str = ""
    user_id: str = ""
    topic: str = ""
    reason: str = ""
    at: str = ""
    state: Any = None
    states: dict[str, Any] = {}
    events: list[_Told] = []


_DECODER: Final = msgspec.json.Decoder(_Told)


def watched_topic(topic_filter: str) -> str:
    """Return the topic on which the events of a watched filter come (its wildcards are escaped)."""
    escapes = {"+": "%2B", "#": "%23"}
    return PREFIX + "/".join(escapes.get(level, level) for level in topic_filter.split("/"))


class Roster:
    """Who is present on the topics of one filter.

    Attributes:
        is_whole: a snapshot has come since the beginning, or since `forget`.
    """

    def __init__(self, topic_filter: str) -> None:
        self.topic_filter = topic_filter
        self.is_whole = False
        self._members: dict[str, Member] = {}
        self._pages: dict[str, Member] = {}

    def snapshot(self) -> PresenceSnapshot:
        """Return who is present."""
        return PresenceSnapshot(self.topic_filter, tuple(self._members.values()))

    def forget(self) -> None:
        """The connection is lost: what is known is not to be believed until the next snapshot."""
        self.is_whole = False
        self._pages = {}

    def told(self, payload: bytes) -> list[PresenceEvent]:
        """Take in what the broker has sent; return what has changed by it, in order.

        Raises: msgspec.DecodeError for what is no event.
        """
        told = _DECODER.decode(payload)
        return [event for one in (told.events or [told]) for event in self._one(one)]

    def _one(self, told: _Told) -> list[PresenceEvent]:
        known = self._members.get(told.member)
        match told.event:
            case "snapshot":
                return self._page(told)
            case "join" if self.is_whole:
                return self._join(told, known)
            case "leave" if self.is_whole:
                return self._leave(told, known)
            case "update" if self.is_whole:
                return self._update(told, known)
            case _:
                return []

    def _page(self, told: _Told) -> list[PresenceEvent]:
        if told.page == 1:
            self._pages = {}
        for one in told.members:
            self._pages[one.member] = Member(one.member, one.user_id, one.state, one.states)
        if told.page < told.pages:
            return []
        self._members, self._pages, self.is_whole = self._pages, {}, True
        return [self.snapshot()]

    def _join(self, told: _Told, known: Member | None) -> list[PresenceEvent]:
        if known is not None:
            return []
        self._members[told.member] = member = _member(told)
        return [PresenceJoin(self.topic_filter, member, len(self._members), read(told.at))]

    def _leave(self, told: _Told, known: Member | None) -> list[PresenceEvent]:
        if known is None:
            return []
        del self._members[told.member]
        return [PresenceLeave(self.topic_filter, known, told.reason, len(self._members), read(told.at))]

    def _update(self, told: _Told, known: Member | None) -> list[PresenceEvent]:
        if known is None:
            return []
        self._members[told.member] = member = _member(told)
        return [PresenceUpdate(self.topic_filter, member, told.topic, len(self._members), read(told.at))]


def _member(told: _Told) -> Member:
    return Member(told.member, told.user_id, told.state, told.states)
