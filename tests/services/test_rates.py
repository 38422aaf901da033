"""So many events in a window that slides."""

import pytest

from tokenmq.errors import RateLimited
from tokenmq.services.rates import MAX_REMEMBERED, Rate


def used_up(rate, name, now):
    try:
        rate.check(name, now, "too often")
    except RateLimited as error:
        return error
    return None


def test_quota_is_for_any_window_and_says_when_there_is_room_again():
    rate = Rate("words", quota=3)
    for second in (0, 10, 20):
        assert used_up(rate, "a", second) is None
        rate.count("a", second)
    refused = used_up(rate, "a", 30.5)
    assert (str(refused), refused.quota, refused.window_seconds) == ("too often", 3, 60)
    assert (refused.policy, refused.retry_after_seconds) == ("words", 30)
    assert used_up(rate, "a", 59.9).retry_after_seconds == 1
    assert used_up(rate, "a", 60) is None
    rate.count("a", 60)
    assert used_up(rate, "a", 61).retry_after_seconds == 9


def test_names_have_quotas_of_their_own():
    rate = Rate("words", quota=1)
    rate.count("a", 0)
    assert used_up(rate, "a", 1) and not used_up(rate, "b", 1)


def test_clock_that_is_set_back_locks_nobody_out():
    rate = Rate("words", quota=1)
    rate.count("a", 10_000)
    assert used_up(rate, "a", 10_001)
    assert used_up(rate, "a", 5_000) is None


def test_memory_is_bounded_and_the_longest_ago_goes_first():
    rate = Rate("words", quota=1)
    for number in range(MAX_REMEMBERED + 5):
        rate.count(str(number), 0)
    assert len(rate) == MAX_REMEMBERED
    assert used_up(rate, "4", 1) is None and used_up(rate, "5", 1)
    for _ in range(1_000):
        rate.count("x", 1)
    with pytest.raises(RateLimited):
        rate.check("x", 2, "too often")
    assert used_up(rate, "x", 61) is None
