from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.access.checking import MAX_RULES, check
from tokenmq.access.policy import Policy, starting_document
from tokenmq.access.rules import PolicyDocument, Rule

TREES = ("$notifications", "$spaces")
RULE: dict[str, Any] = {"user": "*", "permissions": ["publish"], "topics": ["a"], "effect": "allow"}


def findings(*rules: Any, **document: Any) -> list[tuple[str, str, str]]:
    tree = {"version": "1", "default": "deny", "rules": list(rules)} | document
    return [(one.path, str(one.severity), one.message) for one in check(tree, dollar_trees=TREES).findings]


def paths(*rules: Any, **document: Any) -> list[str]:
    return [path for path, _, _ in findings(*rules, **document)]


def test_a_document_that_is_good_has_no_findings() -> None:
    tree = {
        "version": "1",
        "default": "deny",
        "rules": [RULE, {**RULE, "user": "b*", "topics": ["b/{claim:t}"]}],
    }
    checked = check(tree, dollar_trees=TREES)
    assert checked.findings == ()
    assert checked.document == msgspec.convert(tree, PolicyDocument)


def test_default_and_effect_may_be_left_out_nothing_else() -> None:
    short = {"version": "1", "rules": [{"user": "a", "permissions": ["publish"], "topics": ["a"]}]}
    document = check(short, dollar_trees=TREES).document
    assert document is not None and document.default == "deny" and document.rules[0].effect == "allow"
    for field in ("user", "permissions", "topics"):
        assert paths({name: value for name, value in RULE.items() if name != field}) == [f"rules[0].{field}"]
    assert paths(version=None) == ["version"]
    assert [one.path for one in check({}, dollar_trees=()).findings] == ["version", "rules"]


@pytest.mark.parametrize("tree", [None, [], "x", 1, True])
def test_v08_what_is_no_object_is_no_policy(tree: object) -> None:
    checked = check(tree, dollar_trees=TREES)
    assert checked.document is None and [one.path for one in checked.findings] == [""]


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"version": 1}, "version"),
        ({"version": "2"}, "version"),
        ({"default": "allow"}, "default"),
        ({"default": None}, "default"),
        ({"rules": {}}, "rules"),
        ({"rules": None}, "rules"),
        ({"rules": [RULE] * (MAX_RULES + 1)}, "rules"),
        ({"rules": ["x"]}, "rules[0]"),
        ({"defaults": "deny"}, "defaults"),
        ({"x" * 100: 1}, "x" * 61 + "..."),
    ],
)
def test_what_is_wrong_with_a_document_is_named(document: dict[str, Any], path: str) -> None:
    assert paths(**document) == [path]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"user": ""}, "user"),
        ({"user": "a\0"}, "user"),
        ({"user": "x" * 256}, "user"),
        ({"user": None}, "user"),
        ({"user": ["ann"]}, "user"),
        ({"user": {"claim": "role"}}, "user.equals"),
        ({"user": {"equals": "x"}}, "user.claim"),
        ({"user": {"claim": "", "equals": "x"}}, "user.claim"),
        ({"user": {"claim": "r", "equals": None}}, "user.equals"),
        ({"user": {"claim": "r", "equals": ["x"]}}, "user.equals"),
        ({"user": {"claim": "r", "equals": "x", "in": []}}, "user.in"),
        ({"permissions": []}, "permissions"),
        ({"permissions": "publish"}, "permissions"),
        ({"permissions": ["publish", "read"]}, "permissions[1]"),
        ({"permissions": [{}]}, "permissions[0]"),
        ({"topics": []}, "topics"),
        ({"topics": "a"}, "topics"),
        ({"topics": ["a"] * 65}, "topics"),
        ({"topics": ["a", "a/#/b"]}, "topics[1]"),
        ({"topics": ["a", 1]}, "topics[1]"),
        ({"topics": ["{name}"]}, "topics[0]"),
        ({"topics": ["{claim:}"]}, "topics[0]"),
        ({"topics": ["{claim:a b}"]}, "topics[0]"),
        ({"topics": ["$share/g/a"]}, "topics[0]"),
        ({"topics": ["${org}/a"]}, "topics[0]"),
        ({"effect": "Deny"}, "effect"),
        ({"effect": None}, "effect"),
        ({"efect": "deny"}, "efect"),
    ],
)
def test_what_is_wrong_with_a_rule_is_named(changes: dict[str, Any], path: str) -> None:
    ((found, severity, message),) = findings(RULE, {**RULE, "user": "b"} | changes)
    assert (found, severity) == (f"rules[1].{path}", "error") and message


def test_every_error_is_told_and_no_warning_beside() -> None:
    assert paths({**RULE, "topics": ["#"]}, {**RULE, "effect": "x", "user": 1}, version="3") == [
        "version",
        "rules[1].user",
        "rules[1].effect",
    ]


