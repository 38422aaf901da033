"""A task that does its work every minute, whatever happened the last time."""

from __future__ import annotations

import abc
import asyncio
import contextlib
from typing import ClassVar

import structlog

from tokenmq import clock
from tokenmq.errors import Unavailable
from tokenmq.tracebacks import told

# The wire contract has no figure; a minute is what "last used" is good for. Nobody reads what is too old
# whether it is there or not.
INTERVAL_SECONDS = 60.0

_log = structlog.get_logger("tokenmq.services")


class Periodic(abc.ABC):
    """Owns the task; `once` is what it does.

    Attributes:
        name: of the task.
        failed: the event that is logged when the store could not be asked.
    """

    name: ClassVar[str]
    failed: ClassVar[str]

    def __init__(self) -> None:
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to do it every minute."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def wake(self) -> None:
        """Have it done soon."""
        self._wake.set()

    @abc.abstractmethod
    async def once(self, now: float) -> None:
        """Do all of it.

        Raises: Unavailable.
        """

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), INTERVAL_SECONDS)
            self._wake.clear()
            try:
                await self.once(clock.now())
            except Unavailable as error:
                _log.warning(self.failed, reason=str(error))
            except Exception as error:  # a defect of ours must not keep the next time from coming
                _log.error("defect", **told(error))
