from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.topics.filter import covers, overlaps
from tokenmq.topics.tree import FilterTree, NameTree

Relation = Callable[[str, str], bool]

_LEVELS = st.sampled_from(["a", "b", "", "+", "$s"])
FILTERS = st.builds(
    lambda levels, tail: "/".join([*levels, *tail]),
    st.lists(_LEVELS, max_size=4),
    st.sampled_from([[], ["#"]]),
).filter(bool)
NAMES = st.lists(st.sampled_from(["a", "b", "", "$s"]), min_size=1, max_size=4).map("/".join).filter(bool)


def tree_of(*pairs: tuple[str, int]) -> FilterTree[int]:
    tree: FilterTree[int] = FilterTree()
    for topic_filter, value in pairs:
        tree.insert(topic_filter, value)
    return tree


@pytest.fixture(scope="module")
def grid_tree(grid: Any) -> FilterTree[str]:
    tree: FilterTree[str] = FilterTree()
    for topic_filter in grid.filters:
        tree.insert(topic_filter, topic_filter)
    return tree


# FilterTree: Grid A, exhaustively


# [MQTT-3.3.2-3] [MQTT311-3.3.2-3]
def test_grid_a_matching_is_the_spec(grid: Any, grid_tree: FilterTree[str]) -> None:
    for bit, topic in enumerate(grid.topics):
        found = grid_tree.matching(topic)
        assert sorted(found) == sorted(each for each in grid.filters if grid.sets[each] >> bit & 1), topic


def test_grid_a_covering_is_set_inclusion(grid: Any, grid_tree: FilterTree[str]) -> None:
    for inner in grid.filters:
        wanted = [outer for outer in grid.filters if not grid.sets[inner] & ~grid.sets[outer]]
        assert sorted(grid_tree.covering(inner)) == sorted(wanted), inner


def test_grid_a_overlapping_is_a_common_topic(grid: Any, grid_tree: FilterTree[str]) -> None:
    for one in grid.filters:
        wanted = [other for other in grid.filters if grid.sets[one] & grid.sets[other]]
        assert sorted(grid_tree.overlapping(one)) == sorted(wanted), one
        assert grid_tree.first_overlapping(one) in wanted


def test_grid_a_matched_by_is_the_spec(grid: Any) -> None:
    tree: NameTree[int] = NameTree()
    for bit, topic in enumerate(grid.topics):
        tree.set(topic, bit)
    for topic_filter in grid.filters:
        found = tree.matched_by(topic_filter)
        assert sum(1 << bit for _, bit in found) == grid.sets[topic_filter], topic_filter
        assert all(grid.topics[bit] == name for name, bit in found)


# FilterTree: what it holds


def test_values_of_a_filter_come_in_the_order_of_insertion() -> None:
    tree = tree_of(("a/+", 3), ("a/+", 1), ("a/+", 2))
    assert tree.matching("a/b") == [3, 1, 2]


def test_a_pair_is_held_once_and_stays_where_it_was() -> None:
    tree = tree_of(("a", 1), ("a", 2), ("a", 1))
    assert (tree.matching("a"), len(tree)) == ([1, 2], 2)


def test_a_value_is_found_once_for_each_filter_that_fits() -> None:
    tree = tree_of(("a/#", 1), ("a/+", 1), ("a/b", 1), ("b", 1))
    assert tree.matching("a/b") == [1, 1, 1]


def test_equal_sets_are_two_filters() -> None:
    tree = tree_of(("#", 1), ("+/#", 1))
    assert len(tree) == 2
    assert tree.remove("#", 1)
    assert tree.matching("a") == [1]


@pytest.mark.parametrize(
    ("topic_filter", "value"),
    [("a/b", 2), ("a/#", 1), ("a", 1), ("a/b/c", 1), ("+/b", 1), ("$a/b", 1), ("a/+", 1)],
)
def test_removing_what_is_not_there_changes_nothing(topic_filter: str, value: int) -> None:
    tree = tree_of(("a/b", 1))
    assert tree.remove(topic_filter, value) is False
    assert (tree.matching("a/b"), len(tree)) == ([1], 1)


