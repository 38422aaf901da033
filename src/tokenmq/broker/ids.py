"""Ids of messages: 64 times a number out of blocks that the store has reserved."""

from __future__ import annotations

from collections import deque

# An id is this many times a number, plus the number of the node; from one to the next it grows by as much.
STEP = 64
# Numbers that are reserved at a time: a tenth of a second's worth is still there when half are.
BLOCK = 100_000


class Ids:
    """Ids of messages, out of blocks of numbers that the store has reserved.

    Attributes:
        asked: the next block is on its way.
        floor: what was recorded before the first block was reserved has no greater id; 0: none was.
    """

    __slots__ = ("_blocks", "_left", "_next", "_stop", "asked", "floor")

    def __init__(self) -> None:
        self._blocks: deque[tuple[int, int]] = deque()
        self._next = self._stop = 0
        self._left = 0
        self.asked = False
        self.floor = 0

    def add(self, first: int, count: int) -> None:
        """Take in a block of numbers."""
        if not self.floor:
            self.floor = first * STEP - 1
        self._blocks.append((first, first + count))
        self._left += count
        self.asked = False

    @property
    def few(self) -> bool:
        """Whether the next block is wanted."""
        return self._left < BLOCK // 2

    def next(self, count: int = 1) -> int:
        """Return the first of so many ids in a row that nobody had; 0 if there are none."""
        while self._stop - self._next < count:
            if not self._blocks:
                return 0
            self._left -= self._stop - self._next
            self._next, self._stop = self._blocks.popleft()
        found = self._next * STEP
        self._next += count
        self._left -= count
        return found
