"""PostgreSQL's sessions: what they are told, and how a start fails."""

import asyncio
import socket

import pytest
from sqlalchemy import text

from tokenmq.errors import InvalidSettings, Unavailable
from tokenmq.stores.sql import postgresql as postgresql_module

pytestmark = pytest.mark.interop


@pytest.fixture
def url(postgresql):
    return postgresql.emptied()


@pytest.fixture
async def store(url, open_database):
    store = await open_database(url)
    yield store
    await store.close()


async def test_every_session_commits_to_the_disk_whatever_the_server_prefers(store, postgresql):
    shown = text("SHOW synchronous_commit")
    postgresql.ask("ALTER SYSTEM SET synchronous_commit = off")
    postgresql.ask("SELECT pg_reload_conf()")
    try:
        for runner in store._runners:
            assert await runner.run(lambda connection: connection.execute(shown).scalar()) == "on"
    finally:
        postgresql.ask("ALTER SYSTEM RESET synchronous_commit")
        postgresql.ask("SELECT pg_reload_conf()")


async def test_reads_are_no_transactions_of_several_steps(store):
    begun = text("SELECT now()")

    def twice(connection):
        return {connection.execute(begun).scalar() for _ in range(2)}

    # Within a transaction, now() is when it began.
    assert [len(await runner.run(twice)) for runner in store._runners] == [1, 2]


async def test_more_reads_than_sessions_wait_for_each_other(store):
    await asyncio.gather(*(store.ping() for _ in range(50)))


async def test_reads_that_are_given_up_leave_their_sessions_to_others(store):
    nap = text("SELECT pg_sleep(3600)")
    for _ in range(2 * postgresql_module.READERS):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store._runners[1].run(lambda connection: connection.execute(nap)), 0.02)
    await asyncio.gather(*(store.ping() for _ in range(postgresql_module.READERS)))


async def test_silent_session_keeps_the_lock_until_its_process_has_ended(store):
    shown = text("SELECT current_setting('tcp_keepalives_idle'), current_setting('tcp_user_timeout')")
    told = await store._runners[0].run(lambda connection: tuple(connection.execute(shown).one()))
    # The 60 s of `max_outage_seconds`, and half a minute to end in.
    assert told == ("60", "90000")


REFUSALS = {
    "wrong password": (lambda url: url.replace("hunter2", "hunter3"), "password authentication failed"),
    "no database": (lambda url: url.rpartition("/")[0] + "/missing", 'database "missing" does not exist'),
    "no server": (
        lambda url: url.replace(url.rpartition(":")[2].split("/")[0], str(nobodys_port())),
        "refused",
    ),
    "no TLS": (lambda url: url + "?sslmode=require", "rejected SSL upgrade"),
    "no file": (lambda url: url + "?sslmode=verify-full&sslrootcert=/no/such/file", "No such file"),
}


def nobodys_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.mark.parametrize(("change", "told"), REFUSALS.values(), ids=REFUSALS)
async def test_database_that_cannot_be_opened_is_told_in_one_sentence_without_the_password(
    url, open_database, change, told
):
    with pytest.raises(Unavailable) as refused:
        await open_database(change(url))
    assert str(refused.value).startswith("the store cannot be opened: database ")
    assert told in str(refused.value)
    assert "hunter" not in str(refused.value) and "\n" not in str(refused.value)


async def test_server_that_never_answers_is_given_up(open_database, monkeypatch):
    monkeypatch.setattr("tokenmq.stores.sql.postgresql.CONNECT_SECONDS", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Unavailable, match="no answer within"):
            await open_database(f"postgresql://u:p@127.0.0.1:{port}/d")


async def test_database_of_another_encoding_is_refused(postgresql, open_database):
    url = postgresql.database("TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C'")
    with pytest.raises(InvalidSettings, match="UTF8 is wanted, not SQL_ASCII"):
        await open_database(url)
