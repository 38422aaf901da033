"""A timer wheel of whole seconds: what is due when, with removal at no cost.

Used for the expiry of identities (wall clock) and for the deadlines of network
connections (monotonic clock). Memory follows what is in it, not what has been.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from heapq import heapify, heappop, heappush
from math import ceil
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)

# Seconds whose items are gone and that are still in order; more than that, and they are sorted out.
_SPARE = 64


class Wheel(Generic[Item]):
    """Items by the second at which they are due."""

    __slots__ = ("_buckets", "_seconds")

    def __init__(self) -> None:
        self._buckets: dict[int, dict[Item, None]] = {}
        self._seconds: list[int] = []

    def add(self, at: float, item: Item) -> int:
        """Note an item for a moment and return the second that removes it again."""
        second = ceil(at)
        bucket = self._buckets.get(second)
        if bucket is None:
            self._buckets[second] = {item: None}
            heappush(self._seconds, second)
            if len(self._seconds) > 2 * len(self._buckets) + _SPARE:
                self._seconds = list(self._buckets)
                heapify(self._seconds)
        else:
            bucket[item] = None
        return second

    def remove(self, second: int, item: Item) -> None:
        """Forget an item that was added for this second; a missing one is no error."""
        bucket = self._buckets.get(second)
        if bucket is not None:
            bucket.pop(item, None)
            if not bucket:  # what is due in a month and comes and goes by the second adds up
                del self._buckets[second]

    def due(self, moment: float) -> Iterator[Item]:
        """Take out everything due at this moment, one after the other, the earliest second first.

        What is not asked for stays: if one of them ends in an error, the others are still due.
        """
        while self._seconds and self._seconds[0] <= moment:
            second = heappop(self._seconds)
            try:
                while bucket := self._buckets.get(second):
                    item, _ = bucket.popitem()
                    if not bucket:
                        del self._buckets[second]
                    yield item
            finally:
                if second in self._buckets:
                    heappush(self._seconds, second)

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))
