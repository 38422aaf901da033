"""Policies against an oracle that goes down the list, over every topic of a small world.

The oracle knows MQTT 5 §4.7 by the fixture `by_the_spec` and sets of topics, and what the
wire contract says of lists; it shares nothing with the packages.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmq.access.decide import Scope
from tokenmq.access.explaining import explain
from tokenmq.access.grants import Grant
from tokenmq.access.identity import Identity
from tokenmq.access.permission import Permission
from tokenmq.access.policy import Policy
from tokenmq.access.rules import ClaimCondition, Effect, Rule, Subject

PUBLISH, SUBSCRIBE, PRESENCE, HISTORY = Permission
ALL = tuple(Permission)
Make = Callable[..., Identity]
ORG = "org_k7xm4pqr2n5t"

FILTERS = ["a", "a/+", "a/#", "+/b", "#", "$s/#", "+", "/#", "a/b", "b/+/#", "+/+", "$s/a", "a/b/a"]
TEMPLATES = ["{user_id}", "{user_id}/#", "a/{user_id}", "a/{claim:t}/#", "{claim:t}", "a/x{claim:t}/+"]
LEVELS = {"a", "b", "", "z", "+", "#", "$s", "$z"}
USERS = ["a", "b", "ab", "x/y", "$s"]
ATTRS = [None, {}, {"t": "a"}, {"t": "b", "role": "x"}, {"t": "x/y"}, {"t": ["a"]}, {"t": 7, "role": ["x"]}]
PATTERNS = ["*", "*", "*", "a", "a*", "*b", "b", "x/*"]

effects = st.sampled_from(Effect)
rules = st.builds(
    Rule,
    st.one_of(
        st.sampled_from(PATTERNS), st.just(ClaimCondition("role", "x")), st.just(ClaimCondition("t", 7))
    ),
    st.lists(st.sampled_from(Permission), min_size=1, max_size=3).map(tuple),
    st.lists(st.sampled_from(FILTERS + TEMPLATES), min_size=1, max_size=3).map(tuple),
    effects,
)


def is_about(user: Any, user_id: str, attrs: dict[str, Any] | None) -> bool:
    if isinstance(user, ClaimCondition):
        found = (attrs or {}).get(user.claim)
        found = found if isinstance(found, list) else [found]
        return user.equals in found
    if user.count("*") == 0:
        return bool(user == user_id)
    before, after = user.split("*")
    return len(user_id) >= len(user) - 1 and user_id.startswith(before) and user_id.endswith(after)


def value_of(name: str, user_id: str, attrs: dict[str, Any] | None) -> Any:
    if name == "user_id":
        return user_id
    return (attrs or {}).get(name.removeprefix("claim:"))


def meant(template: str, user_id: str, attrs: dict[str, Any] | None, effect: Effect) -> list[str]:
    """The filters that a template stands for: none for a void allow, the widest for a void deny."""
    levels = []
    for at, level in enumerate(template.split("/")):
        before, brace, rest = level.partition("{")
        if not brace:
            levels.append(level)
            continue
        name, _, after = rest.partition("}")
        value = value_of(name, user_id, attrs)
        good = isinstance(value, str | int) and not set(str(value)) & set("/+#") and str(value)[:1] != "$"
        if good:
            levels.append(f"{before}{value}{after}")
        elif effect is Effect.ALLOW:
            return []
        elif value is None:
            levels.append("+")
        else:
            return ["/".join([*levels, "#"])] + ([] if at else ["$s/#", "$z/#"])
    return ["/".join(levels)]


class Oracle:
    """Goes down the list, with the sets of topics of each filter."""

    def __init__(self, grid: Any, by_the_spec: Any, given_rules: Any, user_id: str, attrs: Any) -> None:
        self.topics = grid.topics

        def of(topic_filter: str) -> int:
            if topic_filter in grid.sets:
                return grid.sets[topic_filter]
            return sum(1 << bit for bit, topic in enumerate(grid.topics) if by_the_spec(topic_filter, topic))

        def shown(topic_filter: str) -> str:
            """With z, which no filter that is asked about names, for levels that the grid does not have."""
            return "/".join(level if level in LEVELS else "z" for level in topic_filter.split("/"))

        self.list = []
        for rule in given_rules:
            if is_about(rule.user, user_id, attrs):
                filters = [each for text in rule.topics for each in meant(text, user_id, attrs, rule.effect)]
                self.list.append((rule, [*map(of, filters)], [of(shown(each)) for each in filters]))

    def on_topic(self, permission: Permission, bit: int) -> bool:
        for rule, sets, _ in self.list:
            if permission in rule.permissions and any(held >> bit & 1 for held in sets):
                return rule.effect is Effect.ALLOW
        return False

    def on_filter(self, permission: Permission, asked: int) -> bool:
        for rule, sets, shown in self.list:
            if permission not in rule.permissions:
                continue
            if any(not asked & ~held for held in sets):
                return rule.effect is Effect.ALLOW
            overlapping = any(asked & held for held in shown)
            if rule.effect is Effect.DENY and overlapping and permission is PRESENCE:
                return False
        return False


def everything(make_identity: Make, user_id: str, attrs: Any) -> Identity:
    return make_identity(Grant(ALL, ("#", "$s/#", "$z/#")), user_id=user_id, attrs=attrs)


@settings(max_examples=400)
@given(st.lists(rules, max_size=6), st.sampled_from(USERS), st.sampled_from(ATTRS), st.data())
def test_policies_decide_as_who_goes_down_the_list(
    make_identity: Make,
    grid: Any,
    by_the_spec: Any,
    written: list[Rule],
    user_id: str,
    attrs: Any,
    data: st.DataObject,
) -> None:
    policy = Policy(tuple(written))
    asked = Scope(everything(make_identity, user_id, attrs), policy=policy, client_id="c")
    oracle = Oracle(grid, by_the_spec, written, user_id, attrs)
    subject = Subject(user_id, ORG, "c", attrs)
    for permission in data.draw(st.permutations(ALL)):
        for bit in data.draw(st.lists(st.integers(0, len(grid.topics) - 1), min_size=5, max_size=5)):
            wanted = oracle.on_topic(permission, bit)
            topic = grid.topics[bit]
            assert asked.on_topic(permission, topic).allowed is wanted
            assert policy.admits(permission, topic, subject) is wanted
            assert explain(policy, permission, topic, subject).allowed is wanted
        for topic_filter in data.draw(st.lists(st.sampled_from(grid.filters), min_size=3, max_size=3)):
            wanted = oracle.on_filter(permission, grid.sets[topic_filter])
            assert asked.on_filter(permission, topic_filter).allowed is wanted, (topic_filter, permission)
            assert explain(policy, permission, topic_filter, subject).allowed is wanted


@settings(max_examples=300)
@given(st.lists(rules, max_size=6), st.sampled_from(USERS), st.sampled_from(ATTRS), st.data())
def test_something_is_left_of_a_filter_exactly_where_a_topic_of_it_is_allowed(
    make_identity: Make,
    grid: Any,
    by_the_spec: Any,
    written: list[Rule],
    user_id: str,
    attrs: Any,
    data: st.DataObject,
) -> None:
    """Over the grid's topics, which have levels that no filter names (z)."""
    policy = Policy(tuple(written))
    oracle = Oracle(grid, by_the_spec, written, user_id, attrs)
    topic_filter = data.draw(st.sampled_from(grid.filters))
    permission = data.draw(st.sampled_from(Permission))
    left = any(
        oracle.on_topic(permission, bit)
        for bit in range(len(grid.topics))
        if grid.sets[topic_filter] >> bit & 1
    )
    found = policy.leaves(permission, topic_filter, Subject(user_id, ORG, "c", attrs))
    # A topic deeper than the grid's may be left where none of its own is.
    assert found >= left
    if not any("#" in text for rule in written for text in rule.topics):
        assert found is left
    if policy.leaves(permission, topic_filter, None):
        assert found


