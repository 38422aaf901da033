"""Recording: ids, and what waits to be written into the history.

Theory of operation. A message on a topic under a rule gets an id and a record. Ids are
given in the order in which the messages of an organization are routed, so whoever has seen
one id has seen all below it. Where the rule is durable, a message at QoS 1 or 2 waits for the
store (`arriving`) with the id that it has already: as long as one does, the organization's
other messages that are to be recorded go the same way, behind it. If one comes through late
all the same (somebody else was to have it in the store by then), it gets another id.

All others are routed at once, alone or as a run of a `lane`, and their records wait here by
topic. What would be trimmed from the topic anyway never reaches the store. The owner of the
broker takes what waits every two seconds, when much does, or when somebody wants to read; while
the store is slow, more is trimmed here. What waits is bounded in bytes for all together: the
oldest of the topic that has waited longest goes, counted. What the store did not take waits
again.

The next block of ids is asked for before the last one is used up. Without an id nothing is recorded.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from tokenmq.broker.effects import Reserve
from tokenmq.broker.ids import BLOCK, STEP, Ids
from tokenmq.broker.records import Change, HistoryRecord, put

if TYPE_CHECKING:
    from tokenmq.access.recording import HistoryRule
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.message import Message
    from tokenmq.broker.session import Session
    from tokenmq.broker.tenant import Tenant

# What waits is due before its time when it takes so many bytes.
_MUCH_BYTES = 1024 * 1024
# What may wait, and be on its way to the store, bytes.
_MOST_BYTES = 32 * 1024 * 1024
# Records of one save: the store commits 1,000 in 10 to 200 ms, by their topics and sizes.
_MOST_SAVED = 1_000
# What waits, waits so long at least: the more comes by then, the more of it need not be written.
_REST_SECONDS = 2.0
# What a record takes beside its texts, about.
_OVERHEAD_BYTES = 400


class Waiting:
    """The records of one topic that wait.

    Attributes:
        lost: the newest id that was let go.
    """

    __slots__ = ("lost", "records")

    def __init__(self) -> None:
        self.records: deque[HistoryRecord] = deque()
        self.lost = 0

    def part(self, most: int) -> Waiting:
        """Take out the oldest, and what is known of those before them."""
        part = Waiting()
        part.lost, self.lost = self.lost, 0
        if len(self.records) <= most:
            part.records, self.records = self.records, part.records
        else:
            part.records.extend(self.records.popleft() for _ in range(most))
        return part


class Run(NamedTuple):
    """Messages that were passed on together, to be recorded.

    Attributes:
        packets: as they came, one after the other.
        size: bytes of each.
        payload_at: where the payload stands in each.
        forward, expires_at: as of `HistoryRecord`, all alike.
    """

    rule: HistoryRule
    topic: str
    qos: int
    packets: bytes
    size: int
    payload_at: int
    forward: bytes
    expires_at: float | None


class Asking(Protocol):
    """What is to be read when all that was recorded so far is in the store."""

    def lack(self, topic: str, first: int, last: int) -> None:
        """Take note of records that the store did not take: a topic's, from one id to another."""


class History:
    """What of one organization is being recorded.

    Attributes:
        pending: ids given to messages that are not through yet, in order.
        newest: the newest id of a message that was routed.
        lost: the newest id of a message that will not be recorded, and of which the store knows nothing.
        waiting: records that wait, by topic.
        asking: who will read what has been recorded by now.
    """

    __slots__ = ("asking", "lost", "newest", "pending", "waiting")

    def __init__(self) -> None:
        self.pending: dict[int, None] = {}
        self.newest = 0
        self.lost = 0
        self.waiting: dict[str, Waiting] = {}
        self.asking: dict[Asking, None] = {}


