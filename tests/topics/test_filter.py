from __future__ import annotations

import time
import timeit
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.errors import InvalidTopicFilter
from tokenmq.topics.filter import (
    canonical,
    check_filter,
    covers,
    examples,
    extent,
    following,
    has_wildcard,
    intersection,
    matches,
    overlaps,
    split_share,
)

Relation = Callable[[str, str], bool]

_LEVELS = st.sampled_from(["a", "b", "", "+", "$s", "$"])
FILTERS = st.builds(
    lambda levels, tail: "/".join([*levels, *tail]),
    st.lists(_LEVELS, max_size=6),
    st.sampled_from([[], ["#"]]),
).filter(bool)
TOPICS = st.text(alphabet="ab/$-0\x01é\U0010ffff", min_size=1, max_size=8)
WILD_TEXT = st.text(alphabet="ab/+#$\0é", max_size=12)


def witnesses(topic_filter: str) -> list[str]:
    """Topics of a filter that stand for all of them: levels nobody else names, and as many as can matter."""
    head, _, tail = topic_filter.rpartition("/") if topic_filter != "#" else ("", "", "#")
    if tail != "#":
        return [topic_filter.replace("+", "fresh")]
    head = head.replace("+", "fresh")
    start = f"{head}/" if topic_filter != "#" else ""
    deeper = [start + "/".join(["fresh"] * depth) for depth in range(1, 9)]
    return ([head] if head else []) + deeper


# The grammar


def test_vectors_valid_filters_pass(topic_vectors: dict[str, Any]) -> None:
    for topic_filter in topic_vectors["filters"]["valid"]:
        check_filter(topic_filter)


def test_vectors_invalid_filters_are_refused(topic_vectors: dict[str, Any]) -> None:
    for topic_filter in topic_vectors["filters"]["invalid"]:
        with pytest.raises(InvalidTopicFilter):
            check_filter(topic_filter)


@pytest.mark.parametrize(
    ("topic_filter", "reason"),
    [
        ("", "is empty"),
        ("a/#/b", "# stands alone in the last level or nowhere"),
        ("a/b#", "# stands alone in the last level or nowhere"),
        ("a+/b", "+ stands alone in its level or nowhere"),
        ("a\x01", "a control character, NUL or a surrogate"),
        ("a/b/+/#", "4 levels, at most 3 are allowed"),
        ("$share/g/a", "a shared subscription where a plain filter is wanted"),
        ("aaaaaaaaaaaaaaaa", "16 bytes, at most 15 are allowed"),
    ],
)
def test_refusal_names_the_text_and_the_reason(topic_filter: str, reason: str) -> None:
    with pytest.raises(InvalidTopicFilter) as caught:
        check_filter(topic_filter, max_bytes=15, max_levels=3)
    assert (caught.value.value, caught.value.reason) == (topic_filter, reason)


# [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT311-4.7.1-2] [MQTT311-4.7.1-3]
# [MQTT311-4.7.3-1] [MQTT311-4.7.3-2]
@given(WILD_TEXT)
def test_q16_a_wildcard_stands_alone_and_hash_stands_last(text: str) -> None:
    levels = text.split("/")
    wanted = bool(text) and "\0" not in text
    wanted = wanted and all(level == "+" or "+" not in level for level in levels)
    wanted = wanted and all("#" not in level for level in levels[:-1]) and levels[-1].count("#") <= 1
    wanted = wanted and (levels[-1] == "#" or "#" not in levels[-1])
    try:
        check_filter(text)
    except InvalidTopicFilter:
        assert not wanted
    else:
        assert wanted


@pytest.mark.parametrize(
    "topic_filter",
    ["/" * 65_535, "+/" * 32_767 + "+", "/" * 65_533 + "/#"],
    ids=["slashes", "pluses", "hash"],
)
def test_v11_65535_slashes_are_refused(topic_filter: str) -> None:
    with pytest.raises(InvalidTopicFilter, match="levels, at most 128"):
        check_filter(topic_filter)


# Shares


def test_vectors_shares_are_split(topic_vectors: dict[str, Any]) -> None:
    for case in topic_vectors["shares"]["valid"]:
        assert split_share(case["text"]) == (case["group"], case["filter"]), case


# [MQTT-4.8.2-1] [MQTT-4.8.2-2]
def test_q26_malformed_shares_are_refused(topic_vectors: dict[str, Any]) -> None:
    for text in topic_vectors["shares"]["invalid"]:
        with pytest.raises(InvalidTopicFilter):
            split_share(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("$share/g", "no topic filter after the share name"),
        ("$share//a", "share name: is empty"),
        ("$share/g+/a", "share name: a wildcard"),
        ("$share/g\n/a", "share name: a control character, NUL or a surrogate"),
    ],
)
def test_share_refusal_names_the_text_and_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidTopicFilter) as caught:
        split_share(text)
    assert (caught.value.value, caught.value.reason) == (text, reason)


