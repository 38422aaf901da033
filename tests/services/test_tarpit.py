"""How long failed authentications wait: by address, by key, forgotten with time, bounded."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.access.addresses import CountedAddresses
from tokenmq.config import AuthSettings
from tokenmq.errors import (
    BadCredentials,
    ClientIdNotPermitted,
    ExpiredToken,
    Forbidden,
    InvalidKey,
    InvalidToken,
    ProtocolError,
    TokenmqError,
    Unavailable,
    UnknownMethod,
)
from tokenmq.services import tarpit
from tokenmq.services.tarpit import Tarpit

HERE, THERE = "192.0.2.1", "192.0.2.2"
FAILURE = InvalidToken("no")


def make(*trusted: str, **changes: int) -> Tarpit:
    return Tarpit(dataclasses.replace(AuthSettings(), **changes), CountedAddresses(trusted))


def delays(pit: Tarpit, count: int, *, error: TokenmqError = FAILURE, address: str = HERE) -> list[float]:
    return [pit.delay(error, address, 0.0) for _ in range(count)]


def test_first_failures_are_free_then_each_waits_twice_as_long_up_to_the_most() -> None:
    assert delays(make(failure_burst=3), 10) == [0, 0, 0, 0.25, 0.5, 1, 2, 4, 5, 5]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", None])
def test_loopback_and_trusted_proxies_do_not_wait_for_their_address(address: str | None) -> None:
    pit = make("10.0.0.0/8")
    assert [pit.delay(FAILURE, address, 0.0) for _ in range(50)] == [0.0] * 50


@pytest.mark.parametrize("address", [HERE, "127.0.0.1"])
def test_failures_with_one_key_wait_wherever_they_come_from(address: str) -> None:
    pit = make(failure_burst=2)
    guess = InvalidKey("no", key_id="k1")
    assert [pit.delay(guess, f"198.51.100.{number}", 0.0) for number in range(4)] == [0, 0, 0.25, 0.5]
    assert pit.delay(BadCredentials("no", key_id="k1"), address, 0.0) == 1
    assert pit.delay(BadCredentials("no", key_id="k2"), address, 0.0) == 0


def test_others_do_not_wait_for_the_failures_of_one() -> None:
    pit = make()
    delays(pit, 100)
    assert pit.delay(FAILURE, THERE, 0.0) == 0


@pytest.mark.parametrize(
    "error",
    [
        ProtocolError(0x81, "no"),
        UnknownMethod("no"),
        ClientIdNotPermitted("no"),
        Unavailable("no"),
        Forbidden("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_failed_authentication_costs_nothing(error: TokenmqError) -> None:
    pit = make()
    assert delays(pit, 50, error=error) == [0] * 50
    assert pit.delay(FAILURE, HERE, 0.0) == 0


@pytest.mark.parametrize(
    "error",
    [FAILURE, ExpiredToken("no", 1), InvalidKey("no"), BadCredentials("no")],
    ids=lambda error: type(error).__name__,
)
def test_every_failed_authentication_counts(error: TokenmqError) -> None:
    assert delays(make(failure_burst=1), 2, error=error) == [0, 0.25]


def test_failures_are_forgiven_at_their_rate() -> None:
    pit = make(failure_burst=2, failure_rate_per_minute=6)
    assert delays(pit, 3) == [0, 0, 0.25]
    assert pit.delay(FAILURE, HERE, 10.0) == 0.25
    assert pit.delay(FAILURE, HERE, 30.0) == 0
    assert pit.delay(FAILURE, HERE, 10_000.0) == 0


def test_who_fails_no_faster_than_the_rate_never_waits() -> None:
    pit = make(failure_rate_per_minute=6)
    assert not any(pit.delay(FAILURE, HERE, 10.0 * number) for number in range(500))


def test_a_long_attack_is_forgiven_as_soon_as_a_short_one() -> None:
    pit = make(failure_burst=5, failure_rate_per_minute=6)
    delays(pit, 10_000)
    assert pit.delay(FAILURE, HERE, 120.0) == 0


def test_nobody_waits_where_no_time_is_set() -> None:
    assert delays(make(max_failure_delay_seconds=0), 100) == [0] * 100


def test_memory_is_bounded_and_who_failed_last_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tarpit, "MAX_REMEMBERED", 3)
    pit = make(failure_burst=1)
    assert [pit.delay(FAILURE, f"192.0.2.{number}", 0.0) for number in (1, 2, 3, 1, 4, 5)] == [
        *(0, 0, 0),
        *(0.25, 0, 0),
    ]
    assert pit.delay(FAILURE, "192.0.2.1", 0.0) == 0.5
    assert pit.delay(FAILURE, "192.0.2.2", 0.0) == 0, "the one that has not failed for longest is forgotten"


@given(st.lists(st.floats(0, 100), max_size=60), st.integers(1, 20), st.integers(1, 600), st.integers(0, 10))
def test_no_wait_is_longer_than_the_most(gaps: list[float], burst: int, rate: int, most: int) -> None:
    pit = make(failure_burst=burst, failure_rate_per_minute=rate, max_failure_delay_seconds=most)
    mono = 0.0
    for number, gap in enumerate(gaps):
        mono += gap
        delay = pit.delay(FAILURE, HERE, mono)
        assert 0 <= delay <= most
        assert not delay or number >= burst
