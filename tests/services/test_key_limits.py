"""Requests of a key by the minute."""

import pytest

from tokenmq.errors import RateLimited
from tokenmq.services import key_limits
from tokenmq.services.key_limits import KeyLimits


def allowed(limits, mono, key_id="k"):
    try:
        limits.take(key_id, mono)
    except RateLimited as error:
        return error.retry_after_seconds
    return True


def test_without_a_limit_nothing_is_refused_or_remembered():
    limits = KeyLimits(per_minute=0)
    assert all(allowed(limits, 0.0) is True for _ in range(1_000))
    assert not limits._used


def test_a_minutes_worth_may_come_at_once_and_comes_back_over_a_minute():
    limits = KeyLimits(per_minute=6)
    assert [allowed(limits, 100.0) for _ in range(7)] == [True] * 6 + [10]
    assert [allowed(limits, 103.0), allowed(limits, 110.0), allowed(limits, 110.0)] == [7, True, 10]
    assert [allowed(limits, 170.0) for _ in range(7)] == [True] * 6 + [10]


def test_refused_requests_are_not_counted():
    limits = KeyLimits(per_minute=1)
    assert allowed(limits, 0.0) is True
    assert [allowed(limits, float(second)) for second in (1, 30, 59)] == [59, 30, 1]
    assert allowed(limits, 60.0) is True


def test_each_key_has_its_own():
    limits = KeyLimits(per_minute=1)
    assert [allowed(limits, 0.0, key_id) for key_id in "aabb"] == [True, 60, True, 60]


def test_refusal_tells_the_policy():
    limits = KeyLimits(per_minute=1)
    limits.take("k", 0.0)
    with pytest.raises(RateLimited) as caught:
        limits.take("k", 0.0)
    error = caught.value
    assert (error.quota, error.window_seconds, error.policy) == (1, 60, "key")


def test_keys_that_are_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr(key_limits, "MAX_REMEMBERED", 3)
    limits = KeyLimits(per_minute=1)
    for number in range(10):
        limits.take(f"k{number}", 0.0)
    assert list(limits._used) == ["k7", "k8", "k9"]
