from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.access.decide import Decision, Scope
from tokenmq.access.grants import Grant
from tokenmq.access.identity import Identity
from tokenmq.access.permission import Permission
from tokenmq.access.policy import STARTING_POLICY, Policy
from tokenmq.access.rules import ClaimCondition, Effect, Rule
from tokenmq.topics.filter import split_share

PUBLISH, SUBSCRIBE, PRESENCE, HISTORY = Permission
ALL = tuple(Permission)
Make = Callable[..., Identity]
Relation = Callable[[str, str], bool]

POLICIES: dict[str, tuple[Policy | None, list[str]]] = {
    "none": (None, ["#", "$s/#", "$z/#"]),
    "starting": (STARTING_POLICY, ["#"]),
    "narrow": (Policy((Rule("*", tuple(Permission), ("a/+", "+/b", "$s/a")),)), ["a/+", "+/b", "$s/a"]),
    "personal": (Policy((Rule("*", tuple(Permission), ("{user_id}/+",)),)), ["a/+"]),
    "empty": (Policy(()), []),
}
PREFIXES = [
    ("", ""),
    ("{user_id}/", "user-123/"),
    ("x/{client_id}/", "x/phone/"),
    ("{org}-{user_id}/", "org_k7xm4pqr2n5t-user-123/"),
    ("$spaces/{org}/", "$spaces/org_k7xm4pqr2n5t/"),
]


def allowing(grants: list[Grant]) -> Policy:
    return Policy(tuple(Rule("*", grant.permissions, grant.topics) for grant in grants))


def scope(identity: Identity, policy: Policy | None = None, client_id: str = "phone") -> Scope:
    return Scope(identity, policy=policy, client_id=client_id)


# What is said


@pytest.mark.parametrize(
    ("permission", "topic", "decision"),
    [
        (PUBLISH, "chat/room1", Decision(allowed=True, rule="grant chat/+, policy rules[0] (chat/#)")),
        (
            PUBLISH,
            "u/user-123/x",
            Decision(allowed=True, rule="grant u/{user_id}/#, policy rules[0] (u/{user_id}/#)"),
        ),
        (PUBLISH, "other/x", Decision(allowed=False, rule="no grant of publish matches other/x")),
        (PUBLISH, "u/user-124/x", Decision(allowed=False, rule="no grant of publish matches u/user-124/x")),
        (PUBLISH, "dark/x", Decision(allowed=False, rule="no policy rule of publish matches dark/x")),
        (HISTORY, "chat/room1", Decision(allowed=False, rule="no grant of history matches chat/room1")),
        (PUBLISH, "chat/+", Decision(allowed=False, rule="chat/+ is a filter where a topic is wanted")),
        (PUBLISH, "#", Decision(allowed=False, rule="# is a filter where a topic is wanted")),
    ],
)
def test_a_decision_on_a_topic_names_its_rule(
    make_identity: Make, permission: Permission, topic: str, decision: Decision
) -> None:
    identity = make_identity(Grant((PUBLISH, SUBSCRIBE), ("chat/+", "u/{user_id}/#", "dark/#")))
    policy = Policy((Rule("*", tuple(Permission), ("chat/#", "u/{user_id}/#")),))
    assert scope(identity, policy).on_topic(permission, topic) == decision


@pytest.mark.parametrize(
    ("topic_filter", "decision"),
    [
        ("chat/room1", Decision(allowed=True, rule="grant chat/+, policy rules[0] (chat/#)")),
        ("chat/+", Decision(allowed=True, rule="grant chat/+, policy rules[0] (chat/#)")),
        ("u/user-123/#", Decision(allowed=True, rule="grant u/{user_id}/#, policy rules[0] (u/{user_id}/#)")),
        ("chat/#", Decision(allowed=False, rule="filter chat/# is wider than grant chat/+")),
        ("chat/+/#", Decision(allowed=False, rule="filter chat/+/# is wider than grant chat/+")),
        ("other/#", Decision(allowed=False, rule="no grant of subscribe covers other/#")),
        ("dark/#", Decision(allowed=False, rule="no policy rule of subscribe covers dark/#")),
        ("half/#", Decision(allowed=False, rule="filter half/# is wider than policy rule half/+")),
        ("mine/#", Decision(allowed=False, rule="filter mine/# is wider than policy rule mine/{user_id}")),
        ("$share/g/chat/+", Decision(allowed=False, rule="no grant of subscribe covers $share/g/chat/+")),
    ],
)
def test_a_decision_on_a_filter_names_its_rule(
    make_identity: Make, topic_filter: str, decision: Decision
) -> None:
    identity = make_identity("chat/+", "u/{user_id}/#", "dark/#", "half/#", "mine/#")
    policy = Policy((Rule("*", (SUBSCRIBE,), ("chat/#", "u/{user_id}/#", "half/+", "mine/{user_id}")),))
    assert scope(identity, policy).on_filter(SUBSCRIBE, topic_filter) == decision