def test_v36_grid_c_every_allow_with_every_deny_before_and_after(
    make_identity: Make, grid: Any, by_the_spec: Any
) -> None:
    """secnote-2026-17: overlapping wildcards; all filters of the grid as allow, and as deny."""
    whole = everything(make_identity, "a", None)
    asked = [(bit, grid.topics[bit]) for bit in range(0, len(grid.topics), 3)]
    for allow, deny in itertools.product(grid.filters, grid.filters):
        allowing = Rule("*", (SUBSCRIBE,), (allow,))
        denying = Rule("*", (SUBSCRIBE,), (deny,), Effect.DENY)
        first = Scope(whole, policy=Policy((denying, allowing)), client_id="c")
        last = Scope(whole, policy=Policy((allowing, denying)), client_id="c")
        left = grid.sets[allow] & ~grid.sets[deny]
        for bit, topic in asked:
            assert first.on_topic(SUBSCRIBE, topic).allowed is bool(left >> bit & 1), (allow, deny, topic)
            assert last.on_topic(SUBSCRIBE, topic).allowed is bool(grid.sets[allow] >> bit & 1)


def test_v36_grid_c_every_filter_with_every_deny_before_an_allow(make_identity: Make, grid: Any) -> None:
    whole = everything(make_identity, "a", None)
    for deny in grid.filters:
        policy = Policy((Rule("*", ALL, (deny,), Effect.DENY), Rule("*", ALL, ("#", "$s/#"))))
        scope = Scope(whole, policy=policy, client_id="c")
        for topic_filter in grid.filters:
            asked, denied = grid.sets[topic_filter], grid.sets[deny]
            assert scope.on_filter(SUBSCRIBE, topic_filter).allowed is bool(asked & ~denied)
            assert scope.on_filter(HISTORY, topic_filter).allowed is bool(asked & ~denied)
            assert scope.on_filter(PRESENCE, topic_filter).allowed is (not asked & denied)


