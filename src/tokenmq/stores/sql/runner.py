"""How work on a connection is run beside the event loop.

All SQL here is written as plain functions of a `Connection`. A runner runs one of them,
whole, in one transaction. SQLite's does it in a thread of its own: one hop there and back
for a whole group of writes. A driver that hops for every statement (aiosqlite) costs four
hops for each; measured, a commit of one row: 1.9 ms of CPU against 0.7. PostgreSQL's
(asyncpg) waits on the loop itself: its runner hands the same functions to
`AsyncConnection.run_sync`, which runs them in a greenlet that gives way at each statement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, Engine

from tokenmq.errors import Unavailable

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

# The loop is asked from inside a transaction: if it does not answer, all is rolled back.
_ANSWER_SECONDS = 10.0


class Runner(Protocol):
    """Runs plain functions in transactions."""

    async def run(self, work: Callable[[Connection], Result], *, patient: bool = False) -> Result:
        """Run `work` in a transaction that is committed when this returns.

        Whatever `work` or the commit raises comes out, after a rollback.

        Args:
            work: may be called once.
            patient: it may take as long as it likes; else a transaction over a network is
                given up after a while, with a TimeoutError.

        Raises: Unavailable when it is closed.
        """
        ...

    def on_loop(self, question: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        """Return a function for use inside `work` that asks `question` on the event loop.

        To be called on the loop.
        """
        ...

    async def close(self) -> None:
        """Close the connections, when what runs is done."""
        ...


class ThreadRunner:
    """A `Runner` for a driver that blocks, on threads of its own."""

    def __init__(self, engine: Engine, *, threads: int, name: str) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._closed = False

    async def run(
        self,
        work: Callable[[Connection], Result],
        *,
        patient: bool = False,  # noqa: ARG002
    ) -> Result:
        """Run `work`; nothing here takes long but `work` itself, and a thread cannot be stopped."""
        if self._closed:
            raise Unavailable("the store is closed")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, work)

    def on_loop(self, question: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        """Return a function that asks `question` on the loop and waits for the answer."""
        loop = asyncio.get_running_loop()

        def ask(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            answer: Future[Result] = Future()
            loop.call_soon_threadsafe(_answer, answer, lambda: question(*args, **kwargs))
            return answer.result(_ANSWER_SECONDS)

        return ask

    async def close(self) -> None:
        """Close the connections, when what runs is done."""
        self._closed = True
        await asyncio.to_thread(self._threads.shutdown)
        self._engine.dispose()

    def _run(self, work: Callable[[Connection], Result]) -> Result:
        with self._engine.begin() as connection:
            return work(connection)


def _answer(answer: Future[Result], question: Callable[[], Result]) -> None:
    try:
        answer.set_result(question())
    # It belongs to the one who asks, in the other thread.
    except Exception as error:
        answer.set_exception(error)
