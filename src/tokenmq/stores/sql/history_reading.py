"""The history is read: bounded looks, each a few statements in one transaction.

Theory of operation. A look goes one of two ways. Where the topics that may match (those in
the range of the filter's beginning) are few, they are matched one by one, and the index
of each topic gives its next messages; of many topics those come first that can have the
next ones, so most are never looked into. Where they are many, the organization's messages
are gone through by their ids, without their payloads, and the topic of each is matched.

Topics are matched by `topics.filter.matches` alone. Times are turned into ids by halving:
ids come in the order of their times, but for the clock being set and for what is saved a
little later. A minute of slack takes care of that, and each time is compared in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, TypeAlias

from sqlalchemy import Compiled, Connection, Dialect, Select, bindparam, func, select, union_all

from tokenmq.broker.records import HistoryRecord
from tokenmq.stores.history import HistoryHead, HistoryQuery, Scan
from tokenmq.stores.sql.bulk import Row, find_rows, found_by, primary_key
from tokenmq.stores.sql.tables import history, history_organizations, history_topics
from tokenmq.topics.filter import extent, matches

# Topics in the range of a filter that are matched one by one, about 3 ms.
FEW_TOPICS = 2_000
# Messages that one look goes through otherwise, about 10 ms.
SCANNED = 4_000
# Topics that one statement of a walk through all of them gives.
PAGE = 1_000
# Beyond every id.
END = 2**62
# How far times and ids may be out of order.
_SLACK_SECONDS = 60.0
# Topics whose messages one statement looks for.
_TOGETHER = (1, 8, 64)

_HEAD = (history.c.id, history.c.topic, history.c.at, history.c.expires_at, history.c.size)
_IN_RANGE = select(
    history_topics.c.id, history_topics.c.topic, history_topics.c.oldest, history_topics.c.newest
).where(
    history_topics.c.org_id == bindparam("org"),
    history_topics.c.topic >= bindparam("first"),
    history_topics.c.topic < bindparam("end"),
)
_FULL_IN_RANGE = _IN_RANGE.where(
    history_topics.c.count > 0,
    history_topics.c.newest > bindparam("low"),
    history_topics.c.oldest < bindparam("high"),
).limit(bindparam("most"))
_PAGE_IN_RANGE = _IN_RANGE.order_by(history_topics.c.topic).limit(PAGE)
_BY_ID = select(history.c.id, history.c.topic).where(
    history.c.org_id == bindparam("org"), history.c.id > bindparam("low"), history.c.id < bindparam("high")
)
_UP = _BY_ID.order_by(history.c.id).limit(bindparam("most"))
_DOWN = _BY_ID.order_by(history.c.id.desc()).limit(bindparam("most"))
_ENDS = select(func.min(history.c.id)).where(history.c.org_id == bindparam("org"))
_NEWEST = select(func.max(history_topics.c.newest)).where(history_topics.c.org_id == bindparam("org"))
_TIME_FROM = (
    select(history.c.id, history.c.at)
    .where(history.c.org_id == bindparam("org"), history.c.id >= bindparam("low"))
    .order_by(history.c.id)
    .limit(1)
)
_RECORD = (
    history.c.id,
    history.c.org_id,
    history.c.topic,
    history.c.payload,
    history.c.qos,
    history.c.retain,
    history.c.forward,
    history.c.at,
    history.c.expires_at,
    history.c.user_id,
)
_NAMES = (history_topics.c.id, history_topics.c.topic)
_LOST = (
    select(history_topics.c.topic)
    .where(
        history_topics.c.org_id == bindparam("org"),
        history_topics.c.topic >= bindparam("first"),
        history_topics.c.topic < bindparam("end"),
        history_topics.c.lost_to >= bindparam("lost"),
    )
    .order_by(history_topics.c.topic)
    .limit(PAGE)
)
_IS_THERE = select(history.c.id).where(
    history.c.id == bindparam("id"), history.c.org_id == bindparam("org"), history.c.at >= bindparam("since")
)
_LOST_OF_ONE = select(history_topics.c.lost_to).where(
    history_topics.c.org_id == bindparam("org"), history_topics.c.topic == bindparam("topic")
)
_LOST_OF_ORGANIZATION = select(history_organizations.c.lost_to).where(
    history_organizations.c.org_id == bindparam("org")
)


@dataclass(frozen=True, slots=True)
class _Topic:
    """A topic that may have messages of a look, between these ids."""

    id: int
    topic: str
    oldest: int
    newest: int


# Ids greater and smaller than which are looked at.
_Between: TypeAlias = tuple[int, int]


def scan(connection: Connection, query: HistoryQuery) -> Scan:
    """Return the next heads of a query, with bounded work."""
    low, high = _between(connection, query)
    if low + 1 >= high:
        return Scan((), None)
    topics = _few_topics(connection, query, (low, high))
    if topics is None:
        return _by_id(connection, query, (low, high))
    return _by_topics(connection, query, topics, (low, high))


def messages(connection: Connection, org_id: str, ids: Sequence[int]) -> list[HistoryRecord]:
    """Return an organization's messages, in the order of these ids."""
    rows = find_rows(connection, _RECORD, primary_key(history), [(id_,) for id_ in dict.fromkeys(ids)])
    names = _names(connection, {row[2] for row in rows})
    found = {row[0]: _record(row, names[row[2]]) for row in rows if row[1] == org_id and row[2] in names}
    return [found[id_] for id_ in ids if id_ in found]


