"""What is done from time to time: last uses are stored, what is over is let go of."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from tokenmq import clock
from tokenmq.errors import Unavailable
from tokenmq.services.families import Families
from tokenmq.services.keys import Keys
from tokenmq.stores.base import Store
from tokenmq.tracebacks import told

# The wire contract has no figure; a minute is what "last used" is good for.
INTERVAL_SECONDS = 60.0
# How long lists show a family after its end.
KEPT_SECONDS = 7 * 86_400
# Rows removed in one operation: it must not hold up the writes of others.
PRUNE_ROWS = 1_000
# Families of which it is stored in one operation who was connected, likewise.
USAGE_ROWS = 500

_log = structlog.get_logger("tokenmq.services")


class Upkeep:
    """Owns the periodic task; `once` is what it does."""

    def __init__(
        self, store: Store, keys: Keys, families: Families, *, kept_seconds: int = KEPT_SECONDS
    ) -> None:
        self._store = store
        self._keys = keys
        self._families = families
        self._kept_seconds = kept_seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to do it every minute."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="upkeep")

    async def stop(self) -> None:
        """End the task, and store last uses a last time."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        try:
            await self._keys.flush()
            await self._write_usage()
        except Unavailable as error:
            _log.warning("last_uses_lost", reason=str(error))

    async def once(self, now: float) -> None:
        """Do all of it.

        Raises: Unavailable.
        """
        self._families.forget(now)
        await self._keys.flush()
        await self._write_usage()
        await _all(lambda: self._store.families.prune(now - self._kept_seconds, limit=PRUNE_ROWS))
        await _all(lambda: self._store.idempotency.prune(now, limit=PRUNE_ROWS))

    async def _write_usage(self) -> None:
        """Store what was seen of families, and learn what the store knows of them.

        Raises: Unavailable; it is tried again next time.
        """
        while usages := self._families.take_usage(USAGE_ROWS):
            try:
                self._families.learn(await self._store.families.note(usages))
            except Unavailable:
                self._families.put_back(usages)
                raise

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            try:
                await self.once(clock.now())
            except Unavailable as error:
                _log.warning("upkeep_failed", reason=str(error))
            except Exception as error:  # a defect of ours must not keep the next time from coming
                _log.error("defect", **told(error))


async def _all(prune: Callable[[], Awaitable[int]]) -> None:
    while await prune() >= PRUNE_ROWS:
        pass