def test_without_a_policy_the_grants_are_not_cut(make_identity: Make) -> None:
    uncut = scope(make_identity("$spaces/#", user_id="server", key_id="key1"))
    assert uncut.on_topic(PUBLISH, "$spaces/a").allowed
    assert uncut.on_filter(SUBSCRIBE, "$spaces/#").allowed


def test_reasons_quote_no_more_than_200_characters(make_identity: Make) -> None:
    long = "x" * 60_000
    narrow = scope(make_identity(f"{long}/a"), STARTING_POLICY)
    assert narrow.on_topic(PUBLISH, long).rule == f"no grant of publish matches {'x' * 197}..."
    assert narrow.on_filter(SUBSCRIBE, f"{long}/+").rule == (
        f"filter {'x' * 197}... is wider than grant {'x' * 197}..."
    )


@pytest.mark.parametrize("user_id", ["+", "#", "a/b", "$SYS", "{client_id}", "\0", ""])
def test_v01_a_void_grant_opens_nothing(make_identity: Make, user_id: str) -> None:
    void = scope(make_identity("u/{user_id}/#", user_id=user_id), STARTING_POLICY, client_id="bob")
    for topic in ("u/a/x", "u/bob/x", f"u/{user_id or 'x'}/x", "u/", "u", "u/a/b/x"):
        assert not void.on_topic(PUBLISH, topic).allowed
    assert not void.on_filter(SUBSCRIBE, "u/bob/#").allowed


def test_a_void_grant_takes_no_other_with_it(make_identity: Make) -> None:
    half_void = scope(make_identity("u/{client_id}/#", "chat/+"), STARTING_POLICY, client_id="+")
    assert half_void.on_topic(PUBLISH, "chat/a").allowed
    assert not half_void.on_topic(PUBLISH, "u/+/x").allowed


def test_a_filter_that_only_two_grants_hold_together_is_refused(make_identity: Make) -> None:
    assert not scope(make_identity("+", "+/+/#"), STARTING_POLICY).on_filter(SUBSCRIBE, "#").allowed


def test_the_starting_policy_keeps_notifications_apart(make_identity: Make) -> None:
    everything = scope(make_identity("#", "$notifications/#", "$spaces/#", "$SYS/#"), STARTING_POLICY)
    allowed = {
        topic: (everything.on_topic(PUBLISH, topic).allowed, everything.on_filter(SUBSCRIBE, topic).allowed)
        for topic in (
            *("a", "$spaces/a", "$notifications/user-123/x", "$notifications/channels/x"),
            *("$notifications/user-124/x", "$notifications", "$SYS/x", "$spacesx"),
        )
    }
    assert allowed == {
        "a": (True, True),
        "$spaces/a": (True, True),
        "$notifications/user-123/x": (False, True),
        "$notifications/channels/x": (False, True),
        "$notifications/user-124/x": (False, False),
        "$notifications": (False, False),
        "$SYS/x": (False, False),
        "$spacesx": (False, False),
    }


# Grid B: every decision against the oracle


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("permission", Permission)
def test_v90_grid_b_a_filter_is_allowed_if_grant_and_policy_hold_all_its_topics(
    make_identity: Make, grid: Any, by_the_spec: Relation, name: str, permission: Permission
) -> None:
    policy, limits = POLICIES[name]
    held = [sum(1 << bit for bit, t in enumerate(grid.topics) if by_the_spec(limit, t)) for limit in limits]
    within = {each: any(not grid.sets[each] & ~limit for limit in held) for each in grid.filters}
    for granted in grid.filters:
        asked = scope(make_identity(granted, user_id="a"), policy)
        for topic_filter in grid.filters:
            wanted = within[topic_filter] and not grid.sets[topic_filter] & ~grid.sets[granted]
            assert asked.on_filter(permission, topic_filter).allowed is wanted, (granted, topic_filter)


@pytest.mark.parametrize("name", POLICIES)
def test_grid_b_a_topic_is_allowed_if_grant_and_policy_match_it(
    make_identity: Make, grid: Any, by_the_spec: Relation, name: str
) -> None:
    policy, limits = POLICIES[name]
    within = [any(by_the_spec(limit, topic) for limit in limits) for topic in grid.topics]
    for granted in grid.filters:
        asked = scope(make_identity(granted, user_id="a"), policy)
        for bit, topic in enumerate(grid.topics):
            wanted = within[bit] and bool(grid.sets[granted] >> bit & 1)
            assert asked.on_topic(PUBLISH, topic).allowed is wanted, (granted, topic)


