"""The history in SQL: read in bounded looks, dropped in bounded steps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import TypeVar

from sqlalchemy import Connection, select

from tokenmq.access.recording import HistoryRules
from tokenmq.broker.records import HistoryRecord
from tokenmq.stores.audit import Audit, AuditEntry, entries_of
from tokenmq.stores.history import Erasure, HistoryHead, HistoryQuery, Scan
from tokenmq.stores.sql import history_dropping as dropping
from tokenmq.stores.sql import history_reading as reading
from tokenmq.stores.sql.bulk import put_rows
from tokenmq.stores.sql.history_dropping import EraseStep, SweepStep, erase, sweep
from tokenmq.stores.sql.order import Order
from tokenmq.stores.sql.reader import Reader
from tokenmq.stores.sql.tables import history_organizations, reserved
from tokenmq.stores.sql.writer import GroupWriter, Work
from tokenmq.topics.filter import extent, following, has_wildcard, matches

Outcome = TypeVar("Outcome")

_ORGANIZATIONS = select(history_organizations.c.org_id).order_by(history_organizations.c.org_id)
_IDS = "history"
_NEXT = select(reserved.c.next).where(reserved.c.name == _IDS)


class SqlHistory:
    """`HistoryStore` in SQL."""

    def __init__(self, reader: Reader, writer: GroupWriter) -> None:
        self._reader = reader
        self._writer = writer
        # How far each organization was swept under its rules as they are: the last topic
        # that was looked at, None when all were. It is lost with the process: then all are
        # looked at again.
        self._swept: dict[str, tuple[HistoryRules, str | None]] = {}

    async def reserve(self, count: int) -> int:
        """Reserve numbers for ids."""
        return await self._writer.submit(_RESERVING, count, _same)

    async def heads(self, query: HistoryQuery) -> Sequence[HistoryHead]:
        """Return the heads of a query, by as many looks as it takes."""
        heads: list[HistoryHead] = []
        while True:
            found = await self.scan(replace(query, limit=query.limit - len(heads)))
            heads += found.heads
            if found.next is None or len(heads) >= query.limit:
                return heads
            up = query.ascending
            query = replace(query, after=found.next) if up else replace(query, before=found.next)

    async def scan(self, query: HistoryQuery) -> Scan:
        """Return some heads of a query."""
        return await self._reader.run(partial(reading.scan, query=query))

    async def messages(self, org_id: str, ids: Sequence[int]) -> Sequence[HistoryRecord]:
        """Return recorded messages."""
        return await self._reader.run(partial(reading.messages, org_id=org_id, ids=ids))

    async def lost_after(self, org_id: str, topic_filter: str, after: int, *, since: float = 0.0) -> bool:
        """Tell whether an id, or something that comes after it, is lost."""
        is_there = partial(reading.is_there, org_id=org_id, id_=after, since=since)
        if after > 0 and not await self._reader.run(is_there):
            return True
        lost = max(after, 1)
        if not has_wildcard(topic_filter):
            one = partial(reading.lost_of_one, org_id=org_id, topic=topic_filter)
            return await self._reader.run(one) >= lost
        altogether = partial(reading.lost_altogether, org_id=org_id)
        if await self._reader.run(altogether) >= lost:
            return True
        first, end = extent(topic_filter)
        while True:
            page = await self._reader.run(
                partial(reading.topics_that_lost, org_id=org_id, range_=(first, end), lost=lost)
            )
            if any(matches(topic_filter, topic) for topic in page):
                return True
            if len(page) < reading.PAGE:
                # Topics may have been forgotten meanwhile.
                return await self._reader.run(altogether) >= lost
            first = following(page[-1])

    async def erase(self, erasure: Erasure, *, audit: Audit[int]) -> int:
        """Erase recorded messages, step by step."""
        erased = 0
        noted = audit
        async for step in self._steps(erasure):
            count = dropping.STEP
            while count >= dropping.STEP:
                count = await self._writer.submit(_ERASING, step, _same, noted)
                noted = _where_any(audit)
                erased += count
        return erased

    async def organizations(self) -> Sequence[str]:
        """Return the ids of those of which something is recorded."""
        return [row["org_id"] for row in await self._reader.rows(_ORGANIZATIONS)]

    async def sweep(self, org_id: str, rules: HistoryRules, *, now: float) -> int:
        """Take one step of a sweep, or several that find nothing to do."""
        known, first = self._swept.get(org_id, (None, None))
        if known != rules:
            first = ""
        while first is not None:
            swept = await self._writer.submit(_SWEEPING, SweepStep(org_id, rules, now, first), _same)
            first = None if swept.last is None else following(swept.last)
            self._swept[org_id] = (rules, first)
            if swept.changed:
                return swept.changed
        swept = await self._writer.submit(_SWEEPING, SweepStep(org_id, rules, now, None), _same)
        return swept.changed

    async def _steps(self, erasure: Erasure) -> AsyncIterator[EraseStep]:
        """Yield what is to be done, each until it finds nothing more; at least one."""
        org_id = erasure.org_id
        up_to = await self._reader.run(partial(reading.newest, org_id=org_id))
        if erasure.topic_filter is None:
            yield EraseStep(org_id, up_to, user_id=erasure.user_id or "")
            return
        first, end = extent(erasure.topic_filter)
        page: list[tuple[int, str]] = []
        is_first = True
        while is_first or len(page) == reading.PAGE:
            page = await self._reader.run(partial(reading.topics_in, org_id=org_id, range_=(first, end)))
            topics = tuple(id_ for id_, topic in page if matches(erasure.topic_filter, topic))
            if topics or is_first:
                yield EraseStep(org_id, up_to, topics)
            is_first = False
            first = following(page[-1][1]) if page else end


def _same(outcome: Outcome) -> Outcome:
    return outcome


def _where_any(audit: Audit[int]) -> Callable[[int], Sequence[AuditEntry]]:
    """Return what is noted of a step that is not the first."""
    return lambda count: entries_of(audit, count) if count else ()


def _reserve(connection: Connection, counts: Sequence[int]) -> list[int]:
    first: int = connection.execute(_NEXT).scalar() or 1
    starts = list(accumulate(counts, initial=first))
    put_rows(connection, reserved, [(_IDS, starts.pop())])
    return starts


_RESERVING = Work(Order.RESERVE_NUMBERS, _reserve)
_ERASING = Work(Order.DROP_HISTORY, erase)
_SWEEPING = Work(Order.SWEEP_HISTORY, sweep)