# Warnings


def test_an_open_rule_is_warned_of() -> None:
    assert findings({**RULE, "topics": ["a", "#"]}) == [
        ("rules[0].topics[1]", "warning", "gives everybody publish on every topic: only tokens limit them")
    ]
    assert paths({**RULE, "topics": ["+/#"]}) == ["rules[0].topics[0]"]
    assert paths({**RULE, "topics": ["#"], "user": "a*"}) == []
    assert paths({**RULE, "topics": ["#"], "effect": "deny"}) == []


@pytest.mark.parametrize(
    ("first", "second", "is_idle"),
    [
        ({}, {}, True),
        ({"topics": ["a/#"]}, {"topics": ["a/+", "a"]}, True),
        ({"topics": ["a/#"]}, {"topics": ["a/+", "a"], "effect": "deny"}, True),
        ({"topics": ["a/#"], "effect": "deny"}, {"topics": ["a/b"]}, True),
        ({"topics": ["a/+"]}, {"topics": ["a/{user_id}"]}, True),
        ({"topics": ["a/{user_id}"]}, {"topics": ["a/{user_id}"]}, True),
        ({"topics": ["a/{user_id}"]}, {"topics": ["a/ann"]}, False),
        ({"topics": ["a/+"]}, {"topics": ["a/#"]}, False),
        ({}, {"user": "ann"}, True),
        ({"user": "ann"}, {}, False),
        ({"user": "a*"}, {"user": "ann"}, True),
        ({"user": "b*"}, {"user": "ann"}, False),
        ({"user": {"claim": "r", "equals": 1}}, {"user": {"claim": "r", "equals": 1}}, True),
        ({"user": {"claim": "r", "equals": 1}}, {"user": {"claim": "r", "equals": True}}, False),
        ({}, {"user": {"claim": "r", "equals": 1}}, True),
        ({"permissions": ["publish"]}, {"permissions": ["publish", "subscribe"]}, False),
        ({"permissions": ["publish", "subscribe"]}, {"permissions": ["subscribe"]}, True),
    ],
)
def test_a_rule_that_never_decides_is_warned_of(first: Any, second: Any, is_idle: bool) -> None:
    assert paths(RULE | first, RULE | second) == (["rules[1]"] if is_idle else [])


def test_what_hides_a_rule_is_named_and_parts_of_it_by_their_place() -> None:
    hiding = [{**RULE, "topics": ["a"]}, {**RULE, "topics": ["b/#"]}]
    ((_, _, message),) = findings(*hiding, {**RULE, "topics": ["a", "b/x"], "effect": "deny"})
    assert message == "denies nothing: rules[0], rules[1] before it decides about all of it"
    assert findings(*hiding, {**RULE, "topics": ["a", "c"]}) == [
        ("rules[2].topics[0]", "warning", "never decides: rules[0] before it does")
    ]


def test_trees_that_are_not_there_and_servers_are_warned_of() -> None:
    assert paths({**RULE, "topics": ["$spaces/a", "$SYS/#"]}) == ["rules[0].topics[1]"]
    assert paths({**RULE, "user": "server"}) == ["rules[0].user"]


def test_the_starting_document_is_good_and_warned_of() -> None:
    tree = msgspec.to_builtins(starting_document(TREES))
    checked = check(tree, dollar_trees=TREES)
    assert checked.document == starting_document(TREES)
    assert [one.path for one in checked.findings] == ["rules[0].topics[0]"]


LEAVES = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(["*", "a/#", "publish"])
)
TREE = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["user", "permissions", "topics", "effect", "claim", "equals", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(TREE, max_size=3), TREE)
def test_v08_anything_is_either_refused_by_place_or_a_policy(rules: list[Any], default: Any) -> None:
    tree = {"version": "1", "default": default, "rules": rules}
    checked = check(tree, dollar_trees=TREES)
    if checked.document is None:
        assert checked.findings and all(one.message for one in checked.findings)
    else:
        Policy(checked.document.rules)
        assert json.loads(msgspec.json.encode(checked.document))["rules"] == [
            {**one, "effect": one.get("effect", "allow")} for one in rules
        ]


def test_v87_the_largest_document_is_judged_in_a_moment() -> None:
    rules = [
        {"user": f"{at}*" if at % 2 else f"{at}", "permissions": ["publish"], "topics": [f"a/{at}/#"] * 8}
        for at in range(MAX_RULES)
    ]
    before = time.process_time()
    checked = check({"version": "1", "rules": rules}, dollar_trees=TREES)
    assert checked.document is not None
    assert isinstance(Policy(checked.document.rules).rules[0], Rule)
    assert time.process_time() - before < 5
