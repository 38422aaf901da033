"""Recorded messages are dropped in steps: what is erased, too old, or under no rule any more.

Each step is one operation of the writer, with a bound on what it drops, so that those who
write beside it hardly notice. A step looks for what it is to drop inside its transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select

from tokenmq.access.recording import HistoryRules
from tokenmq.stores.sql.history_sums import (
    TopicSums,
    Totals,
    drop_topics,
    drop_totals,
    load_totals,
    store_topics,
    store_totals,
    totals_of_deleted,
)
from tokenmq.stores.sql.recording import Dropped, drop_messages, hold_bounds, oldest_of_topics
from tokenmq.stores.sql.tables import history, history_topics

# Messages that one step drops: some 40 ms.
STEP = 2_000
# Topics that one step of the sweep looks at: each is held against up to a hundred rules.
STEP_TOPICS = 256
# How long it is known of an empty topic what was lost there.
EMPTY_SECONDS = 86_400

_DROPPED = select(history.c.id, history.c.topic, history.c.bytes).limit(bindparam("most"))
_OF_TOPICS = _DROPPED.where(
    history.c.topic.in_(bindparam("topics", expanding=True)), history.c.id <= bindparam("up_to")
)
_OF_USER = _DROPPED.where(
    history.c.org_id == bindparam("org"),
    history.c.user_id == bindparam("user"),
    history.c.id <= bindparam("up_to"),
)
_TOPICS = select(*history_topics.c).where(history_topics.c.org_id == bindparam("org")).limit(STEP_TOPICS)
_DUE = _TOPICS.where(history_topics.c.due <= bindparam("now")).order_by(history_topics.c.due)
_ALL = _TOPICS.where(history_topics.c.topic >= bindparam("first")).order_by(history_topics.c.topic)


@dataclass(frozen=True, slots=True)
class EraseStep:
    """Some of what is to be erased of an organization, by topics or by user.

    Attributes:
        topics: ids of at most 1,000 topics; None: those of any.
        up_to: the highest id that is to be erased.
    """

    org_id: str
    up_to: int
    topics: tuple[int, ...] | None = None
    user_id: str = ""


@dataclass(frozen=True, slots=True)
class SweepStep:
    """Some of what a sweep has to look at.

    Attributes:
        first: of a sweep through all topics: where to go on, empty at the beginning; None:
            only those that are due.
    """

    org_id: str
    rules: HistoryRules
    now: float
    first: str | None


@dataclass(frozen=True, slots=True)
class Swept:
    """What a step of a sweep did.

    Attributes:
        changed: messages and topics that were dropped, topics that are due at another time.
        last: the last topic that was looked at; None: no other comes after it.
    """

    changed: int
    last: str | None


def erase(connection: Connection, steps: Sequence[EraseStep]) -> list[int]:
    """Erase messages; return how many for each step."""
    return [_erase(connection, step) for step in steps]


def sweep(connection: Connection, steps: Sequence[SweepStep]) -> list[Swept]:
    """Drop what is too much, too old or under no rule; return what each step did."""
    return [_sweep(connection, step) for step in steps]


def _erase(connection: Connection, step: EraseStep) -> int:
    totals = load_totals(connection, [step.org_id])
    if not totals:
        return 0
    if step.topics is None:
        rows = _rows(connection, _OF_USER, org=step.org_id, user=step.user_id, up_to=step.up_to)
    else:
        rows = _rows(connection, _OF_TOPICS, topics=step.topics, up_to=step.up_to)
    drop_messages(connection, totals, rows)
    store_totals(connection, totals.values())
    return len(rows)


def _rows(connection: Connection, statement: Select[Any], **values: object) -> list[Dropped]:
    return [(row[0], row[1], row[2]) for row in connection.execute(statement, {**values, "most": STEP})]


def _sweep(connection: Connection, step: SweepStep) -> Swept:
    total = load_totals(connection, [step.org_id]).get(step.org_id)
    if total is None:
        return _sweep_deleted(connection, step.org_id)
    if step.first is None:
        found = connection.execute(_DUE, {"org": step.org_id, "now": step.now})
    else:
        found = connection.execute(_ALL, {"org": step.org_id, "first": step.first})
    topics = {row[0]: TopicSums(*row) for row in found}
    last = list(topics.values())[-1].topic if len(topics) == STEP_TOPICS else None
    changed = _sweep_topics(connection, topics, total, step)
    changed += hold_bounds(connection, total, STEP)
    if changed:
        store_totals(connection, [total])
    return Swept(changed, last)


def _sweep_topics(
    connection: Connection, topics: dict[int, TopicSums], total: Totals, step: SweepStep
) -> int:
    """Drop what is to go of these topics, and say when each is due again."""
    totals = {total.org_id: total}
    full = {id_: topic for id_, topic in topics.items() if topic.count}
    rows, due = _too_old(connection, full, step)
    dropped = drop_messages(connection, totals, rows, are_oldest=True)
    topics |= dropped
    over = [topic for topic in topics.values() if not topic.count and 0 < topic.due <= step.now]
    drop_topics(connection, totals, over)
    moved = []
    for id_, topic in topics.items():
        if topic.count and due[id_] != topic.due:
            topic.due = due[id_]
            moved.append(topic)
        elif not topic.count and topic.due == 0:
            topic.due = step.now + EMPTY_SECONDS
            moved.append(topic)
    store_topics(connection, moved)
    return len(rows) + len(over) + len(moved)


def _too_old(
    connection: Connection, topics: Mapping[int, TopicSums], step: SweepStep
) -> tuple[list[Dropped], dict[int, float]]:
    """Return what is to be dropped of topics, and when they are due again."""
    limit = max(STEP // max(len(topics), 1), 8)
    oldest: dict[int, list[tuple[int, int, float]]] = defaultdict(list)
    for id_, topic_id, size, at in oldest_of_topics(connection, [(id_, limit) for id_ in topics]):
        oldest[topic_id].append((id_, size, at))
    rows: list[Dropped] = []
    due: dict[int, float] = {}
    for topic_id, topic in topics.items():
        rule = step.rules.of_topic(topic.topic)
        excess = topic.count - (rule.max_messages if rule else 0)
        since = step.now - rule.max_age if rule else float("inf")
        gone = _leading(oldest[topic_id], excess, since)
        rows += [(id_, topic_id, size) for id_, size, _ in oldest[topic_id][:gone]]
        if gone == len(oldest[topic_id]):
            due[topic_id] = step.now  # there may be more of it
        elif rule is not None:
            due[topic_id] = oldest[topic_id][gone][2] + rule.max_age
    return rows, due


def _leading(messages: Iterable[tuple[int, int, float]], excess: int, since: float) -> int:
    """Return how many of the first messages are too many or too old."""
    count = 0
    for _, _, at in messages:
        if count >= excess and at >= since:
            break
        count += 1
    return count


def _sweep_deleted(connection: Connection, org_id: str) -> Swept:
    """Drop some of what a deleted organization has left."""
    total = totals_of_deleted(connection, org_id)
    if total is None:
        return Swept(0, None)
    totals = {org_id: total}
    topics = {row[0]: TopicSums(*row) for row in connection.execute(_TOPICS, {"org": org_id})}
    limit = max(STEP // max(len(topics), 1), 8)
    full = [(id_, limit) for id_, topic in topics.items() if topic.count]
    rows = [row[:3] for row in oldest_of_topics(connection, full)]
    topics |= drop_messages(connection, totals, rows, are_oldest=True)
    empty = [topic for topic in topics.values() if not topic.count]
    drop_topics(connection, totals, empty)
    if topics:
        store_totals(connection, [total])
    else:
        drop_totals(connection, org_id)
    return Swept(len(rows) + len(empty) + (not topics), None)
