"""How long something took, counted in buckets: cheap to add to, read when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

# Seconds; from what a disk without a cache takes at best to what nobody waits for.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """Observations by size.

    Attributes:
        bounds: the greatest value of each bucket, growing; one more holds what is beyond.
        total: the sum of all observations.
    """

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = tuple(bounds)
        self.total = 0.0
        self._counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one observation; a clock that is set back makes none smaller than 0."""
        value = max(0.0, value)
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self._counts)

    def cumulative(self) -> list[tuple[float, int]]:
        """Return for each bound how many observations were at most that; the last one is infinite."""
        running = 0
        found = []
        for bound, count in zip((*self.bounds, float("inf")), self._counts, strict=True):
            running += count
            found.append((bound, running))
        return found
