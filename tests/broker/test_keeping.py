"""What is to be kept: batches that fail at random, against what must be there in the end."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmq.access.identity import Identity
from tokenmq.broker.keeping import Keeping
from tokenmq.broker.records import (
    Change,
    DeliveryRecord,
    MessageRecord,
    ReceivedRecord,
    SessionRecord,
    SubscriptionRecord,
)

ALICE = Identity(
    org_id="org_a", user_id="alice", username="alice@org_a", grants=(), expires_at=None,
    token_id="tok_a", jti="jti", gen=0, key_id=None, client_id=None,
)  # fmt: skip

# Of session 3 only that it ends; it would soon be all that there is of the others.
NAMES = [
    (SessionRecord, 3),
    (SubscriptionRecord, (3, "a")),
    (DeliveryRecord, (3, 1)),
    (ReceivedRecord, (2, 1)),
    (SubscriptionRecord, (1, "a")),
    (SubscriptionRecord, (2, "a")),
    (DeliveryRecord, (1, 1)),
    (MessageRecord, 1),
]


def record_of(kind: Any, key: Any, value: int) -> Any:
    """Return one that differs from the others under its key by its value."""
    if kind is SessionRecord:
        return SessionRecord(key, "c", ALICE, value, None, None)
    if kind is SubscriptionRecord:
        session, topic_filter = key
        return SubscriptionRecord(session, topic_filter, 0, False, False, value)
    if kind is ReceivedRecord:
        return ReceivedRecord(*key)
    if kind is DeliveryRecord:
        session, packet_id = key
        return DeliveryRecord(session, packet_id, value, 1, 1, False, False, (), "")
    return MessageRecord(key, "org_a", "t", b"%d" % value, b"", None)


class Disk:
    """Does what the store does with changes."""

    def __init__(self) -> None:
        self.rows: dict[Any, Any] = {}

    def make(self, changes: list[Change]) -> None:
        for kind, key, record in changes:
            if record is not None:
                self.rows[kind, key] = record
                continue
            self.rows.pop((kind, key), None)
            if kind is SessionRecord:
                self.rows = {
                    name: row for name, row in self.rows.items() if getattr(row, "session", None) != key
                }


changes = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(("put", "put owned", "drop"))), min_size=1, max_size=4
)
steps = st.one_of(
    st.tuples(st.just("note"), changes),
    st.tuples(st.just("take"), st.none()),
    st.tuples(st.just("settle"), st.booleans()),
    st.tuples(st.just("settle"), st.booleans()),
    st.tuples(st.just("tick"), st.none()),
)


class Run:
    """A program on `Keeping` and, beside it, all that was ever noted."""

    def __init__(self) -> None:
        self.keeping = Keeping()
        self.disk = Disk()
        self.noted: list[tuple[Change, bool]] = []  # and whether it was owned
        self.refused: set[int] = set()  # places in `noted` that were owned and failed
        self.ended: set[int] = set()
        self.open: list[int] = []  # places noted since the last batch was taken
        self.under_way: list[tuple[Any, list[int]]] = []

    def note(self, wanted: Any) -> None:
        for (kind, key), how in wanted:
            session = key if kind is SessionRecord else key[0] if isinstance(key, tuple) else None
            if session in self.ended:  # a number is never used again
                continue
            if kind is SessionRecord and how == "drop":
                self.ended.add(session)
            value = len(self.noted)
            if how == "drop":
                self.keeping.drop(kind, key)
                self.noted.append((Change(kind, key, None), False))
            else:
                record = record_of(kind, key, value)
                self.keeping.put(record, owned=how == "put owned")
                self.noted.append((Change(kind, key, record), how == "put owned"))
            self.open.append(value)

    def take(self, _: Any = None) -> None:
        self.keeping.flush()
        batch = self.keeping.take()
        if batch is not None:
            self.under_way.append((batch, self.open))
            self.open = []

    def settle(self, kept: bool) -> None:
        if not self.under_way:
            return
        batch, places = self.under_way.pop(0)
        if kept:
            self.disk.make(batch.changes)
        else:
            self.refused |= {place for place in places if self.noted[place][1]}
        batch.settled(kept=kept)

    def tick(self, _: Any = None) -> None:
        self.keeping.tick()

    def come_to_rest(self) -> None:
        for _ in range(3):
            self.take()
            while self.under_way:
                self.settle(True)
            self.tick()

    def wanted(self) -> dict[Any, Any]:
        """Everything in order, without what was refused: what must be there."""
        disk = Disk()
        disk.make([change for place, (change, _) in enumerate(self.noted) if place not in self.refused])
        return disk.rows


@settings(max_examples=400, deadline=None)
@given(program=st.lists(steps, max_size=25))
def test_what_is_there_in_the_end_is_what_was_noted_without_what_was_refused(program):
    run = Run()
    for step, argument in program:
        getattr(run, step)(argument)
    run.come_to_rest()
    assert run.disk.rows == run.wanted()
    run.keeping.tick()
    assert run.keeping.take() is None


def test_a_drop_outlives_the_failure_of_a_put_behind_it():
    run = Run()
    name = (SubscriptionRecord, (1, "a"))
    run.note([(name, "put")])
    run.take()
    run.settle(True)
    run.note([(name, "drop")])
    run.take()
    run.note([(name, "put owned")])
    run.take()
    run.settle(False)
    run.settle(False)
    run.come_to_rest()
    assert run.disk.rows == {}


def test_what_hangs_on_a_session_is_not_put_again_when_the_session_has_ended():
    run = Run()
    run.note([((DeliveryRecord, (1, 1)), "put")])
    run.take()
    run.settle(False)
    run.note([((SessionRecord, 1), "drop")])
    run.come_to_rest()
    assert run.disk.rows == {}


def test_those_who_wait_hear_in_order_whether_it_is_kept():
    keeping, heard = Keeping(), []

    def hear(name):
        return lambda *, kept: heard.append((name, kept))

    keeping.put(record_of(MessageRecord, 1, 1), owned=True)
    keeping.when_kept(hear("first"))
    keeping.when_kept(hear("second"))
    first = keeping.take()
    keeping.when_kept(hear("third"))
    second = keeping.take()
    assert second.changes == []
    first.settled(kept=False)
    second.settled(kept=True)
    assert heard == [("first", False), ("second", False), ("third", True)]


def test_what_failed_is_noted_again_at_the_tick_and_not_before():
    keeping = Keeping()
    keeping.drop(MessageRecord, 1)
    keeping.flush()
    keeping.take().settled(kept=False)
    keeping.flush()
    assert keeping.take() is None
    keeping.tick()
    assert keeping.take().changes == [Change(MessageRecord, 1, None)]


def test_housekeeping_waits_for_company_for_the_tick_or_until_it_is_much():
    keeping = Keeping()
    keeping.drop(MessageRecord, 1)
    assert keeping.take() is None
    keeping.when_kept(lambda *, kept: None)
    assert keeping.take().changes == [Change(MessageRecord, 1, None)]
    keeping.drop(MessageRecord, 2)
    assert keeping.take() is None
    keeping.tick()
    assert keeping.take().changes == [Change(MessageRecord, 2, None)]
    for number in range(1_000):
        assert keeping.take() is None
        keeping.drop(MessageRecord, number)
    assert len(keeping.take().changes) == 1_000


def test_a_step_that_is_to_be_tried_again_is_tried_once_at_the_tick():
    keeping, tried = Keeping(), []
    keeping.try_again(lambda: tried.append(1))
    assert tried == []
    keeping.tick()
    keeping.tick()
    assert tried == [1]
