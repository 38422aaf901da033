from __future__ import annotations

import structlog

from tokenmq.broker.effects import Report
from tokenmq.server.reporting import MAX_LINES, Reporter


def test_events_are_written_until_there_are_too_many_of_a_kind():
    with structlog.testing.capture_logs() as lines:
        reporter = Reporter()
        for number in range(MAX_LINES + 10):
            reporter.tell(Report("connected", {"number": number}))
        reporter.tell(Report("rare", {"why": "x"}))
        reporter.turn()
        reporter.tell(Report("connected", {"number": -1}))
        reporter.turn()
    assert [line["number"] for line in lines if line["event"] == "connected"] == [*range(MAX_LINES), -1]
    assert [line for line in lines if line["event"] == "rare"] == [
        {"event": "rare", "why": "x", "log_level": "info"}
    ]
    assert [line for line in lines if line["event"] == "not_written"] == [
        {"event": "not_written", "of": "connected", "count": 10, "log_level": "info"}
    ]
