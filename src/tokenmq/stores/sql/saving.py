"""Changes of what is kept, made inside a transaction, a batch of saves at a time.

Of the changes of a batch only the last under each key reaches the database. Dropping a
session undoes what the batch has put under it so far, and drops what is stored under it.
What is recorded in the history has bounds of its own (`recording`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, cast

from sqlalchemy import Connection, Table

from tokenmq.broker.records import (
    Change,
    DeliveryRecord,
    HistoryRecord,
    MessageRecord,
    ReceivedRecord,
    Record,
    RetainedRecord,
    SessionRecord,
    SubscriptionRecord,
)
from tokenmq.stores.sql.bulk import Row, drop_rows, primary_key, put_rows
from tokenmq.stores.sql.kept_rows import delivery_row, key_row, plain_row, retained_row, session_row
from tokenmq.stores.sql.recording import record_messages, take_back
from tokenmq.stores.sql.tables import deliveries, messages, received, retained, sessions, subscriptions

# The last record under each key of a kind; None where it is dropped.
_Last: TypeAlias = dict[Any, Record | None]

_ROWS: dict[type[Record], tuple[Table, Callable[[Any], Row]]] = {
    SessionRecord: (sessions, session_row),
    SubscriptionRecord: (subscriptions, plain_row),
    MessageRecord: (messages, plain_row),
    DeliveryRecord: (deliveries, delivery_row),
    ReceivedRecord: (received, plain_row),
    RetainedRecord: (retained, retained_row),
}
# What hangs on a session; its number is the first part of their keys.
_OF_SESSION: dict[type[Record], Table] = {
    SubscriptionRecord: subscriptions,
    DeliveryRecord: deliveries,
    ReceivedRecord: received,
}


def save(connection: Connection, batch: Sequence[Sequence[Change]]) -> list[None]:
    """Make the changes of a batch of saves, in their order."""
    changes = _Coalesced()
    for saved in batch:
        changes.add(saved)
    if changes.ended:
        drop_from_sessions(connection, list(changes.ended))
    for kind, last in changes.left().items():
        if kind is HistoryRecord:
            record_messages(connection, cast("list[HistoryRecord]", [*filter(None, last.values())]))
            take_back(connection, [key for key, one in last.items() if one is None])
            continue
        table, row_of = _ROWS[kind]
        put_rows(connection, table, [row_of(one) for one in last.values() if one is not None])
        dropped = [key_row(key) for key, one in last.items() if one is None]
        drop_rows(connection, primary_key(table), dropped)
    return [None] * len(batch)


def drop_from_sessions(connection: Connection, numbers: Iterable[int]) -> None:
    """Drop all that hangs on these sessions."""
    keys = [(number,) for number in numbers]
    for table in _OF_SESSION.values():
        drop_rows(connection, (table.c.session,), keys)


class _Coalesced:
    """What is left of changes: the last under each key.

    Attributes:
        ended: sessions that were dropped, some of them put again.
    """

    def __init__(self) -> None:
        self.ended: set[int] = set()
        self._last: dict[type[Record], _Last] = {kind: {} for kind in (*_ROWS, HistoryRecord)}
        # Of these, what was put before they ended is still there.
        self._unswept: set[int] = set()

    def add(self, changes: Iterable[Change]) -> None:
        """Take the next changes."""
        last, unswept = self._last, self._unswept
        for kind, key, record in changes:
            if unswept and kind in _OF_SESSION and cast("tuple[int, Any]", key)[0] in unswept:
                self._sweep()
            last[kind][key] = record
            if kind is SessionRecord and record is None:
                self.ended.add(cast("int", key))
                unswept.add(cast("int", key))

    def left(self) -> dict[type[Record], _Last]:
        """Return what is left, by kind."""
        if self._unswept:
            self._sweep()
        return self._last

    def _sweep(self) -> None:
        """Forget what hung on sessions that ended: all at once, for each look goes over everything."""
        for kind in _OF_SESSION:
            last = self._last[kind]
            self._last[kind] = {key: last[key] for key in last if key[0] not in self._unswept}
        self._unswept.clear()
