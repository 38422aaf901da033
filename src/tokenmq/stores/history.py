"""What the broker and the history service need of a store: `HistoryStore`.

Messages come into the history as `HistoryRecord` changes of `KeptStore.save`, so a message
is recorded in the same transaction as whatever else is kept of it. Reading is done in two
steps, so that nobody holds a thousand payloads at a time: *heads* (ids and topics, which
are judged one by one under the reader's rights), then the *messages* of some of them.

An id is 64 times a number that only grows, plus the number of the node that gave it (0):
an integer below 2^53 that any JSON reader holds exactly. Ids are to be compared, not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tokenmq.access.recording import HistoryRules
from tokenmq.broker.records import HistoryRecord
from tokenmq.stores.audit import Audit


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Which heads are wanted.

    Attributes:
        topic_filter: a plain Topic Filter, perhaps a Topic Name.
        after: ids greater than this one.
        before: ids smaller than this one; None: whatever there is.
        since, until: unix seconds; the time of a message lies within, both ends included.
            What the clock gave out before it was set back by more than a minute may be missed.
        ascending: the oldest first; else the newest.
        limit: heads at most, 1 to 1,000.
    """

    org_id: str
    topic_filter: str
    after: int = 0
    before: int | None = None
    since: float | None = None
    until: float | None = None
    ascending: bool = False
    limit: int = 100


@dataclass(frozen=True, slots=True)
class HistoryHead:
    """One recorded message without what it says.

    Attributes:
        at: unix seconds at which the broker took it in.
        expires_at: unix seconds (MQTT 5 §3.3.2.3.3); None: it does not expire.
        size: bytes of its payload.
    """

    id: int
    topic: str
    at: float
    expires_at: float | None
    size: int


@dataclass(frozen=True, slots=True)
class Erasure:
    """What is to be erased of an organization's history: exactly one of the two.

    Attributes:
        topic_filter: what was published to topics that it matches.
        user_id: what this user published, on whatever topic.
    """

    org_id: str
    topic_filter: str | None = None
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """What a bounded look at the history has found.

    Attributes:
        heads: in the order of the query, at most its limit; perhaps none.
        next: where to go on, as `after` of an ascending query or `before` of another; None:
            there is nothing more.
    """

    heads: Sequence[HistoryHead]
    next: int | None


class HistoryStore(Protocol):
    """The recorded messages of all organizations.

    What is read was committed: a save whose `settled` was called is seen by every read that
    is begun after that. Bounds (messages of a topic, bytes and topics of an organization) are
    held by the store itself, inside the transactions that write; age is held when reading,
    and in time by `sweep`.
    """

    async def reserve(self, count: int) -> int:
        """Reserve numbers for ids; return the first of `count` that nobody ever had.

        Raises: Unavailable.
        """
        ...

    async def heads(self, query: HistoryQuery) -> Sequence[HistoryHead]:
        """Return the heads that a query asks for, in its order; fewer than its limit only at the end.

        Raises: Unavailable.
        """
        ...

    async def scan(self, query: HistoryQuery) -> Scan:
        """Return some of those heads, with bounded work, and where the others are.

        Raises: Unavailable.
        """
        ...

    async def messages(self, org_id: str, ids: Sequence[int]) -> Sequence[HistoryRecord]:
        """Return recorded messages in the order of these ids; those gone by now are left out.

        `most` is 0 in them: it is not recorded.

        Raises: Unavailable.
        """
        ...

    async def lost_after(self, org_id: str, topic_filter: str, after: int, *, since: float = 0.0) -> bool:
        """Tell whether a reader who has everything up to an id cannot have all that came since.

        True if the message of that id is not there, on whatever topic: it is gone, or it never
        came to the store (the process was killed before it did, or the database was put back
        to an earlier state), and then others may be missing, too. True also if a later message
        of a matching topic is gone, for whatever reason: age, number, bytes, erasure. Of topics
        that nothing is known of any more it is assumed (an organization has only so many, and
        they are forgotten a day after they became empty).

        Args:
            org_id: whose history it is.
            topic_filter: a plain Topic Filter, perhaps a Topic Name.
            after: the id; 0: the reader has nothing.
            since: unix seconds; a message of that id that is older is gone, dropped already or not.

        Raises: Unavailable.
        """
        ...

    async def erase(self, erasure: Erasure, *, audit: Audit[int]) -> int:
        """Erase recorded messages, durable before it returns; return how many there were.

        It is done in steps, for no commit may take long; each step brings its entries with
        it, told by how many messages it erased. What is recorded meanwhile may stay.

        Raises: Unavailable; then some of it may be done.
        """
        ...

    async def organizations(self) -> Sequence[str]:
        """Return the ids of those of which something is recorded, deleted ones too.

        Raises: Unavailable.
        """
        ...

    async def sweep(self, org_id: str, rules: HistoryRules, *, now: float) -> int:
        """Drop some of what is too old, too much or under no rule any more; return how much was done.

        A bounded step: to be called again until it returns 0, and then from time to time.
        Of an organization that was deleted everything goes.

        Raises: Unavailable.
        """
        ...


class KeepsHistory(Protocol):
    """The part of a store that keeps the history."""

    @property
    def history(self) -> HistoryStore:
        """The history."""
        ...
