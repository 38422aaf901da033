"""What outlives a connection, in SQL: saves that wait for nobody, and one load at the start."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from tokenmq.broker.records import Change, Kept
from tokenmq.errors import TokenmqError, Unavailable
from tokenmq.stores.sql.loading import load
from tokenmq.stores.sql.order import Order
from tokenmq.stores.sql.saving import save
from tokenmq.stores.sql.writer import GroupWriter, Work


class SqlKept:
    """`KeptStore` in SQL."""

    def __init__(self, writer: GroupWriter) -> None:
        self._writer = writer

    async def load(self) -> Kept:
        """Return everything, and drop what belongs to nothing."""

        def same(kept: Kept) -> Kept:
            return kept

        return await self._writer.submit(_LOADING, None, same)

    def save(self, changes: Sequence[Change], settled: Callable[[Unavailable | None], None]) -> None:
        """Have changes made."""
        self._writer.post(_SAVING, changes, settled, size=len(changes))


def _load(connection: Connection, batch: Sequence[None]) -> list[Kept | TokenmqError]:
    return [load(connection) for _ in batch]


_SAVING = Work(Order.SAVE_KEPT, save)
_LOADING = Work(Order.LOAD_KEPT, _load)
