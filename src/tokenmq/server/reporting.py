"""What the core reports, into the log: every event, but never a flood.

Whoever connects a thousand times a second, or publishes where it may not, must not be
able to fill a disk or slow the broker down by being written about, nor to hide what
happens to others. Of each kind of event and organization so many are written between two
turns of the timer; the rest is counted, and the count written.
"""

from __future__ import annotations

import structlog

from tokenmq.broker.effects import Report

# Of one kind and organization between two turns: with four turns a second, 100 lines a second at most.
MAX_LINES = 25
# Kinds and organizations that are told apart between two turns; beyond, organizations share.
MAX_KEYS = 256


class Reporter:
    """Writes reports into the log."""

    def __init__(self) -> None:
        # Bound once: a proxy would be put together again for every line.
        self._log = structlog.get_logger("tokenmq.broker").bind()
        # By event and organization; None = it has none, or is one of those that share.
        self._seen: dict[tuple[str, str | None], int] = {}

    def tell(self, report: Report) -> None:
        """Write a report, or count it where enough of its kind have been written."""
        seen = self._seen
        key = (report.event, report.fields.get("org_id"))
        if len(seen) >= MAX_KEYS and key not in seen:
            key = (report.event, None)
        count = seen[key] = seen.get(key, 0) + 1
        if count <= MAX_LINES:
            self._log.info(report.event, **report.fields)

    def turn(self) -> None:
        """Begin anew, and say how many were not written."""
        for (event, org_id), count in self._seen.items():
            if count > MAX_LINES:
                whose = {} if org_id is None else {"org_id": org_id}
                self._log.info("not_written", of=event, **whose, count=count - MAX_LINES)
        self._seen.clear()
