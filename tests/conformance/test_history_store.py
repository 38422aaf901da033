"""What every `HistoryStore` does."""

import asyncio
import random
from dataclasses import dataclass, field, replace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenmq.access.recording import HistoryRule, HistoryRules
from tokenmq.broker.records import Change, HistoryRecord, put
from tokenmq.stores.audit import Action, AuditEntry, AuditQuery
from tokenmq.stores.history import Erasure, HistoryHead, HistoryQuery
from tokenmq.topics.filter import matches

BYTES = bytes(range(256))
IDS = [0, 64, 128, 192, 640, 704, 768]


def same(outcome):
    return outcome


@dataclass
class Recording:
    """A store with an organization, and short ways to record and read."""

    filled: object
    org_id: str = ""
    saved: list = field(default_factory=list)

    def __post_init__(self):
        self.org_id = self.org_id or self.filled.org_id
        self.store = self.filled.store.history

    def record(self, id_, topic="a/b", **changes):
        record = HistoryRecord(
            id_, self.org_id, topic, b"p", 1, False, b"", 1_000.0 + id_, None, "ann", 1_000
        )
        return msgspec.structs.replace(record, **changes)

    async def put(self, *records):
        future = asyncio.get_running_loop().create_future()
        self.filled.store.kept.save([put(record) for record in records], future.set_result)
        assert await future is None

    async def fill(self, *pairs, **changes):
        await self.put(*(self.record(id_, topic, **changes) for id_, topic in pairs))

    async def ids(self, topic_filter="#", **changes):
        query = HistoryQuery(self.org_id, topic_filter, ascending=True, limit=1_000)
        return [head.id for head in await self.store.heads(replace(query, **changes))]

    async def erase(self, **what):
        return await self.store.erase(Erasure(self.org_id, **what), audit=())

    async def sweep(self, *rules, now):
        turns = 0
        while await self.store.sweep(self.org_id, HistoryRules(rules), now=now):
            turns += 1
            assert turns < 100
        return turns


@pytest.fixture
def recording(filled):
    return Recording(filled)


async def test_nothing_is_recorded_in_a_new_store(recording):
    assert await recording.ids() == []
    assert await recording.store.messages(recording.org_id, [64]) == []
    assert not await recording.store.lost_after(recording.org_id, "#", 0)
    assert await recording.store.organizations() == []


async def test_a_message_is_read_as_it_was_recorded(recording, reopen):
    record = recording.record(
        64,
        "ü/'/日本",
        payload=BYTES,
        qos=2,
        retain=True,
        forward=b"\x00\xff",
        expires_at=2.5,
        at=1.25,
        user_id="ü",
    )
    await recording.put(record)
    again = await reopen()
    query = HistoryQuery(recording.org_id, "ü/#")
    assert await again.history.heads(query) == [HistoryHead(64, record.topic, 1.25, 2.5, 256)]
    assert await again.history.messages(recording.org_id, [64]) == [msgspec.structs.replace(record, most=0)]


async def test_messages_come_in_the_order_asked_for_without_those_that_are_gone(recording):
    await recording.fill(*((id_, "a") for id_ in range(1, 100)))
    found = await recording.store.messages(recording.org_id, [70, 500, 3, 3, 69])
    assert [record.id for record in found] == [70, 3, 3, 69]


async def test_another_organization_sees_nothing(recording, records):
    other = records.organization()
    await recording.filled.store.organizations.create(other, applied=same)
    await recording.fill((1, "a"))
    theirs = Recording(recording.filled, other.id)
    assert await theirs.ids() == []
    assert await theirs.store.messages(other.id, [1]) == []
    assert await theirs.erase(topic_filter="#") == 0
    assert await recording.ids() == [1]


async def test_numbers_are_reserved_once(recording, reopen):
    reserve = recording.store.reserve
    first, second = await asyncio.gather(reserve(5), reserve(7))
    assert {first, second} in ({1, 6}, {1, 8})
    again = await reopen()
    assert await again.history.reserve(1) == 13


