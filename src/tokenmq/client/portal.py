"""An event loop in a thread of its own, for callers that have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tokenmq.errors import InvalidRequest

T = TypeVar("T")


class Portal:
    """Runs coroutines in its thread; whoever asks for one waits for it in their own.

    A process that forks afterwards has no such thread: make it after the fork.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tokenmq-client", daemon=True)
        self._thread.start()

    @property
    def is_closed(self) -> bool:
        """It runs nothing any more."""
        return self._loop.is_closed()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end; an interrupt of the caller cancels it.

        Raises: what it raises; InvalidRequest in the portal's own thread, which would wait for itself.
        """
        if self.is_closed or threading.current_thread() is self._thread:
            coroutine.close()
            why = "it is closed" if self.is_closed else "an async callback cannot call a client that blocks"
            raise InvalidRequest(("", why))
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the portal's thread."""

        async def called() -> T:
            return function()

        return self.run(called())

    def close(self) -> None:
        """End what still runs, and the thread."""
        if self.is_closed:
            return
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        if task is not None:
            task.cancel()
    await asyncio.gather(*(task for task in others if task is not None), return_exceptions=True)


def in_a_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return an async function that calls a plain one in a worker thread, where it may block."""

    async def called(*arguments: Any) -> Any:
        return await asyncio.to_thread(function, *arguments)

    return called