@given(
    st.lists(st.tuples(st.booleans(), FILTERS, st.integers(0, 2)), max_size=25),
    st.lists(NAMES, min_size=1, max_size=5),
    st.lists(FILTERS, min_size=1, max_size=5),
)
def test_a_tree_finds_what_a_list_finds(
    by_the_spec: Relation, steps: list[tuple[bool, str, int]], names: list[str], filters: list[str]
) -> None:
    tree: FilterTree[int] = FilterTree()
    pairs: dict[tuple[str, int], None] = {}
    for inserting, topic_filter, value in steps:
        if inserting:
            tree.insert(topic_filter, value)
            pairs[topic_filter, value] = None
        else:
            assert tree.remove(topic_filter, value) is ((topic_filter, value) in pairs)
            pairs.pop((topic_filter, value), None)
    assert len(tree) == len(pairs)
    for name in names:
        assert sorted(tree.matching(name)) == sorted(v for f, v in pairs if by_the_spec(f, name))
    for other in filters:
        assert sorted(tree.covering(other)) == sorted(v for f, v in pairs if covers(f, other))
        assert sorted(tree.overlapping(other)) == sorted(v for f, v in pairs if overlaps(f, other))
        assert (tree.first_overlapping(other) is None) is (not tree.overlapping(other))


@given(st.lists(st.tuples(FILTERS, st.integers(0, 1)), unique=True, max_size=15), st.randoms())
def test_an_emptied_tree_keeps_no_branch(pairs: list[tuple[str, int]], random: Any) -> None:
    tree = tree_of(*pairs)
    random.shuffle(pairs)
    for topic_filter, value in pairs:
        assert tree.remove(topic_filter, value)
    assert len(tree) == 0
    assert tree._root.is_empty()
    assert tree._dollar.is_empty()


# [MQTT-4.7.2-1] [MQTT311-4.7.2-1]
def test_q25_wildcards_at_the_front_never_reach_a_dollar_tree() -> None:
    tree = tree_of(("#", 1), ("+/#", 2), ("+", 3), ("+/x", 4), ("$s/#", 5))
    assert tree.matching("$s") == [5]
    assert tree.matching("$s/x") == [5]
    assert tree.covering("$s/x") == [5]
    assert tree.overlapping("$s/+") == [5]
    assert sorted(tree.overlapping("#")) == [1, 2, 3, 4]


# FilterTree: what it costs


