"""Creation of families inside a transaction, a batch at a time.

For each family of a batch, in one step: its key is looked at once more, its idempotency
record is kept, the families that it replaces end, its row is written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, bindparam, delete, insert, select, tuple_, update

from tokenmq.errors import InvalidKey, NotFound, TokenmqError
from tokenmq.stores.base import (
    GRACE_SECONDS,
    Creation,
    EndedFamily,
    IdempotencyScope,
    NewFamily,
    Replacing,
)
from tokenmq.stores.sql.keys import good_keys
from tokenmq.stores.sql.order import Order
from tokenmq.stores.sql.rows import family_row, idempotency_row
from tokenmq.stores.sql.tables import families, idempotency
from tokenmq.stores.sql.writer import Work

# Which earlier families of one user a creation replaces: organization, user, integration.
_Owner = tuple[str, str, str | None]

_INSERT = insert(families)
_KEEP = insert(idempotency)
_SCOPE = tuple_(idempotency.c.key_id, idempotency.c.path, idempotency.c.value)
_FORGET = delete(idempotency).where(
    idempotency.c.key_id == bindparam("of_key"),
    idempotency.c.path == bindparam("of_path"),
    idempotency.c.value == bindparam("of_value"),
    idempotency.c.forget_at <= bindparam("now"),
)
_KNOWN = select(idempotency.c.key_id, idempotency.c.path, idempotency.c.value).where(
    _SCOPE.in_(bindparam("scopes", expanding=True))
)
_EARLIER = select(
    families.c.org_id,
    families.c.user_id,
    families.c.integration_id,
    families.c.token_id,
    families.c.expires_at,
    families.c.replaced_at,
).where(
    tuple_(families.c.org_id, families.c.user_id).in_(bindparam("owners", expanding=True)),
    families.c.revoked_at.is_(None),
    families.c.sessions_replaced.is_(False),
    families.c.expires_at > bindparam("since"),
)
_REPLACE = (
    update(families)
    .where(families.c.token_id == bindparam("at"))
    .values(replaced_at=bindparam("now"), sessions_replaced=bindparam("sessions"))
)


def _create(connection: Connection, batch: Sequence[NewFamily]) -> list[Creation | TokenmqError]:
    outcomes: list[Creation | TokenmqError] = []
    for part in _in_turns(batch):
        outcomes += _create_part(connection, part)
    return outcomes


def _in_turns(batch: Sequence[NewFamily]) -> Iterator[list[NewFamily]]:
    """Cut a batch so that no part has two that replace the same, or repeat each other."""
    part: list[NewFamily] = []
    seen: set[_Owner | IdempotencyScope] = set()
    for new in batch:
        claimed: set[_Owner | IdempotencyScope] = set()
        if new.replacing is not Replacing.NONE:
            claimed.add(_owner(new))
        if new.idempotency is not None:
            claimed.add(new.idempotency.scope)
        if not seen.isdisjoint(claimed):
            yield part
            part, seen = [], set()
        part.append(new)
        seen |= claimed
    yield part


def _create_part(connection: Connection, part: list[NewFamily]) -> list[Creation | TokenmqError]:
    now = max(new.record.first_issued_at for new in part)
    good = good_keys(connection, {new.record.key_id for new in part}, now)
    wanted = [new for new in part if new.record.key_id in good]
    repeated = _keep_idempotency(connection, wanted, now)
    stored = [new for new in wanted if id(new) not in repeated]
    replaced = _replace(connection, stored, now)
    if stored:
        connection.execute(_INSERT, [family_row(new.record) for new in stored])
    outcomes: list[Creation | TokenmqError] = []
    for new in part:
        if new.record.key_id not in good:
            outcomes.append(InvalidKey("the key is deleted or expired"))
        elif id(new) in repeated:
            outcomes.append(Creation(stored=False))
        else:
            outcomes.append(_creation(new, replaced.get(_owner(new), [])))
    return outcomes


def _keep_idempotency(connection: Connection, part: list[NewFamily], now: int) -> set[int]:
    """Keep the idempotency records of a part; return the families whose scope is taken."""
    records = {new.idempotency.scope: new.idempotency for new in part if new.idempotency is not None}
    if not records:
        return set()
    scopes = [(scope.key_id, scope.path, scope.value) for scope in records]
    connection.execute(
        _FORGET,
        [
            {"of_key": key_id, "of_path": path, "of_value": value, "now": now}
            for key_id, path, value in scopes
        ],
    )
    known = {tuple(row) for row in connection.execute(_KNOWN, {"scopes": scopes})}
    fresh = [
        idempotency_row(record)
        for scope, record in records.items()
        if (scope.key_id, scope.path, scope.value) not in known
    ]
    if fresh:
        connection.execute(_KEEP, fresh)
    return {
        id(new)
        for new in part
        if (record := new.idempotency) is not None
        and (record.scope.key_id, record.scope.path, record.scope.value) in known
    }


def _replace(connection: Connection, part: list[NewFamily], now: int) -> dict[_Owner, list[EndedFamily]]:
    """End what the families of a part replace, and return these."""
    replacing = {_owner(new): new for new in part if new.replacing is not Replacing.NONE}
    if not replacing:
        return {}
    owners = sorted({(org_id, user_id) for org_id, user_id, _ in replacing})
    found = connection.execute(_EARLIER, {"owners": owners, "since": now - GRACE_SECONDS})
    earlier: dict[_Owner, list[tuple[EndedFamily, int | None]]] = defaultdict(list)
    for org_id, user_id, integration_id, token_id, expires_at, replaced_at in found:
        if (owner := (org_id, user_id, integration_id)) in replacing:
            earlier[owner].append((EndedFamily(token_id, expires_at, revoked=False), replaced_at))
    changes = []
    ended: dict[_Owner, list[EndedFamily]] = {}
    for owner, candidates in earlier.items():
        new = replacing[owner]
        sessions = new.replacing is Replacing.ALL
        if not sessions:
            candidates = _idle(new, candidates)
        changes += [
            {"at": family.token_id, "now": now if since is None else since, "sessions": sessions}
            for family, since in candidates
        ]
        ended[owner] = [family for family, _ in candidates]
    if changes:
        connection.execute(_REPLACE, changes)
    return ended


def _creation(new: NewFamily, ended: list[EndedFamily]) -> Creation:
    """Say what storing a family did, with the families that it has ended."""
    if new.replacing is Replacing.ALL:
        return Creation(stored=True, replaced=tuple(ended))
    if new.replacing is Replacing.IDLE:
        return Creation(stored=True, idle=tuple(family.token_id for family in ended))
    return Creation(stored=True)


def _idle(
    new: NewFamily, candidates: list[tuple[EndedFamily, int | None]]
) -> list[tuple[EndedFamily, int | None]]:
    """Return those that are not replaced yet and have no live connection."""
    open_ = [(family, since) for family, since in candidates if since is None]
    live = new.connected(new.record.org_id, [family.token_id for family, _ in open_]) if open_ else set()
    return [(family, since) for family, since in open_ if family.token_id not in live]


def _owner(new: NewFamily) -> _Owner:
    return new.record.org_id, new.record.user_id, new.record.integration_id


def _no_organization(new: NewFamily) -> NotFound:
    return NotFound(f"there is no organization {new.record.org_id}", code="organization_not_found")


CREATING = Work(Order.CREATE_FAMILY, _create, _no_organization)