async def test_a_topic_keeps_its_newest(recording):
    await recording.fill((1, "a"), (2, "a"), (3, "b"), (4, "a"), most=2)
    assert await recording.ids() == [2, 3, 4]
    await recording.fill((5, "a"), (6, "a"), (7, "a"), most=2)
    assert await recording.ids("a") == [6, 7]
    assert await recording.store.lost_after(recording.org_id, "a", 5)
    assert not await recording.store.lost_after(recording.org_id, "a", 6)
    assert not await recording.store.lost_after(recording.org_id, "b", 0)
    assert await recording.store.lost_after(recording.org_id, "+", 2)


async def test_a_message_that_is_saved_twice_is_there_once(recording):
    await recording.fill((1, "a"), (2, "a"))
    await recording.fill((2, "a"), (3, "a"))
    assert await recording.ids() == [1, 2, 3]
    await recording.fill((4, "a"), most=3)
    assert await recording.ids() == [2, 3, 4]


async def test_a_message_that_is_taken_back_is_gone_and_not_missed(recording):
    await recording.fill((1, "a"), (2, "a"))
    future = asyncio.get_running_loop().create_future()
    changes = [Change(HistoryRecord, 2, None), Change(HistoryRecord, 9, None)]
    recording.filled.store.kept.save(changes, future.set_result)
    assert await future is None
    assert await recording.ids() == [1]
    assert not await recording.store.lost_after(recording.org_id, "a", 1)


@pytest.mark.parametrize("topic_filter", ["a", "b", "none", "#"])
async def test_an_id_that_never_came_to_the_store_is_told_as_lost(recording, reopen, topic_filter):
    await recording.fill((64, "a"), (128, "b"))
    # The process is killed before 192 comes to the store; the next one goes on with greater ids.
    again = await reopen()
    recording.filled.store, recording.store = again, again.history
    await recording.fill((640, "a"), (704, "b"))
    lost = {after: await recording.store.lost_after(recording.org_id, topic_filter, after) for after in IDS}
    assert lost == {0: False, 64: False, 128: False, 192: True, 640: False, 704: False, 768: True}


async def test_an_id_of_another_organization_is_told_as_lost(recording, records):
    other = records.organization()
    await recording.filled.store.organizations.create(other, applied=same)
    await recording.fill((1, "a"))
    assert await recording.store.lost_after(other.id, "a", 1)
    assert not await recording.store.lost_after(other.id, "a", 0)


async def test_an_id_that_is_too_old_is_told_as_lost_before_it_is_swept(recording):
    await recording.fill((1, "a"), (50, "a"))
    assert await recording.store.lost_after(recording.org_id, "a", 1, since=1_001.5)
    assert not await recording.store.lost_after(recording.org_id, "a", 1, since=1_001)
    assert not await recording.store.lost_after(recording.org_id, "#", 50, since=1_001.5)


async def test_what_was_let_go_before_it_came_counts_as_lost(recording):
    await recording.fill((5, "a"), lost=4)
    assert await recording.store.lost_after(recording.org_id, "a", 4)
    assert not await recording.store.lost_after(recording.org_id, "a", 5)


async def test_a_late_message_takes_its_place(recording):
    await recording.fill((5, "a"), (9, "a"))
    await recording.fill((7, "a"), (2, "b"))
    assert await recording.ids() == [2, 5, 7, 9]
    assert await recording.ids("a", ascending=False, limit=2) == [9, 7]


async def test_the_oldest_go_where_an_organization_has_too_many_bytes(recording, records):
    small = msgspec.structs.replace(records.organization().settings, history_bytes=1_000)
    other = records.organization(settings=small)
    await recording.filled.store.organizations.create(other, applied=same)
    theirs = Recording(recording.filled, other.id)
    # Each counts for its payload, its topic and 200 bytes.
    await theirs.fill((1, "a"), (2, "b"), (3, "c"), (4, "a"), (5, "d"))
    assert await theirs.ids() == [2, 3, 4, 5]
    await theirs.put(theirs.record(6, "e", payload=bytes(500)))
    assert await theirs.ids() == [5, 6]
    assert await theirs.store.lost_after(other.id, "a", 3)
    assert not await theirs.store.lost_after(other.id, "d", 5)
    await theirs.put(theirs.record(7, "e", payload=bytes(5_000)))
    assert await theirs.ids() == []


