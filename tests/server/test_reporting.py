from __future__ import annotations

import structlog

from tokenmq.broker.effects import Report
from tokenmq.server.reporting import MAX_KEYS, MAX_LINES, Reporter


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


def test_flood_of_one_organization_hides_nothing_of_another():
    with structlog.testing.capture_logs() as lines:
        reporter = Reporter()
        for _ in range(MAX_LINES + 10):
            reporter.tell(Report("connected", {"org_id": "org_a"}))
        reporter.tell(Report("connected", {"org_id": "org_b"}))
        reporter.turn()
    assert [line["org_id"] for line in lines if line["event"] == "connected"][MAX_LINES:] == ["org_b"]
    assert [line for line in lines if line["event"] == "not_written"] == [
        {"event": "not_written", "of": "connected", "org_id": "org_a", "count": 10, "log_level": "info"}
    ]


def test_organizations_without_number_share_what_is_left():
    organizations = 10 * MAX_KEYS
    with structlog.testing.capture_logs() as lines:
        reporter = Reporter()
        for number in range(organizations):
            reporter.tell(Report("connected", {"org_id": f"org_{number}"}))
        reporter.turn()
    written = sum(line["event"] == "connected" for line in lines)
    assert written == MAX_KEYS + MAX_LINES
    assert lines[-1] == {
        "event": "not_written",
        "of": "connected",
        "count": organizations - written,
        "log_level": "info",
    }
