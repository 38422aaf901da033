"""Callbacks by event. Any number of them; setting one never unsets another."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

logger = logging.getLogger("tokenmq.client")

Callback = Callable[..., Any]


class Events:
    """Who is to be told what. Callbacks are plain or async; what one raises is logged and ends there."""

    def __init__(self) -> None:
        self._callbacks: defaultdict[str, list[Callback]] = defaultdict(list)
        self._slots: dict[str, Callback] = {}
        self._running: set[asyncio.Task[None]] = set()

    def add(self, event: str, callback: Callback) -> None:
        """Tell this one too, after those that were added before."""
        self._callbacks[event].append(callback)

    def remove(self, event: str, callback: Callback) -> None:
        """Tell this one no more; nothing happens if it was not told."""
        if callback in self._callbacks[event]:
            self._callbacks[event].remove(callback)

    def put(self, event: str, callback: Callback | None) -> None:
        """Put it in the one place of its event that is set and not added to; None empties that."""
        if (before := self._slots.pop(event, None)) is not None:
            self.remove(event, before)
        if callback is not None:
            self._slots[event] = callback
            self.add(event, callback)

    def has(self, event: str) -> bool:
        """Whether anybody is told."""
        return bool(self._callbacks[event])

    def tell(self, event: str, *what: Any) -> None:
        """Call everybody; async ones go on by themselves."""
        for callback in tuple(self._callbacks[event]):
            try:
                result = callback(*what)
            except Exception:
                logger.exception("a callback of %s has failed", event)
                continue
            if inspect.isawaitable(result):
                task = asyncio.ensure_future(_logged(event, result))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Cancel the async callbacks that still run, apart from one that is asking for this."""
        running = [task for task in self._running if task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _logged(event: str, result: Awaitable[Any]) -> None:
    try:
        await result
    except Exception:
        logger.exception("a callback of %s has failed", event)