async def test_the_least_recent_topics_go_where_there_are_too_many(recording, monkeypatch):
    monkeypatch.setattr("tokenmq.stores.sql.recording.MAX_TOPICS", 3)
    await recording.fill((1, "a"), (2, "b"), (3, "c"), (4, "a"))
    await recording.fill((5, "d"))
    assert await recording.ids() == [1, 3, 4, 5]
    await recording.fill(*((id_, f"t/{id_}") for id_ in range(6, 20)))
    assert await recording.ids() == [17, 18, 19]
    # Nothing is known of the others any more.
    assert await recording.store.lost_after(recording.org_id, "a", 4)
    assert not await recording.store.lost_after(recording.org_id, "t/19", 18)


async def test_a_bound_gives_way_by_a_sixteenth_where_much_has_to_go_and_the_sweep_does_the_rest(
    recording, records, monkeypatch
):
    monkeypatch.setattr("tokenmq.stores.sql.recording.SPARE", 1)
    org = recording.filled.store.organizations
    large = records.organization()
    await org.create(large, applied=same)
    theirs = Recording(recording.filled, large.id)
    await theirs.fill(*((id_, "a") for id_ in range(1, 100)))
    # Each counts for 202 bytes.
    settings = msgspec.structs.replace(large.settings, history_bytes=32 * 202)
    await org.update(replace(large, settings=settings), applied=same)
    await theirs.fill((100, "a"))
    assert await theirs.ids() == list(range(67, 101))
    await theirs.sweep(HistoryRule("#", 10_000, 1_000), now=1_000)
    assert await theirs.ids() == list(range(69, 101))


async def test_random_topics_never_make_more_than_there_may_be(recording, monkeypatch):
    monkeypatch.setattr("tokenmq.stores.sql.recording.MAX_TOPICS", 160)
    # What is spoken of all the time outlives what is said once.
    for turn in range(6):
        first = 1 + turn * 101
        await recording.fill(
            (first, "alive"), *((id_, f"random/{id_}") for id_ in range(first + 1, first + 101))
        )
        topics = {
            head.topic
            for head in await recording.store.heads(HistoryQuery(recording.org_id, "#", limit=1_000))
        }
        assert len(topics) <= 160
    assert len(await recording.ids("alive")) == 6
    assert len(await recording.ids("random/+")) == 159


async def test_what_is_erased_by_filter_is_gone_and_told_as_lost(recording):
    await recording.fill((1, "a"), (2, "a/b"), (3, "ab"), (4, "a/b"), (5, "c"))
    assert await recording.erase(topic_filter="a/#") == 3
    assert await recording.ids() == [3, 5]
    assert await recording.store.lost_after(recording.org_id, "a/+", 3)
    assert not await recording.store.lost_after(recording.org_id, "a/+", 5)
    assert not await recording.store.lost_after(recording.org_id, "ab", 3)
    assert await recording.erase(topic_filter="a/#") == 0
    await recording.fill((6, "a/b"))
    assert await recording.ids() == [3, 5, 6]


async def test_what_is_erased_by_user_is_gone(recording):
    await recording.fill((1, "a"), (3, "b"))
    await recording.fill((2, "a"), (4, "b"), user_id="bob")
    assert await recording.erase(user_id="bob") == 2
    assert await recording.ids() == [1, 3]
    assert await recording.store.lost_after(recording.org_id, "a", 1)


async def test_an_erasure_is_noted_once_with_its_number(recording, records, monkeypatch):
    monkeypatch.setattr("tokenmq.stores.sql.history_dropping.STEP", 2)

    def noted(count):
        details = f'{{"erased":{count}}}'
        return (
            AuditEntry(
                at=1,
                action=Action.KEY_CREATE,
                org_id=recording.org_id,
                actor="system",
                object="o",
                details=details,
            ),
        )

    await recording.fill((1, "a"), (2, "b"))
    erasure = Erasure(recording.org_id, topic_filter="#")
    assert await recording.store.erase(erasure, audit=noted) == 2
    assert await recording.store.erase(erasure, audit=noted) == 0
    page = await recording.filled.store.audit.page(AuditQuery(limit=10, org_id=recording.org_id))
    assert [told.row.details for told in page] == ['{"erased":0}', '{"erased":2}']


