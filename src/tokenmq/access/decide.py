"""The one decision: may this identity do this, on this topic or filter, and why.

An action is allowed if one granted filter holds for it, *match* for a topic, *cover* for a
filter, and the organization's policy allows it (`policy`). Everything else is refused.
Shared subscriptions are judged by their inner filter (`topics.filter.split_share`); a
text that still begins with `$share/` is within no grant.

What is granted is compiled into trees, so the cost of a decision depends on the topic's
levels and not on the number of grants. A permission is compiled when it is first asked
for: most connections never use all four.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tokenmq.access.binding import bind
from tokenmq.access.identity import Identity
from tokenmq.access.layer import (
    NO_LINES,
    NOTHING,
    Layer,
    first_allowed,
    is_allowed,
    rule_on_filter,
    rule_on_topic,
)
from tokenmq.access.permission import Permission
from tokenmq.access.policy import Policy, shown
from tokenmq.access.rules import subject_of
from tokenmq.topics.tree import FilterTree


class Decision(NamedTuple):
    """Whether something is allowed, and the rule that says so.

    Attributes:
        allowed: the answer.
        rule: the grant and the policy's rule that decided, with their filters as they were
            written, or why none did.
    """

    allowed: bool
    rule: str


class _Parts(NamedTuple):
    """What decides about one permission: the grants, and both layers of the policy."""

    grants: FilterTree[str]
    shared: Layer
    own: Layer


class Scope:
    """The rights of one identity under one client id and policy, ready to be asked.

    It stands for the rights as they were when it was made: after a change of token or
    policy make another.
    """

    __slots__ = ("_identity", "_parts", "_policy", "_subject")

    def __init__(self, identity: Identity, *, policy: Policy | None, client_id: str | None) -> None:
        """Hold what is needed; nothing is compiled yet.

        Args:
            identity: whose grants these are.
            policy: the organization's; None: the grants are not cut.
            client_id: value of `{client_id}`; None: not known, then grants that need it are void.
        """
        self._identity = identity
        self._policy = policy
        self._subject = subject_of(identity, client_id)
        self._parts: dict[Permission, _Parts] = {}

    def on_topic(self, permission: Permission, topic: str) -> Decision:
        """Decide about a Topic Name: to publish to it, or to be delivered what is published to it."""
        if "+" in topic or "#" in topic:
            return _refused(f"{shown(topic)} is a filter where a topic is wanted")
        grants, shared, own = self._parts.get(permission) or self._compile(permission)
        granted = grants.matching(topic)
        if not granted:
            return _refused(f"no grant of {permission} matches {shown(topic)}")
        policy = self._policy
        if policy is None:
            return Decision(allowed=True, rule=f"grant {granted[0]}")
        code = rule_on_topic(shared, own, topic)
        allowed = is_allowed(code)
        if allowed:  # by position: names would cost a twentieth of the decision
            return Decision(allowed, f"grant {granted[0]}, policy {policy.places[code >> 1]}")
        if code == NOTHING:
            return _refused(f"no policy rule of {permission} matches {shown(topic)}")
        return _refused(f"policy {policy.place(code)} denies {permission} on {shown(topic)}")

    def on_filter(self, permission: Permission, topic_filter: str) -> Decision:
        """Decide about a plain Topic Filter: all topics of it, those that nobody has used yet too.

        For `presence` each of them must be allowed; for the others a rule that denies some
        may stand before, for what comes of it is judged by topic.
        """
        grants, shared, own = self._parts.get(permission) or self._compile(permission)
        granted = grants.covering(topic_filter)
        if not granted:
            return _refused(_too_wide(topic_filter, "grant", permission, grants.first_overlapping))
        policy = self._policy
        if policy is None:
            return Decision(allowed=True, rule=f"grant {granted[0]}")
        whole = permission is Permission.PRESENCE
        code, allowed, partly = rule_on_filter(shared, own, topic_filter, whole=whole)
        if allowed:
            return Decision(allowed=True, rule=f"grant {granted[0]}, policy {policy.place(code)}")
        if code == NOTHING:
            return _refused(
                _too_wide(topic_filter, "policy rule", permission, self._partly(policy, permission))
            )
        part = "a part of " if partly else ""
        return _refused(f"policy {policy.place(code)} denies {permission} on {part}{shown(topic_filter)}")

    def _compile(self, permission: Permission) -> _Parts:
        values = self._subject.values
        tree: FilterTree[str] = FilterTree()
        for grant in self._identity.grants:
            if permission in grant.permissions:
                for topic_filter in grant.topics:
                    bound = bind(topic_filter, values)
                    if bound is not None:
                        tree.insert(bound, topic_filter)
        policy = self._policy
        if policy is None:
            parts = _Parts(tree, NO_LINES, NO_LINES)
        else:
            parts = _Parts(tree, policy.shared[permission], policy.own(permission, self._subject))
        self._parts[permission] = parts
        return parts

    def _partly(self, policy: Policy, permission: Permission) -> Callable[[str], str | None]:
        """Return what finds a filter that the policy allows a part of another by."""
        _, shared, own = self._parts[permission]

        def first(topic_filter: str) -> str | None:
            code = first_allowed(shared, own, topic_filter)
            return None if code == NOTHING else policy.lines[code >> 1].topic_filter

        return first


def _refused(why: str) -> Decision:
    return Decision(allowed=False, rule=why)


def _too_wide(
    topic_filter: str, noun: str, permission: Permission, first_overlapping: Callable[[str], str | None]
) -> str:
    """Say why a filter is refused: only part of it is allowed, or nothing."""
    if (partly := first_overlapping(topic_filter)) is not None:
        return f"filter {shown(topic_filter)} is wider than {noun} {shown(partly)}"
    return f"no {noun} of {permission} covers {shown(topic_filter)}"