def look_ups(call: Callable[[], object]) -> int:
    """Count the dict look-ups of a call, which is the number of nodes that a walk by name leaves."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        if event == "c_call" and getattr(argument, "__name__", "") == "get":
            count += 1

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(before)
    return count


def test_v87_a_walk_is_bounded_by_the_nodes_stored() -> None:
    mixes = ["/".join(path) for depth in range(1, 11) for path in itertools.product("a+", repeat=depth)]
    tree: FilterTree[str] = FilterTree()
    for topic_filter in mixes:
        tree.insert(topic_filter, topic_filter)
    nodes = len(mixes) + 1
    topic = "/".join("a" * 10)
    assert look_ups(lambda: tree.matching(topic)) < nodes
    assert look_ups(lambda: tree.matching(topic + "/a" * 118)) <= nodes
    assert look_ups(lambda: tree.covering(topic)) < nodes
    assert len(tree.matching(topic)) == 2**10


def test_v87_many_plus_filters_of_one_shape_are_one_path() -> None:
    deep = "a/+/" * 63 + "a/"
    tree = tree_of(*((deep + end, value) for value, end in enumerate(["a", "b", "+", "#"])))
    assert look_ups(lambda: tree.matching("a/" * 127 + "z")) <= 128
    assert sorted(tree.matching("a/" * 127 + "z")) == [2, 3]


def test_a_miss_costs_the_same_however_many_filters_there_are() -> None:
    few, many = (tree_of(*((f"room{i}/+/x", i) for i in range(size))) for size in (1, 1_000))
    assert look_ups(lambda: few.matching("other/a/x")) == look_ups(lambda: many.matching("other/a/x")) == 1
    assert look_ups(lambda: few.matching("room0/a/x")) == look_ups(lambda: many.matching("room0/a/x")) == 3


def test_v11_65535_slashes_raise_nothing() -> None:
    deep = "/" * 65_535
    tree = tree_of((deep, 1), (deep + "#", 2))
    assert sorted(tree.matching(deep)) == [1, 2]
    assert sorted(tree.covering(deep)) == [1, 2]
    assert sorted(tree.overlapping("#")) == [1, 2]
    assert tree.remove(deep, 1)
    assert tree.remove(deep + "#", 2)
    names: NameTree[int] = NameTree()
    names.set(deep, 1)
    assert names.matched_by("#") == names.matched_by("+/" * 65_535 + "+") == [(deep, 1)]
    assert names.pop(deep) == 1


# NameTree


def test_a_name_holds_its_last_value() -> None:
    tree: NameTree[str] = NameTree()
    tree.set("a/b", "old")
    tree.set("a/b", "new")
    assert (tree.get("a/b"), len(tree), tree.matched_by("a/+")) == ("new", 1, [("a/b", "new")])


def test_an_absent_name_is_none() -> None:
    tree: NameTree[int] = NameTree()
    tree.set("a/b", 1)
    assert [tree.get("a"), tree.pop("a"), tree.get("a/b/c"), tree.pop("b")] == [None] * 4
    assert tree.matched_by("a") == []
    assert len(tree) == 1


# [MQTT-4.7.2-1] [MQTT311-4.7.2-1]
def test_q25_names_of_a_dollar_tree_are_found_by_its_filters_only() -> None:
    tree: NameTree[int] = NameTree()
    for name in ("$s", "$s/a", "a", "a/$s"):
        tree.set(name, 0)
    found = {
        each: sorted(name for name, _ in tree.matched_by(each)) for each in ("#", "+", "+/a", "+/+", "$s/#")
    }
    assert found == {"#": ["a", "a/$s"], "+": ["a"], "+/a": [], "+/+": ["a/$s"], "$s/#": ["$s", "$s/a"]}


@given(
    st.lists(st.tuples(st.booleans(), NAMES, st.integers()), max_size=25),
    st.lists(FILTERS, min_size=1, max_size=5),
)
def test_a_name_tree_finds_what_a_dict_finds(
    by_the_spec: Relation, steps: list[tuple[bool, str, int]], filters: list[str]
) -> None:
    tree: NameTree[int] = NameTree()
    held: dict[str, int] = {}
    for setting, name, value in steps:
        if setting:
            tree.set(name, value)
            held[name] = value
        else:
            assert tree.pop(name) == held.pop(name, None)
    assert len(tree) == len(held)
    for topic_filter in filters:
        wanted = sorted((name, value) for name, value in held.items() if by_the_spec(topic_filter, name))
        assert sorted(tree.matched_by(topic_filter)) == wanted
    for name in held:
        tree.pop(name)
    assert (len(tree), tree._root.children, tree._dollar.children) == (0, {}, {})


@given(st.sets(NAMES, max_size=12), FILTERS)
def test_walk_finds_what_matched_by_finds(names: set[str], topic_filter: str) -> None:
    tree: NameTree[int] = NameTree()
    for name in sorted(names):
        tree.set(name, 1)
    found = [name for name in tree.walk(topic_filter) if name is not None]
    assert sorted(found) == sorted(name for name, _ in tree.matched_by(topic_filter))


@given(st.sets(NAMES, max_size=12), FILTERS, st.integers(0, 20), st.sets(NAMES, max_size=12), st.data())
def test_a_walk_that_goes_on_after_changes_finds_all_that_stayed(
    names: set[str], topic_filter: str, steps: int, later: set[str], data: Any
) -> None:
    tree: NameTree[int] = NameTree()
    for name in sorted(names):
        tree.set(name, 1)
    walk = tree.walk(topic_filter)
    found = set(itertools.islice(walk, steps))
    gone = data.draw(st.sets(st.sampled_from(sorted(names)))) if names else set()
    for name in gone:
        tree.pop(name)
    for name in later - names:
        tree.set(name, 1)
    found.update(walk)
    stayed = {name for name, _ in tree.matched_by(topic_filter)} - later
    assert stayed <= found
    assert found - {None} <= names | later


def test_a_walk_holds_one_row_of_siblings_a_level_and_takes_one_step_a_prefix() -> None:
    tree: NameTree[int] = NameTree()
    for number in range(100):
        tree.set(f"{number}/a/b", number)
    walk = tree.walk("+/a/+")
    assert sum(1 for _ in walk) == 1 + 100 + 100 + 100
