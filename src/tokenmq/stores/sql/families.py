"""Token families in SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    not_,
    or_,
    select,
    tuple_,
)

from tokenmq.errors import TokenmqError
from tokenmq.stores.audit import Audit
from tokenmq.stores.base import (
    GRACE_SECONDS,
    Creation,
    EndedFamily,
    FamilyQuery,
    NewFamily,
    Replacing,
    Result,
    Selection,
)
from tokenmq.stores.family_life import FamilyFacts, KnownFamily, Showing, Shown
from tokenmq.stores.sql.creating import CREATING
from tokenmq.stores.sql.order import Order
from tokenmq.stores.sql.reader import Reader
from tokenmq.stores.sql.refreshing import EXCHANGING, NOTING, REFRESHING
from tokenmq.stores.sql.revoking import Revocation, revoke_selected
from tokenmq.stores.sql.rows import family_record, known_family
from tokenmq.stores.sql.tables import families, retained, sessions
from tokenmq.stores.sql.writer import GroupWriter, Work
from tokenmq.tokens.family import FamilyUsage
from tokenmq.tokens.records import FamilyRecord

_ONE = select(families).where(
    families.c.org_id == bindparam("org_id"), families.c.token_id == bindparam("token_id")
)
_KNOWN = select(
    families.c.token_id, families.c.gen, families.c.jti, families.c.grants, families.c.attrs,
    families.c.issued_at, families.c.expires_at, families.c.ends_at, families.c.renewable,
    families.c.revoked_at, families.c.replaced_at, families.c.sessions_replaced,
    families.c.superseded_at, families.c.presented, families.c.connected, families.c.clients,
).where(
    families.c.expires_at > bindparam("since"),
    or_(
        families.c.revoked_at.is_not(None),
        families.c.sessions_replaced.is_(True),
        families.c.gen > 0,
        families.c.connected.is_not(None),
    ),
)  # fmt: skip
_children = families.alias("children")
_PRUNE = delete(families).where(
    families.c.token_id.in_(
        select(families.c.token_id)
        .where(
            families.c.expires_at < bindparam("before"),
            not_(exists().where(sessions.c.token_id == families.c.token_id)),
            not_(exists().where(retained.c.token_id == families.c.token_id)),
            not_(exists().where(_children.c.parent_id == families.c.token_id)),
        )
        .order_by(families.c.expires_at)
        .limit(bindparam("size"))
    )
)


@dataclass(frozen=True, slots=True)
class _Pruning:
    before: float
    limit: int


class SqlFamilies:
    """`FamilyStore` in SQL."""

    def __init__(self, reader: Reader, writer: GroupWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def create(
        self, new: NewFamily, *, audit: Audit[Creation] = (), applied: Callable[[Creation], Result]
    ) -> Result:
        """Store a family and what goes with it."""
        if new.replacing is Replacing.IDLE:
            new = replace(new, connected=self._writer.on_loop(new.connected))
        return await self._writer.submit(CREATING, new, applied, audit)

    async def get(self, org_id: str, token_id: str) -> FamilyRecord | None:
        """Return one, None when the organization has none of this id."""
        rows = await self._reader.rows(_ONE, {"org_id": org_id, "token_id": token_id})
        return family_record(rows[0]) if rows else None

    async def page(self, query: FamilyQuery) -> list[FamilyRecord]:
        """Return a page."""
        return [family_record(row) for row in await self._reader.rows(_page(query))]

    async def revoke(
        self,
        selection: Selection,
        *,
        now: float,
        reason: str | None,
        audit: Audit[Sequence[EndedFamily]] = (),
        applied: Callable[[Sequence[EndedFamily]], Result],
    ) -> Result:
        """Mark every selected family that exists and is not revoked."""
        if selection.opened_by is not None:
            selection = replace(selection, opened_by=self._writer.on_loop(selection.opened_by))
        return await self._writer.submit(_REVOKING, Revocation(selection, now, reason), applied, audit)

    async def refresh(
        self, showing: Showing, *, audit: Audit[Shown] = (), applied: Callable[[Shown], Result]
    ) -> Result:
        """Judge a password at the commit, and make what it is due."""
        return await self._writer.submit(REFRESHING, showing, applied, audit)

    async def exchange(
        self, showing: Showing, *, audit: Audit[Shown] = (), applied: Callable[[Shown], Result]
    ) -> Result:
        """Judge a password at the commit, and make its child family."""
        return await self._writer.submit(EXCHANGING, showing, applied, audit)

    async def note(self, usages: Sequence[FamilyUsage]) -> list[FamilyFacts]:
        """Store what was seen of families."""
        if not usages:
            return []
        return await self._writer.submit(NOTING, usages, list)

    async def known(self, now: float) -> list[KnownFamily]:
        """Return the families that are to be known at start."""
        rows = await self._reader.rows(_KNOWN, {"since": int(now) - GRACE_SECONDS})
        return [known_family(row) for row in rows]

    async def prune(self, before: float, *, limit: int) -> int:
        """Remove at most `limit` families that ended before this."""
        return await self._writer.submit(_PRUNING, _Pruning(before, limit), int)


def _page(query: FamilyQuery) -> Select[tuple[object, ...]]:
    position = tuple_(families.c.first_issued_at, families.c.token_id)
    statement = select(families).where(families.c.org_id == query.org_id)
    if query.user_id is not None:
        statement = statement.where(families.c.user_id == query.user_id)
    if query.status is not None:
        statement = statement.where(_has_status(query.status, int(query.now)))
    if query.after is not None:
        statement = statement.where(position < query.after)
    return statement.order_by(families.c.first_issued_at.desc(), families.c.token_id.desc()).limit(
        query.limit
    )


def _has_status(status: str, now: int) -> ColumnElement[bool]:
    """Return the condition of a status: the first that fits of those before it in the dict."""
    revoked = families.c.revoked_at.is_not(None)
    lives = families.c.expires_at > now
    replaced = families.c.replaced_at.is_not(None)
    conditions = {
        "revoked": revoked,
        "expired": and_(~revoked, ~lives),
        "replaced": and_(~revoked, lives, replaced),
        "active": and_(~revoked, lives, ~replaced),
    }
    return conditions[status]


def _revoke(
    connection: Connection, batch: Sequence[Revocation]
) -> list[Sequence[EndedFamily] | TokenmqError]:
    return [revoke_selected(connection, revocation) for revocation in batch]


def _prune(connection: Connection, batch: Sequence[_Pruning]) -> list[int | TokenmqError]:
    return [
        connection.execute(_PRUNE, {"before": int(pruning.before), "size": pruning.limit}).rowcount
        for pruning in batch
    ]


_REVOKING = Work(Order.REVOKE_FAMILIES, _revoke)
_PRUNING = Work(Order.PRUNE_FAMILIES, _prune)
