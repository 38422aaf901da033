"""The sums of the history: of a topic and of an organization, loaded, changed and stored together.

They are plain mutable values inside one transaction. Whatever adds or drops messages says
so here, in the same transaction, and nothing of it is kept in memory after that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import starmap

import msgspec
from sqlalchemy import Connection, bindparam, select

from tokenmq.stores.sql.bulk import drop_rows, find_rows, primary_key, put_rows
from tokenmq.stores.sql.tables import history_organizations, history_topics, organizations
from tokenmq.tokens.records import OrganizationSettings

# Ids of one statement.
_AT_ONCE = 500
_COLUMNS = tuple(history_topics.c)
_NAME = (history_topics.c.org_id, history_topics.c.topic)
# Of the settings only the bound is read: this runs inside each group that records.
_TOTALS = (
    select(
        organizations.c.id,
        organizations.c.settings,
        history_organizations.c.bytes,
        history_organizations.c.topics,
        history_organizations.c.lost_to,
    )
    .select_from(
        organizations.outerjoin(history_organizations, history_organizations.c.org_id == organizations.c.id)
    )
    .where(organizations.c.id.in_(bindparam("ids", expanding=True)))
)
_TOTALS_OF_DELETED = select(history_organizations).where(history_organizations.c.org_id == bindparam("at"))


class TopicSums(msgspec.Struct, gc=False):
    """A row of `history_topics`, its attributes in the order of the columns.

    Attributes:
        id: of the message that the row began with.
        count, bytes: of what is recorded of it now.
        oldest: no greater than the id of the oldest message there.
        newest: the id of the newest that there ever was.
        lost_to: the highest id that is gone.
        due: unix seconds before which the sweep has nothing to do here. 0: it became empty.
    """

    id: int
    org_id: str
    topic: str
    count: int
    bytes: int
    oldest: int
    newest: int
    lost_to: int
    due: float

    def lose(self, id_: int, size: int) -> None:
        """Take a message away."""
        self.count -= 1
        self.bytes -= size
        self.lost_to = max(self.lost_to, id_)
        if not self.count:
            self.due = 0.0


class Totals(msgspec.Struct, gc=False):
    """What an organization's history comes to.

    Attributes:
        bytes, topics: of what is recorded now, topics that became empty lately included.
        lost_to: the highest id of topics that are gone altogether.
        limit: bytes that there may be.
    """

    org_id: str
    bytes: int
    topics: int
    lost_to: int
    limit: int


class _Bound(msgspec.Struct):
    """The one setting that is needed here."""

    history_bytes: int = OrganizationSettings().history_bytes


_BOUND = msgspec.json.Decoder(_Bound)


def load_totals(connection: Connection, org_ids: Collection[str]) -> dict[str, Totals]:
    """Return the totals of organizations; those that are deleted are left out."""
    ids = list(org_ids)
    found: dict[str, Totals] = {}
    for start in range(0, len(ids), _AT_ONCE):
        rows = connection.execute(_TOTALS, {"ids": ids[start : start + _AT_ONCE]})
        for org_id, settings, size, topics, lost_to in rows:
            limit = _BOUND.decode(settings).history_bytes
            found[org_id] = Totals(org_id, size or 0, topics or 0, lost_to or 0, limit)
    return found


def totals_of_deleted(connection: Connection, org_id: str) -> Totals | None:
    """Return the totals of an organization that is deleted, None when nothing is left of it."""
    row = connection.execute(_TOTALS_OF_DELETED, {"at": org_id}).first()
    return None if row is None else Totals(row[0], row[1], row[2], row[3], 0)


def store_totals(connection: Connection, totals: Iterable[Totals]) -> None:
    """Store totals."""
    rows = [(one.org_id, one.bytes, one.topics, one.lost_to) for one in totals]
    put_rows(connection, history_organizations, rows)


def drop_totals(connection: Connection, org_id: str) -> None:
    """Forget an organization."""
    drop_rows(connection, primary_key(history_organizations), [(org_id,)])


def topics_named(
    connection: Connection, names: Collection[tuple[str, str]]
) -> dict[tuple[str, str], TopicSums]:
    """Return the sums of topics, by organization and topic; those that have none are left out."""
    rows = find_rows(connection, _COLUMNS, _NAME, list(names))
    return {(topic.org_id, topic.topic): topic for topic in starmap(TopicSums, rows)}


def topics_of(connection: Connection, ids: Iterable[int]) -> dict[int, TopicSums]:
    """Return the sums of topics by their ids."""
    rows = find_rows(connection, _COLUMNS, primary_key(history_topics), [(id_,) for id_ in ids])
    return {topic.id: topic for topic in starmap(TopicSums, rows)}


def store_topics(connection: Connection, topics: Iterable[TopicSums]) -> None:
    """Store sums."""
    put_rows(connection, history_topics, [msgspec.structs.astuple(topic) for topic in topics])


def drop_topics(connection: Connection, totals: Mapping[str, Totals], topics: Collection[TopicSums]) -> None:
    """Forget topics that are empty; their organizations remember up to where something is lost."""
    for topic in topics:
        total = totals[topic.org_id]
        total.topics -= 1
        total.lost_to = max(total.lost_to, topic.lost_to)
    drop_rows(connection, primary_key(history_topics), [(topic.id,) for topic in topics])
