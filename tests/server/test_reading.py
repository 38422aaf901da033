"""The history is asked for the core: what comes of it where it cannot be."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from tokenmq.broker.effects import Heads, Load, Lost, Messages
from tokenmq.broker.reading import Unread
from tokenmq.server.reading import Reader
from tokenmq.stores.sql.dialect import DATABASE_NAME
from tokenmq.stores.sql.store import SqlStore

ORG = "org_aaaaaaaaaaaa"
QUERIES = [Heads(ORG, "#", 0, 64, None, 1), Lost(ORG, "#", 64, 0.0), Messages(ORG, (64,))]


async def asked(store, query):
    """Return what a reader answers."""
    answers = asyncio.Queue()
    reader = Reader(store, lambda _, answer: answers.put_nowait(answer), lambda first, count: None)
    reader.load(Load(None, query))
    answer = await answers.get()
    await reader.close()
    return answer


@pytest.mark.parametrize("query", QUERIES, ids=["heads", "lost", "messages"])
async def test_why_the_store_fails_is_answered_and_left_to_the_core_to_log(query, tmp_path):
    store = await SqlStore.open_folder(tmp_path)
    try:
        assert not isinstance(await asked(store.history, query), Unread)
        with closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as database:
            database.executescript("DROP TABLE history; DROP TABLE history_topics")
        with capture_logs() as lines:
            assert await asked(store.history, query) == Unread("the store failed to read")
        assert lines == []
    finally:
        await store.close()


async def test_where_there_is_no_history_that_is_the_answer():
    assert await asked(None, QUERIES[0]) == Unread("there is no history")