def test_v35_a_share_in_a_share_is_no_plain_filter() -> None:
    _, inner = split_share("$share/g/$share/h/#")
    with pytest.raises(InvalidTopicFilter):
        check_filter(inner)


# The relations: vectors


def test_vectors_matches(topic_vectors: dict[str, Any], by_the_spec: Relation) -> None:
    for case in topic_vectors["matches"]:
        assert matches(case["filter"], case["topic"]) is case["matches"], case
        assert by_the_spec(case["filter"], case["topic"]) is case["matches"], case


def test_vectors_covers(cover_vectors: dict[str, Any]) -> None:
    for case in cover_vectors["covers"]:
        assert covers(case["outer"], case["inner"]) is case["covers"], case


def test_vectors_overlaps(cover_vectors: dict[str, Any]) -> None:
    for case in cover_vectors["overlaps"]:
        assert overlaps(case["one"], case["other"]) is case["overlaps"], case
        assert overlaps(case["other"], case["one"]) is case["overlaps"], case


# The relations: Grid A, exhaustively


def wrong_grants(relation: Relation, grid: Any) -> list[tuple[str, str]]:
    """Pairs of filters that a relation lets through although a topic of the inner is not in the outer."""
    return [
        (outer, inner)
        for outer in grid.filters
        for inner in grid.filters
        if relation(outer, inner) and grid.sets[inner] & ~grid.sets[outer]
    ]


def test_grid_a_has_its_size(grid: Any) -> None:
    assert (len(set(grid.filters)), len(set(grid.topics))) == (466, 2_045)
    assert (len(grid.filters), len(grid.topics)) == (466, 2_045)


def test_grid_a_matches_is_the_spec(grid: Any) -> None:
    for topic_filter in grid.filters:
        found = sum(1 << bit for bit, topic in enumerate(grid.topics) if matches(topic_filter, topic))
        assert found == grid.sets[topic_filter], topic_filter


def test_v90_grid_a_covers_gives_no_wrong_grant(grid: Any) -> None:
    assert wrong_grants(covers, grid) == []


def test_grid_a_covers_refuses_no_right_grant(grid: Any) -> None:
    refused = [
        (outer, inner)
        for outer in grid.filters
        for inner in grid.filters
        if not grid.sets[inner] & ~grid.sets[outer] and not covers(outer, inner)
    ]
    assert refused == []


def test_grid_a_kills_the_naive_check(grid: Any) -> None:
    """The filter matched as if it were a topic: what other brokers do, and what must not pass here."""
    wrong = wrong_grants(matches, grid)
    assert len(wrong) == 470
    assert ("+", "#") in wrong
    assert ("a/+", "a/#") in wrong


