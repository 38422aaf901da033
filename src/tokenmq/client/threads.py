"""Calls that block, each in a thread of its own.

Not in those of the event loop: they are few, and whoever's callbacks block in all of them
would keep a connection from being opened that these wait for. And a program that ends waits
for those, but not for one that still looks for a host.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def in_a_thread(function: Callable[[], T], name: str) -> asyncio.Future[T]:
    """Call a function in a new thread; what it returns or raises is the future's.

    Cancelling the future ends the waiting, not the thread.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: Callable[[], None]) -> None:
        if not future.done():
            result()

    def tell(result: Callable[[], None]) -> None:
        # The loop may have ended meanwhile: then nobody waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result)

    def work() -> None:
        try:
            result = function()
        except BaseException as error:
            failure = error
            tell(lambda: future.set_exception(failure))
        else:
            tell(lambda: future.set_result(result))

    threading.Thread(target=work, name=name, daemon=True).start()
    return future
