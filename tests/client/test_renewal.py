"""When a token is renewed."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.client.renewal import Renewal
from tokenmq.client.tokens import Token
from tokenmq.errors import TokenError

TOKEN = Token("tok_1", "p", "u@o", issued_at=1000, expires_at=2000, refresh_recommended_at=1900)
AWAY = TokenError("network", "away", is_final=False)
NO = TokenError("auth_failed", "no")


def renewal(
    token: Token = TOKEN, *, now: float = 1000, chance: float = 0.0, measured: bool = True
) -> Renewal:
    made = Renewal(chance=lambda: chance)
    made.took(token, now=now, is_measured=measured)
    return made


def test_it_is_due_when_the_service_recommends_it() -> None:
    made = renewal()
    assert made.renew_at == 1900
    assert not made.is_due(1899.9)
    assert made.is_due(1900)


def test_it_is_never_due_later_than_at_nine_tenths_of_the_life() -> None:
    assert renewal(dataclasses.replace(TOKEN, refresh_recommended_at=2000)).renew_at == 1900
    assert renewal(dataclasses.replace(TOKEN, refresh_recommended_at=1e12)).renew_at == 1900


def test_chance_makes_it_earlier_by_a_twentieth_of_the_life_at_most() -> None:
    assert renewal(chance=1.0).renew_at == 1850


@pytest.mark.parametrize("recommended", [0.0, 1000.0, -1e9])
def test_a_recommendation_of_now_or_the_past_makes_no_loop(recommended: float) -> None:
    assert renewal(dataclasses.replace(TOKEN, refresh_recommended_at=recommended)).renew_at == 1005


def test_a_token_that_is_past_on_arrival_makes_no_loop() -> None:
    assert renewal(now=5000).renew_at == 5001


def test_without_a_known_clock_renewals_are_a_tenth_of_a_life_apart() -> None:
    assert renewal(now=1950, measured=False).renew_at == 2050


@given(
    st.floats(0, 4e9), st.floats(0, 4e9), st.floats(0, 4e9), st.floats(0, 4e9), st.floats(0, 1), st.booleans()
)
def test_two_renewals_are_always_some_time_apart(
    issued: float, expires: float, recommended: float, now: float, chance: float, measured: bool
) -> None:
    token = Token("t", "p", "u", issued_at=issued, expires_at=expires, refresh_recommended_at=recommended)
    due = renewal(token, now=now, chance=chance, measured=measured).renew_at
    assert due is not None
    assert due >= now + 0.99


@given(st.floats(60, 86_400), st.floats(0, 1))
def test_a_fresh_token_of_the_service_is_renewed_between_085_and_09(life: float, chance: float) -> None:
    token = Token(
        "t", "p", "u", issued_at=1000, expires_at=1000 + life, refresh_recommended_at=1000 + 0.9 * life
    )
    due = renewal(token, chance=chance).renew_at
    assert due is not None
    assert 1000 + 0.849 * life <= due <= 1000 + 0.901 * life


def test_failures_are_tried_again_with_backoff_for_ever() -> None:
    made = renewal(chance=1.0)
    waits = []
    for _ in range(9):
        made.failed(AWAY, now=1900)
        assert made.renew_at is not None
        waits.append(made.renew_at - 1900)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert made.failures == 9
    made.took(TOKEN, now=1000)
    assert made.failures == 0


def test_retry_after_is_obeyed() -> None:
    made = renewal()
    made.failed(TokenError("rate_limited", "slow", is_final=False, retry_after_seconds=120), now=1900)
    assert made.renew_at == 2020


def test_a_refusal_parks_it_until_another_token_comes() -> None:
    made = renewal()
    made.failed(NO, now=1900)
    assert made.renew_at is None
    assert not made.is_due(1e12)
    made.took(TOKEN, now=1000)
    assert made.renew_at == 1900
    made.park()
    assert made.renew_at is None


def test_a_token_with_two_seconds_to_live_is_past() -> None:
    assert Renewal().is_past(0)
    assert not renewal().is_past(1997.9)
    assert renewal().is_past(1998)