async def test_a_sweep_drops_what_is_too_old_too_much_or_under_no_rule(recording):
    await recording.fill(*((id_, topic) for id_ in range(1, 10) for topic in ["a"]))
    await recording.fill((20, "b"), (21, "b"), (22, "c"))
    await recording.sweep(HistoryRule("a", 100, 4), HistoryRule("b", 100, 10), now=1_120.5)
    assert await recording.ids() == [21]
    assert await recording.store.lost_after(recording.org_id, "a", 8)
    assert await recording.store.lost_after(recording.org_id, "+", 21)
    await recording.sweep(HistoryRule("#", 5, 4), now=1_120.5)
    assert await recording.ids() == []


async def test_a_sweep_finds_what_has_become_too_old_since(recording):
    rule = HistoryRule("#", 100, 10)
    await recording.fill((1, "a"), (50, "a"), (60, "b"))
    await recording.sweep(rule, now=1_100)
    assert await recording.ids() == [1, 50, 60]
    await recording.sweep(rule, now=1_102)
    assert await recording.ids() == [50, 60]
    await recording.fill((51, "a"))
    await recording.sweep(rule, now=1_151)
    assert await recording.ids() == [51, 60]
    await recording.sweep(HistoryRule("#", 1_000, 10), now=1_500)
    assert await recording.ids() == [51, 60]


async def test_an_empty_topic_is_known_for_a_day_and_then_taken_for_lost(recording):
    rule = HistoryRule("#", 1, 10)
    await recording.fill((1, "a"))
    await recording.sweep(rule, now=2_000)
    assert await recording.store.lost_after(recording.org_id, "a", 1)
    assert not await recording.store.lost_after(recording.org_id, "b", 0)
    await recording.sweep(rule, now=2_000 + 86_401)
    assert await recording.store.lost_after(recording.org_id, "b", 0)
    await recording.fill((2, "b"))
    assert not await recording.store.lost_after(recording.org_id, "b", 2)


async def test_a_sweep_drops_all_that_a_deleted_organization_left(recording):
    await recording.fill((1, "a"), (2, "b"))
    await recording.filled.store.organizations.delete(recording.org_id, applied=same)
    await recording.fill((3, "a"))
    assert await recording.store.organizations() == [recording.org_id]
    await recording.sweep(now=1.0)
    assert await recording.store.organizations() == []
    assert await recording.ids() == []


async def test_a_look_is_bounded_and_says_where_to_go_on(recording, monkeypatch):
    monkeypatch.setattr("tokenmq.stores.sql.history_reading.FEW_TOPICS", 2)
    await recording.fill(
        *((id_, "x" if id_ == 5_000 else f"t/{id_ % 7}") for id_ in range(1, 9_001)), most=10_000
    )
    looks, after, found = 0, 0, []
    while after is not None:
        look = await recording.store.scan(HistoryQuery(recording.org_id, "x", after=after, ascending=True))
        assert look.next is None  # its one topic is few
        after = look.next
    query = HistoryQuery(recording.org_id, "+", ascending=True)
    after = 0
    while after is not None:
        look = await recording.store.scan(replace(query, after=after))
        found += [head.id for head in look.heads]
        looks, after = looks + 1, look.next
    assert found == [5_000]
    assert looks == 3
    assert [head.id for head in await recording.store.heads(query)] == [5_000]


TOPICS = ["a", "a/b", "a/b/c", "b", "b/a", "ab", "$x", "$x/a", ""]
FILTERS = ["#", "+", "a/#", "a", "a/+", "+/a", "a/b", "+/b/#", "$x/#", "$x", "nothing", "/+"]