class Taken:
    """Records on their way to the store, as one save."""

    __slots__ = ("_parts", "_recorder", "room", "size")

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._parts: list[tuple[History, Waiting]] = []
        self.room = _MOST_SAVED
        self.size = 0

    def add(self, history: History, waiting: Waiting) -> None:
        """Take what there is room for of one topic's records."""
        part = waiting.part(self.room)
        self._parts.append((history, part))
        self.room -= len(part.records)
        self.size += sum(map(_size, part.records))

    @property
    def changes(self) -> list[Change]:
        """What the store is to make of it."""
        changes: list[Change] = []
        for _, part in self._parts:
            changes += map(put, part.records)
            if part.lost:
                changes[-1] = put(msgspec.structs.replace(part.records[-1], lost=part.lost))
        return changes

    def settled(self, *, kept: bool) -> None:
        """Forget what is kept; the rest waits again. To be called once."""
        self._recorder.settled(self._parts, self.size, kept=kept)


class Recorder:
    """What waits to be recorded, of all organizations.

    Attributes:
        ids: where ids come from.
        due: the owner is to take what waits.
        lost: by organization, what was not recorded since it was last told.
    """

    __slots__ = (
        "_broker",
        "_bytes",
        "_max_bytes",
        "_taken_at",
        "_under_way",
        "_with_some",
        "due",
        "ids",
        "lost",
    )

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.ids = Ids()
        self.due = False
        self.lost: dict[str, int] = {}
        self._with_some: dict[Tenant, None] = {}
        self._bytes = 0
        self._under_way = 0
        self._max_bytes = _MOST_BYTES
        self._taken_at = -_REST_SECONDS

    # Ids

    def next_id(self, count: int = 1) -> int:
        """Return the first of so many ids in a row, 0 if there are none; have more reserved in time."""
        ids = self.ids
        found = ids.next(count)
        if ids.few and not ids.asked:
            self.reserve()
        return found

    def reserve(self) -> None:
        """Have a block of numbers reserved."""
        self.ids.asked = True
        self._broker.effects.append(Reserve(BLOCK))

    def record_of(self, session: Session, message: Message, rule: HistoryRule) -> HistoryRecord | None:
        """Return the record of a message under a new id; None if there is no id."""
        found = self.next_id()
        if not found:
            return None
        return HistoryRecord(
            found,
            session.tenant.org_id,
            message.topic,
            message.payload,
            message.qos,
            message.retain,
            message.forward,
            self._broker.moment.now,
            message.expires_at,
            session.identity.user_id,
            rule.max_messages,
        )

    # What waits

    def record(self, session: Session, message: Message, rule: HistoryRule) -> None:
        """Give a message that is routed in this step an id, and let its record wait."""
        record = self.record_of(session, message, rule)
        if record is None:
            self.note_lost(session.tenant, 1)
        else:
            session.tenant.history.newest = record.id
            message.recorded = record
            self.add(session.tenant, record)

    def record_run(self, session: Session, run: Run) -> None:
        """Give messages that are routed in this step their ids, and let wait what may stay of them."""
        rule, topic, qos, packets, size, at, forward, expires_at = run
        tenant, most, count = session.tenant, rule.max_messages, len(packets) // size
        first = self.next_id(count)
        if not first:
            self.note_lost(tenant, count)
            return
        tenant.history.newest = first + (count - 1) * STEP
        passed = max(0, count - most)
        retain = False  # what is to be retained has no lane
        org_id, user_id, now = tenant.org_id, session.identity.user_id, self._broker.moment.now
        records = [
            HistoryRecord(
                first + index * STEP, org_id, topic, packets[index * size + at : (index + 1) * size],
                qos, retain, forward, now, expires_at, user_id, most,
            )
            for index in range(passed, count)
        ]  # fmt: skip
        if count == 1:
            self.add(tenant, records[0])
            return
        waiting = self._waiting(tenant, topic)
        for _ in range(len(waiting.records) + len(records) - most):
            self._let_go(waiting)
        if passed:
            waiting.lost = first + (passed - 1) * STEP
        waiting.records.extend(records)
        self._added(len(records) * _size(records[0]))

    def add(self, tenant: Tenant, record: HistoryRecord) -> None:
        """Let a record wait; the oldest of its topic goes if there are too many."""
        waiting = self._waiting(tenant, record.topic)
        records = waiting.records
        if len(records) >= record.most:
            self._let_go(waiting)
        records.append(record)
        self._added(_size(record))

    def _waiting(self, tenant: Tenant, topic: str) -> Waiting:
        waiting = tenant.history.waiting.get(topic)
        if waiting is None:
            waiting = tenant.history.waiting[topic] = Waiting()
            self._with_some[tenant] = None
        return waiting

    def _added(self, size: int) -> None:
        self._bytes += size
        if self._bytes > _MUCH_BYTES:
            self.due = self.due or not self._under_way
            if self._bytes + self._under_way > self._max_bytes:
                self._make_room()

    def take(self) -> list[Taken]:
        """Take what waits, if it is due, to be saved in this order."""
        if not self.due:
            return []
        self.due = False
        self._taken_at = self._broker.moment.now
        taken: list[Taken] = []
        for tenant in self._with_some:
            for waiting in tenant.history.waiting.values():
                while waiting.records:
                    if not (taken and taken[-1].room):
                        taken.append(Taken(self))
                    taken[-1].add(tenant.history, waiting)
            tenant.history.waiting = {}
        self._with_some = {}
        self._under_way += self._bytes
        self._bytes = 0
        return taken

    def settled(self, taken: list[tuple[History, Waiting]], size: int, *, kept: bool) -> None:
        """Forget what is kept; let the rest wait again, in the order of ids."""
        self._under_way -= size
        if kept:
            self.due = self.due or self._bytes > _MUCH_BYTES
            return
        for history, earlier in taken:
            records = earlier.records
            tenant = self._broker.tenants.get(records[0].org_id)
            if tenant is None or tenant.history is not history:  # deleted meanwhile
                continue
            topic = records[0].topic
            for one in history.asking:
                one.lack(topic, records[0].id, records[-1].id)
            since = history.waiting.pop(topic, None)
            self._with_some[tenant] = None
            history.waiting[topic] = earlier
            self._bytes += sum(map(_size, records))
            if since is not None:
                earlier.lost = max(earlier.lost, since.lost)
                earlier.records = records = deque(sorted([*records, *since.records], key=_id))
            while len(records) > records[-1].most:
                self._let_go(earlier)
        if self._bytes + self._under_way > self._max_bytes:
            self._make_room()

    def tick(self) -> None:
        """Have what waits taken, unless the store has just been busy with it; tell what was lost."""
        rests = 0 <= self._broker.moment.now - self._taken_at < _REST_SECONDS
        self.due = self.due or (bool(self._with_some) and not self._under_way and not rests)
        if self.ids.few and self.ids.floor and not self.ids.asked:
            self.reserve()
        lost, self.lost = self.lost, {}
        for org_id, count in lost.items():
            self._broker.report("history_lost", org_id=org_id, count=count)

    def flush(self) -> None:
        """Have what waits taken now."""
        self.due = bool(self._with_some)

    def forget(self, tenant: Tenant) -> None:
        """Let go of what waits of an organization that is gone."""
        if self._with_some.pop(tenant, False) is None:
            for waiting in tenant.history.waiting.values():
                self._bytes -= sum(map(_size, waiting.records))

    def note_lost(self, tenant: Tenant, count: int) -> None:
        """Count messages that should have been recorded and are not."""
        self._broker.counters.history_lost += count
        self.lost[tenant.org_id] = self.lost.get(tenant.org_id, 0) + count

    def _let_go(self, waiting: Waiting) -> int:
        oldest = waiting.records.popleft()
        waiting.lost = max(waiting.lost, oldest.id)
        self._bytes -= _size(oldest)
        return oldest.id

    def _make_room(self) -> None:
        """Drop the oldest of what has waited longest; what is under way is the store's to finish."""
        while self._bytes + self._under_way > self._max_bytes and self._bytes:
            tenant = next(iter(self._with_some))
            topics = tenant.history.waiting
            topic = next((one for one, waiting in topics.items() if waiting.records), None)
            if topic is None:
                del self._with_some[tenant]
                continue
            tenant.history.lost = max(tenant.history.lost, self._let_go(topics[topic]))
            self.note_lost(tenant, 1)


def _id(record: HistoryRecord) -> int:
    return record.id


def _size(record: HistoryRecord) -> int:
    return len(record.payload) + len(record.topic) + len(record.forward) + _OVERHEAD_BYTES
