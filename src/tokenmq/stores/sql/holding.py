"""How one process holds a PostgreSQL database for itself alone.

Theory of operation. What this process has in memory (who is revoked, which keys there
are) is only true while nobody else writes the database. SQLite's file has the lock of
its folder; a database over a network needs a hold that can be lost, and that says so.

The hold is an advisory lock of the writer's own session, taken when it connects. So
nothing can be committed without it: the session that commits is the one that holds. And
every group of writes counts up the number in the one row of the table `holder`, which
names this process.

A session can be lost: PostgreSQL restarts, the network fails. The next write, or the
watch, connects again, takes the lock again, and looks at the row:

* It names somebody else. Another process has served in between, and what it revoked is
  not known here: this one must end.
* The number is that of the last commit, or of the one whose answer was lost with the
  session. So the outcome of that one is known, and its callers get a true answer, late.
* The number is another one. The database was put back to an earlier state: this process
  knows of things that are not in it, and must end.

While the database cannot be reached, nobody can tell whether another process has it. So
this one goes on for `max_outage_seconds`, fails writes, and ends after that. PostgreSQL
is told to look after a client that went silent only when that time is over: a process
that was cut off has ended before its lock is free.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Callable
from typing import TypeVar

import asyncpg
import structlog
from sqlalchemy import Connection, bindparam, delete, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from tokenmq.errors import DatabaseInUse, TokenmqError, Unavailable
from tokenmq.stores.sql.async_runner import LIMIT_SECONDS, AsyncRunner
from tokenmq.stores.sql.tables import holder

Result = TypeVar("Result")

# "tokenmq" in ASCII. Advisory locks belong to one database, so all may use the same.
LOCK = 0x746F6B656E6D71
# A session of ours that the server takes for alive, though its network is gone, holds the lock.
_END_OLD_SESSION = (
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE pid = $1 AND locktype = 'advisory' AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
# The process before this one may have been killed just now, and its session be about to end.
TAKE_SECONDS = 5.0
# How often the hold is proven when nothing is written, and how long the answer may take.
WATCH_SECONDS = 1.0
PROOF_SECONDS = 5.0

_PROBE = select(text("1"))
_COUNT = update(holder).where(holder.c.instance == bindparam("me")).values(number=bindparam("to"))

_log = structlog.get_logger("tokenmq.stores")


class Hold:
    """What this process knows of its hold.

    Attributes:
        committed: number of the last commit that is known; None before `claim`.
        pending: number of a commit that was begun.
        lost: why this process must end; None while all is well.
        is_ending: nothing is waited for any more that may never come.
    """

    def __init__(self) -> None:
        self._instance = secrets.token_hex(16)
        self._session: int | None = None
        self.committed: int | None = None
        self.pending: int | None = None
        self.lost: TokenmqError | None = None
        self.is_ending = False

    async def take(self, connection: asyncpg.Connection) -> None:
        """Take the lock in a new session, and look whether anybody has served in between.

        Raises: DatabaseInUse, or whatever else `lost` is.
        """
        if self.lost is not None:
            raise self.lost
        if self._session is not None:
            await connection.execute(_END_OLD_SESSION, self._session)
        try:
            await connection.fetchval("SELECT pg_advisory_lock($1)", LOCK, timeout=TAKE_SECONDS)
        except TimeoutError:
            raise await self._somebody_else(connection) from None
        self._session = connection.get_server_pid()
        if self.committed is None:
            return
        row = await connection.fetchrow("SELECT instance, number FROM holder")
        if row is None or row["instance"] != self._instance:
            self.lost = DatabaseInUse("another process has served the database meanwhile, so this one ends")
        elif row["number"] in (self.committed, self.pending):
            self.committed = row["number"]
        else:
            self.lost = Unavailable("the database was put back to an earlier state, so this process ends")
        if self.lost is not None:
            raise self.lost

    def claim(self, connection: Connection) -> None:
        """Name this process in the table, in the transaction that prepares the tables."""
        connection.execute(delete(holder))
        process = f"pid {os.getpid()} on {socket.gethostname()}"
        connection.execute(insert(holder), {"instance": self._instance, "process": process, "number": 0})

    def count(self, connection: Connection, number: int) -> None:
        """Count a group of writes, inside its transaction.

        Raises: DatabaseInUse when the row is not ours any more.
        """
        if connection.execute(_COUNT, {"me": self._instance, "to": number}).rowcount != 1:
            self.lost = DatabaseInUse("another process has taken the database, so this one ends")
            raise self.lost

    async def _somebody_else(self, connection: asyncpg.Connection) -> DatabaseInUse:
        try:
            process = await connection.fetchval("SELECT process FROM holder")
        except asyncpg.PostgresError:  # it is making the tables just now
            process = None
        found = DatabaseInUse(
            "the database is served by another process" + (f", {process}" if process else "")
        )
        if self.committed is not None:
            self.lost = found
        return found


class HoldingRunner(AsyncRunner):
    """Runs what the one writer does: every transaction proves the hold."""

    def __init__(self, engine: AsyncEngine, hold: Hold) -> None:
        super().__init__(engine)
        self.hold = hold
        self.proven = asyncio.get_running_loop().time()

    async def run(self, work: Callable[[Connection], Result], *, patient: bool = False) -> Result:
        """Run `work`; if the answer to the commit is lost, return when its outcome is known.

        Raises: as a runner does, and DatabaseInUse.
        """
        hold, number, sent = self.hold, None, False
        try:
            async with self.connection(None if patient else LIMIT_SECONDS) as connection:
                transaction = await connection.begin()
                outcome = await connection.run_sync(work)
                if hold.committed is not None:
                    number = hold.pending = hold.committed + 1
                    await connection.run_sync(hold.count, number)
                sent = True
                try:
                    await transaction.commit()
                except BaseException:
                    # Only a new session can tell what became of it.
                    await connection.invalidate()
                    raise
        # Whatever went wrong after COMMIT was sent, a defect too, it may have been done.
        except Exception:
            if not sent or number is None or not await self._was_committed(number):
                raise
        if number is not None:
            hold.committed = number
        self.proven = asyncio.get_running_loop().time()
        return outcome

    async def prove(self) -> None:
        """Return when the database has answered in the session that holds it.

        Raises: DatabaseInUse, or what else it was lost by; what the driver raises.
        """
        async with self.connection(PROOF_SECONDS) as connection:
            await connection.execute(_PROBE)
        self.proven = asyncio.get_running_loop().time()

    async def _was_committed(self, number: int) -> bool:
        while not self.hold.is_ending:
            # Connecting compares the numbers.
            try:
                async with self.connection():
                    return self.hold.committed == number
            except (SQLAlchemyError, OSError):
                await asyncio.sleep(WATCH_SECONDS)
        raise Unavailable("the database went away in the middle of a commit")


class Watch:
    """Proves the hold while nothing is written, and says when it is lost."""

    def __init__(
        self, runner: HoldingRunner, *, max_outage_seconds: float, on_lost: Callable[[TokenmqError], None]
    ) -> None:
        self._runner = runner
        self._max_outage_seconds = max_outage_seconds
        self._on_lost = on_lost
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="store watch")

    async def end(self) -> None:
        """Stop watching."""
        self._runner.hold.is_ending = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        is_away = False
        while self._runner.hold.lost is None:
            await asyncio.sleep(WATCH_SECONDS)
            silent = self._silent()
            if silent < WATCH_SECONDS:
                continue
            try:
                await self._runner.prove()
            except TokenmqError:
                break
            # Fail closed (SECURITY, ruling 7): a watch that ended by a defect would watch nothing.
            except Exception as error:
                if not is_away:
                    _log.warning("database_away", reason=str(error))
                is_away = True
                self._give_up_in_time()
            else:
                if is_away:
                    _log.warning("database_back", after_seconds=round(silent))
                is_away = False
        if self._runner.hold.lost is not None:
            self._on_lost(self._runner.hold.lost)

    def _silent(self) -> float:
        return asyncio.get_running_loop().time() - self._runner.proven

    def _give_up_in_time(self) -> None:
        if self._silent() >= self._max_outage_seconds:
            self._runner.hold.lost = Unavailable(
                f"the database has been away for {self._max_outage_seconds:.0f} s, and another process "
                "may have taken it, so this one ends"
            )
