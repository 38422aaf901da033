"""The audit trail in SQL: read, verified, forgotten; `chain` writes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    and_,
    bindparam,
    delete,
    literal,
    select,
    true,
)

from tokenmq.errors import TokenmqError, Unavailable
from tokenmq.stores.audit import (
    START,
    Audit,
    AuditEntry,
    AuditQuery,
    AuditRow,
    Break,
    Checked,
    Link,
    Outcome,
    Result,
    Told,
    follow,
)
from tokenmq.stores.sql import people
from tokenmq.stores.sql.bulk import put_rows
from tokenmq.stores.sql.chain import FIRST, LAST
from tokenmq.stores.sql.order import Order
from tokenmq.stores.sql.reader import Reader
from tokenmq.stores.sql.tables import audit, audit_ends, audit_people
from tokenmq.stores.sql.writer import GroupWriter, Work

_OLDEST = select(audit.c.number, audit.c.at, audit.c.hash).order_by(audit.c.number).limit(bindparam("size"))
_PRUNE = delete(audit).where(audit.c.number <= bindparam("to"))

_FIRST = audit_ends.alias("first")
_LAST = audit_ends.alias("last")
_ONE = select(literal(1).label("one")).subquery("one")
# Both ends, and rows after a number, as of one moment: one row at least, without a number where none follows.
_CHECK = (
    select(
        audit,
        _FIRST.c.number.label("first_number"),
        _FIRST.c.hash.label("first_hash"),
        _LAST.c.number.label("last_number"),
        _LAST.c.hash.label("last_hash"),
    )
    .select_from(
        _ONE.outerjoin(_FIRST, _FIRST.c.place == FIRST)
        .outerjoin(_LAST, _LAST.c.place == LAST)
        .outerjoin(audit, audit.c.number > bindparam("after"))
    )
    .order_by(audit.c.number)
    .limit(bindparam("size"))
)
_COLUMNS = tuple(audit.columns.keys())


@dataclass(frozen=True, slots=True)
class _Pruning:
    before: float
    limit: int


@dataclass(frozen=True, slots=True)
class _Pruned:
    rows: int
    people: int


class SqlAudit:
    """`AuditStore` in SQL."""

    def __init__(self, reader: Reader, writer: GroupWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def page(self, query: AuditQuery) -> list[Told]:
        """Return a page of rows, newest first."""
        return [Told(_row(row), row["user_id"]) for row in await self._reader.rows(_page(query))]

    async def check(self, after: Link | None, *, limit: int) -> Checked:
        """Verify at most `limit` rows after a place."""
        parameters = {"after": 0 if after is None else after.number, "size": limit}
        found = await self._reader.rows(_CHECK, parameters)
        first = _end(found[0], "first")
        link = first if after is None or after.number < first.number else after
        rows = [_row(row) for row in found if row["number"] is not None]
        rest = [row for row in rows if row.number > first.number] if link is first else rows
        at, broken = follow(link, rest)
        is_end = len(rows) < limit
        if broken is None and is_end and at != (last := _end(found[0], "last")):
            broken = Break(
                min(at.number, last.number) + 1, f"the end was noted as {last.number}, not as {at.number}"
            )
        return Checked(at.number - link.number, at, broken, is_end)

    def note(self, entries: Sequence[AuditEntry]) -> None:
        """Have rows written that tell of no change."""
        self._writer.post(_NOTING, None, _ignore, size=len(entries), audit=entries)

    async def erase_person(
        self, org_id: str, user_id: str, *, audit: Audit[str | None], applied: Callable[[str | None], Result]
    ) -> Result:
        """Forget who a user of an organization is."""

        def forget(person: str | None) -> Result:
            self._writer.chain.people.forget()
            return applied(person)

        return await self._writer.submit(_ERASING, (org_id, user_id), forget, audit)

    async def prune(self, before: float, *, limit: int) -> int:
        """Remove at most `limit` of the oldest rows, and whom nothing is noted of any more."""

        def forget(pruned: _Pruned) -> int:
            if pruned.people:
                self._writer.chain.people.forget()
            return pruned.rows

        return await self._writer.submit(_PRUNING, _Pruning(before, limit), forget)


def _page(query: AuditQuery) -> Select[tuple[Any, ...]]:
    person = and_(audit_people.c.person == audit.c.person, audit_people.c.org_id == audit.c.org_id)
    statement = select(audit, audit_people.c.user_id).outerjoin(audit_people, person)
    wanted: list[ColumnElement[bool]] = []
    for column, value in (
        (audit.c.org_id, query.org_id),
        (audit.c.action, query.action),
        (audit.c.actor, query.actor),
        (audit.c.object, query.object),
        (audit_people.c.user_id, query.user_id),
    ):
        if value is not None:
            wanted.append(column == value)
    if query.since is not None:
        wanted.append(audit.c.at >= query.since)
    if query.until is not None:
        wanted.append(audit.c.at < query.until)
    if query.before is not None:
        wanted.append(audit.c.number < query.before)
    return statement.where(true(), *wanted).order_by(audit.c.number.desc()).limit(query.limit)


def _row(row: RowMapping) -> AuditRow:
    return AuditRow(*(row[name] for name in _COLUMNS))


def _end(row: RowMapping, name: str) -> Link:
    number = row[f"{name}_number"]
    return START if number is None else Link(number, row[f"{name}_hash"])


def _ignore(_error: Unavailable | None) -> None:
    """Do nothing: what was not written is told by the log of whoever's store fails."""


def _note(_connection: Connection, batch: Sequence[Outcome]) -> list[Outcome | TokenmqError]:
    return list(batch)


def _erase(connection: Connection, batch: Sequence[tuple[str, str]]) -> list[str | TokenmqError | None]:
    return [people.erase(connection, org_id, user_id) for org_id, user_id in batch]


def _prune(connection: Connection, batch: Sequence[_Pruning]) -> list[_Pruned | TokenmqError]:
    return [_prune_once(connection, pruning) for pruning in batch]


def _prune_once(connection: Connection, pruning: _Pruning) -> _Pruned:
    oldest = connection.execute(_OLDEST, {"size": pruning.limit}).all()
    # Up to the first that is to stay: the chain must have no holes, whatever the clock has done.
    old = list(takewhile(lambda row: row.at < pruning.before, oldest))
    if old:
        number, _, hash_ = old[-1]
        connection.execute(_PRUNE, {"to": number})
        put_rows(connection, audit_ends, [(FIRST, number, hash_)])
    return _Pruned(len(old), people.prune(connection, pruning.before))


_NOTING: Work[None, None] = Work(Order.NOTE_AUDIT, _note)
_ERASING = Work(Order.ERASE_PERSON, _erase)
_PRUNING = Work(Order.PRUNE_AUDIT, _prune)
