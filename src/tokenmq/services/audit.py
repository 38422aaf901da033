"""The audit trail as its readers see it: listed, verified, and kept for its time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tokenmq.errors import InvalidRequest
from tokenmq.limits import MAX_STRING_BYTES, MAX_USER_ID_BYTES
from tokenmq.services.keys import authorise, require, require_administrator
from tokenmq.services.paging import Page, Position, check_limit, page_of, read_cursor, write_cursor
from tokenmq.services.texts import check_text
from tokenmq.stores.audit import Action, AuditQuery, AuditStore, Checked, Link, Told
from tokenmq.tokens.records import KeyRecord

__all__ = ["Audit", "Filters", "Told", "Verified"]

# Rows of one look, and looks of one call: a call of 50,000 rows takes a second.
CHECK_ROWS = 500
CHECK_LOOKS = 100
_CHAIN = ("audit chain",)


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is of; None = any.

    Attributes:
        actor, object: whole, as the rows have them.
        user_id: the person by whom or about whom a row is; nobody who was erased.
        since, until: unix seconds, the first included, the second not.
    """

    action: str | None = None
    actor: str | None = None
    object: str | None = None
    user_id: str | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found of a part of the chain.

    Attributes:
        found: how far it is whole.
        next: the cursor of the next part; None = there is none, or it is broken here.
    """

    found: Checked
    next: str | None


class Audit:
    """The use cases of the audit trail."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store

    async def list(
        self, filters: Filters, *, key: KeyRecord, org_id: str | None, limit: int | None, cursor: str | None
    ) -> Page[Told]:
        """Return rows, newest first (scope `audit:read`).

        Args:
            filters: which.
            key: the caller's.
            org_id: of whose trail; None = the whole instance's, for an `ik_` key alone.
            limit: at most so many.
            cursor: where to go on.

        Raises: Forbidden, NotFound, InvalidRequest (filter, limit, cursor), Unavailable.
        """
        require(key, "audit:read")
        if org_id is None:
            require_administrator(key)
        else:
            authorise(key, "audit:read", org_id)
        size = check_limit(limit)
        _check(filters)
        listing = ("audit", org_id, *_texts(filters))
        after = read_cursor(listing, cursor)
        query = AuditQuery(
            limit=size + 1,
            org_id=org_id,
            action=filters.action,
            actor=filters.actor,
            object=filters.object,
            user_id=filters.user_id,
            since=filters.since,
            until=filters.until,
            before=None if after is None else after[0],
        )
        return page_of(await self._store.page(query), size, listing, _position)

    async def verify(self, *, key: KeyRecord, cursor: str | None) -> Verified:
        """Verify the next part of the chain, CHECK_ROWS * CHECK_LOOKS rows at most.

        Raises: Forbidden (not an `ik_` key), InvalidRequest (cursor), Unavailable.
        """
        require_administrator(key)
        link = _place(cursor)
        rows = 0
        for _ in range(CHECK_LOOKS):
            found = await self._store.check(link, limit=CHECK_ROWS)
            rows += found.rows
            link = found.link
            if found.broken is not None or found.is_end:
                break
        goes_on = None
        if found.broken is None and not found.is_end:
            goes_on = write_cursor(_CHAIN, (found.link.number, found.link.hash.hex()))
        return Verified(replace(found, rows=rows), goes_on)


def _check(filters: Filters) -> None:
    if filters.action is not None and filters.action not in frozenset(Action):
        raise InvalidRequest(("action", f"wanted one of {', '.join(Action)}"))
    for field, value, max_bytes in (
        ("actor", filters.actor, MAX_STRING_BYTES),
        ("object", filters.object, MAX_STRING_BYTES),
        ("user_id", filters.user_id, MAX_USER_ID_BYTES),
    ):
        if value is not None:
            check_text(field, value, max_bytes=max_bytes)


def _texts(filters: Filters) -> tuple[str | None, ...]:
    values = (filters.action, filters.actor, filters.object, filters.user_id, filters.since, filters.until)
    return tuple(None if value is None else str(value) for value in values)


def _place(cursor: str | None) -> Link | None:
    position = read_cursor(_CHAIN, cursor)
    if position is None:
        return None
    # The cursor's checksum is no secret: whoever makes one deceives only himself.
    number, digits = position
    try:
        return Link(number, bytes.fromhex(digits))
    except ValueError:
        raise InvalidRequest(("cursor", "is not a cursor of this list")) from None


def _position(told: Told) -> Position:
    return told.row.number, ""
