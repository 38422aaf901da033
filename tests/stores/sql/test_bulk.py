"""Statements of many rows, as each database takes them."""

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.exc import IntegrityError

from tokenmq.stores.sql import bulk
from tokenmq.stores.sql.bulk import SIZES, add_rows, drop_rows, find_rows, primary_key, put_rows
from tokenmq.stores.sql.tables import messages, metadata, received, retained, subscriptions

DIALECTS = {"sqlite": sqlite.dialect(), "postgresql": asyncpg.dialect()}
COUNTS = [0, 1, 7, 8, 9, 63, 64, 65, 200]


def message(number, payload=b"p"):
    return (number, "org", f"t/{number}", payload, b"", None, b"")


@pytest.fixture
def connection():
    with create_engine("sqlite://").begin() as connection:
        metadata.create_all(connection)
        yield connection


@pytest.mark.parametrize("count", COUNTS)
def test_rows_of_any_number_are_written_replaced_and_dropped(connection, count):
    read = select(messages).order_by(messages.c.number)
    rows = [message(number) for number in range(count)]
    put_rows(connection, messages, rows)
    assert connection.execute(read).all() == rows
    others = [message(number, b"other") for number in range(count // 2)]
    put_rows(connection, messages, others)
    assert connection.execute(read).all() == others + rows[count // 2 :]
    drop_rows(connection, primary_key(messages), [(number,) for number in range(1, count)])
    assert connection.execute(read).all() == (others + rows[count // 2 :])[:1]


@pytest.mark.parametrize("count", COUNTS)
def test_rows_that_are_new_are_added_and_others_refused(connection, count):
    rows = [message(number) for number in range(count)]
    add_rows(connection, messages, rows)
    assert connection.execute(select(messages).order_by(messages.c.number)).all() == rows
    if rows:
        with pytest.raises(IntegrityError):
            add_rows(connection, messages, [message(count), message(count - 1)])


@pytest.mark.parametrize("count", COUNTS)
def test_rows_of_any_number_are_found_once_each(connection, count):
    put_rows(connection, messages, [message(number) for number in range(300)])
    key = primary_key(messages)
    wanted = [(number,) for number in range(299, 299 - count, -1)]
    assert sorted(find_rows(connection, key, key, [*wanted, (1_000,)])) == sorted(wanted)


@pytest.mark.parametrize("count", COUNTS)
def test_rows_with_keys_of_two_parts_are_dropped_by_both(connection, count):
    rows = [(number % 3, number) for number in range(count)]
    put_rows(connection, received, rows)
    put_rows(connection, received, rows)
    drop_rows(connection, primary_key(received), [(b, a) for a, b in rows if (b, a) not in rows])
    assert sorted(connection.execute(select(received)).all()) == sorted(rows)
    drop_rows(connection, (received.c.session,), [(1,), (2,), (9,)])
    assert sorted(connection.execute(select(received)).all()) == sorted(row for row in rows if row[0] == 0)


@pytest.mark.parametrize("table", [messages, received, subscriptions, retained], ids=lambda table: table.name)
def test_sqlite_finds_what_it_drops_by_a_key(connection, table):
    for size in SIZES:
        statement = bulk._delete(connection.dialect, primary_key(table), size).string
        values = tuple([1] * statement.count("?"))
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
        assert not [step for *_, step in plan if step.startswith("SCAN")]


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_parameters_are_the_rows_one_after_the_other(name, table):
    dialect = DIALECTS[name]
    written = bulk._upsert(dialect, table, 2)
    names = [f"{column}_m{row}" for row in (0, 1) for column in table.columns.keys()]  # noqa: SIM118
    assert written.positiontup == names
    dropped = bulk._delete(dialect, primary_key(table), 2)
    assert len(dropped.positiontup) == 2 * len(primary_key(table))
    for compiled in (written, dropped):
        for number in range(1, len(compiled.positiontup) + 1):
            assert name == "sqlite" or f"${number}" in compiled.string
        assert name != "sqlite" or compiled.string.count("?") == len(compiled.positiontup)
