from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tokenmq.broker.wheel import Wheel


def test_items_are_due_at_their_second_and_once():
    wheel = Wheel()
    wheel.add(10.0, "a")
    wheel.add(10.2, "b")
    assert list(wheel.due(9.9)) == []
    assert list(wheel.due(10.0)) == ["a"]
    assert list(wheel.due(10.9)) == []
    assert list(wheel.due(11.0)) == ["b"]
    assert list(wheel.due(1e9)) == []


def test_a_removed_item_is_not_due_and_a_second_removal_is_no_error():
    wheel = Wheel()
    second = wheel.add(5.0, "a")
    wheel.remove(second, "a")
    wheel.remove(second, "a")
    wheel.remove(99, "a")
    assert list(wheel.due(10.0)) == []


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans())), st.lists(st.floats(0, 120)))
def test_nothing_is_early_late_twice_or_left(entries, moments):
    wheel = Wheel()
    waiting = {}
    for name, (at, keep) in enumerate(entries):
        second = wheel.add(at, name)
        if keep:
            waiting[name] = at
        else:
            wheel.remove(second, name)
    assert len(wheel) == len(waiting)
    for moment in [*sorted(moments), 1_000.0]:
        due = list(wheel.due(moment))
        for name in due:
            assert waiting.pop(name) <= moment
        assert all(at + 1 > moment for at in waiting.values())
    assert waiting == {}
    assert len(wheel) == 0


def test_what_comes_after_an_error_is_still_due():
    wheel = Wheel()
    for name in "abc":
        wheel.add(5.0, name)
    first = next(wheel.due(5.0))
    assert {first, *wheel.due(5.0)} == {"a", "b", "c"}


def test_what_is_added_meanwhile_for_later_is_not_due():
    wheel = Wheel()
    wheel.add(5.0, "a")
    for name in wheel.due(5.0):
        wheel.add(6.0, name)
    assert list(wheel.due(6.0)) == ["a"]


def test_what_comes_and_goes_leaves_nothing_behind():
    wheel = Wheel()
    for second in range(10_000):
        wheel.remove(wheel.add(2_592_000 + second, "one"), "one")
    wheel.add(5_000_000, "two")
    assert len(wheel) == 1
    assert len(wheel._buckets) == 1
    assert len(wheel._seconds) < 200
    assert list(wheel.due(5_000_000)) == ["two"]
    assert not wheel._buckets
