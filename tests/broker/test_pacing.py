"""A pace lets pass what its rates give, whatever the times and sizes are."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.broker.pacing import Pace

# Steps of 1/64 second and whole rates: binary fractions, so floats are exact.
steps = st.lists(st.tuples(st.integers(0, 256), st.integers(1, 3_000)), min_size=1, max_size=60)


class Oracle:
    """The same by its definition: what has come in since, less what went out, at most a second's worth."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.history: list[tuple[Fraction, int]] = []

    def left(self, now: Fraction) -> Fraction:
        left, at = Fraction(self.rate), Fraction(0)
        for moment, cost in self.history:
            left = min(Fraction(self.rate), left + self.rate * (moment - at)) - cost
            at = moment
        return min(Fraction(self.rate), left + self.rate * (now - at))


@given(steps, st.integers(0, 50), st.integers(0, 10_000))
def test_a_message_passes_while_there_is_something_left_of_both(steps, rate, byte_rate):
    pace = Pace(messages_per_second=rate, bytes_per_second=byte_rate)
    messages, size = Oracle(rate), Oracle(byte_rate)
    now = Fraction(0)
    for step, bytes_ in steps:
        now += Fraction(step, 64)
        passes = (not rate or messages.left(now) > 0) and (not byte_rate or size.left(now) > 0)
        assert pace.may_pass(float(now)) is passes
        if passes:
            pace.spend(bytes_)
            messages.history.append((now, 1))
            size.history.append((now, bytes_))


@pytest.mark.parametrize(("rate", "every"), [(1, 1.0), (10, 0.1), (100, 1 / 99)])
def test_who_keeps_to_the_rate_always_passes(rate, every):
    pace = Pace(messages_per_second=rate, bytes_per_second=0)
    for number in range(1_000):
        assert pace.may_pass(number * every + 1e-9 * number)
        pace.spend(10**6)


def test_the_first_message_passes_whenever_it_comes_and_however_large_it_is():
    pace = Pace(messages_per_second=1, bytes_per_second=1)
    assert pace.may_pass(10.0**6)
    pace.spend(2**20)
    assert not pace.may_pass(10.0**6 + 2**20 - 1)
    assert pace.may_pass(10.0**6 + 2**20)