def is_there(connection: Connection, org_id: str, id_: int, since: float) -> bool:
    """Tell whether an organization's message is there, and not older than this."""
    values = {"id": id_, "org": org_id, "since": since}
    return connection.execute(_IS_THERE, values).first() is not None


def lost_of_one(connection: Connection, org_id: str, topic: str) -> int:
    """Return up to which id messages of a topic are gone, or may be."""
    lost: int | None = connection.execute(_LOST_OF_ONE, {"org": org_id, "topic": topic}).scalar()
    return lost_altogether(connection, org_id) if lost is None else lost


def lost_altogether(connection: Connection, org_id: str) -> int:
    """Return up to which id there are messages of topics of which nothing is known any more."""
    return connection.execute(_LOST_OF_ORGANIZATION, {"org": org_id}).scalar() or 0


def topics_that_lost(connection: Connection, org_id: str, range_: tuple[str, str], lost: int) -> list[str]:
    """Return a page of topics of a range that have lost a message of this id or a later one."""
    values = {"org": org_id, "first": range_[0], "end": range_[1], "lost": lost}
    return [row[0] for row in connection.execute(_LOST, values)]


def topics_in(connection: Connection, org_id: str, range_: tuple[str, str]) -> list[tuple[int, str]]:
    """Return a page of the topics of a range: id and topic."""
    values = {"org": org_id, "first": range_[0], "end": range_[1]}
    return [(row[0], row[1]) for row in connection.execute(_PAGE_IN_RANGE, values)]


def newest(connection: Connection, org_id: str) -> int:
    """Return an id that no message of an organization is beyond."""
    return connection.execute(_NEWEST, {"org": org_id}).scalar() or 0


def _between(connection: Connection, query: HistoryQuery) -> _Between:
    low = query.after
    high = END if query.before is None else query.before
    if query.since is not None:
        low = max(low, _id_at(connection, query.org_id, query.since - _SLACK_SECONDS) - 1)
    if query.until is not None:
        high = min(high, _id_at(connection, query.org_id, query.until + _SLACK_SECONDS))
    return low, high


def _id_at(connection: Connection, org_id: str, at: float) -> int:
    """Return an id before which, going by the order of the ids, all messages are older than this."""
    low = connection.execute(_ENDS, {"org": org_id}).scalar() or 0
    high = newest(connection, org_id) + 1
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(_TIME_FROM, {"org": org_id, "low": middle}).first()
        if row is None or row[1] > at:
            high = middle
        else:
            low = row[0] + 1
    return low


def _few_topics(connection: Connection, query: HistoryQuery, between: _Between) -> list[_Topic] | None:
    """Return the topics that a filter matches and that have something; None where it takes too long."""
    first, end = extent(query.topic_filter)
    values: dict[str, object] = {
        "org": query.org_id,
        "first": first,
        "end": end,
        "low": between[0],
        "high": between[1],
    }
    values["most"] = FEW_TOPICS + 1
    rows = connection.execute(_FULL_IN_RANGE, values).all()
    if len(rows) > FEW_TOPICS:
        return None
    return [_Topic(*row) for row in rows if matches(query.topic_filter, row[1])]


def _by_topics(connection: Connection, query: HistoryQuery, topics: list[_Topic], between: _Between) -> Scan:
    ascending = query.ascending
    # Those first that can have the next ones.
    topics.sort(key=lambda topic: topic.oldest if ascending else -topic.newest)
    best: list[int] = []
    for start in range(0, len(topics), _TOGETHER[-1]):
        some = topics[start : start + _TOGETHER[-1]]
        if len(best) == query.limit:
            last = best[-1]
            if last < some[0].oldest if ascending else last > some[0].newest:
                break
        best += _ids_of(connection, query, [topic.id for topic in some], between)
        best.sort(reverse=not ascending)
        del best[query.limit :]
    heads = _heads(connection, best, {topic.id: topic.topic for topic in topics})
    return Scan(heads, best[-1] if len(best) == query.limit else None)


