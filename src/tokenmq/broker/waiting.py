"""What waits in the whole process, for receivers and for the store, and who gives when it is too much.

Theory of operation. Each queue has limits of its own; this is the one over all of them. What
waits holds memory of its own (an entry), and bytes that it may share with other queues: one
message for a thousand receivers is there once. An organization has a `Share`, which counts
both as they are; the process has `Queues`. When these go over their limit, a queue gives its
oldest until they do not: one that holds most, in the organization that holds most. So a flood
takes from those whom it is for, and no publisher is refused for it.

All of it costs a few steps for each entry. "Holds most" is told by powers of two: a queue is
moved when its size passes one, and of those in the highest class the first is as good as any.
An entry that is given up was put in once, so giving costs no more than putting in.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from tokenmq.broker.counters import Counters

T = TypeVar("T")


class Queue(Protocol):
    """What waits for one receiver.

    Attributes:
        weight: bytes that it holds, whether others share them or not.
        size_class: how many bits that has, as it was counted last.
    """

    weight: int
    size_class: int

    def give_oldest(self) -> int:
        """Let go of the oldest entry, of which there is one; return how many messages that cost."""


class Largest(Generic[T]):
    """Finds one of the largest of many, within a factor of two."""

    __slots__ = ("_classes",)

    def __init__(self) -> None:
        self._classes: dict[int, dict[T, None]] = {}

    def move(self, item: T, former: int, now: int) -> None:
        """Note that an item is of another class, the number of bits of its size; 0: it is not in here."""
        if former:
            members = self._classes[former]
            del members[item]
            if not members:
                del self._classes[former]
        if now:
            self._classes.setdefault(now, {})[item] = None

    def first(self) -> T:
        """Return one of the highest class; there must be one."""
        return next(iter(self._classes[max(self._classes)]))


class Queues:
    """All that waits for receivers, in all organizations.

    Attributes:
        limit: bytes that it may take.
        bytes: what it takes.
        shares: of the organizations.
    """

    __slots__ = ("_counters", "bytes", "limit", "shares")

    def __init__(self, limit: int, counters: Counters) -> None:
        self.limit = limit
        self._counters = counters
        self.bytes = 0
        self.shares: Largest[Share] = Largest()

    def relieve(self) -> None:
        """Let queues give their oldest until all of it is within the limit."""
        while self.bytes > self.limit:
            self._counters.crowded_out += self.shares.first().queues.first().give_oldest()


class Share:
    """What waits for the receivers of one organization.

    Attributes:
        bytes: what it takes.
        queues: those in which something waits.
    """

    __slots__ = ("_all", "_held", "_size_class", "bytes", "queues")

    def __init__(self, all_queues: Queues) -> None:
        self._all = all_queues
        # How many entries hold an object that they may share, by its id: it is alive while one does.
        self._held: dict[int, int] = {}
        self._size_class = 0
        self.bytes = 0
        self.queues: Largest[Queue] = Largest()

    def enter(self, queue: Queue, held: object, size: int, own: int) -> None:
        """Count an entry that was put into a queue; queues give if that is too much, this one too.

        Args:
            held: what it holds and may share.
            size: bytes of that.
            own: bytes of the entry itself.
        """
        self._count(queue, held, size, own)
        queues = self._all
        if queues.bytes > queues.limit:
            queues.relieve()

    def leave(self, queue: Queue, held: object, size: int, own: int) -> None:
        """Count out an entry that was taken out of a queue; with what it was counted by."""
        key = id(held)
        others = self._held[key] - 1
        if others:
            self._held[key] = others
            self._resize(queue, -size - own, -own)
        else:
            del self._held[key]
            self._resize(queue, -size - own, -size - own)

    def exchange(self, queue: Queue, held: object, size: int, now: object, now_size: int) -> None:
        """Count an entry that holds something of its own now; nothing gives for that."""
        self.leave(queue, held, size, 0)
        self._count(queue, now, now_size, 0)

    def _count(self, queue: Queue, held: object, size: int, own: int) -> None:
        key = id(held)
        others = self._held.get(key, 0)
        self._held[key] = others + 1
        self._resize(queue, size + own, own if others else size + own)

    def _resize(self, queue: Queue, weight: int, size: int) -> None:
        queue.weight += weight
        size_class = queue.weight.bit_length()
        if size_class != queue.size_class:
            self.queues.move(queue, queue.size_class, size_class)
            queue.size_class = size_class
        self.bytes += size
        self._all.bytes += size
        size_class = self.bytes.bit_length()
        if size_class != self._size_class:
            self._all.shares.move(self, self._size_class, size_class)
            self._size_class = size_class


class Unstored:
    """What came in and waits for the store, from everybody.

    Attributes:
        bytes: what it takes, about.
    """

    __slots__ = ("_limit", "bytes")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.bytes = 0

    @property
    def is_over(self) -> bool:
        """Whether it is more than it may be."""
        return self.bytes > self._limit