def test_grid_a_sees_the_three_equals_that_need_the_canonical_spelling(
    grid: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenmq.topics.filter.canonical", lambda topic_filter: topic_filter)
    refused = {
        (outer, inner)
        for outer in grid.filters
        for inner in grid.filters
        if not grid.sets[inner] & ~grid.sets[outer] and not covers(outer, inner)
    }
    assert refused == {("+/#", "#"), ("/+/#", "/#"), ("+/+/#", "/#")}


def test_grid_a_overlaps_is_a_common_topic(grid: Any) -> None:
    for one in grid.filters:
        for other in grid.filters:
            assert overlaps(one, other) is bool(grid.sets[one] & grid.sets[other]), (one, other)


# The relations: beyond the grid


@given(FILTERS, FILTERS)
def test_covers_is_set_inclusion(by_the_spec: Relation, outer: str, inner: str) -> None:
    held = all(by_the_spec(outer, topic) for topic in witnesses(inner))
    assert covers(outer, inner) is held


@given(FILTERS, FILTERS, st.lists(st.sampled_from(["a", "b", "", "$s", "z"]), min_size=1, max_size=7))
def test_covers_is_never_wider_than_set_inclusion(
    by_the_spec: Relation, outer: str, inner: str, levels: list[str]
) -> None:
    topic = "/".join(levels) or "a"
    if covers(outer, inner) and by_the_spec(inner, topic):
        assert by_the_spec(outer, topic)


@given(FILTERS, FILTERS, FILTERS)
def test_covers_is_an_order(one: str, two: str, three: str) -> None:
    assert covers(one, one)
    if covers(one, two) and covers(two, three):
        assert covers(one, three)
    if covers(one, two) and covers(two, one):
        assert canonical(one) == canonical(two)


@given(FILTERS, FILTERS)
def test_overlaps_holds_where_one_covers_the_other_and_is_symmetric(one: str, other: str) -> None:
    assert overlaps(one, other) is overlaps(other, one)
    if covers(one, other):
        assert overlaps(one, other)


# [MQTT-4.7.2-1] [MQTT311-4.7.2-1]
@given(FILTERS, st.sampled_from(["$", "$s", "$SYS/a", "$share/g/a", "$s/#", "$s/+"]))
def test_q25_wildcards_at_the_front_never_reach_a_dollar_tree(topic_filter: str, dollar: str) -> None:
    if topic_filter[0] in "+#":
        assert not matches(topic_filter, dollar)
        assert not covers(topic_filter, dollar)
        assert not overlaps(topic_filter, dollar)


def test_grid_a_an_intersection_has_the_topics_that_both_have(grid: Any) -> None:
    some = grid.filters[::17]
    for one in some:
        for other in grid.filters:
            shared = grid.sets[one] & grid.sets[other]
            found = intersection(one, other)
            if found is None:
                assert not shared, (one, other)
            else:
                check_filter(found)
                assert sum(1 << bit for bit, topic in enumerate(grid.topics) if matches(found, topic)) == (
                    shared
                ), (one, other, found)


@given(FILTERS, st.lists(FILTERS, max_size=4), st.integers(4, 9))
def test_examples_are_missed_by_other_filters_where_any_topic_is(
    topic_filter: str, others: list[str], more: int
) -> None:
    depth = max((other.count("/") + 1 for other in others), default=0)
    found = list(examples(topic_filter, depth=depth))
    assert found and all(topic and matches(topic_filter, topic) for topic in found)
    missed = any(not any(matches(other, topic) for other in others) for topic in found)
    deeper = examples(topic_filter, depth=depth + more)
    known = [*deeper, *(topic for topic in witnesses(topic_filter) if matches(topic_filter, topic))]
    assert missed or all(any(matches(other, topic) for other in others) for topic in known)


@given(WILD_TEXT, WILD_TEXT)
def test_relations_answer_whatever_they_are_given(one: str, other: str) -> None:
    assert {type(relation(one, other)) for relation in (matches, covers, overlaps)} == {bool}


@pytest.mark.parametrize("relation", [matches, covers, overlaps])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/" * 65_534 + "a", "/" * 65_534 + "b"),
        ("+/" * 32_767 + "+", "/" * 65_535),
        ("+/" * 32_767 + "#", "a/" * 32_767 + "b"),
        ("a/+/" * 16_383 + "b", "a/a/" * 16_383 + "c"),
        ("+/" * 32_767 + "a", "+/" * 32_767 + "b"),
    ],
    ids=["slashes", "pluses", "hash", "mixed", "same"],
)
def test_v87_the_longest_filters_take_linear_time(relation: Relation, one: str, other: str) -> None:
    # Some 3 ms; a square of these lengths would be minutes. CPU time, with room for a slow machine.
    taken = timeit.repeat(lambda: relation(one, other), timer=time.process_time, number=1, repeat=5)
    assert min(taken) < 0.1


@given(FILTERS, TOPICS)
def test_the_topics_of_a_filter_lie_within_its_extent(topic_filter: str, topic: str) -> None:
    start, end = extent(topic_filter)
    if matches(topic_filter, topic):
        assert start.encode() <= topic.encode() < end.encode()
    elif not has_wildcard(topic_filter):
        assert not start <= topic < end


@pytest.mark.parametrize(
    ("topic_filter", "start", "end"),
    [
        ("a/b", "a/b", "a/b\x01"),
        ("a/b/#", "a/b", "a/b0"),
        ("a/+", "a/", "a0"),
        ("a/+/c", "a/", "a0"),
        ("/+", "/", "0"),
        ("/#", "", "0"),
    ],
)
def test_an_extent_is_as_narrow_as_the_levels_before_the_first_wildcard(
    topic_filter: str, start: str, end: str
) -> None:
    assert extent(topic_filter) == (start, end)


@pytest.mark.parametrize("topic_filter", ["#", "+", "+/a"])
def test_a_filter_that_begins_with_a_wildcard_may_match_whatever_there_is(topic_filter: str) -> None:
    start, end = extent(topic_filter)
    assert start == ""
    assert end > "\U0010ffff" * 16_383


@given(TOPICS, TOPICS)
def test_nothing_lies_between_a_topic_and_what_follows(topic: str, other: str) -> None:
    assert topic < following(topic)
    assert not topic < other < following(topic)
