"""Identity providers in SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, exists, insert, select, update

from tokenmq.errors import Conflict, InvalidKey, NotFound, TokenmqError
from tokenmq.stores.audit import Audit
from tokenmq.stores.base import Result
from tokenmq.stores.sql.keys import good_keys
from tokenmq.stores.sql.order import Order
from tokenmq.stores.sql.reader import Reader
from tokenmq.stores.sql.rows import provider_record, provider_row
from tokenmq.stores.sql.tables import organizations, providers
from tokenmq.stores.sql.writer import GroupWriter, Work
from tokenmq.tokens.foreign.configuration import ProviderRecord

_ALL = select(providers).order_by(providers.c.created_at, providers.c.id)
_INSERT = insert(providers)
_UPDATE = (
    update(providers)
    .where(providers.c.id == bindparam("at"))
    .values(
        name=bindparam("name"),
        configuration=bindparam("configuration"),
        secret=bindparam("secret"),
        enabled=bindparam("enabled"),
    )
)
_DELETE = delete(providers).where(providers.c.id == bindparam("at"))
_ORGANIZATION = select(exists().where(organizations.c.id == bindparam("at")))


@dataclass(frozen=True, slots=True)
class _NewProvider:
    record: ProviderRecord
    made_by: str


class SqlProviders:
    """`ProviderStore` in SQL."""

    def __init__(self, reader: Reader, writer: GroupWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def load(self) -> list[ProviderRecord]:
        """Return all, oldest first."""
        return [provider_record(row) for row in await self._reader.rows(_ALL)]

    async def create(
        self,
        record: ProviderRecord,
        *,
        made_by: str,
        audit: Audit[ProviderRecord] = (),
        applied: Callable[[ProviderRecord], Result],
    ) -> Result:
        """Store a new one."""
        return await self._writer.submit(_CREATING, _NewProvider(record, made_by), applied, audit)

    async def update(
        self,
        record: ProviderRecord,
        *,
        audit: Audit[ProviderRecord] = (),
        applied: Callable[[ProviderRecord], Result],
    ) -> Result:
        """Store what may change of an existing one."""
        return await self._writer.submit(_UPDATING, record, applied, audit)

    async def delete(
        self, provider_id: str, *, audit: Audit[str] = (), applied: Callable[[str], Result]
    ) -> Result:
        """Remove one."""
        return await self._writer.submit(_DELETING, provider_id, applied, audit)


def _create(connection: Connection, batch: Sequence[_NewProvider]) -> list[ProviderRecord | TokenmqError]:
    outcomes: list[ProviderRecord | TokenmqError] = []
    for new in batch:
        record = new.record
        if not connection.scalar(_ORGANIZATION, {"at": record.org_id}):
            outcomes.append(
                NotFound(f"there is no organization {record.org_id}", code="organization_not_found")
            )
        elif not good_keys(connection, {new.made_by}, record.created_at):
            outcomes.append(InvalidKey("the key that makes this provider is deleted or expired"))
        else:
            connection.execute(_INSERT, provider_row(record))
            outcomes.append(record)
    return outcomes


def _update(connection: Connection, records: Sequence[ProviderRecord]) -> list[ProviderRecord | TokenmqError]:
    outcomes: list[ProviderRecord | TokenmqError] = []
    for record in records:
        row = provider_row(record)
        names = ("name", "configuration", "secret", "enabled")
        values = {"at": record.id, **{name: row[name] for name in names}}
        changed = connection.execute(_UPDATE, values).rowcount
        outcomes.append(record if changed else _missing())
    return outcomes


def _delete(connection: Connection, provider_ids: Sequence[str]) -> list[str | TokenmqError]:
    return [
        provider_id if connection.execute(_DELETE, {"at": provider_id}).rowcount else _missing()
        for provider_id in provider_ids
    ]


def _missing() -> NotFound:
    return NotFound("there is no such identity provider", code="provider_not_found")


def _taken(name: str) -> Conflict:
    return Conflict(f"the name {name!r} is taken")


_CREATING = Work(Order.CREATE_PROVIDER, _create, lambda new: _taken(new.record.name))
_UPDATING = Work(Order.UPDATE_PROVIDER, _update, lambda record: _taken(record.name))
_DELETING = Work(Order.DELETE_PROVIDER, _delete)
