"""Revocation of families inside a transaction, with what ends with them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, bindparam, or_, true, update

from tokenmq.stores.base import EndedFamily, Selection
from tokenmq.stores.sql.ending import end_retained, end_sessions
from tokenmq.stores.sql.tables import families

# Ids of one statement; databases take several ten thousand.
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Revocation:
    """Which families to revoke, when, and in whose words why."""

    selection: Selection
    now: float
    reason: str | None


def revoke_selected(connection: Connection, revocation: Revocation) -> list[EndedFamily]:
    """Mark every selected family that is not revoked yet with its children, and return these.

    Their sessions are deleted, and their retained messages unless these are to be kept.
    """
    selection = revocation.selection
    mark = (
        update(families)
        .where(families.c.org_id == selection.org_id, families.c.revoked_at.is_(None))
        .values(
            revoked_at=int(revocation.now),
            revoked_reason=revocation.reason,
            retained_kept=selection.keep_retained,
        )
        .returning(families.c.token_id, families.c.expires_at)
    )
    chosen = mark.where(_chosen(selection))
    if selection.issued_before is not None:
        chosen = chosen.where(families.c.first_issued_at < selection.issued_before)
    marked = list(connection.execute(chosen))
    # A child has no children of its own, and one that was chosen itself is marked by now.
    parents = [row.token_id for row in marked]
    children = mark.where(families.c.parent_id.in_(bindparam("parents", expanding=True)))
    for start in range(0, len(parents), _AT_ONCE):
        marked += connection.execute(children, {"parents": parents[start : start + _AT_ONCE]})
    ended = [EndedFamily(token_id, expires_at, revoked=True) for token_id, expires_at in marked]
    token_ids = [family.token_id for family in ended]
    end_sessions(connection, "token_id", token_ids)
    if not selection.keep_retained:
        end_retained(connection, token_ids)
    return ended


def _chosen(selection: Selection) -> ColumnElement[bool]:
    """Return the condition of the one criterion that is set; none set selects nothing.

    Raises: ValueError when it is not exactly one.
    """
    criteria = []
    if selection.token_id is not None:
        criteria.append(families.c.token_id == selection.token_id)
    if selection.user_id is not None:
        criteria.append(families.c.user_id == selection.user_id)
    if selection.key_id is not None:
        criteria.append(families.c.key_id == selection.key_id)
    if selection.client_id is not None:
        criteria.append(_of_client(selection, selection.client_id))
    if selection.all:
        criteria.append(true())
    if len(criteria) != 1:
        raise ValueError(f"a selection by {len(criteria)} criteria, wanted one")
    return criteria[0]


def _of_client(selection: Selection, client_id: str) -> ColumnElement[bool]:
    bound = families.c.client_id == client_id
    opened = None if selection.opened_by is None else selection.opened_by(selection.org_id, client_id)
    return bound if opened is None else or_(bound, families.c.token_id == opened)
