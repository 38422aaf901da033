"""What is too old in the history is dropped, a little at a time."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from tokenmq import clock
from tokenmq.access.recording import HistoryRules
from tokenmq.errors import NotFound, Unavailable
from tokenmq.services.organizations import Organizations
from tokenmq.stores.history import HistoryStore
from tokenmq.tracebacks import told

# Nobody reads what is too old whether it is there or not: this only makes room.
INTERVAL_SECONDS = 60.0

_log = structlog.get_logger("tokenmq.services")


class Sweeper:
    """Owns the task that sweeps the history; `once` is what it does.

    It has a task of its own: a sweep may take long, and nothing else is to wait for it.
    """

    def __init__(self, store: HistoryStore, organizations: Organizations) -> None:
        self._store = store
        self._organizations = organizations
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to sweep, now and every minute."""
        self._wake.set()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="history sweep")

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def wake(self) -> None:
        """Have it done soon: the rules have changed, or an organization is gone."""
        self._wake.set()

    async def once(self, now: float) -> None:
        """Sweep the history of every organization that has one, deleted ones too.

        Raises: Unavailable.
        """
        for org_id in await self._store.organizations():
            # Each step waits for a commit, so others get their turn.
            while await self._store.sweep(org_id, self._rules(org_id), now=now):
                pass

    def _rules(self, org_id: str) -> HistoryRules:
        try:
            return self._organizations.history_rules_of(org_id)
        except NotFound:
            return HistoryRules()

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), INTERVAL_SECONDS)
            self._wake.clear()
            try:
                await self.once(clock.now())
            except Unavailable as error:
                _log.warning("sweep_failed", reason=str(error))
            except Exception as error:  # a defect of ours must not keep the next time from coming
                _log.error("defect", **told(error))
