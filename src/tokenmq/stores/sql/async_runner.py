"""Work on connections of a driver that waits on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tokenmq.errors import Unavailable

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

# One transaction, which a lost network would let wait for ever: as long as a request may take.
LIMIT_SECONDS = 10.0


class AsyncRunner:
    """A `Runner` for a driver that waits on the event loop."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._closed = False

    async def run(self, work: Callable[[Connection], Result], *, patient: bool = False) -> Result:
        """Run `work` in a transaction that is committed when this returns."""
        limit = None if patient else LIMIT_SECONDS
        async with self.connection(limit) as connection, connection.begin():
            return await connection.run_sync(work)

    @asynccontextmanager
    async def connection(self, limit_seconds: float | None = LIMIT_SECONDS) -> AsyncIterator[AsyncConnection]:
        """Have a connection for a limited time; None is no limit.

        Raises: Unavailable when this is closed, TimeoutError, what the driver raises.
        """
        if self._closed:
            raise Unavailable("the store is closed")
        async with asyncio.timeout(limit_seconds), self._engine.connect() as connection:
            yield connection

    def on_loop(self, question: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        """Return the question itself: `work` runs on the loop."""
        return question

    async def close(self) -> None:
        """Close the connections; what runs closes its own when it is done."""
        self._closed = True
        await self._engine.dispose()
