"""An event loop in a thread of its own, for callers that have none."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from tokenmq.errors import InvalidRequest

T = TypeVar("T")

# Callbacks that block at the same time. One that waits for another must not keep it from running,
# and threads are made when they are needed.
MOST_THREADS: Final = 1000


class Portal:
    """Runs coroutines in its thread; whoever asks for one waits for it in their own.

    A process that forks afterwards has no such thread: make it after the fork.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_ending = False
        # In a thread that runs callbacks it has the attribute `is_here`.
        self._calling = threading.local()
        self._threads = concurrent.futures.ThreadPoolExecutor(
            MOST_THREADS, "tokenmq-callback", initializer=lambda: setattr(self._calling, "is_here", True)
        )
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(self._threads)
        self._thread = threading.Thread(target=self._loop.run_forever, name="tokenmq-client", daemon=True)
        self._thread.start()

    @property
    def is_closed(self) -> bool:
        """It runs nothing any more."""
        return self._is_ending

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end; an interrupt of the caller cancels it.

        Raises: what it raises; InvalidRequest in the portal's own thread, which would wait for itself,
            and when the portal is closed, before or meanwhile.
        """
        with self._lock:
            is_own = threading.current_thread() is self._thread
            if self._is_ending or is_own:
                coroutine.close()
                why = "an async callback cannot call a client that blocks" if is_own else "it is closed"
                raise InvalidRequest(("", why))
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError as error:
            raise InvalidRequest(("", "it was closed meanwhile")) from error
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the portal's thread."""

        async def called() -> T:
            return function()

        return self.run(called())

    def close(self, last: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """Run what is given, end what still runs, and the threads; again is nothing.

        A callback may ask for this: its own thread ends when it returns.

        Raises: what `last` raises; InvalidRequest in the portal's own thread.
        """
        with self._lock:
            if threading.current_thread() is self._thread:
                raise InvalidRequest(("", "an async callback cannot call a client that blocks"))
            if self._is_ending:
                return
            self._is_ending = True
            ending = asyncio.run_coroutine_threadsafe(_ended(last), self._loop)
        try:
            ending.result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._threads.shutdown(wait=not hasattr(self._calling, "is_here"))
            self._loop.close()


async def _ended(last: Callable[[], Coroutine[Any, Any, None]] | None) -> None:
    try:
        if last is not None:
            await last()
    finally:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in others if task is not None), return_exceptions=True)


def in_a_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return an async function that calls a plain one in a worker thread, where it may block.

    What an async one returns is awaited, in the portal's thread.
    """

    async def called(*arguments: Any) -> Any:
        result = await asyncio.to_thread(function, *arguments)
        return await result if inspect.isawaitable(result) else result

    return called
