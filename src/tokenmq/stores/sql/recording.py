"""Messages are recorded: inside the transaction that keeps them, with all their bounds.

Theory of operation. The records of a group of writes come together. The sums of their
topics are read (64 topics a statement), the messages are written, and of each topic that
has more than it may have, the oldest are looked up (64 topics a statement) and dropped.
Then the organizations are held against their bounds: bytes, where the oldest messages
go, whatever their topic, and topics, where those go whose newest message is oldest.

A message is dropped as cheaply as it is written, so bounds that are reached cost the same
for each message. Only when there is much more to drop than to write (a rule or a setting
was made smaller, small messages give way to large ones) does it go in steps: a
transaction drops little more than it writes, and the rest is left to the next ones and to
the sweep. Where that is not enough the bound gives way by a sixteenth, and no further.

Ids come nearly in order, and a message that comes twice is written once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import TypeAlias, cast

from sqlalchemy import Compiled, Connection, Dialect, Select, bindparam, select, union_all

from tokenmq.broker.records import HistoryRecord
from tokenmq.stores.sql.bulk import Row, add_rows, drop_rows, find_rows, found_by, primary_key
from tokenmq.stores.sql.history_sums import (
    TopicSums,
    Totals,
    drop_topics,
    load_totals,
    store_topics,
    store_totals,
    topics_named,
    topics_of,
)
from tokenmq.stores.sql.tables import history, history_topics

# The wire contract: topics of an organization.
MAX_TOPICS = 100_000
# What a message counts for beside its payload, properties and topic: about what its row
# and its places in the indexes take up.
ROW_BYTES = 200
# Messages that a transaction may drop beyond twice those that it writes: some 20 ms.
SPARE = 1_000
# A bound may be exceeded by this part of it while there is more to drop than a transaction should.
_MARGIN = 16
# Topics of one statement.
_TOGETHER = 64

# What has to be known of a message to drop it: its id, its topic's, the bytes it counts for.
Dropped: TypeAlias = tuple[int, int, int]

_DROPPED = (history.c.id, history.c.topic, history.c.bytes)
_OLDEST = (
    select(*_DROPPED)
    .where(history.c.org_id == bindparam("org"))
    .order_by(history.c.id)
    .limit(bindparam("most"))
)
_LEAST_RECENT = (
    select(*history_topics.c)
    .where(history_topics.c.org_id == bindparam("org"))
    .order_by(history_topics.c.newest)
    .limit(bindparam("most"))
)
_by_id = attrgetter("id")


def record_messages(connection: Connection, records: Collection[HistoryRecord]) -> None:
    """Record messages, and drop what there is too much of then.

    Those of organizations that are deleted are left out.
    """
    if not records:
        return
    totals = load_totals(connection, {record.org_id for record in records})
    groups = _by_topic(records, totals)
    topics = topics_named(connection, groups)
    _leave_out_known(connection, groups, topics)
    rows: list[Row] = []
    written: dict[str, int] = defaultdict(int)
    excess: dict[int, int] = {}
    for name, group in groups.items():
        total = totals[name[0]]
        topic = topics.get(name)
        if topic is None:
            topic = topics[name] = _new_topic(group[0], total)
        kept = _take_in(topic, group)
        rows += kept
        written[total.org_id] += len(kept)
        total.bytes += sum(row[-1] for row in kept)
        if topic.count > _most(group):
            excess[topic.id] = min(topic.count - _most(group), len(group) + SPARE)
    add_rows(connection, history, rows)
    _trim_topics(connection, {topic.id: topic for topic in topics.values()}, excess, totals)
    store_topics(connection, topics.values())
    for org_id, count in written.items():
        hold_bounds(connection, totals[org_id], 2 * count + SPARE)
    store_totals(connection, totals.values())


def take_back(connection: Connection, ids: Collection[int]) -> None:
    """Drop messages that were never to be read; those that are not there are passed over."""
    found = find_rows(
        connection, (*_DROPPED, history.c.org_id), primary_key(history), [(id_,) for id_ in ids]
    )
    totals = load_totals(connection, {row[3] for row in found})
    rows = [row[:3] for row in found if row[3] in totals]
    if rows:
        drop_messages(connection, totals, rows, are_missed=False)
        store_totals(connection, totals.values())


def hold_bounds(connection: Connection, total: Totals, spare: int) -> int:
    """Drop the oldest messages and topics of an organization as long as it has too much.

    Args:
        total: changed, not stored.
        spare: about how many messages may be dropped where that is no matter of urgency.

    Returns: how many messages and topics were.
    """
    dropped = 0
    while _is_over(total.bytes, total.limit, urgent=dropped >= spare):
        rows = _up_to(_oldest(connection, total.org_id, spare), total.bytes - total.limit)
        if not rows:
            break
        drop_messages(connection, {total.org_id: total}, rows, are_oldest=True)
        dropped += len(rows)
    while _is_over(total.topics, MAX_TOPICS, urgent=dropped >= spare):
        went = _drop_least_recent(connection, total, spare)
        if not went:
            break
        dropped += went
    return dropped


def drop_messages(
    connection: Connection,
    totals: Mapping[str, Totals],
    rows: Sequence[Dropped],
    *,
    are_oldest: bool = False,
    are_missed: bool = True,
) -> dict[int, TopicSums]:
    """Drop messages that are there; return their topics as they are now, by id.

    Args:
        totals: of their organizations, changed, not stored.
        rows: no message twice.
        are_oldest: no older message of these topics is there.
        are_missed: they count as lost.
    """
    drop_rows(connection, primary_key(history), [(row[0],) for row in rows])
    topics = topics_of(connection, {row[1] for row in rows})
    lost_to = {id_: topic.lost_to for id_, topic in topics.items()}
    _lose(topics, rows, totals, are_oldest=are_oldest)
    if not are_missed:
        for id_, topic in topics.items():
            topic.lost_to = lost_to[id_]
    store_topics(connection, topics.values())
    return topics


def oldest_of_topics(
    connection: Connection, wanted: Iterable[tuple[int, int]]
) -> Iterator[tuple[int, int, int, float]]:
    """Yield the oldest messages of topics: id, topic, bytes, time; those of a topic in their order.

    Args:
        wanted: topics, and how many of each at most.
    """
    pairs = list(wanted)
    for start in range(0, len(pairs), _TOGETHER):
        some = pairs[start : start + _TOGETHER]
        size = next(size for size in (1, 8, _TOGETHER) if size >= len(some))
        padded = [*some, *[(0, 0)] * (size - len(some))]
        # SQLite has no limit without an offset.
        values = tuple(chain.from_iterable((topic, most, 0) for topic, most in padded))
        statement = _oldest_statement(connection.dialect, size)
        yield from cast("Iterator[tuple[int, int, int, float]]", found_by(connection, statement, values))


def _by_topic(
    records: Iterable[HistoryRecord], totals: Mapping[str, Totals]
) -> dict[tuple[str, str], list[HistoryRecord]]:
    groups: dict[tuple[str, str], list[HistoryRecord]] = defaultdict(list)
    for record in records:
        if record.org_id in totals:
            groups[record.org_id, record.topic].append(record)
    for group in groups.values():
        group.sort(key=_by_id)
    return groups


def _leave_out_known(
    connection: Connection,
    groups: dict[tuple[str, str], list[HistoryRecord]],
    topics: Mapping[tuple[str, str], TopicSums],
) -> None:
    """Take out of the groups what is written already."""
    suspects = [
        record.id for name, topic in topics.items() for record in groups[name] if record.id <= topic.newest
    ]
    if not suspects:
        return
    key = primary_key(history)
    known = {id_ for (id_,) in find_rows(connection, key, key, [(id_,) for id_ in suspects])}
    for name in topics:
        group = [record for record in groups[name] if record.id not in known]
        if group:
            groups[name] = group
        else:
            del groups[name]


def _new_topic(first: HistoryRecord, total: Totals) -> TopicSums:
    # It may have been there before: what the organization has lost, it may have lost.
    total.topics += 1
    return TopicSums(first.id, first.org_id, first.topic, 0, 0, first.id, first.id, total.lost_to, first.at)


def _take_in(topic: TopicSums, group: Sequence[HistoryRecord]) -> list[Row]:
    """Add new messages to the sums of their topic; return the rows to write."""
    kept, lost = group[-_most(group) :], group[: -_most(group)]
    topic.lost_to = max(topic.lost_to, *(record.lost for record in group), lost[-1].id if lost else 0)
    first = kept[0]
    topic.oldest = min(topic.oldest, first.id) if topic.count else first.id
    topic.due = topic.due if topic.count else min(record.at for record in kept)
    topic.newest = max(topic.newest, kept[-1].id)
    topic.count += len(kept)
    beside = ROW_BYTES + len(topic.topic.encode())
    rows = [_row(record, topic.id, beside) for record in kept]
    topic.bytes += sum(row[-1] for row in rows)
    return rows


def _most(group: Sequence[HistoryRecord]) -> int:
    """Return how many messages of a topic there may be: what its newest says."""
    return max(group[-1].most, 1)


def _row(record: HistoryRecord, topic: int, beside: int) -> Row:
    size = len(record.payload)
    return (
        record.id,
        topic,
        record.org_id,
        record.payload,
        record.qos,
        record.retain,
        record.forward,
        record.at,
        record.expires_at,
        record.user_id,
        size,
        size + len(record.forward) + beside,
    )


def _trim_topics(
    connection: Connection,
    topics: Mapping[int, TopicSums],
    excess: Mapping[int, int],
    totals: Mapping[str, Totals],
) -> None:
    rows = [(id_, topic, size) for id_, topic, size, _ in oldest_of_topics(connection, excess.items())]
    drop_rows(connection, primary_key(history), [(row[0],) for row in rows])
    _lose(topics, rows, totals, are_oldest=True)


def _lose(
    topics: Mapping[int, TopicSums],
    rows: Iterable[Dropped],
    totals: Mapping[str, Totals],
    *,
    are_oldest: bool,
) -> None:
    for id_, topic_id, size in rows:
        topic = topics[topic_id]
        topic.lose(id_, size)
        totals[topic.org_id].bytes -= size
        if are_oldest:
            topic.oldest = max(topic.oldest, id_)


def _is_over(have: int, limit: int, *, urgent: bool) -> bool:
    return have > limit + (limit // _MARGIN if urgent else 0)


def _oldest(connection: Connection, org_id: str, most: int) -> list[Dropped]:
    return [(row[0], row[1], row[2]) for row in connection.execute(_OLDEST, {"org": org_id, "most": most})]


def _up_to(rows: Iterable[Dropped], size: int) -> list[Dropped]:
    """Return as many rows as come to this size."""
    taken: list[Dropped] = []
    for row in rows:
        if size <= 0:
            break
        taken.append(row)
        size -= row[2]
    return taken


def _drop_least_recent(connection: Connection, total: Totals, spare: int) -> int:
    """Drop the topics that are too many, or some messages of theirs; return how much that was."""
    most = min(total.topics - MAX_TOPICS, spare)
    found = connection.execute(_LEAST_RECENT, {"org": total.org_id, "most": most})
    victims = {row[0]: TopicSums(*row) for row in found}
    # At least one message, and of the last of them not all that it has.
    share: dict[int, int] = {}
    left = spare
    for topic in victims.values():
        share[topic.id] = min(topic.count, left)
        left -= share[topic.id]
    rows = [row[:3] for row in oldest_of_topics(connection, [pair for pair in share.items() if pair[1]])]
    topics = drop_messages(connection, {total.org_id: total}, rows, are_oldest=True)
    empty = [one for one in (topics.get(topic.id, topic) for topic in victims.values()) if not one.count]
    drop_topics(connection, {total.org_id: total}, empty)
    return len(rows) + len(empty)


@lru_cache(maxsize=64)
def _oldest_statement(dialect: Dialect, topics: int) -> Compiled:
    return union_all(*(_oldest_of_one() for _ in range(topics))).compile(dialect=dialect)


def _oldest_of_one() -> Select[tuple[int, int, int, float]]:
    wanted = (
        select(*_DROPPED, history.c.at)
        .where(history.c.topic == bindparam(None, type_=history.c.topic.type))
        .order_by(history.c.id)
        .limit(bindparam(None, type_=history.c.size.type))
        .offset(bindparam(None, type_=history.c.size.type))
    ).subquery()
    return select(*wanted.c)
