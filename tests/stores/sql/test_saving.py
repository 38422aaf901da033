"""Changes of a batch come out as if each had been made alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, delete, select

from tokenmq.access.identity import Identity
from tokenmq.broker.records import (
    Change,
    DeliveryRecord,
    Kept,
    MessageRecord,
    ReceivedRecord,
    RetainedRecord,
    SessionRecord,
    SubscriptionRecord,
    put,
)
from tokenmq.stores.sql.kept_rows import delivery_row, plain_row, session_row
from tokenmq.stores.sql.loading import load
from tokenmq.stores.sql.saving import save
from tokenmq.stores.sql.tables import (
    deliveries,
    messages,
    metadata,
    organizations,
    received,
    retained,
    sessions,
    subscriptions,
)

ORG = "org_abcdefghijkl"
IDENTITY = Identity(ORG, "ann", "ann", (), None, "tok_1", "j", 0, None, None)
TABLES = {
    SessionRecord: (sessions, session_row),
    SubscriptionRecord: (subscriptions, plain_row),
    MessageRecord: (messages, plain_row),
    DeliveryRecord: (deliveries, delivery_row),
    ReceivedRecord: (received, plain_row),
    RetainedRecord: (retained, plain_row),
}
HANGING = (SubscriptionRecord, DeliveryRecord, ReceivedRecord)

# Few values, so that keys meet.
number = st.integers(1, 3)
small = st.integers(0, 2)
record = st.one_of(
    st.builds(SessionRecord, number, st.just("c"), st.just(IDENTITY), small, st.none(), st.none()),
    st.builds(
        SubscriptionRecord, number, st.sampled_from("ab"), small, st.booleans(), st.booleans(), st.just(0)
    ),
    st.builds(
        MessageRecord, number, st.just(ORG), st.just("t"), st.binary(max_size=2), st.just(b""), st.none()
    ),
    st.builds(
        DeliveryRecord,
        number,
        number,
        small,
        number,
        st.just(1),
        st.just(value=False),
        st.booleans(),
        st.lists(small, max_size=2).map(tuple),
        st.just(""),
    ),
    st.builds(ReceivedRecord, number, number),
    st.builds(
        RetainedRecord,
        st.just(ORG),
        st.sampled_from("ab"),
        st.binary(max_size=2),
        small,
        st.just(b""),
        st.just(1.0),
        st.just(2.0),
        st.just("ann"),
        st.none(),
    ),
)
change = st.one_of(record.map(put), record.map(lambda record: Change(type(record), record.key, None)))
# Groups of saves of changes.
program = st.lists(st.lists(st.lists(change, max_size=6), max_size=4), max_size=4)


class Model:
    """What is kept, as a dict, by the words of the interface."""

    def __init__(self):
        self.kept = {kind: {} for kind in TABLES}

    def make(self, change):
        if change.record is not None:
            self.kept[change.kind][change.key] = change.record
            return
        self.kept[change.kind].pop(change.key, None)
        if change.kind is SessionRecord:
            for kind in HANGING:
                for key in [key for key in self.kept[kind] if key[0] == change.key]:
                    del self.kept[kind][key]

    def without_strays(self):
        there = {kind: list(records.values()) for kind, records in self.kept.items()}
        found, stored = self.kept[SessionRecord], self.kept[MessageRecord]
        hanging = {kind: [record for record in there[kind] if record.session in found] for kind in HANGING}
        # What is released is sent as PUBREL: it needs its message no more.
        waiting = [one for one in hanging[DeliveryRecord] if one.released or one.message in stored]
        awaited = {record.message for record in waiting if not record.released}
        return Kept(
            sorted(there[SessionRecord], key=lambda record: record.key),
            sorted(hanging[SubscriptionRecord], key=lambda record: record.key),
            sorted((stored[number] for number in awaited), key=lambda record: record.key),
            waiting,
            sorted(hanging[ReceivedRecord], key=lambda record: record.key),
            sorted(there[RetainedRecord], key=lambda record: record.key),
        )


@pytest.fixture(scope="module")
def engine():
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.begin() as connection:
        values = {"id": ORG, "name": "a", "settings": "{}", "created_at": 1}
        connection.execute(organizations.insert(), values)
    yield engine
    engine.dispose()


@given(program)
def test_saves_in_groups_are_the_changes_one_after_the_other(engine, program):
    model = Model()
    with engine.begin() as connection:
        for table, _ in TABLES.values():
            connection.execute(delete(table))
        for group in program:
            assert len(save(connection, group)) == len(group)
            for changes in group:
                for change in changes:
                    model.make(change)
        for kind, (table, row) in TABLES.items():
            assert set(connection.execute(select(table)).all()) == set(map(row, model.kept[kind].values()))
        wanted = model.without_strays()
        for _ in range(2):
            loaded = load(connection)
            positions = [(delivery.session, delivery.position) for delivery in loaded.deliveries]
            assert positions == sorted(positions)
            assert set(loaded.deliveries) == set(wanted.deliveries)
            assert loaded._replace(deliveries=wanted.deliveries) == wanted
