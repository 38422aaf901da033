"""Imports never widen: against what the published pages say that the other forms mean."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmq.access.checking import check
from tokenmq.access.importing import import_policy
from tokenmq.access.permission import Permission
from tokenmq.access.policy import Policy
from tokenmq.access.rules import ClaimCondition, Rule, Subject
from tokenmq.errors import InvalidRequest

PUBLISH, SUBSCRIBE, PRESENCE, HISTORY = Permission
BOTH = (PUBLISH, SUBSCRIBE)


def rules(tree: Any, **options: Any) -> tuple[Rule, ...]:
    return import_policy(tree, **options).document.rules


def left_out(tree: Any, **options: Any) -> list[str]:
    return [one.path for one in import_policy(tree, **options).report if one.path]


def of_users(*entries: Any) -> dict[str, Any]:
    return {"rules": list(entries)}


def rule(user: str = "*", topic: str = "a", permission: str = "both", **more: Any) -> dict[str, Any]:
    return {"user": user, "topic": topic, "permission": permission} | more


def test_the_form_with_users_is_carried_over() -> None:
    tree = of_users(
        rule("sensor-*", "data/{username}/#", "publish"),
        rule("*", "d/{client_id}/{org_short_id}", "subscribe"),
        rule("ann", "x", "both"),
        rule("ann", "y", "pubsub"),
    )
    imported = import_policy(tree)
    assert imported.document.rules == (
        Rule("sensor-*", (PUBLISH,), ("data/{user_id}/#",)),
        Rule("*", (SUBSCRIBE,), ("d/{client_id}/{org}",)),
        Rule("ann", BOTH, ("x",)),
        Rule("ann", BOTH, ("y",)),
    )
    assert [(one.path, str(one.severity)) for one in imported.report] == [("", "warning")]


def test_the_form_with_bindings_is_carried_over() -> None:
    tree = {
        "version": "2.1",
        "default": "deny",
        "global": [{"topic": "broadcast/#", "action": "sub"}],
        "rules": [
            {"topic": "/{email}/inbox", "action": "sub", "binding": "email"},
            {"topic": "agents/{$self}/card", "action": "pub+sub", "binding": "agent_id"},
            {"topic": "c/{channel}/#", "action": "sub", "binding": "channel", "require_grant": True},
            {"topic": "c/{channel}/#", "action": "sub", "binding": "channel"},
            {"topic": "x/{email}", "action": "sub", "binding": "email", "require_grant": True},
            {"topic": "x/{email}", "action": "pub", "binding": "email", "require_grant": False},
        ],
        "publishers": ["backend"],
    }
    assert rules(tree) == (
        Rule("*", (SUBSCRIBE,), ("broadcast/#",)),
        Rule("*", (SUBSCRIBE,), ("/{claim:email}/inbox",)),
        Rule("*", BOTH, ("agents/{claim:agent_id}/card",)),
        Rule("*", (PUBLISH,), ("x/{claim:email}",)),
    )
    assert left_out(tree) == ["rules[2]", "rules[3]", "rules[4]", "publishers[0]"]


def test_sql_patterns_are_read_where_they_are_said_to_be() -> None:
    tree = of_users(rule("agent-%", "in/%u/#"), rule("a*b", "x"), rule("%", "y/%c"))
    assert rules(tree, sql_patterns=True) == (Rule("agent-*", BOTH, ("in/{user_id}/#",)),)
    assert left_out(tree, sql_patterns=True) == ["rules[1]", "rules[2]"]
    assert left_out(tree) == ["rules[0]", "rules[2]"]


@pytest.mark.parametrize(
    "entry",
    [
        "x",
        {},
        rule(permission="read"),
        rule(topic="chat/{channel}/#"),
        rule(topic="chat/{user_id}"),
        rule(topic="chat/{claim:x}"),
        rule(topic="{{username}user_id}"),
        rule(topic="a/#/b"),
        rule(topic=""),
        rule(topic="$share/g/a"),
        rule(user=""),
        rule(user="a\0"),
        rule(user="x" * 256),
        rule(user=1),
        rule(priority=10),
        rule(user="a%"),
        {"user": "*", "topic": "a"},
    ],
)
def test_rules_that_cannot_be_said_are_left_out_and_reported(entry: Any) -> None:
    tree = of_users(rule(topic="good"), entry)
    assert rules(tree) == (Rule("*", BOTH, ("good",)),)
    assert left_out(tree) == ["rules[1]"]


@pytest.mark.parametrize(
    "entry",
    [
        {"topic": "x/{email}", "action": "sub"},
        {"topic": "x", "action": "sub", "binding": "email"},
        {"topic": "x/{email}/{agent_id}", "action": "sub", "binding": "email"},
        {"topic": "x/{other}", "action": "sub", "binding": "email"},
        {"topic": "x/{$self}", "action": "sub", "binding": "email"},
        {"topic": "x/{a b}", "action": "sub", "binding": "a b"},
        {"topic": "x/{email}", "action": "read", "binding": "email"},
        {"topic": "x/{email}", "action": "sub", "binding": "email", "when": "night"},
        {"topic": "x/{email}/#/y", "action": "sub", "binding": "email"},
        {"topic": "x/{{email}}", "action": "sub", "binding": "email"},
        None,
    ],
)
def test_bindings_that_cannot_be_said_are_left_out_and_reported(entry: Any) -> None:
    tree = {"version": "2", "global": [{"topic": "good", "action": "pub"}], "rules": [entry]}
    assert rules(tree) == (Rule("*", (PUBLISH,), ("good",)),)
    assert left_out(tree) == ["rules[0]"]


@pytest.mark.parametrize(
    "tree",
    [
        None,
        [],
        {"rules": {}},
        {"version": "3", "rules": []},
        {"version": "2.2", "rules": []},
        {"version": "2", "global": {}},
        of_users(rule(), rule(effect="deny")),
        of_users(rule(), rule(permission="deny")),
        of_users(rule(), rule(action="Deny", priority=1)),
        of_users(rule(), {"deny": "x"}),
        {"rules": [], "denied": [rule()]},
        {"rules": [], "exceptions": {"a": 1}},
        {"version": "2", "rules": [{"topic": "a", "action": "deny"}]},
        {"version": "2", "publishers": [{"access": "deny"}]},
        of_users(*[rule()] * 1_001),
    ],
)
def test_what_could_forbid_something_refuses_the_whole(tree: Any) -> None:
    with pytest.raises(InvalidRequest):
        import_policy(tree)


def test_what_else_is_there_is_reported() -> None:
    tree = {"default": "allow", "rules": [], "exclusive_subscriptions": True}
    assert left_out(tree) == ["default", "rules", "exclusive_subscriptions"]


# The meaning of the other forms, as far as it is published

USERS = ["ann", "bob", "a%", "agent-1", "x/y", "*", "{username}", "$s", ""]
TOPICS = [
    "a",
    "a/ann",
    "a/bob",
    "a/ann/x",
    "a/{username}",
    "a/%u",
    "a/agent-1",
    "b/x/y",
    "$s/a",
    "ann",
    "b/c1",
]
PATTERNS = ["*", "a*", "ann", "%", "a%", "agent-*", "agent-%", "a*%", "%n", "{username}"]
FILTERS = [
    "#",
    "a/+",
    "a/{username}",
    "a/{username}/#",
    "a/%u",
    "b/{client_id}",
    "{username}",
    "a/{channel}",
    "+/%u/#",
]
FILTERS += [
    "a/{email}",
    "a/{$self}",
    "{email}/#",
    "a/{user_id}",
    "$s/{username}",
    "a/#",
    "b/x/y",
    "a/{email}/{x}",
]


def in_filter(topic_filter: str, topic: str) -> bool:
    if topic[:1] == "$" and topic_filter[:1] in ("#", "+"):
        return False
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for at, want in enumerate(wanted):
        if want == "#":
            return True
        if at == len(levels) or want not in ("+", levels[at]):
            return False
    return len(wanted) == len(levels)


def like(pattern: str, wildcard: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == wildcard:
        return any(like(pattern[1:], wildcard, text[at:]) for at in range(len(text) + 1))
    return text[:1] == pattern[0] and like(pattern[1:], wildcard, text[1:])


def substituted(topic_filter: str, values: dict[str, Any]) -> str | None:
    for name, value in values.items():
        if name in topic_filter:
            if not isinstance(value, str) or not value or set(value) & set("/+#\0"):
                return None
            topic_filter = topic_filter.replace(name, value)
    return topic_filter


def users_allow(tree: Any, action: str, topic: str, user: str, *, sql: bool) -> bool:
    values = {"%u": user} if sql else {}
    values |= {"{username}": user, "{client_id}": "c1", "{org_short_id}": "org_1"}
    for one in tree["rules"]:
        bound = substituted(one["topic"], values)
        if (
            bound is not None
            and one["permission"] in (action, "both")
            and like(one["user"], "%" if sql else "*", user)
            and in_filter(bound, topic)
        ):
            return True
    return False


def bindings_allow(tree: Any, action: str, topic: str, claims: dict[str, Any]) -> bool:
    short = {"publish": "pub", "subscribe": "sub"}[action]
    for one in tree["global"]:
        if one["action"] in (short, "pub+sub") and in_filter(one["topic"], topic):
            return True
    for one in tree["rules"]:
        value = claims.get(one["binding"])
        names = {"{" + one["binding"] + "}": value}
        if tree["version"] == "2.1":
            names["{$self}"] = value
        bound = substituted(one["topic"], names)
        if (
            isinstance(value, str)
            and not one.get("require_grant")
            and bound is not None
            and one["action"] in (short, "pub+sub")
            and in_filter(bound, topic)
        ):
            return True
    return False


user_trees = st.lists(
    st.builds(
        rule,
        st.sampled_from(PATTERNS),
        st.sampled_from(FILTERS),
        st.sampled_from(["publish", "subscribe", "both"]),
    ),
    max_size=4,
).map(lambda entries: of_users(*entries))
actions = st.sampled_from(["sub", "pub", "pub+sub"])
binding_trees = st.fixed_dictionaries(
    {
        "version": st.sampled_from(["2", "2.1"]),
        "global": st.lists(
            st.fixed_dictionaries({"topic": st.sampled_from(FILTERS), "action": actions}), max_size=2
        ),
        "rules": st.lists(
            st.fixed_dictionaries(
                {
                    "topic": st.sampled_from(FILTERS),
                    "action": actions,
                    "binding": st.sampled_from(["email", "x", "username", "channel"]),
                },
                optional={"require_grant": st.booleans()},
            ),
            max_size=3,
        ),
    }
)


@settings(max_examples=400)
@given(user_trees, st.booleans(), st.sampled_from(USERS[:-1]))
def test_an_import_of_users_never_widens(tree: Any, sql: bool, user: str) -> None:
    imported = import_policy(tree, sql_patterns=sql)
    assert check({"version": "1", "rules": _plain(imported.document.rules)}, dollar_trees=("$s",)).document
    policy, subject = Policy(imported.document.rules), Subject(user, "org_1", "c1")
    for topic in TOPICS:
        for permission in BOTH:
            if policy.admits(permission, topic, subject):
                assert users_allow(tree, permission.value, topic, user, sql=sql), (topic, permission)
        assert not policy.admits(PRESENCE, topic, subject) and not policy.admits(HISTORY, topic, subject)


@settings(max_examples=400)
@given(
    binding_trees,
    st.dictionaries(
        st.sampled_from(["email", "x", "username", "channel"]), st.sampled_from([*USERS, 7, ["ann"]])
    ),
)
def test_an_import_of_bindings_never_widens(tree: Any, claims: dict[str, Any]) -> None:
    imported = import_policy(tree)
    policy, subject = Policy(imported.document.rules), Subject("ann", "org_1", "c1", claims)
    for topic in [*TOPICS, "a/7"]:
        for permission in BOTH:
            # A whole number has a value here; there nothing is said of it.
            told = {name: str(one) if isinstance(one, int) else one for name, one in claims.items()}
            if policy.admits(permission, topic, subject):
                assert bindings_allow(tree, permission.value, topic, told), (topic, permission)


def _plain(some: tuple[Rule, ...]) -> list[dict[str, Any]]:
    assert not any(isinstance(one.user, ClaimCondition) for one in some)
    return [
        {"user": one.user, "permissions": [str(each) for each in one.permissions], "topics": list(one.topics)}
        for one in some
    ]
