"""What is kept, on a real database that fails."""

import asyncio

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from tokenmq.broker.records import Change, DeliveryRecord, MessageRecord, SubscriptionRecord, put
from tokenmq.errors import Conflict, Unavailable
from tokenmq.stores.sql.tables import metadata, organizations
from tokenmq.tokens.records import OrganizationRecord, OrganizationSettings

SUBSCRIPTION = SubscriptionRecord(1, "a", 1, False, False, 0)


def message(number, size=10):
    return MessageRecord(number, "org", "t", b"x" * size, b"", None)


def saved(store, *changes):
    future = asyncio.get_running_loop().create_future()
    store.kept.save(changes, future.set_result)
    return future


async def stored(store, table):
    return await store.writer._runner.run(
        lambda connection: [row[0] for row in connection.execute(metadata.tables[table].select())]
    )


@pytest.fixture
async def sqlite_store(open_folder, tmp_path):
    store = await open_folder(tmp_path / "data")
    yield store
    await store.close()


async def set_pages(store, *, more):
    """Let the database file grow by so many pages and no further."""

    def limit(connection):
        size = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={size + more}")

    await store.writer._runner.run(limit)


async def test_full_disk_refuses_and_takes_again_when_there_is_room(sqlite_store):
    assert await saved(sqlite_store, put(message(1))) is None
    await set_pages(sqlite_store, more=0)
    error = await saved(sqlite_store, put(message(2, 100_000)), put(SUBSCRIPTION))
    assert isinstance(error, Unavailable)
    assert isinstance(error.__cause__, OperationalError)
    assert await stored(sqlite_store, "messages") == [1]
    assert await stored(sqlite_store, "subscriptions") == []
    # What frees room is still done.
    assert await saved(sqlite_store, Change(MessageRecord, 1, None)) is None
    await set_pages(sqlite_store, more=100)
    assert await saved(sqlite_store, put(message(2, 100_000)), put(SUBSCRIPTION)) is None
    assert await stored(sqlite_store, "messages") == [2]


async def test_v102_save_whose_commit_fails_leaves_nothing_and_can_be_repeated(sqlite_store):
    engine = sqlite_store.writer._runner._engine

    def refuse(connection):
        raise OperationalError("COMMIT", {}, Exception("disk I/O error"))

    event.listen(engine, "commit", refuse)
    errors = await asyncio.gather(*(saved(sqlite_store, put(message(number))) for number in range(3)))
    assert [type(error) for error in errors] == [Unavailable] * 3
    event.remove(engine, "commit", refuse)
    assert await stored(sqlite_store, "messages") == []
    assert await saved(sqlite_store, put(message(1))) is None
    assert await stored(sqlite_store, "messages") == [1]


async def test_v62_save_that_cannot_be_written_fails_and_leaves_none_of_it(store):
    # No such record comes about: its number has more bits than the database takes.
    error = await saved(store, put(message(1)), put(DeliveryRecord(1, 1, 2**70, 1, 1, False, False, (), "")))
    assert isinstance(error, Unavailable)
    assert await stored(store, "messages") == []
    assert await saved(store, put(message(2))) is None


async def test_operation_that_a_constraint_stops_harms_no_save_of_its_group(store):
    settings = OrganizationSettings()
    first = OrganizationRecord("org_1", "taken", settings, 1)
    await store.organizations.create(first, applied=lambda outcome: outcome)
    second = OrganizationRecord("org_2", "taken", settings, 1)
    creating = asyncio.ensure_future(store.organizations.create(second, applied=lambda outcome: outcome))
    await asyncio.sleep(0)
    saves = [saved(store, put(message(number)), put(SUBSCRIPTION)) for number in range(3)]
    before = store.writer.commits
    with pytest.raises(Conflict):
        await creating
    assert await asyncio.gather(*saves) == [None] * 3
    assert store.writer.commits == before + 1
    assert await stored(store, "messages") == [0, 1, 2]
    assert await stored(store, organizations.name) == ["org_1"]


async def test_load_that_fails_is_unavailable(sqlite_store):
    await sqlite_store.writer._runner.run(lambda connection: metadata.drop_all(connection))
    with pytest.raises(Unavailable):
        await sqlite_store.kept.load()
