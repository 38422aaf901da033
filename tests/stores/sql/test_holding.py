"""One process holds the database, and knows when it does not."""

import asyncio

import pytest
from sqlalchemy import event
from sqlalchemy.util import await_only
from structlog.testing import capture_logs

from tokenmq.errors import DatabaseInUse, Unavailable
from tokenmq.stores.sql import holding
from tokenmq.tokens.records import OrganizationRecord, OrganizationSettings

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Nobody waits here for a process that is about to end."""
    monkeypatch.setattr(holding, "TAKE_SECONDS", 0.2)
    monkeypatch.setattr(holding, "WATCH_SECONDS", 0.02)


@pytest.fixture
def url(postgresql):
    return postgresql.emptied()


@pytest.fixture
def lost():
    return asyncio.Queue()


@pytest.fixture
async def store(url, open_database, lost):
    store = await open_database(url, on_lost=lost.put_nowait)
    yield store
    await store.close()


def organization(number: int) -> OrganizationRecord:
    return OrganizationRecord(f"org_{number:012d}", f"name {number}", OrganizationSettings(), 1)


async def create(store, number: int) -> None:
    await store.organizations.create(organization(number), applied=lambda outcome: outcome)


async def stored(store) -> set[str]:
    return {record.id for record in await store.organizations.load()}


async def until(is_so):
    """Let others work until it is as wanted."""
    while not is_so():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0)


async def tried(store, number: int) -> bool:
    try:
        await create(store, number)
    except Unavailable:
        return False
    return True


def session(store):
    """Return the writer's session, as the driver has it."""
    return store._runners[0].run(lambda connection: connection.connection.driver_connection)


async def test_second_store_is_refused_and_told_who_has_the_database(store, url, open_database):
    with pytest.raises(DatabaseInUse, match=r"served by another process, pid \d+ on "):
        await open_database(url)
    await create(store, 1)


async def test_store_that_was_closed_leaves_the_database_to_the_next(url, open_database):
    for number in range(2):
        store = await open_database(url)
        await create(store, number)
        await store.close()


async def test_writes_fail_while_the_server_is_away_and_go_on_when_it_is_back(store, postgresql, lost):
    def events():
        return [entry["event"] for entry in logs]

    await create(store, 1)
    with capture_logs() as logs:
        postgresql.stop()
        try:
            assert not await tried(store, 2)
            with pytest.raises(Unavailable):
                await store.organizations.load()
            await until(lambda: "database_away" in events())
        finally:
            postgresql.start()
        await create(store, 3)
        assert await stored(store) == {organization(1).id, organization(3).id}
        await until(lambda: "database_back" in events())
    assert events() == ["database_away", "database_back"]
    assert lost.empty()


async def test_what_was_told_is_true_when_the_server_is_killed_under_writers(store, postgresql, lost):
    told: dict[int, bool] = {}
    goal = 40

    async def write(first: int) -> None:
        number = first
        while sum(told.values()) < goal:
            told[number] = await tried(store, number)
            number += 8

    writers = asyncio.gather(*(write(first) for first in range(8)))
    await until(lambda: sum(told.values()) >= 10)
    postgresql.kill()
    postgresql.start()
    goal += sum(told.values())
    await writers
    assert await stored(store) == {organization(number).id for number, done in told.items() if done}
    assert lost.empty()


@pytest.mark.parametrize("is_committed", [True, False])
async def test_commit_whose_answer_is_lost_gets_the_true_answer(store, is_committed, lost):
    engine = store._runners[0]._engine.sync_engine

    def lose(connection):
        driver = connection.connection.driver_connection
        if is_committed:
            await_only(driver.execute("COMMIT"))
        driver.terminate()

    await create(store, 1)
    event.listen(engine, "commit", lose, once=True)
    assert await tried(store, 2) is is_committed
    await create(store, 3)
    assert (organization(2).id in await stored(store)) is is_committed
    assert len(await stored(store)) == 2 + is_committed
    assert lost.empty()


async def test_store_that_is_closed_in_the_middle_of_a_lost_commit_waits_for_nobody(
    url, open_database, postgresql
):
    store = await open_database(url)
    engine = store._runners[0]._engine.sync_engine
    begun = asyncio.Event()

    def stop(connection):
        begun.set()
        postgresql.stop()

    event.listen(engine, "commit", stop, once=True)
    asked = asyncio.ensure_future(tried(store, 1))
    try:
        await begun.wait()
        await store.close()
        assert await asked is False
    finally:
        postgresql.start()


async def test_old_session_that_the_server_keeps_is_ended(store, lost):
    """As after a network failed that only we noticed: the server would wait for it."""
    old = await session(store)
    await create(store, 1)
    runner = store._runners[0]
    pool = runner._engine.sync_engine.pool
    runner._engine.sync_engine.pool = pool.recreate()
    assert not old.is_closed()
    await create(store, 2)
    assert len(await stored(store)) == 2
    assert lost.empty()
    old.terminate()


async def test_process_that_finds_another_one_to_have_served_ends(store, url, open_database, lost):
    (await session(store)).terminate()
    # The watch of the first must not come first.
    store._runners[0].hold._session = None
    store._runners[0].proven += 3_600
    other = await open_database(url)
    await create(other, 1)
    await other.close()
    assert not await tried(store, 2)
    store._runners[0].proven -= 3_600
    assert isinstance(await lost.get(), DatabaseInUse)
    assert await stored(store) == {organization(1).id}
    assert not await tried(store, 3)


async def test_process_whose_database_is_put_back_to_an_earlier_state_ends(store, postgresql, url, lost):
    driver = await session(store)
    postgresql.ask("UPDATE holder SET number = number - 1", url.rpartition("/")[2])
    driver.terminate()
    assert isinstance(await lost.get(), Unavailable)
    assert not await tried(store, 2)


async def test_process_without_its_database_ends_when_its_time_is_over(url, open_database, postgresql, lost):
    store = await open_database(url, max_outage_seconds=0.1, on_lost=lost.put_nowait)
    postgresql.stop()
    try:
        error = await lost.get()
    finally:
        postgresql.start()
    assert isinstance(error, Unavailable) and "away" in str(error)
    assert not await tried(store, 1)
    await store.close()