@pytest.mark.parametrize(
    ("user_id", "attrs", "topic", "denied"),
    [
        ("ann", None, "p/ann/x", True),
        ("ann", None, "p/bob/x", False),
        ("a/b", None, "p/a/b/x", True),
        ("a/b", None, "p/bob/x", True),
        ("#", None, "p/bob/x", True),
        ("a/b", None, "q/bob/x", False),
        ("ann", None, "t/red/x", True),
        ("ann", {"t": "red"}, "t/red/x", True),
        ("ann", {"t": "red"}, "t/blue/x", False),
        ("ann", {"t": "red/x"}, "t/red/x/x", True),
        ("ann", {"t": ["red"]}, "t/red/deep/x", True),
        ("ann", {"t": "red"}, "t/red/y", False),
        ("ann", None, "t/red/deep/x", False),
    ],
)
def test_v01_no_value_makes_a_deny_weaker(
    make_identity: Make, user_id: str, attrs: Any, topic: str, denied: bool
) -> None:
    policy = Policy(
        (
            Rule("*", (PUBLISH,), ("p/{user_id}/x", "t/{claim:t}/x"), Effect.DENY),
            Rule("*", (PUBLISH,), ("#",)),
        )
    )
    scope = Scope(make_identity("#", user_id=user_id, attrs=attrs), policy=policy, client_id="c")
    assert scope.on_topic(PUBLISH, topic).allowed is not denied


@pytest.mark.parametrize("user_id", ["$s", "$spaces", "a/b"])
def test_v06_a_deny_on_a_void_first_level_holds_in_dollar_trees_too(
    make_identity: Make, user_id: str
) -> None:
    policy = Policy(
        (
            Rule("*", (PUBLISH,), ("{user_id}/#",), Effect.DENY),
            Rule("*", (PUBLISH,), ("#", "$s/#", "$spaces/#")),
        )
    )
    scope = Scope(make_identity("#", "$s/#", "$spaces/#", user_id=user_id), policy=policy, client_id="c")
    assert not any(scope.on_topic(PUBLISH, topic).allowed for topic in ("x", "$s/x", "$spaces/x", "a/b/c"))
