"""What waits for one receiver as runs: the oldest first, within limits, with barriers among them."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable

from tokenmq.broker.barrier import Barrier
from tokenmq.broker.runs import Waiting
from tokenmq.broker.waiting import Share

# What an entry takes beside its run, measured: its object, its place, and the run's count.
_ENTRY_BYTES = 176


class Queued:
    """The queue of one receiver; bounded, the oldest goes.

    Attributes:
        queue: runs that wait, and barriers.
        queued_messages: how many messages wait.
        weight: bytes that what waits holds, see `waiting`.
        size_class: likewise.
    """

    __slots__ = (
        "_max_queued_bytes",
        "_max_queued_messages",
        "_queued_bytes",
        "_share",
        "queue",
        "queued_messages",
        "size_class",
        "weight",
    )

    def __init__(self, *, max_queued_messages: int, max_queued_bytes: int, share: Share) -> None:
        self.queue: deque[Waiting | Barrier] = deque()
        self.queued_messages = self._queued_bytes = 0
        self.weight = self.size_class = 0
        self._max_queued_messages = max_queued_messages
        self._max_queued_bytes = max_queued_bytes
        self._share = share

    @property
    def oldest(self) -> Waiting:
        """The oldest run, whatever holds it up; there must be one."""
        return next(one for one in self.queue if isinstance(one, Waiting))

    def enqueue(self, waiting: Waiting, at: int | None = None) -> None:
        """Put a run behind all others, or in a place; queues give if that is too much, this one too."""
        if at is None:
            self.queue.append(waiting)
        else:
            self.queue.insert(at, waiting)
        self.queued_messages += waiting.messages_left
        self._queued_bytes += waiting.bytes_left
        self._share.enter(self, waiting.run, len(waiting.run), _ENTRY_BYTES)

    def take_out(self, waiting: Waiting) -> int:
        """Take out a run; return how many of its messages had not gone out."""
        if self.queue[0] is waiting:
            self.queue.popleft()
        else:
            self.queue.remove(waiting)
        return self._count_out(waiting)

    def pass_on(self, waiting: Waiting, start: int) -> None:
        """Note that a run waits from here on only."""
        gone = start - waiting.start
        waiting.start = start
        self.queued_messages -= gone // waiting.size
        self._queued_bytes -= gone

    def count_down(self, waiting: Waiting, now: float) -> None:
        """Write into a run what is left of its life."""
        if waiting.expiry is None:
            return
        run = waiting.run
        waiting.count_down(waiting.expiry, now)
        if waiting.run is not run:
            self._share.exchange(self, run, len(run), waiting.run, len(waiting.run))

    def take_excess(self) -> int:
        """Take out the oldest messages until the queue is within its limits; return how many."""
        count = 0
        while self._overflows():
            oldest = self.oldest
            too_many = self.queued_messages - self._max_queued_messages
            too_large = -(-(self._queued_bytes - self._max_queued_bytes) // oldest.size)
            dropped = min(oldest.messages_left, max(too_many, too_large))
            count += dropped
            self.pass_on(oldest, oldest.start + dropped * oldest.size)
            if not oldest.bytes_left:
                self.take_out(oldest)
        return count

    def keep_only(self, may_stay: Callable[[str], bool]) -> int:
        """Take out the runs of other topics; return how many messages that costs."""
        count = 0
        waiting, self.queue = self.queue, deque()
        for one in waiting:
            if isinstance(one, Barrier) or may_stay(one.topic):
                self.queue.append(one)
            else:
                count += self._count_out(one)
        return count

    def clear_queue(self) -> None:
        """Take out everything."""
        for one in self.queue:
            if isinstance(one, Waiting):
                self._count_out(one)
        self.queue.clear()

    def _count_out(self, waiting: Waiting) -> int:
        count = waiting.messages_left
        self.queued_messages -= count
        self._queued_bytes -= waiting.bytes_left
        self._share.leave(self, waiting.run, len(waiting.run), _ENTRY_BYTES)
        return count

    def _overflows(self) -> bool:
        return self.queued_messages > self._max_queued_messages or self._queued_bytes > self._max_queued_bytes

    @abstractmethod
    def give_oldest(self) -> int:
        """Drop the oldest run, for the sake of all queues; return how many messages that cost."""