@pytest.mark.parametrize(
    ("template", "bound"), PREFIXES, ids=[template or "none" for template, _ in PREFIXES]
)
def test_v35_grid_b_a_share_is_judged_by_its_filter(
    make_identity: Make, grid: Any, by_the_spec: Relation, template: str, bound: str
) -> None:
    filters = [each for each in grid.filters if bound or not each.startswith("$")]
    topics = [text for text in (bound[:-1], bound, *(bound + topic for topic in grid.topics)) if text]
    sets = {
        each: sum(1 << bit for bit, topic in enumerate(topics) if by_the_spec(bound + each, topic))
        for each in filters
    }
    for granted in filters:
        asked = scope(make_identity(template + granted), STARTING_POLICY)
        for each in filters:
            _, inner = split_share(f"$share/g/{bound}{each}")
            assert asked.on_filter(SUBSCRIBE, inner).allowed is (not sets[each] & ~sets[granted]), (
                granted,
                each,
            )
            assert not asked.on_filter(SUBSCRIBE, f"$share/g/{bound}{each}").allowed


GRANTS = st.lists(
    st.builds(
        Grant,
        st.lists(st.sampled_from(Permission), min_size=1, max_size=3).map(tuple),
        st.lists(
            st.sampled_from(["a", "a/+", "a/#", "+/b", "#", "$s/#", "+", "/#"]), min_size=1, max_size=3
        ).map(tuple),
    ),
    max_size=4,
)


@given(GRANTS, st.none() | GRANTS, st.sampled_from(Permission), st.data())
def test_many_grants_and_rules_decide_as_each_of_them_alone(
    make_identity: Make,
    grid: Any,
    grants: list[Grant],
    rules: list[Grant] | None,
    permission: Permission,
    data: Any,
) -> None:
    asked = scope(make_identity(*grants), None if rules is None else allowing(rules))

    def sets(some: list[Grant]) -> list[int]:
        return [grid.sets[each] for grant in some if permission in grant.permissions for each in grant.topics]

    everything = (1 << len(grid.topics)) - 1
    layers = [sets(grants), [everything] if rules is None else sets(rules)]
    bit = data.draw(st.integers(0, len(grid.topics) - 1))
    matched = all(any(held >> bit & 1 for held in layer) for layer in layers)
    assert asked.on_topic(permission, grid.topics[bit]).allowed is matched
    topic_filter = data.draw(st.sampled_from(grid.filters))
    covered = all(any(not grid.sets[topic_filter] & ~held for held in layer) for layer in layers)
    assert asked.on_filter(permission, topic_filter).allowed is covered


@given(st.text(alphabet="ab/+#$\0{}", max_size=10), st.sampled_from(["#", "+/#", "a/#", "+", "+/+"]))
def test_q25_no_wildcard_grant_reaches_a_dollar_tree(make_identity: Make, rest: str, granted: str) -> None:
    asked = scope(make_identity(granted))
    assert not asked.on_topic(PUBLISH, "$" + rest).allowed
    assert not asked.on_filter(SUBSCRIBE, "$" + rest).allowed


# What it costs


