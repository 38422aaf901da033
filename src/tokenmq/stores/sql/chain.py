"""The end of the audit trail, where the one writer adds to it.

The writer calls `append` inside each transaction that has entries, and `kept` when its
commit is known. After a transaction that failed (`lost`) the end is read from the
database again: whatever became of it, the next row comes after what is really there.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, func, select

from tokenmq.stores.audit import START, AuditEntry, Columns, Link, columns_of
from tokenmq.stores.sql.bulk import add_rows, put_rows
from tokenmq.stores.sql.people import People
from tokenmq.stores.sql.tables import audit, audit_ends

FIRST = "first"
LAST = "last"

_NEWEST = select(func.max(audit.c.number))
_NOTED = select(audit_ends.c.number, audit_ends.c.hash).where(audit_ends.c.place == bindparam("at"))


class Chain:
    """Where the next row goes.

    Attributes:
        people: whose pseudonyms are known.
    """

    def __init__(self) -> None:
        self.people = People()
        self._end: Link | None = None
        self._next: Link | None = None

    def append(self, connection: Connection, entries: Sequence[AuditEntry]) -> None:
        """Write the rows of entries, in their order, inside a transaction; perhaps of none."""
        self._next = None
        if not entries:
            return
        link = self._end or _read_end(connection)
        persons = self.people.name(connection, entries)
        rows: list[Columns] = []
        for entry in entries:
            # Whoever has no organization or no user is not among the persons.
            person = persons.get((entry.org_id or "", entry.user_id or ""))
            columns = columns_of(entry, person, link)
            link = Link(columns[0], columns[-1])
            rows.append(columns)
        add_rows(connection, audit, rows)
        put_rows(connection, audit_ends, [(LAST, link.number, link.hash)])
        self._next = link

    def kept(self) -> None:
        """Go on from what was written last: its transaction is committed."""
        if self._next is not None:
            self._end, self._next = self._next, None
            self.people.kept()

    def lost(self) -> None:
        """Begin anew: what was written last may not be there."""
        self._end = self._next = None
        self.people.forget()


def _read_end(connection: Connection) -> Link:
    """Return where the next row goes.

    Rows that were cut off stay missing and rows that were put there stay wrong: going on from
    what is there would make good what a check has to find.
    """
    noted = connection.execute(_NOTED, {"at": LAST}).first()
    end = START if noted is None else Link(*noted)
    newest: int = connection.execute(_NEWEST).scalar() or 0
    return Link(max(end.number, newest), end.hash)
