"""The one decision: may this identity do this, on this topic or filter, and why.

An action is allowed if one granted filter and one filter of the organization's policy
both hold for it: *match* for a topic, *cover* for a filter. Everything else is refused.
Shared subscriptions are judged by their inner filter (`topics.filter.split_share`); a
text that still begins with `$share/` is within no grant.

What is granted is compiled into trees, so the cost of a decision depends on the topic's
levels and not on the number of grants. A permission is compiled when it is first asked
for: most connections never use all four.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from tokenmq.access.binding import bind
from tokenmq.access.identity import Identity
from tokenmq.access.permission import Permission
from tokenmq.access.policy import Policy
from tokenmq.topics.filter import matches
from tokenmq.topics.tree import FilterTree

# What is quoted of a topic in a reason, in characters: reasons go into packets and logs.
_SHOWN = 200


class Decision(NamedTuple):
    """Whether something is allowed, and the rule that says so.

    Attributes:
        allowed: the answer.
        rule: the grant that decided, with its filter as it was written, or why none did.
    """

    allowed: bool
    rule: str


class Scope:
    """The rights of one identity under one client id and policy, ready to be asked.

    It stands for the rights as they were when it was made: after a change of token or
    policy make another.
    """

    __slots__ = ("_client_id", "_grants", "_identity", "_personal", "_policy")

    def __init__(self, identity: Identity, *, policy: Policy | None, client_id: str) -> None:
        """Hold what is needed; nothing is compiled yet.

        Args:
            identity: whose grants these are.
            policy: the organization's; None: the grants are not cut.
            client_id: value of `{client_id}`.
        """
        self._identity = identity
        self._policy = policy
        self._client_id = client_id
        self._grants: dict[Permission, FilterTree[str]] = {}
        self._personal: dict[Permission, FilterTree[str]] = {}

    def on_topic(self, permission: Permission, topic: str) -> Decision:
        """Decide about a Topic Name: to publish to it, or to be delivered what is published to it."""
        if "+" in topic or "#" in topic:
            return _refused(f"{_shown(topic)} is a filter where a topic is wanted")
        granted = self._granted(permission).matching(topic)
        if not granted:
            return _refused(f"no grant of {permission} matches {_shown(topic)}")
        policy = self._policy
        if (
            policy is None
            or policy.shared[permission].matching(topic)
            or self._personal_part(policy, permission).matching(topic)
        ):
            return _allowed(granted[0])
        return _refused(f"no policy rule of {permission} matches {_shown(topic)}")

    def on_filter(self, permission: Permission, topic_filter: str) -> Decision:
        """Decide about a plain Topic Filter: all topics of it, those that nobody has used yet too."""
        grants = self._granted(permission)
        granted = grants.covering(topic_filter)
        if not granted:
            return _refused(_too_wide(topic_filter, "grant", permission, (grants,)))
        policy = self._policy
        if policy is None:
            return _allowed(granted[0])
        shared = policy.shared[permission]
        if shared.covering(topic_filter):
            return _allowed(granted[0])
        personal = self._personal_part(policy, permission)
        if personal.covering(topic_filter):
            return _allowed(granted[0])
        return _refused(_too_wide(topic_filter, "policy rule", permission, (shared, personal)))

    def _granted(self, permission: Permission) -> FilterTree[str]:
        tree = self._grants.get(permission)
        if tree is None:
            topics = [grant.topics for grant in self._identity.grants if permission in grant.permissions]
            tree = self._grants[permission] = self._bound(chain.from_iterable(topics))
        return tree

    def _personal_part(self, policy: Policy, permission: Permission) -> FilterTree[str]:
        """Return the rules of the policy that have variables, bound for this identity."""
        tree = self._personal.get(permission)
        if tree is None:
            tree = self._personal[permission] = self._bound(policy.templates[permission])
        return tree

    def _bound(self, topic_filters: Iterable[str]) -> FilterTree[str]:
        """Compile filters, each with itself as written for its value; void ones are left out."""
        identity = self._identity
        values = {"user_id": identity.user_id, "client_id": self._client_id, "org": identity.org_id}
        tree: FilterTree[str] = FilterTree()
        for topic_filter in topic_filters:
            bound = bind(topic_filter, values)
            if bound is not None:
                tree.insert(bound, topic_filter)
        return tree


def policy_admits(policy: Policy, permission: Permission, topic: str, *, user_id: str, org_id: str) -> bool:
    """Tell whether a policy lets a user do something on a topic, whatever tokens the user has.

    Rules with `{client_id}` are passed over: what is asked about has no client any more.
    """
    if policy.shared[permission].matching(topic):
        return True
    values = {"user_id": user_id, "org": org_id, "client_id": ""}
    bound = (bind(template, values) for template in policy.templates[permission])
    return any(one is not None and matches(one, topic) for one in bound)


def _allowed(topic_filter: str) -> Decision:
    return Decision(allowed=True, rule=f"grant {topic_filter}")


def _refused(why: str) -> Decision:
    return Decision(allowed=False, rule=why)


def _too_wide(topic_filter: str, noun: str, permission: Permission, trees: Iterable[FilterTree[str]]) -> str:
    """Say why a filter is refused: only part of it is allowed, or nothing."""
    for tree in trees:
        if (partly := tree.first_overlapping(topic_filter)) is not None:
            return f"filter {_shown(topic_filter)} is wider than {noun} {_shown(partly)}"
    return f"no {noun} of {permission} covers {_shown(topic_filter)}"


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
