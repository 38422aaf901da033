"""Observations in buckets."""

from hypothesis import given
from hypothesis import strategies as st

from tokenmq.histogram import Histogram


def test_a_value_that_is_a_bound_is_in_its_bucket():
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.5, -1.0):
        histogram.observe(value)
    assert histogram.cumulative() == [(1.0, 3), (2.0, 5), (float("inf"), 6)]
    assert (histogram.count, histogram.total) == (6, 7.5)


@given(st.lists(st.floats(0, 20)))
def test_every_bucket_has_all_that_is_at_most_its_bound(values):
    histogram = Histogram()
    for value in values:
        histogram.observe(value)
    for bound, count in histogram.cumulative():
        assert count == sum(value <= bound for value in values)
