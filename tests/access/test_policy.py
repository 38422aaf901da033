from __future__ import annotations

import pytest

from tokenmq.access.binding import check_template
from tokenmq.access.permission import Permission
from tokenmq.access.policy import STARTING_POLICY, Policy, starting_policy
from tokenmq.access.rules import Rule, Subject

PUBLISH, SUBSCRIBE, PRESENCE, HISTORY = Permission
ALL = tuple(Permission)
ANN = Subject("ann", "org_k7xm4pqr2n5t", "phone")


def test_the_starting_policy_is_the_document_of_the_wire_contract() -> None:
    assert STARTING_POLICY.rules == (
        Rule("*", ALL, ("#", "$spaces/#")),
        Rule("*", (SUBSCRIBE,), ("$notifications/{user_id}/#", "$notifications/channels/#")),
    )


@pytest.mark.parametrize(
    ("trees", "rules"),
    [
        ((), (Rule("*", ALL, ("#",)),)),
        (("$spaces",), (Rule("*", ALL, ("#", "$spaces/#")),)),
        (("$devices", "$spaces"), (Rule("*", ALL, ("#", "$devices/#", "$spaces/#")),)),
        (
            ("$notifications",),
            (
                Rule("*", ALL, ("#",)),
                Rule("*", (SUBSCRIBE,), ("$notifications/{user_id}/#", "$notifications/channels/#")),
            ),
        ),
    ],
)
def test_the_starting_policy_opens_the_configured_trees_only(
    trees: tuple[str, ...], rules: tuple[Rule, ...]
) -> None:
    assert starting_policy(trees) == Policy(rules)


def test_every_filter_of_the_starting_policy_is_well_formed() -> None:
    for rule in STARTING_POLICY.rules:
        for topic_filter in rule.topics:
            check_template(topic_filter)


def test_what_is_the_same_for_everybody_is_compiled_once_by_permission() -> None:
    policy = Policy(
        (Rule("*", (PUBLISH, SUBSCRIBE), ("a/#", "u/{user_id}")), Rule("*", (PUBLISH,), ("b", "{org}/x")))
    )
    assert policy.shared[PUBLISH].tree.matching("a/x") == [1]
    assert policy.shared[PUBLISH].tree.matching("b") == [5]
    assert policy.shared[SUBSCRIBE].tree.matching("b") == []
    assert [len(policy.shared[each].tree) for each in Permission] == [2, 1, 0, 0]
    assert policy.own(HISTORY, ANN) is policy.own(PRESENCE, ANN)
    assert policy.own(PUBLISH, ANN).tree.matching("u/ann") == [3]
    assert [policy.place(code) for code in (1, 3, 5)] == [
        "rules[0] (a/#)",
        "rules[0] (u/{user_id})",
        "rules[1] (b)",
    ]


def test_v08_an_empty_policy_holds_nothing() -> None:
    assert [len(layer.tree) for layer in Policy(()).shared.values()] == [0, 0, 0, 0]
    assert len(Policy(()).own(PUBLISH, ANN).tree) == 0


def test_policies_of_equal_rules_are_equal() -> None:
    rules = (Rule("*", (PUBLISH,), ("a",)),)
    assert Policy(rules) == Policy(rules)
    assert hash(Policy(rules)) == hash(Policy(rules))
    assert Policy(rules) != Policy(())
