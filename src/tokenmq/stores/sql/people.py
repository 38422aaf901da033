"""Who stands behind the pseudonyms of the audit trail, as its writer knows them.

A person's row is made in the transaction of the first row that tells of them; that it is
there is then remembered, so that the next needs no look. `seen_at` is moved on coarsely:
it only has to tell whom the trail no longer speaks of.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from sqlalchemy import Connection, bindparam, delete, select, tuple_

from tokenmq.stores.audit import PERSON_KEY_BYTES, AuditEntry, pseudonym
from tokenmq.stores.sql.bulk import put_rows
from tokenmq.stores.sql.tables import audit_people

# Persons that are remembered, about 300 bytes each.
MAX_REMEMBERED = 20_000
SEEN_SECONDS = 30 * 86_400
# Persons that one statement asks for.
_AT_ONCE = 500

_Who = tuple[str, str]

_FIND = select(
    audit_people.c.org_id,
    audit_people.c.user_id,
    audit_people.c.person,
    audit_people.c.key,
    audit_people.c.seen_at,
).where(tuple_(audit_people.c.org_id, audit_people.c.user_id).in_(bindparam("people", expanding=True)))
_ERASE = (
    delete(audit_people)
    .where(audit_people.c.org_id == bindparam("of_org"), audit_people.c.user_id == bindparam("of_user"))
    .returning(audit_people.c.person)
)
_ERASE_ORGANIZATION = delete(audit_people).where(audit_people.c.org_id == bindparam("of_org"))
_PRUNE = delete(audit_people).where(audit_people.c.seen_at < bindparam("before"))


class People:
    """The pseudonyms of a chain's writer; what a transaction adds counts once it is `kept`."""

    def __init__(self) -> None:
        # By organization and user: the pseudonym, and the `seen_at` that is stored.
        self._known: dict[_Who, tuple[str, int]] = {}
        self._added: dict[_Who, tuple[str, int]] = {}

    def name(self, connection: Connection, entries: Collection[AuditEntry]) -> dict[_Who, str]:
        """Return the pseudonym of everybody that entries tell of, and store those that are new."""
        self._added = {}
        seen: dict[_Who, int] = {}
        for entry in entries:
            if entry.org_id is not None and entry.user_id is not None:
                who = (entry.org_id, entry.user_id)
                seen[who] = max(entry.at, seen.get(who, 0))
        unknown = [who for who, at in seen.items() if not self._is_fresh(who, at)]
        if unknown:
            self._store(connection, unknown, seen)
        return {who: (self._added.get(who) or self._known[who])[0] for who in seen}

    def kept(self) -> None:
        """Remember what was added, for it is committed."""
        self._known |= self._added
        self._added = {}
        while len(self._known) > MAX_REMEMBERED:
            del self._known[next(iter(self._known))]

    def forget(self) -> None:
        """Remember nobody: what is stored was changed by other means."""
        self._known, self._added = {}, {}

    def _is_fresh(self, who: _Who, at: int) -> bool:
        known = self._known.get(who)
        return known is not None and at - known[1] < SEEN_SECONDS

    def _store(self, connection: Connection, unknown: Sequence[_Who], seen: dict[_Who, int]) -> None:
        stored: dict[_Who, tuple[str, bytes, int]] = {}
        for start in range(0, len(unknown), _AT_ONCE):
            found = connection.execute(_FIND, {"people": list(unknown[start : start + _AT_ONCE])})
            stored |= {
                (org_id, user_id): (person, key, seen_at) for org_id, user_id, person, key, seen_at in found
            }
        changed = []
        for who in unknown:
            at = seen[who]
            if who in stored:
                person, key, seen_at = stored[who]
                if at - seen_at < SEEN_SECONDS:
                    self._added[who] = (person, seen_at)
                    continue
            else:
                key = os.urandom(PERSON_KEY_BYTES)
                person = pseudonym(key, who[1])
            self._added[who] = (person, at)
            changed.append((*who, person, key, at))
        put_rows(connection, audit_people, changed)


def erase(connection: Connection, org_id: str, user_id: str) -> str | None:
    """Delete a person; return the pseudonym, None if there was none."""
    person: str | None = connection.execute(_ERASE, {"of_org": org_id, "of_user": user_id}).scalar()
    return person


def erase_organization(connection: Connection, org_id: str) -> None:
    """Delete the people of an organization that is deleted itself."""
    connection.execute(_ERASE_ORGANIZATION, {"of_org": org_id})


def prune(connection: Connection, before: float) -> int:
    """Delete whom nothing has been noted of since `before`, and as long as `seen_at` may be late."""
    return connection.execute(_PRUNE, {"before": int(before) - SEEN_SECONDS}).rowcount
