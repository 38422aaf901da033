"""PostgreSQL: its connections, and the store on them. `holding` says how one process has it alone.

Every session sets `synchronous_commit` to on: a commit is on the server's disk when it
returns. Reads are single statements and need no transaction.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
from sqlalchemy import Connection, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tokenmq.config import DatabaseAddress
from tokenmq.errors import InvalidSettings, TokenmqError
from tokenmq.stores.sql.async_runner import LIMIT_SECONDS, AsyncRunner
from tokenmq.stores.sql.holding import Hold, HoldingRunner, Watch
from tokenmq.stores.sql.store import SqlStore

Connect = Callable[[], Awaitable[asyncpg.Connection]]

# More read at once wait for each other; none waits for the writer.
READERS = 4
CONNECT_SECONDS = 5.0
# How long after max_outage_seconds the server gives up a silent session, and the lock with it: by
# then this process has noticed, and finished what it was answering.
END_SECONDS = 30


async def open_postgresql(
    address: DatabaseAddress, *, max_outage_seconds: int, on_lost: Callable[[TokenmqError], None]
) -> SqlStore:
    """Take a database for this process alone, and open the store in it.

    Args:
        address: where it is.
        max_outage_seconds: how long the service may go on while it is away.
        on_lost: called at most once, when this process must end, with the reason.

    Raises: DatabaseInUse, InvalidSettings (encoding, tables of a newer version), Unavailable.
    """
    store = PostgresqlStore(address, max_outage_seconds=max_outage_seconds, on_lost=on_lost)
    await store.open()
    return store


class PostgresqlStore(SqlStore):
    """`Store` in a PostgreSQL database that this process holds."""

    def __init__(
        self, address: DatabaseAddress, *, max_outage_seconds: int, on_lost: Callable[[TokenmqError], None]
    ) -> None:
        connect = _connector(address, max_outage_seconds)
        self._hold = Hold()
        writing = HoldingRunner(_engine(_holder(connect, self._hold), connections=1), self._hold)
        reading = _engine(connect, connections=READERS).execution_options(isolation_level="AUTOCOMMIT")
        super().__init__(writing, AsyncRunner(reading))
        self._watch = Watch(writing, max_outage_seconds=max_outage_seconds, on_lost=on_lost)

    async def open(self) -> None:
        """Take the database, migrate, and begin to take writes and to watch."""
        await super().open()
        self._hold.committed = 0
        self._watch.start()

    def prepare(self, connection: Connection) -> None:
        """Migrate, and write down who serves."""
        super().prepare(connection)
        self._hold.claim(connection)

    async def close(self) -> None:
        """Finish what was accepted, unless the database is away; then let go of everything."""
        self.writer.stop_taking()
        await self._watch.end()
        await super().close()


def _connector(address: DatabaseAddress, max_outage_seconds: int) -> Connect:
    """Return what opens a session.

    It raises: ConnectionError, which says where and why; InvalidSettings.
    """
    password = address.password
    options: dict[str, Any] = {
        "host": address.host,
        "port": address.port,
        "user": address.user,
        "password": None if password is None else password.reveal(),
        "database": address.name,
        "timeout": CONNECT_SECONDS,
        "server_settings": {
            "application_name": "tokenmq",
            "synchronous_commit": "on",
            "tcp_keepalives_idle": str(max_outage_seconds),
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": str(END_SECONDS // 5),
            # For an answer that is on its way to nobody; in milliseconds.
            "tcp_user_timeout": str((max_outage_seconds + END_SECONDS) * 1_000),
        },
    }

    async def connect() -> asyncpg.Connection:
        try:
            connection: asyncpg.Connection = await asyncpg.connect(**options, ssl=_tls(address))
        except TimeoutError as error:
            raise ConnectionError(f"{address}: no answer within {CONNECT_SECONDS:.0f} s") from error
        except OSError as error:
            raise ConnectionError(f"{address}: {error.strerror or error}") from error
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise ConnectionError(f"{address}: {error}") from error
        return connection

    return connect


def _holder(connect: Connect, hold: Hold) -> Connect:
    """Return what opens the writer's session: one that can write, and holds the database."""

    async def connect_and_hold() -> asyncpg.Connection:
        connection = await connect()
        try:
            await _look_at(connection)
            await hold.take(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    return connect_and_hold


async def _look_at(connection: asyncpg.Connection) -> None:
    encoding = connection.get_settings().server_encoding
    if encoding != "UTF8":
        raise InvalidSettings(f"[database] url: a database with the encoding UTF8 is wanted, not {encoding}")
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        raise ConnectionError("the database is a standby, which cannot be written")


def _tls(address: DatabaseAddress) -> ssl.SSLContext | str:
    mode = address.tls_mode or "prefer"
    if not mode.startswith("verify-"):
        return mode
    context = ssl.create_default_context(cafile=address.tls_root)
    context.check_hostname = mode == "verify-full"
    return context


def _engine(connect: Connect, *, connections: int) -> AsyncEngine:
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=LIMIT_SECONDS,
    )
    event.listen(engine.sync_engine, "checkout", _leave_out_closed)
    return engine


def _leave_out_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Have the pool connect anew for a session that the server has ended meanwhile."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError
