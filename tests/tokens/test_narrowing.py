import functools
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.access.policy import STARTING_POLICY, Policy
from tokenmq.access.rules import Rule
from tokenmq.errors import GrantTooWide
from tokenmq.tokens import narrowing

PUBLISH, SUBSCRIBE, PRESENCE, HISTORY = Permission
ORG = "org_k7xm4pqr2n5t"
ALICE = narrowing.known_subject("alice", ORG, "phone")


def grant(*topics, permissions=(PUBLISH,)):
    return Grant(permissions=permissions, topics=topics)


def within_key(key, *topics, subject=ALICE, permissions=(PUBLISH,)):
    try:
        narrowing.require_within_key((grant(*topics, permissions=permissions),), key, subject)
    except GrantTooWide:
        return False
    return True


def rule_for(*topics, permissions=(PUBLISH,)):
    return Rule("*", permissions, topics)


def left(policy, *topics, subject=ALICE, permissions=(PUBLISH,)):
    try:
        narrowing.require_left_by_policy((grant(*topics, permissions=permissions),), policy, subject)
    except GrantTooWide:
        return False
    return True


# An oracle in the words of MQTT 5 §4.7, over every topic of a small world.

TOPICS = [
    "/".join(levels)
    for depth in (1, 2, 3, 4)
    for levels in itertools.product(("a", "b", "z", ""), repeat=depth)
]
TOPICS.remove("")  # A Topic Name has at least one character [MQTT-4.7.3-1].
TOPICS += [f"$a/{topic}" for topic in TOPICS if topic.count("/") < 3] + ["$a", "$a/", "$z"]


def oracle_matches(topic_filter, topic):
    if topic[:1] == "$" and topic_filter[:1] in ("+", "#"):
        return False

    def rest(pattern, levels):
        if pattern[:1] == ["#"]:
            return True
        if not pattern or not levels:
            return not levels and pattern in ([], ["#"])
        return pattern[0] in ("+", levels[0]) and rest(pattern[1:], levels[1:])

    return rest(topic_filter.split("/"), topic.split("/"))


@functools.cache
def topics_of(topic_filter):
    return {topic for topic in TOPICS if oracle_matches(topic_filter, topic)}


@st.composite
def filters(draw):
    levels = draw(st.lists(st.sampled_from(["a", "b", "", "+"]), min_size=1, max_size=3))
    tree = draw(st.sampled_from(["", "", "", "$a/"]))
    return tree + "/".join([*levels, *draw(st.sampled_from([(), ("#",)]))]) or "+"


@given(st.lists(filters(), min_size=1, max_size=3), filters())
@settings(max_examples=300)
def test_what_is_within_a_key_reaches_no_topic_beyond_it(restricted_key, given_filters, asked):
    if within_key(restricted_key(grant(*given_filters)), asked):
        assert topics_of(asked) <= set().union(*map(topics_of, given_filters))
        assert any(topics_of(asked) <= topics_of(one) for one in given_filters)


@given(st.lists(filters(), min_size=1, max_size=3), filters())
@settings(max_examples=300)
def test_policy_leaves_nothing_exactly_where_no_topic_is_shared(given_filters, asked):
    shared = topics_of(asked) & set().union(*map(topics_of, given_filters))
    assert left(Policy((rule_for(*given_filters),)), asked) is bool(shared)


# The key


@pytest.mark.parametrize(
    ("given_filter", "asked", "is_within"),
    [
        ("chat/+", "chat/+", True),
        ("chat/+", "chat/#", False),
        ("chat/#", "chat", True),
        ("#", "$spaces/a", False),
        ("chat/{user_id}/#", "chat/{user_id}/x", True),
        ("chat/{user_id}/#", "chat/alice/x", True),
        ("chat/{user_id}/#", "chat/bob/x", False),
        ("chat/{user_id}/#", "chat/+/x", False),
        ("chat/alice/#", "chat/{user_id}/x", True),
        ("chat/bob/#", "chat/{user_id}/x", False),
        ("chat/+", "chat/{user_id}", True),
        ("chat/{client_id}", "chat/phone", True),
        ("chat/{client_id}", "chat/tablet", False),
        ("{org}/#", f"{ORG}/a", True),
        ("{org}/#", "org_aaaaaaaaaaaa/a", False),
    ],
)
def test_variables_stand_for_this_user(given_filter, asked, is_within, restricted_key):
    assert within_key(restricted_key(grant(given_filter)), asked) is is_within


@pytest.mark.parametrize(
    ("given_filter", "asked", "is_within"),
    [
        ("chat/{client_id}", "chat/{client_id}", True),
        ("chat/+", "chat/{client_id}", True),
        ("chat/{client_id}", "chat/phone", False),
        ("chat/{client_id}", "chat/+", False),
        ("chat/phone", "chat/{client_id}", False),
        ("chat/{client_id}/{user_id}", "chat/{client_id}/{user_id}", True),
    ],
)
def test_client_id_that_is_not_known_yet_is_within_only_as_it_is_written(
    given_filter, asked, is_within, restricted_key
):
    for client_id in (None, "phone-*", "*"):
        subject = narrowing.known_subject("alice", ORG, client_id)
        assert within_key(restricted_key(grant(given_filter)), asked, subject=subject) is is_within


def test_user_id_that_would_be_a_wildcard_widens_nothing(restricted_key):
    key = restricted_key(grant("chat/{user_id}/#"))
    for user_id in ("+", "#", "a/b", "$x"):
        subject = narrowing.known_subject(user_id, ORG, None)
        assert not within_key(key, f"chat/{user_id}" if user_id != "#" else "chat/#", subject=subject)
        assert not within_key(key, "chat/+/x", subject=subject)


def test_each_permission_is_held_against_the_key_by_itself(restricted_key):
    key = restricted_key(grant("a", permissions=(PUBLISH,)), grant("b", permissions=(SUBSCRIBE,)))
    assert within_key(key, "a") and within_key(key, "b", permissions=(SUBSCRIBE,))
    assert not within_key(key, "b") and not within_key(key, "a", permissions=(PUBLISH, SUBSCRIBE))


def test_two_filters_of_a_key_together_do_not_hold_what_neither_holds(restricted_key):
    assert not within_key(restricted_key(grant("a", "a/+/#")), "a/#")


def test_restricted_key_without_grants_gives_nothing(restricted_key):
    assert not within_key(restricted_key(), "a")


def test_secret_key_gives_everything(secret_key):
    assert within_key(secret_key, "#", "$spaces/#", permissions=tuple(Permission))


# The policy


@pytest.mark.parametrize(
    "topic_filter", ["a", "#", "+/x", "$spaces/a", "$spaces/#", "a/{client_id}", "{user_id}/#"]
)
def test_starting_policy_leaves_something_of(topic_filter):
    for subject in (ALICE, narrowing.known_subject("alice", ORG, None)):
        assert left(STARTING_POLICY, topic_filter, subject=subject, permissions=tuple(Permission))


@pytest.mark.parametrize(
    "topic_filter",
    ["$SYS/#", "$SYS/broker/uptime", "$auth/token", "$presence/a", "$history/1/a", "$other/x", "$spaces2/#"],
)
def test_starting_policy_leaves_nothing_of(topic_filter):
    for permission in Permission:
        assert not left(STARTING_POLICY, topic_filter, permissions=(permission,))


@pytest.mark.parametrize(
    ("topic_filter", "permission", "is_left"),
    [
        ("$notifications/alice/x", SUBSCRIBE, True),
        ("$notifications/{user_id}/#", SUBSCRIBE, True),
        ("$notifications/+/x", SUBSCRIBE, True),
        ("$notifications/channels/x", SUBSCRIBE, True),
        ("$notifications/bob/x", SUBSCRIBE, False),
        ("$notifications/alice/x", PUBLISH, False),
        ("$notifications/channels/#", HISTORY, False),
    ],
)
def test_starting_policy_leaves_of_notifications_ones_own(topic_filter, permission, is_left):
    assert left(STARTING_POLICY, topic_filter, permissions=(permission,)) is is_left


@pytest.mark.parametrize(
    ("rule", "asked", "is_left"),
    [
        ("a/{client_id}/b", "a/x/b", True),
        ("a/{client_id}/b", "a/x/c", False),
        ("a/x/b", "a/{client_id}/b", True),
        ("a/x/b", "a/{client_id}/c", False),
        ("a/{client_id}", "a/{client_id}", True),
        ("a/p-{client_id}", "a/x", True),
    ],
)
def test_client_id_that_is_not_known_yet_may_be_any(rule, asked, is_left):
    assert (
        left(Policy((rule_for(rule),)), asked, subject=narrowing.known_subject("alice", ORG, None)) is is_left
    )


# Without topics


def test_default_of_a_restricted_key_is_its_own_grants_as_far_as_the_policy_leaves_any(restricted_key):
    key = restricted_key(
        grant("chat/#", "$SYS/#", permissions=(PUBLISH, SUBSCRIBE)), grant("x", permissions=(HISTORY,))
    )
    given_pairs = {
        (permission, topic)
        for given_grant in narrowing.default_grants(None, key, STARTING_POLICY, ALICE)
        for permission in given_grant.permissions
        for topic in given_grant.topics
    }
    assert given_pairs == {(PUBLISH, "chat/#"), (SUBSCRIBE, "chat/#"), (HISTORY, "x")}


def test_default_for_a_permission_that_nothing_gives_is_refused_by_name(secret_key, restricted_key):
    only = Policy((rule_for("a"),))
    with pytest.raises(GrantTooWide) as refusal:
        narrowing.default_grants((PUBLISH, HISTORY), secret_key, only, ALICE)
    assert (refusal.value.permission, refusal.value.topic_filter) == ("history", "#")
    with pytest.raises(GrantTooWide):
        narrowing.default_grants((HISTORY,), restricted_key(grant("a")), STARTING_POLICY, ALICE)


def test_default_where_nothing_at_all_is_given_is_refused(secret_key, restricted_key):
    for key, policy in (
        (secret_key, Policy(())),
        (restricted_key(), STARTING_POLICY),
        (restricted_key(grant("$SYS/a")), STARTING_POLICY),
    ):
        with pytest.raises(GrantTooWide):
            narrowing.default_grants(None, key, policy, ALICE)
