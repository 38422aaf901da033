"""Where the calls of both forms meet their network: one that is awaited, one that blocks.

Theory of operation. `core` is written once, as coroutines over a `Network`. Under asyncio
they are awaited. Without it the network blocks in what it is asked, so that a coroutine
never has to wait: one step runs it to its end (`finish`), with no event loop and no thread,
and as many threads as like may do so at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, Protocol, TypeVar

import httpx2

R = TypeVar("R")


class Network(Protocol):
    """What the calls need: requests, and time that passes."""

    async def request(self, method: str, path: str, **what: Any) -> httpx2.Response:
        """Send a request and return its answer. Raises: httpx2.TransportError without one."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    async def close(self) -> None:
        """Close the network connections."""
        ...


class AwaitedNetwork:
    """Connections under asyncio."""

    def __init__(
        self, http: httpx2.AsyncClient, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._http = http
        self._sleep = sleep

    async def request(self, method: str, path: str, **what: Any) -> httpx2.Response:
        """Send a request."""
        return await self._http.request(method, path, **what)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._sleep(seconds)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


class BlockingNetwork:
    """Connections that block; its coroutines return without ever having waited."""

    def __init__(self, http: httpx2.Client, sleep: Callable[[float], None] = time.sleep) -> None:
        self._http = http
        self._sleep = sleep

    async def request(self, method: str, path: str, **what: Any) -> httpx2.Response:
        """Send a request, and block until its answer is here."""
        return self._http.request(method, path, **what)

    async def sleep(self, seconds: float) -> None:
        """Block for so long."""
        self._sleep(seconds)

    async def close(self) -> None:
        """Close the connections."""
        self._http.close()


def finish(coroutine: Coroutine[Any, Any, R] | Awaitable[R]) -> R:
    """Run a coroutine that never waits to its end, and return what it returns."""
    step = coroutine.__await__()
    try:
        next(step)
    except StopIteration as end:
        result: R = end.value
        return result
    raise RuntimeError("a call without asyncio has waited")


def finish_each(items: AsyncIterator[R]) -> Iterator[R]:
    """Yield what an async iterator that never waits yields."""
    try:
        while True:
            try:
                item = finish(anext(items))
            except StopAsyncIteration:
                return
            yield item
    finally:
        if isinstance(items, AsyncGenerator):
            finish(items.aclose())
