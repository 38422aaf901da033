"""What requests with an `Idempotency-Key` made, in SQL; `creating` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, select, tuple_

from tokenmq.errors import TokenmqError
from tokenmq.stores.base import IdempotencyRecord, IdempotencyScope
from tokenmq.stores.sql.order import Order
from tokenmq.stores.sql.reader import Reader
from tokenmq.stores.sql.rows import idempotency_record
from tokenmq.stores.sql.tables import idempotency
from tokenmq.stores.sql.writer import GroupWriter, Work

_ONE = select(idempotency).where(
    idempotency.c.key_id == bindparam("key_id"),
    idempotency.c.path == bindparam("path"),
    idempotency.c.value == bindparam("value"),
    idempotency.c.forget_at > bindparam("now"),
)
_PRIMARY = tuple_(idempotency.c.key_id, idempotency.c.path, idempotency.c.value)
_PRUNE = delete(idempotency).where(
    _PRIMARY.in_(
        select(idempotency.c.key_id, idempotency.c.path, idempotency.c.value)
        .where(idempotency.c.forget_at <= bindparam("now"))
        .limit(bindparam("size"))
    )
)


@dataclass(frozen=True, slots=True)
class _Pruning:
    now: float
    limit: int


class SqlIdempotency:
    """`IdempotencyStore` in SQL."""

    def __init__(self, reader: Reader, writer: GroupWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def find(self, scope: IdempotencyScope, now: float) -> IdempotencyRecord | None:
        """Return what a scope made, None when nothing or when it is to be forgotten."""
        values = {"key_id": scope.key_id, "path": scope.path, "value": scope.value, "now": int(now)}
        rows = await self._reader.rows(_ONE, values)
        return idempotency_record(rows[0]) if rows else None

    async def prune(self, now: float, *, limit: int) -> int:
        """Remove at most `limit` records that are to be forgotten."""
        return await self._writer.submit(_PRUNING, _Pruning(now, limit), int)


def _prune(connection: Connection, batch: Sequence[_Pruning]) -> list[int | TokenmqError]:
    return [
        connection.execute(_PRUNE, {"now": int(pruning.now), "size": pruning.limit}).rowcount
        for pruning in batch
    ]


_PRUNING = Work(Order.PRUNE_IDEMPOTENCY, _prune)
