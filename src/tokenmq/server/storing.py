"""What the core has kept and recorded, and what it asks of the history: its owner's way to the store."""

from __future__ import annotations

import abc
from collections.abc import Callable
from functools import partial

import structlog

from tokenmq.broker.broker import Broker
from tokenmq.broker.effects import Load
from tokenmq.broker.keeping import Batch
from tokenmq.broker.reading import Answer
from tokenmq.broker.recording import Taken
from tokenmq.errors import Unavailable
from tokenmq.server.reading import Reader, Saves
from tokenmq.stores.history import HistoryStore
from tokenmq.stores.kept import KeptStore

_log = structlog.get_logger("tokenmq.hub")


class Storing(abc.ABC):
    """What an owner of the core does between it and the store.

    Attributes:
        broker: the core.
        reader: asks the history for the core.
    """

    broker: Broker

    def __init__(self, kept: KeptStore, history: HistoryStore | None) -> None:
        self._kept = kept
        self._saves = Saves()
        self._loads: list[Load] = []
        self.reader = Reader(history, self._loaded, self._reserved)

    @abc.abstractmethod
    def settle(self) -> None:
        """Write and perform what an entry into the core has left."""

    @abc.abstractmethod
    def come_in(self) -> None:
        """Tell the core what time it is."""

    def _keep(self) -> None:
        """Have kept and recorded what is to be, and ask the history behind that."""
        broker = self.broker
        batch = broker.keeping.take()
        if batch is not None:
            self._save(batch)
        if broker.recorder.due or self._loads:
            self._record()

    def _record(self) -> None:
        """Have recorded what waits; ask the history when all of it is there."""
        loads, self._loads = self._loads, []
        for taken in self.broker.recorder.take():
            self._save(taken)
        for load in loads:
            self._saves.after(partial(self.reader.load, load))

    def _save(self, batch: Batch | Taken) -> None:
        self._saves.given()
        changes = batch.changes
        self._kept.save(changes, partial(self._settled_batch, batch, len(changes)))

    def _settled_batch(self, batch: Batch | Taken, changes: int, error: Unavailable | None) -> None:
        """Go on with what waited for the store."""
        if error is not None:
            _log.error("not_stored", reason=str(error), changes=changes)
        self.come_in()
        batch.settled(kept=error is None)
        self._saves.settled()
        self.settle()

    async def begin_history(self) -> None:
        """Reserve the first ids of messages; to be called before anybody connects. Raises: Unavailable."""
        await self.reader.begin()

    def _loaded(self, load: Load, answer: Answer) -> None:
        """Give the core what the history has said."""
        self.come_in()
        self.broker.loaded(load, answer)
        self.settle()

    def _reserved(self, first: int | None, count: int) -> None:
        """Give the core numbers for ids."""
        if first is None:
            self.broker.recorder.ids.asked = False  # the next tick asks again
        else:
            self.broker.recorder.ids.add(first, count)

    def after_saves(self, step: Callable[[], None]) -> None:
        """Do something when everything recorded so far is in the store, or could not be stored."""
        self.broker.recorder.flush()
        self.settle()
        self._saves.after(step)
