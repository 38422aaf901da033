"""Everything that is kept, read in one transaction; what belongs to nothing is taken away.

Such rows come about without anybody's fault: a save that was on its way while a family
was revoked comes after the revocation, and if the process ends before the core has taken
it back, the row is there.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import starmap
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, not_, or_, select

from tokenmq.broker.records import (
    DeliveryRecord,
    Kept,
    MessageRecord,
    ReceivedRecord,
    SubscriptionRecord,
)
from tokenmq.stores.sql.bulk import drop_rows, primary_key
from tokenmq.stores.sql.kept_rows import delivery_record, key_row, retained_record, session_record
from tokenmq.stores.sql.tables import (
    deliveries,
    families,
    keys,
    messages,
    organizations,
    received,
    retained,
    sessions,
    subscriptions,
)

_Kind = TypeVar("_Kind", SubscriptionRecord, MessageRecord, DeliveryRecord, ReceivedRecord)


def _organization_is_gone(table: Table) -> ColumnElement[bool]:
    return not_(exists().where(organizations.c.id == table.c.org_id))


# A session belongs to its user: that a later token has replaced the family of its last
# connection ends nothing of it.
_DELETE_SESSIONS = delete(sessions).where(
    or_(
        _organization_is_gone(sessions),
        exists().where(families.c.token_id == sessions.c.token_id, families.c.revoked_at.is_not(None)),
        and_(
            sessions.c.key_id.is_not(None),
            not_(exists().where(keys.c.id == sessions.c.key_id, keys.c.deleted_at.is_(None))),
        ),
    )
)
_DELETE_RETAINED = delete(retained).where(
    or_(
        _organization_is_gone(retained),
        exists().where(
            families.c.token_id == retained.c.token_id,
            families.c.revoked_at.is_not(None),
            families.c.retained_kept.is_(False),
        ),
    )
)
_SESSIONS = select(sessions).order_by(sessions.c.number)
_SUBSCRIPTIONS = select(subscriptions).order_by(subscriptions.c.session, subscriptions.c.topic_filter)
_MESSAGES = select(messages).order_by(messages.c.number)
_DELIVERIES = select(deliveries).order_by(deliveries.c.session, deliveries.c.position)
_RECEIVED = select(received).order_by(received.c.session, received.c.packet_id)
_RETAINED = select(retained).order_by(retained.c.org_id, retained.c.topic)


def load(connection: Connection) -> Kept:
    """Return everything that is kept, each kind in the order of its numbers or keys."""
    with _collector_paused():
        return _load(connection)


def _load(connection: Connection) -> Kept:
    connection.execute(_DELETE_SESSIONS)
    connection.execute(_DELETE_RETAINED)
    open_ = [session_record(row) for row in connection.execute(_SESSIONS)]
    numbers = {session.number for session in open_}
    stored = list(starmap(MessageRecord, connection.execute(_MESSAGES).all()))
    there = {message.number for message in stored}
    waiting = _belonging(
        connection,
        deliveries,
        list(map(delivery_record, connection.execute(_DELIVERIES).all())),
        lambda delivery: delivery.session in numbers and (delivery.released or delivery.message in there),
    )
    awaited = {delivery.message for delivery in waiting if not delivery.released}
    return Kept(
        sessions=open_,
        subscriptions=_belonging(
            connection,
            subscriptions,
            list(starmap(SubscriptionRecord, connection.execute(_SUBSCRIPTIONS))),
            lambda subscription: subscription.session in numbers,
        ),
        messages=_belonging(connection, messages, stored, lambda message: message.number in awaited),
        deliveries=waiting,
        received=_belonging(
            connection,
            received,
            list(starmap(ReceivedRecord, connection.execute(_RECEIVED))),
            lambda identifier: identifier.session in numbers,
        ),
        retained=[retained_record(row) for row in connection.execute(_RETAINED).all()],
    )


def _belonging(
    connection: Connection, table: Table, records: list[_Kind], belongs: Callable[[_Kind], bool]
) -> list[_Kind]:
    """Return the records that belong to something, and drop the rows of the others."""
    strays = [key_row(record.key) for record in records if not belongs(record)]
    if not strays:
        return records
    drop_rows(connection, primary_key(table), strays)
    return [record for record in records if belongs(record)]


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Let Python not look for garbage among some hundred thousand rows that all stay.

    It would cost half as much as reading them.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
