"""Refreshes and exchanges of families inside a transaction, and what was seen of families.

A password is judged by the family as it is in this transaction. Within a batch each
operation sees what those before it have done: of many that show the same password the
first makes its successor, and the others find themselves one behind and repeat that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, bindparam, func, insert, select, update

from tokenmq.errors import InvalidToken, RateLimited, TokenmqError
from tokenmq.stores.base import Selection
from tokenmq.stores.family_life import MAX_CHILDREN, FamilyFacts, Showing, Shown
from tokenmq.stores.sql.keys import good_keys
from tokenmq.stores.sql.order import Order
from tokenmq.stores.sql.revoking import Revocation, revoke_selected
from tokenmq.stores.sql.rows import clients_text, family_record, family_row
from tokenmq.stores.sql.tables import families
from tokenmq.stores.sql.writer import Work
from tokenmq.tokens import family
from tokenmq.tokens.family import FamilyUsage, Verdict
from tokenmq.tokens.records import FamilyRecord

REUSED = "a superseded password was used"

# Ids of one statement; databases take several ten thousand.
_AT_ONCE = 500
_ONE = select(families).where(
    families.c.token_id == bindparam("token_id"), families.c.org_id == bindparam("org_id")
)
_INSERT = insert(families)
_RENEWED = (
    "gen", "jti", "kid", "issued_at", "expires_at", "superseded_at", "presented", "connected", "clients",
)  # fmt: skip
_RENEW = (
    update(families)
    .where(families.c.token_id == bindparam("at"))
    .values({name: bindparam(f"new_{name}") for name in _RENEWED})
)
_LIVING_CHILDREN = select(func.count(), func.min(families.c.expires_at)).where(
    families.c.parent_id == bindparam("root"),
    families.c.revoked_at.is_(None),
    families.c.replaced_at.is_(None),
    families.c.expires_at > bindparam("now"),
)
_SEEN = select(
    families.c.token_id,
    families.c.renewable,
    families.c.ends_at,
    families.c.replaced_at,
    families.c.presented,
    families.c.connected,
).where(families.c.token_id.in_(bindparam("ids", expanding=True)))
_NOTE = (
    update(families)
    .where(families.c.token_id == bindparam("at"))
    .values(
        presented=bindparam("new_presented"),
        connected=bindparam("new_connected"),
        clients=bindparam("new_clients"),
    )
)


def _refresh(connection: Connection, batch: Sequence[Showing]) -> list[Shown | TokenmqError]:
    return [_refresh_one(connection, showing) for showing in batch]


def _refresh_one(connection: Connection, showing: Showing) -> Shown | TokenmqError:
    record = _find(connection, showing)
    if record is None:
        return _unknown()
    verdict = family.judge_refresh(
        showing.claims.gen,
        record,
        settings=showing.settings,
        now=showing.now,
        signable=record.kid in showing.kids,
    )
    if verdict is Verdict.REUSE:
        return _reused(connection, showing, record)
    if verdict not in (Verdict.ROTATE, Verdict.REMINT, Verdict.REPEAT):
        return Shown(verdict, record)
    if not good_keys(connection, {record.key_id}, showing.now):
        return _no_key()
    if verdict is not Verdict.REPEAT:
        record = family.renewed(record, verdict, jti=showing.jti, kid=showing.kid, now=showing.now)
        row = family_row(record)
        values = {f"new_{name}": row[name] for name in _RENEWED}
        connection.execute(_RENEW, {"at": record.token_id, **values})
    return Shown(verdict, record)


def _exchange(connection: Connection, batch: Sequence[Showing]) -> list[Shown | TokenmqError]:
    return [_exchange_one(connection, showing) for showing in batch]


def _exchange_one(connection: Connection, showing: Showing) -> Shown | TokenmqError:
    record = _find(connection, showing)
    if record is None:
        return _unknown()
    verdict = family.judge_exchange(
        showing.claims.gen,
        record,
        settings=showing.settings,
        now=showing.now,
        expired=showing.now >= showing.claims.exp,
    )
    if verdict is Verdict.REUSE:
        return _reused(connection, showing, record)
    if verdict is not Verdict.CHILD:
        return Shown(verdict, record)
    if not good_keys(connection, {record.key_id}, showing.now):
        return _no_key()
    living, first_end = connection.execute(
        _LIVING_CHILDREN, {"root": family.root_of(record), "now": int(showing.now)}
    ).one()
    if living >= MAX_CHILDREN:
        return RateLimited(
            f"{MAX_CHILDREN} tokens that this one was exchanged for are still good",
            retry_after_seconds=max(1, first_end - int(showing.now)),
            quota=MAX_CHILDREN,
            policy="children",
        )
    child = family.child_of(
        record, token_id=showing.child_id, jti=showing.jti, kid=showing.kid, now=showing.now
    )
    connection.execute(_INSERT, family_row(child))
    return Shown(verdict, child)


def _note(
    connection: Connection, batch: Sequence[Sequence[FamilyUsage]]
) -> list[list[FamilyFacts] | TokenmqError]:
    return [_note_all(connection, usages) for usages in batch]


def _note_all(connection: Connection, usages: Sequence[FamilyUsage]) -> list[FamilyFacts]:
    facts = []
    for start in range(0, len(usages), _AT_ONCE):
        part = {usage.token_id: usage for usage in usages[start : start + _AT_ONCE]}
        changes = []
        for row in connection.execute(_SEEN, {"ids": list(part)}):
            usage = part[row.token_id]
            facts.append(FamilyFacts(row.token_id, row.renewable, row.ends_at, row.replaced_at is not None))
            connected = [gen for gen in (row.connected, usage.connected) if gen is not None]
            changes.append(
                {
                    "at": row.token_id,
                    "new_presented": max(row.presented, usage.presented),
                    "new_connected": max(connected, default=None),
                    "new_clients": clients_text(usage.clients),
                }
            )
        if changes:
            connection.execute(_NOTE, changes)
    return facts


def _find(connection: Connection, showing: Showing) -> FamilyRecord | None:
    claims = showing.claims
    row = connection.execute(_ONE, {"token_id": claims.fam, "org_id": claims.org}).mappings().first()
    return None if row is None else family.used(family_record(row), showing.usage)


def _reused(connection: Connection, showing: Showing, record: FamilyRecord) -> Shown:
    """Revoke the family of which a superseded password was used, if that is looked for."""
    if not showing.settings.reuse_detection:
        return Shown(Verdict.REUSE, record)
    selection = Selection(record.org_id, token_id=record.token_id)
    ended = revoke_selected(connection, Revocation(selection, showing.now, REUSED))
    revoked = replace(record, revoked_at=int(showing.now), revoked_reason=REUSED)
    return Shown(Verdict.REUSE, revoked, tuple(ended))


def _unknown() -> InvalidToken:
    return InvalidToken("there is no such token family")


def _no_key() -> InvalidToken:
    return InvalidToken("the key that issued this token is deleted or expired")


REFRESHING = Work(Order.REFRESH_FAMILY, _refresh)
EXCHANGING = Work(Order.EXCHANGE_FAMILY, _exchange)
NOTING = Work(Order.NOTE_FAMILIES, _note)