def _ids_of(
    connection: Connection, query: HistoryQuery, topics: Sequence[int], between: _Between
) -> list[int]:
    """Return the next ids of some topics together, in the order of the query."""
    size = next(size for size in _TOGETHER if size >= len(topics))
    timed = query.since is not None or query.until is not None
    compiled = _next_ids(connection.dialect, size, ascending=query.ascending, timed=timed)
    times: tuple[float, ...] = ()
    if timed:
        times = (
            -1.0 if query.since is None else query.since,
            float(END) if query.until is None else query.until,
        )
    # No topic has the id 0.
    padded = [*topics, *[0] * (size - len(topics))]
    values = chain.from_iterable((topic, *between, *times, query.limit, 0) for topic in padded)
    return [row[0] for row in found_by(connection, compiled, (*values, query.limit, 0))]


def _by_id(connection: Connection, query: HistoryQuery, between: _Between) -> Scan:
    """Go through an organization's messages by their ids, in parts that grow."""
    low, high = between
    names: dict[int, str] = {}
    heads: list[HistoryHead] = []
    looked = 0
    while looked < SCANNED:
        part = min(max(4 * query.limit, looked), SCANNED - looked)
        values = {"org": query.org_id, "low": low, "high": high, "most": part}
        rows = connection.execute(_UP if query.ascending else _DOWN, values).all()
        names |= _names(connection, {row[1] for row in rows} - names.keys())
        heads += _hits(connection, query, [(row[0], row[1]) for row in rows], names)
        if len(heads) >= query.limit:
            heads = heads[: query.limit]
            return Scan(heads, heads[-1].id)
        if len(rows) < part:
            return Scan(heads, None)
        looked += part
        low, high = (rows[-1][0], high) if query.ascending else (low, rows[-1][0])
    return Scan(heads, low if query.ascending else high)


def _hits(
    connection: Connection, query: HistoryQuery, rows: Sequence[tuple[int, int]], names: dict[int, str]
) -> list[HistoryHead]:
    """Return the heads of those messages, ids and topics, that a query asks for."""
    topics = {topic for _, topic in rows}
    wanted = {id_ for id_ in topics if id_ in names and matches(query.topic_filter, names[id_])}
    found = _heads(connection, [id_ for id_, topic in rows if topic in wanted], names)
    return [head for head in found if _is_within(head.at, query)]


def _is_within(at: float, query: HistoryQuery) -> bool:
    return (query.since is None or at >= query.since) and (query.until is None or at <= query.until)


def _heads(connection: Connection, ids: Sequence[int], names: dict[int, str]) -> list[HistoryHead]:
    rows = find_rows(connection, _HEAD, primary_key(history), [(id_,) for id_ in ids])
    found = {row[0]: HistoryHead(row[0], names[row[1]], *row[2:]) for row in rows}
    return [found[id_] for id_ in ids if id_ in found]


def _names(connection: Connection, topics: Iterable[int]) -> dict[int, str]:
    rows = find_rows(connection, _NAMES, primary_key(history_topics), [(id_,) for id_ in topics])
    return {row[0]: row[1] for row in rows}


def _record(row: Row, topic: str) -> HistoryRecord:
    id_, org_id, _, payload, qos, retain, forward, at, expires_at, user_id = row
    return HistoryRecord(
        id_, org_id, topic, bytes(payload), qos, bool(retain), bytes(forward), at, expires_at, user_id, 0
    )


@lru_cache(maxsize=64)
def _next_ids(dialect: Dialect, topics: int, *, ascending: bool, timed: bool) -> Compiled:
    together = union_all(*(_next_of_one(ascending=ascending, timed=timed) for _ in range(topics))).subquery()
    column = together.c.id
    return (
        select(column)
        .order_by(column if ascending else column.desc())
        .limit(_any(history.c.size.type))
        .offset(_any(history.c.size.type))
        .compile(dialect=dialect)
    )


def _next_of_one(*, ascending: bool, timed: bool) -> Select[tuple[int]]:
    """Return the statement whose parameters are topic, ids, times where they count, limit and 0."""
    id_, at = history.c.id, history.c.at
    wanted = select(id_).where(
        history.c.topic == _any(history.c.topic.type), id_ > _any(id_.type), id_ < _any(id_.type)
    )
    if timed:
        wanted = wanted.where(at >= _any(at.type), at <= _any(at.type))
    number = history.c.size.type
    ordered = wanted.order_by(id_ if ascending else id_.desc()).limit(_any(number)).offset(_any(number))
    return select(ordered.subquery().c.id)


def _any(type_: Any) -> Any:
    return bindparam(None, type_=type_)
