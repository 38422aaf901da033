"""The server's time by clocks that are wrong, and backoff."""

from typing import Any

import pytest

from tokenmq.client.clocks import Backoff, Clock, ServerClock


def test_before_a_measurement_our_own_clock_is_believed(clock: Any) -> None:
    assert ServerClock(clock).now() == clock.unix


@pytest.mark.parametrize("wrong_by", [-3600.0, 3600.0])
def test_a_date_corrects_a_clock_that_is_an_hour_off(clock: Any, wrong_by: float) -> None:
    server = clock.unix
    clock.unix += wrong_by
    now = ServerClock(clock)
    now.measure(server, took_seconds=0.2)
    assert now.is_measured
    # In the middle of the second that a Date names, half of the way back later.
    assert now.now() == pytest.approx(server + 0.6)


def test_time_goes_on_by_whichever_clock_went_further(clock: Any) -> None:
    now = ServerClock(clock)
    now.measure(clock.unix, took_seconds=0)
    before = now.now()
    clock.seconds += 10
    assert now.now() == before + 10
    # A machine that slept: the monotonic clock stood still.
    clock.unix += 7200
    assert now.now() == before + 7200
    # A clock that was set back changes nothing.
    clock.unix -= 100_000
    assert now.now() == before + 10


def test_a_token_that_seems_dead_or_unborn_on_arrival_sets_an_unmeasured_clock(clock: Any) -> None:
    now = ServerClock(clock)
    now.suppose(issued_at=clock.unix - 10, expires_at=clock.unix + 50)
    assert now.now() == clock.unix
    now.suppose(issued_at=clock.unix + 3600, expires_at=clock.unix + 3660)
    assert now.now() == clock.unix + 3600
    now.suppose(issued_at=clock.unix - 3600, expires_at=clock.unix - 3540)
    assert now.now() == clock.unix - 3600


def test_backoff_is_a_random_part_of_a_span_that_doubles_up_to_its_end() -> None:
    backoff = Backoff(chance=lambda: 0.5)
    assert [backoff.failed() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert backoff.attempts == 8
    backoff.succeeded()
    assert backoff.failed() == 0.5
    assert Backoff(chance=lambda: 0.0).failed() == 0


def test_backoff_waits_at_least_as_long_as_it_is_asked_to() -> None:
    backoff = Backoff(chance=lambda: 0.5)
    assert backoff.failed(17.0) == 17.5


def test_backoff_of_a_year_of_failures_is_a_number() -> None:
    backoff = Backoff(chance=lambda: 1.0)
    assert {backoff.failed() for _ in range(5000)} <= {2.0**n for n in range(6)} | {60.0}


async def test_the_clock_of_this_machine_goes() -> None:
    clock = Clock()
    before = clock.mono()
    await clock.sleep(0)
    assert clock.mono() >= before
    assert clock.wall() > 1_700_000_000
