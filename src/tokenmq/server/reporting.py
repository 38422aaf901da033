"""What the core reports, into the log: every event, but never a flood of one kind.

Whoever connects a thousand times a second, or publishes where it may not, must not be
able to fill a disk or slow the broker down by being written about. Of each kind of
event so many are written between two turns of the timer; the rest is counted, and the
count written.
"""

from __future__ import annotations

from collections import Counter

import structlog

from tokenmq.broker.effects import Report

# Of one kind between two turns: with four turns a second, 100 lines a second at most.
MAX_LINES = 25


class Reporter:
    """Writes reports into the log."""

    def __init__(self) -> None:
        # Bound once: a proxy would be put together again for every line.
        self._log = structlog.get_logger("tokenmq.broker").bind()
        self._seen: Counter[str] = Counter()

    def tell(self, report: Report) -> None:
        """Write a report, or count it where enough of its kind have been written."""
        self._seen[report.event] += 1
        if self._seen[report.event] <= MAX_LINES:
            self._log.info(report.event, **report.fields)

    def turn(self) -> None:
        """Begin anew, and say how many were not written."""
        for event, count in self._seen.items():
            if count > MAX_LINES:
                self._log.info("not_written", of=event, count=count - MAX_LINES)
        self._seen.clear()
