"""Rosters: whatever order the broker's events come in, the member list is what they say."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.client.presence import (
    Member,
    PresenceEvent,
    PresenceJoin,
    PresenceLeave,
    PresenceSnapshot,
    PresenceUpdate,
    Roster,
    watched_topic,
)

AT = "2026-11-24T13:00:00Z"


def snapshot(*members: str, page: int = 1, pages: int = 1) -> dict[str, Any]:
    listed = [{"member": one, "user_id": f"user of {one}"} for one in members]
    return {"event": "snapshot", "page": page, "pages": pages, "count": 0, "members": listed}


def told(event: str, member: str, **more: Any) -> dict[str, Any]:
    return {"event": event, "member": member, "user_id": f"user of {member}", "at": AT, **more}


def take(roster: Roster, *events: dict[str, Any]) -> list[PresenceEvent]:
    return [one for event in events for one in roster.told(json.dumps(event).encode())]


@pytest.mark.parametrize(
    ("topic_filter", "topic"),
    [
        ("chat/room1", "$presence/chat/room1"),
        ("chat/+/x", "$presence/chat/%2B/x"),
        ("chat/#", "$presence/chat/%23"),
        ("+/#", "$presence/%2B/%23"),
    ],
)
def test_events_of_a_filter_come_on_a_topic(topic_filter: str, topic: str) -> None:
    assert watched_topic(topic_filter) == topic


def test_one_comes_says_something_and_goes() -> None:
    roster = Roster("chat/a")
    events = take(
        roster,
        snapshot("m1"),
        told("join", "m2", state={"name": "Bob"}),
        told("update", "m1", state=[1], topic="chat/a"),
        told("leave", "m2", reason="timeout"),
    )
    at = datetime(2026, 11, 24, 13, tzinfo=UTC)
    one, two = Member("m1", "user of m1"), Member("m2", "user of m2", {"name": "Bob"})
    said = Member("m1", "user of m1", [1])
    assert events == [
        PresenceSnapshot("chat/a", (one,)),
        PresenceJoin("chat/a", two, 2, at),
        PresenceUpdate("chat/a", said, "chat/a", 2, at),
        PresenceLeave("chat/a", two, "timeout", 1, at),
    ]
    assert roster.snapshot() == PresenceSnapshot("chat/a", (said,))


def test_a_snapshot_is_told_when_its_last_page_is_here() -> None:
    roster = Roster("chat/a")
    assert take(roster, snapshot("m1", "m2", page=1, pages=2)) == []
    assert not roster.is_whole
    (event,) = take(roster, snapshot("m3", page=2, pages=2))
    assert isinstance(event, PresenceSnapshot) and roster.is_whole
    assert (event.count, event.user_ids) == (3, ("user of m1", "user of m2", "user of m3"))
    roster.forget()
    assert not roster.is_whole and take(roster, told("join", "m4")) == []
    (event,) = take(roster, snapshot())
    assert event == PresenceSnapshot("chat/a", ())


def test_users_are_counted_once() -> None:
    members = tuple(Member(name, user) for name, user in (("1", "a"), ("2", "b"), ("3", "a")))
    assert PresenceSnapshot("x", members).user_ids == ("a", "b")


@pytest.mark.parametrize(
    "payload", [b"", b"\xff", b"[]", b"{}", b'{"event": 5}', b'{"event":"x","page":"1"}']
)
def test_what_is_no_event_is_an_error(payload: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        Roster("a").told(payload)


def test_an_event_of_another_kind_is_left_out() -> None:
    assert take(Roster("a"), snapshot(), {"event": "sneeze"})[1:] == []


NAMES = st.sampled_from(["m1", "m2", "m3", "m4"])
EVENTS = st.one_of(
    st.lists(NAMES, unique=True).map(lambda names: snapshot(*names)),
    st.tuples(st.sampled_from(["join", "leave", "update"]), NAMES).map(lambda one: told(*one, state=one[0])),
)


@given(st.lists(EVENTS, max_size=20), st.data())
def test_whatever_comes_the_roster_and_its_events_say_the_same(
    events: list[dict[str, Any]], data: st.DataObject
) -> None:
    """An oracle that keeps names alone, and a reader that knows only the events, agree with it."""
    roster = Roster("chat/#")
    names: set[str] | None = None
    read: set[str] | None = None
    while events:
        count = data.draw(st.integers(1, 3))
        together, events = events[:count], events[count:]
        batch = {"event": "batch", "events": together} if count > 1 else together[0]
        for event in together:
            if event["event"] == "snapshot":
                names = {one["member"] for one in event["members"]}
            elif names is not None and event["event"] == "join":
                names.add(event["member"])
            elif names is not None and event["event"] == "leave":
                names.discard(event["member"])
        for one in take(roster, batch):
            match one:
                case PresenceSnapshot():
                    read = {member.id for member in one.members}
                case PresenceJoin():
                    assert read is not None and one.member.id not in read
                    read.add(one.member.id)
                case PresenceLeave():
                    assert read is not None
                    read.remove(one.member.id)
                case PresenceUpdate():
                    assert read is not None and one.member.id in read and one.member.state == "update"
            if not isinstance(one, PresenceSnapshot):
                assert read is not None and one.count == len(read)
        assert read == names
        assert {member.id for member in roster.snapshot().members} == (names or set())
        assert roster.is_whole is (names is not None)
