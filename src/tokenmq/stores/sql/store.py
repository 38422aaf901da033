"""The whole store: opened, migrated, closed."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from tokenmq.errors import Unavailable
from tokenmq.stores.sql.audit import SqlAudit
from tokenmq.stores.sql.dialect import sqlite_runners
from tokenmq.stores.sql.families import SqlFamilies
from tokenmq.stores.sql.history import SqlHistory
from tokenmq.stores.sql.idempotency import SqlIdempotency
from tokenmq.stores.sql.kept import SqlKept
from tokenmq.stores.sql.keys import SqlKeys
from tokenmq.stores.sql.migrating import migrate
from tokenmq.stores.sql.organizations import SqlOrganizations
from tokenmq.stores.sql.providers import SqlProviders
from tokenmq.stores.sql.reader import Reader
from tokenmq.stores.sql.runner import Runner
from tokenmq.stores.sql.signing import SqlSigningKeys
from tokenmq.stores.sql.writer import GroupWriter

_PING = select(text("1"))


class SqlStore:
    """`Store` in SQL; `open_folder` makes one, `postgresql.open_postgresql` the other.

    Attributes:
        writer: the one task that writes, with figures about its commits.
    """

    def __init__(self, writing: Runner, reading: Runner) -> None:
        self._runners = (writing, reading)
        self._reader = Reader(reading)
        self.writer = GroupWriter(writing)
        self.organizations = SqlOrganizations(self._reader, self.writer)
        self.keys = SqlKeys(self._reader, self.writer)
        self.families = SqlFamilies(self._reader, self.writer)
        self.idempotency = SqlIdempotency(self._reader, self.writer)
        self.signing_keys = SqlSigningKeys(self._reader, self.writer)
        self.providers = SqlProviders(self._reader, self.writer)
        self.kept = SqlKept(self.writer)
        self.history = SqlHistory(self._reader, self.writer)
        self.audit = SqlAudit(self._reader, self.writer)

    @classmethod
    async def open_folder(cls, folder: Path) -> Self:
        """Open the SQLite store of a data folder, which is made if it is not there.

        The caller holds the folder's lock (`stores.folder.FolderLock`).

        Raises: InvalidSettings (folder, or tables of a newer version), Unavailable.
        """
        store = cls(*sqlite_runners(folder))
        await store.open()
        return store

    async def open(self) -> None:
        """Migrate, and begin to take writes.

        Raises: InvalidSettings (tables of a newer version), DatabaseInUse, Unavailable.
        """
        try:
            await self._runners[0].run(self.prepare, patient=True)
        except (SQLAlchemyError, OSError) as error:
            await self._dispose()
            raise Unavailable(f"the store cannot be opened: {_reason(error)}") from error
        # uvloop does not end while a session is open: whatever it was, let go.
        except BaseException:
            await self._dispose()
            raise
        self.writer.start()

    def prepare(self, connection: Connection) -> None:
        """Bring the tables to where they are wanted, in the first transaction."""
        migrate(connection)

    async def ping(self) -> None:
        """Return when the store answers a read."""
        await self._reader.rows(_PING)

    async def close(self) -> None:
        """Finish what was accepted, then let go of everything."""
        await self.writer.close()
        await self._dispose()

    async def _dispose(self) -> None:
        for runner in self._runners:
            await runner.close()


def _reason(error: SQLAlchemyError | OSError) -> str:
    """Say what the database said, without the library that carried it."""
    return str(error.orig) if isinstance(error, DBAPIError) else str(error)
