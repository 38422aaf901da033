"""Changes of what is kept, made inside a transaction, a batch of saves at a time.

Of the changes of a batch only the last under each key reaches the database. Dropping a
session undoes what the batch has put under it so far, and drops what is stored under it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, cast

from sqlalchemy import Connection, Table

from tokenmq.broker.records import (
    Change,
    DeliveryRecord,
    MessageRecord,
    ReceivedRecord,
    Record,
    RetainedRecord,
    SessionRecord,
    SubscriptionRecord,
)
from tokenmq.stores.sql.bulk import Row, drop_rows, primary_key, put_rows
from tokenmq.stores.sql.kept_rows import delivery_row, key_row, plain_row, session_row
from tokenmq.stores.sql.tables import deliveries, messages, received, retained, sessions, subscriptions

_Key: TypeAlias = Any  # of the kind it stands under
_Last: TypeAlias = dict[_Key, Record | None]

_ROWS: dict[type[Record], tuple[Table, Callable[[Any], Row]]] = {
    SessionRecord: (sessions, session_row),
    SubscriptionRecord: (subscriptions, plain_row),
    MessageRecord: (messages, plain_row),
    DeliveryRecord: (deliveries, delivery_row),
    ReceivedRecord: (received, plain_row),
    RetainedRecord: (retained, plain_row),
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
    for kind, (table, row_of) in _ROWS.items():
        rows: list[Row] = []
        keys: list[Row] = []
        for last in changes.of(kind):
            for key, record in last.items():
                if record is not None:
                    rows.append(row_of(record))
                else:
                    keys.append(key_row(key))
        put_rows(connection, table, rows)
        drop_rows(connection, primary_key(table), keys)
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
        self._hanging: dict[type[Record], defaultdict[int, _Last]] = {
            kind: defaultdict(dict) for kind in _OF_SESSION
        }
        self._others: dict[type[Record], _Last] = {kind: {} for kind in _ROWS if kind not in _OF_SESSION}

    def add(self, changes: Iterable[Change]) -> None:
        """Take the next changes."""
        hanging = self._hanging
        for kind, key, record in changes:
            by_session = hanging.get(kind)
            if by_session is not None:
                by_session[cast("tuple[int, Any]", key)[0]][key] = record
                continue
            self._others[kind][key] = record
            if kind is SessionRecord and record is None:
                self._end(cast("int", key))

    def of(self, kind: type[Record]) -> Iterable[_Last]:
        """Return what is left of a kind, in parts."""
        by_session = self._hanging.get(kind)
        return [self._others[kind]] if by_session is None else by_session.values()

    def _end(self, number: int) -> None:
        self.ended.add(number)
        for by_session in self._hanging.values():
            by_session.pop(number, None)
