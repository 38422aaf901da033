"""Whether a family may be founded or go on: its key and its provider, as this transaction has them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, bindparam, select

from tokenmq.errors import InvalidKey, InvalidToken, TokenmqError
from tokenmq.stores.sql.keys import good_keys
from tokenmq.stores.sql.tables import providers
from tokenmq.tokens.records import FamilyRecord

_ENABLED = select(providers.c.id).where(
    providers.c.id.in_(bindparam("ids", expanding=True)), providers.c.enabled.is_(True)
)


def objections(
    connection: Connection, records: Sequence[FamilyRecord], now: float
) -> list[TokenmqError | None]:
    """Say of each family why it may not be issued now; None for those that may.

    A family was founded by a key, or by an identity provider's token: then `key_id` is empty.
    """
    key_ids = {record.key_id for record in records if record.key_id}
    good = good_keys(connection, key_ids, now) if key_ids else set()
    provider_ids = {record.provider_id for record in records if record.provider_id is not None}
    enabled = _enabled(connection, provider_ids) if provider_ids else set()
    return [_objection(record, good, enabled) for record in records]


def _objection(record: FamilyRecord, good: set[str], enabled: set[str]) -> TokenmqError | None:
    if record.key_id:
        return None if record.key_id in good else InvalidKey("the key is deleted or expired")
    if record.provider_id in enabled:
        return None
    return InvalidToken("the identity provider of this token is disabled or deleted")


def _enabled(connection: Connection, provider_ids: Collection[str]) -> set[str]:
    return set(connection.execute(_ENABLED, {"ids": list(provider_ids)}).scalars())
