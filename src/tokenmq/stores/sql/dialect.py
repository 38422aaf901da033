"""SQLite, and all that differs there; `postgresql` and `holding` have what differs in PostgreSQL.

One file in the data folder, WAL, `synchronous=FULL` (a commit is on the disk when
it returns), foreign keys on. The writer begins with BEGIN IMMEDIATE: it is the only one,
and must never find out in the middle that it has to wait.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Dialect, Engine, Insert, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from tokenmq.stores.folder import make_private, prepare_folder
from tokenmq.stores.sql.runner import Runner, ThreadRunner

DATABASE_NAME = "tokenmq.db"
# More read at once wait for each other; none waits for the writer.
READERS = 4
# Another program that has the file open (a backup) may hold it for so long.
BUSY_SECONDS = 5.0

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    # Negative: KiB, for each connection, there are five; filled in time, and never given back.
    # What is not in there the kernel has: with a million families a commit took no more CPU a
    # row at 2 MiB than at 32.
    "PRAGMA cache_size=-8192",
    # Pages. The log is written back rarely: a page that changes often is written once.
    "PRAGMA wal_autocheckpoint=8000",
    # The log is cut back to this after a checkpoint, in bytes.
    "PRAGMA journal_size_limit=67108864",
)


def sqlite_runners(folder: Path) -> tuple[Runner, Runner]:
    """Return the runner of the one writer and that of the readers, for a data folder.

    Raises: InvalidSettings when the folder cannot be used.
    """
    prepare_folder(folder)
    file = folder / DATABASE_NAME
    # SQLite gives its log and index the mode of the database file.
    make_private(file)
    writer = _sqlite_engine(file, connections=1)
    event.listen(writer, "begin", _begin_immediate)
    reader = _sqlite_engine(file, connections=READERS)
    return (
        ThreadRunner(writer, threads=1, name="store-writer"),
        ThreadRunner(reader, threads=READERS, name="store-reader"),
    )


def upsert(dialect: Dialect, table: Table, *, rows: int) -> Insert:
    """Return the statement that writes so many rows, each in place of what has its primary key.

    Its parameters are the rows' columns in the order of the table, row by row. No two of
    the rows may have the same key.
    """
    insert = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
    statement: sqlite.Insert | postgresql.Insert = insert(table).values(
        [dict.fromkeys(table.columns.keys())] * rows
    )
    keys = list(table.primary_key.columns)
    others = {
        column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key
    }
    if not others:
        return statement.on_conflict_do_nothing(index_elements=keys)
    return statement.on_conflict_do_update(index_elements=keys, set_=others)


def _sqlite_engine(file: Path, *, connections: int) -> Engine:
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(file)),
        pool_size=connections,
        max_overflow=0,
        # No implicit BEGIN of the driver: it comes too late for savepoints.
        connect_args={"isolation_level": None, "timeout": BUSY_SECONDS},
    )
    event.listen(engine, "connect", _set_pragmas)
    return engine


def _set_pragmas(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:  # noqa: ARG001
    cursor: Any = connection.cursor()
    try:
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
    finally:
        cursor.close()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
