"""What the core asks the history for: numbers for ids, and recorded messages.

A question waits until all that was given to the store before is settled; so what was recorded
is there when it is read. So many are asked at a time; the others wait their turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from tokenmq.broker.effects import Heads, Load, Lost
from tokenmq.broker.ids import BLOCK
from tokenmq.broker.reading import Answer, Unread
from tokenmq.errors import TokenmqError
from tokenmq.stores.history import HistoryQuery, HistoryStore
from tokenmq.tracebacks import told

_log = structlog.get_logger("tokenmq.history")

# Questions that are with the store at one time.
_AT_ONCE = 4


class Saves:
    """How many saves were given to the store and settled, and what waits for those so far."""

    def __init__(self) -> None:
        self._given = 0
        self._settled = 0
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()

    def given(self) -> None:
        """Count one that is given to the store; they are settled in order."""
        self._given += 1

    def settled(self) -> None:
        """Count one that is settled, and go on with what waited for no more."""
        self._settled += 1
        while self._waiting and self._waiting[0][0] <= self._settled:
            self._waiting.popleft()[1]()

    def after(self, step: Callable[[], None]) -> None:
        """Do something when all saves so far are settled."""
        if self._settled == self._given:
            step()
        else:
            self._waiting.append((self._given, step))


class Reader:
    """Asks the store, each question in a task of its own.

    Args:
        store: None: nothing is recorded, and nothing can be read.
        answered: takes what the store says.
        reserved: takes the first of so many reserved numbers; None where there are none.
    """

    def __init__(
        self,
        store: HistoryStore | None,
        answered: Callable[[Load, Answer], None],
        reserved: Callable[[int | None, int], None],
    ) -> None:
        self._store = store
        self._answered = answered
        self._reserved = reserved
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: deque[Load] = deque()
        self._asking = 0

    async def begin(self) -> None:
        """Reserve the first numbers. Raises: Unavailable."""
        if self._store is not None:
            self._reserved(await self._store.reserve(BLOCK), BLOCK)

    def reserve(self, count: int) -> None:
        """Reserve numbers."""
        if self._store is None:
            self._reserved(None, count)
        else:
            self._start(self._reserve(self._store, count))

    def load(self, load: Load) -> None:
        """Ask the history."""
        if self._store is None:
            self._answered(load, Unread("there is no history"))
        elif self._asking >= _AT_ONCE:
            self._waiting.append(load)
        else:
            self._asking += 1
            self._start(self._load(self._store, load))

    async def close(self) -> None:
        """Ask no more."""
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, question: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(question, name="history")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reserve(self, store: HistoryStore, count: int) -> None:
        first = None
        try:
            first = await store.reserve(count)
        except TokenmqError as error:
            _log.error("no_ids", reason=str(error))
        self._reserved(first, count)

    async def _load(self, store: HistoryStore, load: Load) -> None:
        answer: Answer
        try:
            answer = await _ask(store, load)
        except TokenmqError as error:
            answer = Unread(str(error))
        except Exception as error:  # a defect of ours must not leave a session waiting for ever
            _log.error("defect", **told(error))
            answer = Unread("defect")
        self._asking -= 1
        self._answered(load, answer)
        while self._waiting and self._asking < _AT_ONCE:
            self.load(self._waiting.popleft())


async def _ask(store: HistoryStore, load: Load) -> Answer:
    query = load.query
    if isinstance(query, Heads):
        return await store.heads(
            HistoryQuery(
                org_id=query.org_id,
                topic_filter=query.topic_filter,
                after=query.after,
                before=query.before,
                since=query.since,
                limit=query.limit,
            )
        )
    if isinstance(query, Lost):
        return await store.lost_after(query.org_id, query.topic_filter, query.after, since=query.since)
    return await store.messages(query.org_id, query.ids)
