"""Keys in SQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, or_, select, update

from tokenmq.errors import InvalidKey, NotFound, TokenmqError
from tokenmq.stores.audit import Audit
from tokenmq.stores.base import EndedFamily, Result, Selection
from tokenmq.stores.sql.ending import end_sessions
from tokenmq.stores.sql.order import Order
from tokenmq.stores.sql.reader import Reader
from tokenmq.stores.sql.revoking import Revocation, revoke_selected
from tokenmq.stores.sql.rows import key_record, key_row
from tokenmq.stores.sql.tables import keys
from tokenmq.stores.sql.writer import GroupWriter, Work
from tokenmq.tokens.records import KeyRecord

_ALL = select(keys).where(keys.c.deleted_at.is_(None)).order_by(keys.c.created_at, keys.c.id)
_INSERT = insert(keys)
_DELETE = (
    update(keys)
    .where(keys.c.id == bindparam("at"), keys.c.deleted_at.is_(None))
    .values(deleted_at=bindparam("now"))
)
_TOUCH = update(keys).where(keys.c.id == bindparam("at")).values(last_used_at=bindparam("used"))
_GOOD = select(keys.c.id).where(
    keys.c.id.in_(bindparam("ids", expanding=True)),
    keys.c.deleted_at.is_(None),
    or_(keys.c.expires_at.is_(None), keys.c.expires_at > bindparam("now")),
)


def good_keys(connection: Connection, key_ids: Collection[str], now: float) -> set[str]:
    """Return those of these keys that are neither deleted nor expired in this transaction."""
    return set(connection.execute(_GOOD, {"ids": list(key_ids), "now": int(now)}).scalars())


@dataclass(frozen=True, slots=True)
class _NewKey:
    record: KeyRecord
    made_by: str | None


@dataclass(frozen=True, slots=True)
class _Deletion:
    key_id: str
    now: float
    revocation: Revocation | None


class SqlKeys:
    """`KeyStore` in SQL."""

    def __init__(self, reader: Reader, writer: GroupWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def load(self) -> list[KeyRecord]:
        """Return all that are not deleted, oldest first."""
        return [key_record(row) for row in await self._reader.rows(_ALL)]

    async def create(
        self,
        record: KeyRecord,
        *,
        made_by: str | None,
        audit: Audit[KeyRecord] = (),
        applied: Callable[[KeyRecord], Result],
    ) -> Result:
        """Store a new one."""
        return await self._writer.submit(_CREATING, _NewKey(record, made_by), applied, audit)

    async def delete(
        self,
        key_id: str,
        *,
        now: float,
        revoke: Selection | None,
        reason: str | None,
        audit: Audit[Sequence[EndedFamily]] = (),
        applied: Callable[[Sequence[EndedFamily]], Result],
    ) -> Result:
        """Delete one with its sessions and revoke the families of `revoke`, in one step."""
        revocation = None if revoke is None else Revocation(revoke, now, reason)
        return await self._writer.submit(_DELETING, _Deletion(key_id, now, revocation), applied, audit)

    async def touch(self, used: Mapping[str, int]) -> None:
        """Store when keys were last used."""
        if used:
            await self._writer.submit(_TOUCHING, used, int)


def _create(connection: Connection, batch: Sequence[_NewKey]) -> list[KeyRecord | TokenmqError]:
    outcomes: list[KeyRecord | TokenmqError] = []
    for new in batch:
        if new.made_by is not None and not good_keys(connection, {new.made_by}, new.record.created_at):
            outcomes.append(InvalidKey("the key that makes this one is deleted or expired"))
            continue
        connection.execute(_INSERT, key_row(new.record))
        outcomes.append(new.record)
    return outcomes


def _delete(connection: Connection, batch: Sequence[_Deletion]) -> list[Sequence[EndedFamily] | TokenmqError]:
    outcomes: list[Sequence[EndedFamily] | TokenmqError] = []
    for deletion in batch:
        values = {"at": deletion.key_id, "now": int(deletion.now)}
        if not connection.execute(_DELETE, values).rowcount:
            outcomes.append(NotFound(f"there is no key {deletion.key_id}"))
            continue
        end_sessions(connection, "key_id", [deletion.key_id])
        revocation = deletion.revocation
        outcomes.append(() if revocation is None else revoke_selected(connection, revocation))
    return outcomes


def _touch(connection: Connection, batch: Sequence[Mapping[str, int]]) -> list[int | TokenmqError]:
    newest: dict[str, int] = {}
    for used in batch:
        newest.update(used)
    connection.execute(_TOUCH, [{"at": key_id, "used": at} for key_id, at in newest.items()])
    return [len(used) for used in batch]


def _no_organization(new: _NewKey) -> NotFound:
    return NotFound(f"there is no organization {new.record.org_id}", code="organization_not_found")


_CREATING = Work(Order.CREATE_KEY, _create, _no_organization)
_DELETING = Work(Order.DELETE_KEY, _delete)
_TOUCHING = Work(Order.TOUCH_KEYS, _touch)
