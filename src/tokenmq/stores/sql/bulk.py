"""Many rows of one table, written, found and dropped as cheaply as a database can.

Theory of operation. Messages come and go by the ten thousand a second, each with four
rows, and what SQLAlchemy does for a row that comes as a dict costs several times what
SQLite does with it. So rows are plain tuples here, as the driver takes them, in statements
that SQLAlchemy wrote once.

A statement takes many rows, for the sake of the threads: SQLite's driver lets go of
Python's lock and takes it again for each step, and whoever takes it again beside a busy
event loop has to wait for it, up to five milliseconds. Statements have a few sizes only,
so that the driver finds them prepared: 100 rows are one statement of 64, four of 8 and four
of one. Those of one size go through SQLAlchemy together, for that costs as much as some
ten rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Compiled,
    Connection,
    Dialect,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
)

from tokenmq.stores.sql.dialect import upsert

# Rows of a statement, largest first. More would hold more payloads twice.
SIZES = (64, 8, 1)

Row = tuple[Any, ...]


def put_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Write rows, each in place of what has its primary key; no two may have the same.

    Args:
        rows: all columns in the order of the table, as the database takes them.
    """
    for size, parameters in _cut(rows):
        connection.exec_driver_sql(_upsert(connection.dialect, table, size).string, parameters)


def add_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Write rows whose primary keys are new.

    Args:
        rows: as for `put_rows`.

    Raises: IntegrityError for a key that is there.
    """
    for size, parameters in _cut(rows):
        connection.exec_driver_sql(_insert(connection.dialect, table, size).string, parameters)


def drop_rows(connection: Connection, columns: tuple[Column[Any], ...], values: Sequence[Row]) -> None:
    """Drop every row that has one of these values in these columns of a table.

    The columns are the first of an index, or each call reads the whole table.
    """
    for size, parameters in _cut(values):
        connection.exec_driver_sql(_delete(connection.dialect, columns, size).string, parameters)


def find_rows(
    connection: Connection,
    wanted: tuple[Column[Any], ...],
    columns: tuple[Column[Any], ...],
    values: Sequence[Row],
) -> list[Row]:
    """Return these columns of every row that has one of these values, in no order.

    The columns to look by are the first of an index, or each call reads the whole table.
    The values that come back are as the driver gives them.
    """
    found: list[Row] = []
    largest = SIZES[0]
    for start in range(0, len(values), largest):
        some = list(values[start : start + largest])
        # One statement costs more than the values that fill it up: the last one again.
        size = next(size for size in reversed(SIZES) if size >= len(some))
        some += some[-1:] * (size - len(some))
        compiled = _select(connection.dialect, wanted, columns, size)
        found += found_by(connection, compiled, tuple(chain.from_iterable(some)))
    return found


def found_by(connection: Connection, compiled: Compiled, values: Row) -> Iterator[Row]:
    """Yield the rows of a query that SQLAlchemy wrote once, with its values in their order."""
    return map(tuple, connection.exec_driver_sql(compiled.string, values).all())


def primary_key(table: Table) -> tuple[Column[Any], ...]:
    """Return the columns of a table's primary key."""
    return tuple(table.primary_key.columns)


def _cut(rows: Sequence[Row]) -> Iterator[tuple[int, list[Row]]]:
    """Yield sizes of statements, each with the parameters of all its runs."""
    start = 0
    for size in SIZES:
        stop = start + (len(rows) - start) // size * size
        if start < stop:
            yield size, [tuple(chain.from_iterable(rows[at : at + size])) for at in range(start, stop, size)]
        start = stop


# Each database of a process (tests open many) has a dialect of its own.
@lru_cache(maxsize=256)
def _upsert(dialect: Dialect, table: Table, rows: int) -> Compiled:
    return upsert(dialect, table, rows=rows).compile(dialect=dialect)


@lru_cache(maxsize=256)
def _insert(dialect: Dialect, table: Table, rows: int) -> Compiled:
    return insert(table).values([dict.fromkeys(table.columns.keys())] * rows).compile(dialect=dialect)


@lru_cache(maxsize=256)
def _delete(dialect: Dialect, columns: tuple[Column[Any], ...], rows: int) -> Compiled:
    return delete(columns[0].table).where(_any_of(columns, rows)).compile(dialect=dialect)


@lru_cache(maxsize=256)
def _select(
    dialect: Dialect, wanted: tuple[Column[Any], ...], columns: tuple[Column[Any], ...], rows: int
) -> Compiled:
    return select(*wanted).where(_any_of(columns, rows)).compile(dialect=dialect)


def _any_of(columns: tuple[Column[Any], ...], rows: int) -> ColumnElement[bool]:
    # Not IN (VALUES …): SQLite 3.40 reads the whole table for that.
    return or_(
        *(and_(*(column == bindparam(None, type_=column.type) for column in columns)) for _ in range(rows))
    )
