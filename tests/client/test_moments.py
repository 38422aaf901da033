"""Moments, as callers give them and as the service reads them."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.client.moments import read, written
from tokenmq.errors import InvalidRequest


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 11, 24, 13, tzinfo=UTC), "2026-11-24T13:00:00Z"),
        (
            datetime(2026, 11, 24, 13, 0, 0, 250_000, timezone(timedelta(hours=1))),
            "2026-11-24T12:00:00.250000Z",
        ),
        (1_800_000_000, "1800000000"),
        (10.25, "10.25"),
        ("2026-11-24T13:00:00Z", "2026-11-24T13:00:00Z"),
    ],
)
def test_moments_are_written(moment: Any, text: str) -> None:
    assert written(moment) == text


def test_a_time_without_a_zone_is_no_moment() -> None:
    with pytest.raises(InvalidRequest, match="no time zone"):
        written(datetime(2026, 11, 24))  # noqa: DTZ001
    assert read("2026-11-24T13:00:00") is None and read("soon") is None


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_is_written_is_read(moment: datetime) -> None:
    assert read(written(moment)) == moment