def calls(run: Callable[[], object]) -> int:
    """Count all calls, of Python and of C, that something makes."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(before)
    return count


def test_a_decision_on_1000_grants_costs_no_more_than_on_one(make_identity: Make) -> None:
    few, many = (
        scope(make_identity(*(f"room{i}/+/{{user_id}}" for i in range(size))), STARTING_POLICY)
        for size in (1, 1_000)
    )
    for topic in ("room0/x/user-123", "room0/x/other", "other/x"):
        for asked in (few, many):
            asked.on_topic(PUBLISH, topic)
            asked.on_filter(SUBSCRIBE, topic)
        assert calls(lambda text=topic: few.on_topic(PUBLISH, text)) == calls(
            lambda text=topic: many.on_topic(PUBLISH, text)
        )
        assert calls(lambda text=topic: few.on_filter(SUBSCRIBE, text)) == calls(
            lambda text=topic: many.on_filter(SUBSCRIBE, text)
        )


def test_a_decision_under_1000_rules_costs_no_more_than_under_one(make_identity: Make) -> None:
    identity = make_identity("#", attrs={"role": "x"})

    def rules(size: int) -> Policy:
        users = ["*", "user-123", "user-*", ClaimCondition("role", "x")]
        some = [
            Rule(users[at % 4], (PUBLISH, SUBSCRIBE), (f"room{at}/+/x", f"u{at}/{{user_id}}"))
            for at in range(size)
        ]
        closing = [Rule("*", (PUBLISH,), ("+/+/x",), Effect.DENY), Rule("*", (PUBLISH, SUBSCRIBE), ("#",))]
        return Policy((*some, *some, *closing))

    few, many = scope(identity, rules(4)), scope(identity, rules(1_000))
    for topic in ("room0/x/x", "room1/x/x", "u2/user-123", "u3/user-123", "other/x/x", "other"):
        for asked in (few, many):
            asked.on_topic(PUBLISH, topic)
            asked.on_filter(SUBSCRIBE, topic)
        assert calls(lambda text=topic: few.on_topic(PUBLISH, text)) == calls(
            lambda text=topic: many.on_topic(PUBLISH, text)
        )
        assert calls(lambda text=topic: few.on_filter(SUBSCRIBE, text)) == calls(
            lambda text=topic: many.on_filter(SUBSCRIBE, text)
        )


def test_equal_filters_of_many_rules_are_one(make_identity: Make) -> None:
    policy = Policy(tuple(Rule("*", (PUBLISH,), ("a/#", "#")) for _ in range(500)))
    assert len(policy.shared[PUBLISH].tree) == 2
    assert scope(make_identity("#"), policy).on_topic(PUBLISH, "a/b").rule == "grant #, policy rules[0] (a/#)"


def test_a_deny_is_named_where_it_decides(make_identity: Make) -> None:
    asked = scope(
        make_identity("#"),
        Policy((Rule("*", ALL, ("a/b/#",), Effect.DENY), Rule("user-*", ALL, ("a/#",)))),
    )
    assert asked.on_topic(PUBLISH, "a/b/c").rule == "policy rules[0] (a/b/#) denies publish on a/b/c"
    assert asked.on_topic(PUBLISH, "a").rule == "grant #, policy rules[1] (a/#)"
    assert asked.on_filter(SUBSCRIBE, "a/b/+").rule == "policy rules[0] (a/b/#) denies subscribe on a/b/+"
    assert asked.on_filter(SUBSCRIBE, "a/#").rule == "grant #, policy rules[1] (a/#)"
    assert asked.on_filter(PRESENCE, "a/#").rule == (
        "policy rules[0] (a/b/#) denies presence on a part of a/#"
    )
    assert asked.on_filter(PRESENCE, "a/b/#").rule == "policy rules[0] (a/b/#) denies presence on a/b/#"
    assert asked.on_filter(PRESENCE, "a/c").allowed


def test_a_deny_of_a_part_refuses_presence_though_the_same_filter_was_allowed_before(
    make_identity: Make,
) -> None:
    """A deny that overlaps refuses `presence` (the wire contract, section 2), whatever stands before it."""
    policy = Policy((Rule("*", ALL, ("a/b",)), Rule("*", ALL, ("a/b",), Effect.DENY), Rule("*", ALL, ("#",))))
    asked = scope(make_identity("#"), policy)
    assert asked.on_filter(PRESENCE, "a/+").rule == "policy rules[1] (a/b) denies presence on a part of a/+"
    assert asked.on_filter(PRESENCE, "a/b").allowed
    assert asked.on_filter(HISTORY, "a/+").allowed
    assert asked.on_topic(PRESENCE, "a/b").allowed


def test_a_permission_is_compiled_when_first_asked_and_once(make_identity: Make) -> None:
    asked = scope(make_identity("a/#", "u/{user_id}"), STARTING_POLICY)
    first = calls(lambda: asked.on_topic(PUBLISH, "a/b"))
    second = calls(lambda: asked.on_topic(PUBLISH, "a/b"))
    assert second < first
    assert calls(lambda: asked.on_topic(PUBLISH, "a/b")) == second
    nothing = scope(make_identity(), STARTING_POLICY)
    assert calls(lambda: nothing.on_topic(PUBLISH, "a")) > calls(lambda: nothing.on_topic(PUBLISH, "a"))


def test_v11_65535_slashes_are_decided_without_an_error(make_identity: Make) -> None:
    asked = scope(make_identity("+/#", "a/b"), STARTING_POLICY)
    assert asked.on_topic(PUBLISH, "/" * 65_535).allowed
    assert asked.on_filter(SUBSCRIBE, "+/" * 32_767 + "+").allowed
    assert not asked.on_topic(HISTORY, "$" + "/" * 65_534).allowed
