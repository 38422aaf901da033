"""A receiver's queue: whatever is put in, held up, marked and taken out, it is counted as it is."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmq.broker import queued
from tokenmq.broker.barrier import Barrier
from tokenmq.broker.counters import Counters
from tokenmq.broker.message import Message
from tokenmq.broker.moment import Moment
from tokenmq.broker.outbox import Outbox
from tokenmq.broker.receiver import Receiver
from tokenmq.broker.runs import Waiting
from tokenmq.broker.waiting import Queues, Share
from tokenmq.mqtt.connection import Connection, ConnectionLimits

NOW = 1_000.0
LIMIT = 3_000
TOPICS = ("a", "b", "c")
RECEIVERS = 3


class Room:
    """Receivers of one organization, and what was put before them."""

    def __init__(self) -> None:
        self.counters, self.moment = Counters(), Moment()
        self.moment.now = NOW
        self.queues = Queues(LIMIT, self.counters)
        self.share = Share(self.queues)
        self.receivers = [self._receiver(version) for version in (5, 5, 4)]
        self.barriers: list[list[Barrier]] = [[] for _ in self.receivers]

    def _receiver(self, version: int) -> Receiver:
        connection = Connection(ConnectionLimits(), 0.0)
        connection.version = version
        connection.peer_max_packet_bytes = 400
        return Receiver(
            Outbox(connection, None),
            max_inflight=3,
            topic_alias_maximum=0,
            max_queued_messages=12,
            max_queued_bytes=1_500,
            dirty=[],
            overflowed={},
            share=self.share,
            counters=self.counters,
            moment=self.moment,
        )

    def deliver(self, who: set[int], topic: str, size: int, count: int, qos: int, expires: int) -> None:
        """Deliver the same run to some of one version, as a lane does."""
        message = Message(topic, bytes(size), qos, 7, b"", expires_at=NOW + expires if expires else None)
        if expires:
            message.forward = b"\x02" + expires.to_bytes(4, "big")
        for version in (5, 4):
            form = message.form(version, qos, ())
            run = form.packet * count
            for one in who:
                if self.receivers[one].version == version:
                    self.receivers[one].deliver(run, len(form.packet), form.offset, form.expiry)

    def acknowledge(self, one: int, count: int) -> None:
        receiver = self.receivers[one]
        receiver.acknowledged(sorted(receiver.inflight)[:count])

    def hold_up(self, one: int) -> None:
        if self.receivers[one].connected:
            self.barriers[one].append(Barrier())
            self.receivers[one].hold_up(self.barriers[one][-1])

    def let_through(self, one: int, which: int, flows: bool) -> None:
        if self.barriers[one]:
            at = which % len(self.barriers[one])
            self.receivers[one].let_through(self.barriers[one].pop(at), flows=flows)

    def mark(self, one: int, topic: str) -> None:
        if not self.receivers[one].mark_queued(topic.__eq__):
            self.receivers[one].mark_next(topic, topic.__eq__)

    def look(self, one: int, call: str) -> None:
        getattr(self.receivers[one], call)()

    def check(self) -> None:
        held: dict[int, int] = {}
        entries = 0
        for receiver in self.receivers:
            runs = [one for one in receiver.queue if isinstance(one, Waiting)]
            assert receiver.queued_messages == sum(one.messages_left for one in runs)
            assert receiver._queued_bytes == sum(one.bytes_left for one in runs)
            assert receiver.weight == sum(len(one.run) + queued._ENTRY_BYTES for one in runs)
            assert all(one.bytes_left > 0 for one in runs)
            held |= {id(one.run): len(one.run) for one in runs}
            entries += len(runs)
            if receiver.ready:
                assert receiver.connected
                assert not receiver.outbox.paused
                assert not receiver.queue
                assert not receiver.marks
        assert self.queues.bytes == self.share.bytes == sum(held.values()) + entries * queued._ENTRY_BYTES
        assert set(self.share._held) == set(held)
        assert len(self.share._held) <= entries == sum(self.share._held.values())


ones = st.integers(0, RECEIVERS - 1)
topics = st.sampled_from(TOPICS)
steps = st.one_of(
    st.tuples(
        st.just("deliver"),
        st.sets(ones, min_size=1),
        topics,
        st.integers(0, 380),
        st.integers(1, 6),
        st.integers(0, 2),
        st.integers(0, 4),
    ),
    st.tuples(st.just("acknowledge"), ones, st.integers(1, 3)),
    st.tuples(st.just("hold_up"), ones),
    st.tuples(st.just("let_through"), ones, st.integers(0, 3), st.booleans()),
    st.tuples(st.just("mark"), ones, topics),
    st.tuples(st.just("unmark"), ones, topics),
    st.tuples(st.just("withhold"), ones, topics),
    st.tuples(st.just("wait"), st.integers(1, 3)),
    st.tuples(st.just("look"), ones, st.sampled_from(["pause", "pause", "resume", "flow", "end"])),
)


def take(room: Room, step: tuple[Any, ...]) -> None:
    match step:
        case "unmark", one, topic:
            room.receivers[one].unmark(topic)
        case "withhold", one, topic:
            room.receivers[one].withhold(topic.__ne__)
        case "wait", seconds:
            room.moment.now += seconds
        case name, *rest:
            getattr(room, name)(*rest)


@settings(max_examples=300)
@given(st.lists(steps, max_size=40))
def test_whatever_happens_to_queues_they_are_counted_as_they_are(program: list[tuple[Any, ...]]) -> None:
    room = Room()
    for step in program:
        take(room, step)
        room.check()
    for receiver in room.receivers:
        receiver.end()
    room.check()
    assert room.queues.bytes == 0
