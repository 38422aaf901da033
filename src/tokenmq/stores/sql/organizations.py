"""Organizations in SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from tokenmq.errors import Conflict, NotFound, TokenmqError
from tokenmq.stores.audit import Audit
from tokenmq.stores.base import Result
from tokenmq.stores.sql.ending import end_organization
from tokenmq.stores.sql.order import Order
from tokenmq.stores.sql.reader import Reader
from tokenmq.stores.sql.rows import organization_record, organization_row
from tokenmq.stores.sql.tables import organizations
from tokenmq.stores.sql.writer import GroupWriter, Work
from tokenmq.tokens.records import OrganizationRecord

_ALL = select(organizations).order_by(organizations.c.created_at, organizations.c.id)
_INSERT = insert(organizations)
_CHANGING = ("name", "settings", "policy", "history")
_UPDATE = (
    update(organizations)
    .where(organizations.c.id == bindparam("at"))
    .values({name: bindparam(name) for name in _CHANGING})
)
# Keys and families go with it: their foreign keys cascade.
_DELETE = delete(organizations).where(organizations.c.id == bindparam("at"))


class SqlOrganizations:
    """`OrganizationStore` in SQL."""

    def __init__(self, reader: Reader, writer: GroupWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def load(self) -> list[OrganizationRecord]:
        """Return all of them, oldest first."""
        return [organization_record(row) for row in await self._reader.rows(_ALL)]

    async def create(
        self,
        record: OrganizationRecord,
        *,
        audit: Audit[OrganizationRecord] = (),
        applied: Callable[[OrganizationRecord], Result],
    ) -> Result:
        """Store a new one."""
        return await self._writer.submit(_CREATING, record, applied, audit)

    async def update(
        self,
        record: OrganizationRecord,
        *,
        audit: Audit[OrganizationRecord] = (),
        applied: Callable[[OrganizationRecord], Result],
    ) -> Result:
        """Store name, settings, policy and rules of history of an existing one."""
        return await self._writer.submit(_UPDATING, record, applied, audit)

    async def delete(
        self, org_id: str, *, audit: Audit[str] = (), applied: Callable[[str], Result]
    ) -> Result:
        """Remove one with all that belongs to it."""
        return await self._writer.submit(_DELETING, org_id, applied, audit)


def _create(
    connection: Connection, records: Sequence[OrganizationRecord]
) -> list[OrganizationRecord | TokenmqError]:
    connection.execute(_INSERT, [organization_row(record) for record in records])
    return list(records)


def _update(
    connection: Connection, records: Sequence[OrganizationRecord]
) -> list[OrganizationRecord | TokenmqError]:
    outcomes: list[OrganizationRecord | TokenmqError] = []
    for record in records:
        row = organization_row(record)
        values = {"at": record.id, **{name: row[name] for name in _CHANGING}}
        changed = connection.execute(_UPDATE, values).rowcount
        outcomes.append(record if changed else _missing(record.id))
    return outcomes


def _delete(connection: Connection, org_ids: Sequence[str]) -> list[str | TokenmqError]:
    outcomes: list[str | TokenmqError] = []
    for org_id in org_ids:
        if connection.execute(_DELETE, {"at": org_id}).rowcount:
            end_organization(connection, org_id)
            outcomes.append(org_id)
        else:
            outcomes.append(_missing(org_id))
    return outcomes


def _missing(org_id: str) -> NotFound:
    return NotFound(f"there is no organization {org_id}", code="organization_not_found")


def _taken(record: OrganizationRecord) -> Conflict:
    return Conflict(f"the name {record.name!r} is taken")


_CREATING = Work(Order.CREATE_ORGANIZATION, _create, _taken)
_UPDATING = Work(Order.UPDATE_ORGANIZATION, _update, _taken)
_DELETING = Work(Order.DELETE_ORGANIZATION, _delete)
