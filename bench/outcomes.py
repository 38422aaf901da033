"""The samples of a row, and what follows from them."""

import statistics
from dataclasses import dataclass, field

from bench.harness import Sample, Side
from bench.rows import Row


@dataclass(slots=True)
class Outcome:
    """The samples of one row; `problems` says why a side has none."""

    row: Row
    samples: dict[Side, list[Sample]] = field(default_factory=dict)
    problems: dict[Side, str] = field(default_factory=dict)

    @property
    def ours(self) -> list[Sample]:
        return self.samples.get("ours", [])

    @property
    def peer(self) -> list[Sample]:
        return self.samples.get("peer", [])

    def median(self, side: Side) -> float | None:
        """The median of a side's samples, None if there are none."""
        samples = self.samples.get(side)
        return statistics.median(one.value for one in samples) if samples else None

    def cell(self, side: Side) -> str:
        """The figure of a side as a table shows it, or why there is none."""
        median = self.median(side)
        if median is None:
            return self.problems.get(side, "-")
        return number(median / self.row.factor)

    @property
    def ratios(self) -> list[float]:
        """Pair by pair: ours to the peer's."""
        return [
            one.value / other.value for one, other in zip(self.ours, self.peer, strict=False) if other.value
        ]

    @property
    def by_processor(self) -> float | None:
        """The ratio of what both do with one second of processor time; None where that says nothing."""
        found = [
            (one.value / one.server_cpu) / (other.value / other.server_cpu)
            for one, other in zip(self.ours, self.peer, strict=False)
            if one.server_cpu and other.server_cpu and other.value
        ]
        return statistics.median(found) if found and self.row.per_second else None

    @property
    def holds(self) -> bool | None:
        """Whether the wanted bound is met; None if there is none, False if it could not be measured."""
        bounded = self.row.wanted.at_least is not None or self.row.wanted.at_most is not None
        if not self.ours:
            return False if bounded else None
        ratio = statistics.median(self.ratios) if self.ratios else None
        held = self.row.wanted.holds(ours=statistics.median(one.value for one in self.ours), ratio=ratio)
        return False if bounded and held is None else held


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