class Oracle:
    """A history that looks at everything each time."""

    def __init__(self):
        self.there = {}
        self.gone = {}

    def put(self, records):
        for record in records:
            self.there[record.id] = record
        for topic in {record.topic for record in records}:
            most = max((record for record in records if record.topic == topic), key=lambda one: one.id).most
            ids = sorted(id_ for id_, record in self.there.items() if record.topic == topic)
            self.drop(ids[:-most])

    def drop(self, ids):
        for id_ in ids:
            self.gone[id_] = self.there.pop(id_)

    def ids(self, query):
        found = [
            id_
            for id_, record in self.there.items()
            if matches(query.topic_filter, record.topic)
            and id_ > query.after
            and (query.before is None or id_ < query.before)
            and (query.since is None or record.at >= query.since)
            and (query.until is None or record.at <= query.until)
        ]
        return sorted(found, reverse=not query.ascending)[: query.limit]

    def lost(self, topic_filter, after):
        if after and after not in self.there:
            return True
        return any(id_ >= after and matches(topic_filter, record.topic) for id_, record in self.gone.items())


topics = st.sampled_from([topic for topic in TOPICS if topic])
filters = st.sampled_from(FILTERS)
times = st.none() | st.integers(990, 1_060).map(float)
steps = st.one_of(
    st.tuples(
        st.just("put"), st.lists(st.tuples(topics, st.sampled_from("uv"), st.integers(1, 5)), max_size=12)
    ),
    st.tuples(st.just("erase"), filters),
    st.tuples(st.just("erase user"), st.sampled_from("uv")),
    st.tuples(
        st.just("ask"),
        filters,
        st.integers(0, 60),
        st.none() | st.integers(0, 70),
        times,
        times,
        st.booleans(),
        st.integers(1, 7),
    ),
)


@pytest.mark.parametrize("few", [2_000, 1], ids=["by topic", "by id"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=st.lists(steps, max_size=12), seed=st.integers(0, 2**32))
async def test_every_answer_is_that_of_a_look_at_everything(few, program, seed, filled, records, monkeypatch):
    monkeypatch.setattr("tokenmq.stores.sql.history_reading.FEW_TOPICS", few)
    monkeypatch.setattr("tokenmq.stores.sql.history_reading.SCANNED", 7)
    organization = records.organization()
    await filled.store.organizations.create(organization, applied=same)
    recording, oracle = Recording(filled, organization.id), Oracle()
    # Nothing is drawn inside the event loop: hypothesis ends an example by an exception there.
    dice = random.Random(seed)
    # Ids are one sequence for all organizations.
    base = await recording.store.reserve(1_000)
    at = 1_000.0
    for what, *values in program:
        if what == "put":
            group = []
            for topic, user, most in values[0]:
                base, at = base + 1, at + dice.choice([0.0, 1.0, 3.0])
                group.append(recording.record(base, topic, user_id=user, most=most, at=at))
            dice.shuffle(group)
            await recording.put(*group)
            oracle.put(group)
        elif what == "erase":
            ids = [id_ for id_, record in oracle.there.items() if matches(values[0], record.topic)]
            assert await recording.erase(topic_filter=values[0]) == len(ids)
            oracle.drop(ids)
        elif what == "erase user":
            ids = [id_ for id_, record in oracle.there.items() if record.user_id == values[0]]
            assert await recording.erase(user_id=values[0]) == len(ids)
            oracle.drop(ids)
        else:
            topic_filter, back, before, since, until, ascending, limit = values
            after = max(base - back, 0)
            query = HistoryQuery(
                organization.id, topic_filter, after, before and base - before, since, until, ascending, limit
            )
            heads = await recording.store.heads(query)
            assert [head.id for head in heads] == oracle.ids(query)
            assert all(head.topic == oracle.there[head.id].topic for head in heads)
            # An id that was never given, perhaps, and one that is there.
            for seen in (after, max((id_ for id_ in oracle.there if id_ <= after), default=0)):
                told = await recording.store.lost_after(organization.id, topic_filter, seen)
                assert told == oracle.lost(topic_filter, seen)
