"""Narrowing: what of a request lies within the key that asks and the policy.

A token is never wider than the key that makes it, and never asks in vain: what the
policy leaves nothing of is refused, what it only narrows is issued and cut at use.
Variables (`{user_id}` …) stay in what is issued and are bound at use; here they are bound
only to compare.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from tokenmq.access.binding import bind
from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.access.policy import Policy
from tokenmq.errors import GrantTooWide
from tokenmq.tokens.records import KeyKind, KeyRecord
from tokenmq.topics.filter import overlaps
from tokenmq.topics.tree import FilterTree

_CLIENT_ID = "{client_id}"


def known_values(user_id: str, org_id: str, client_id: str | None) -> dict[str, str]:
    """Return what variables stand for, as far as it is known before anyone connects.

    Args:
        user_id: the user's id.
        org_id: the organization's id.
        client_id: as the token is bound to it; a prefix or None leave it unknown.
    """
    values = {"user_id": user_id, "org": org_id}
    if client_id is not None and not client_id.endswith("*"):
        values["client_id"] = client_id
    return values


def bound(topic_filter: str, values: Mapping[str, str]) -> str | None:
    """Bind the known variables; a level whose client id is not known may be any level.

    For `overlaps` only: what comes out is wider than what can come of it.
    """
    if _CLIENT_ID in topic_filter and "client_id" not in values:
        levels = topic_filter.split("/")
        topic_filter = "/".join("+" if _CLIENT_ID in level else level for level in levels)
    return bind(topic_filter, values)


def default_grants(
    permissions: Collection[Permission] | None, key: KeyRecord, policy: Policy, values: Mapping[str, str]
) -> tuple[Grant, ...]:
    """Return what a request gets that names no topics.

    What the policy grants this user; of a restricted key what it may give, as far as the
    policy leaves anything of it.

    Args:
        permissions: those that were asked for; None = all.
        key: the key that asks.
        policy: the organization's.
        values: as `known_values` gives them.

    Raises: GrantTooWide when nothing is left, or nothing of a permission that was named.
    """
    source = key.grants if key.kind is KeyKind.RESTRICTED else policy.rules
    wanted = tuple(Permission) if permissions is None else permissions
    grants = [
        Grant(permissions=(permission,), topics=(topic_filter,))
        for permission, topic_filter in _pairs(source)
        if permission in wanted and _leaves(policy, permission, topic_filter, values)
    ]
    given = {permission for permission, _ in _pairs(grants)}
    missing = [permission for permission in wanted if permission not in given]
    if not grants or (permissions is not None and missing):
        raise GrantTooWide(
            f"key and policy give {missing[0]} on no topic", topic_filter="#", permission=missing[0]
        )
    return tuple(grants)


def require_within_key(grants: tuple[Grant, ...], key: KeyRecord, values: Mapping[str, str]) -> None:
    """Hold a request against a restricted key; `access.grants.excess`, for one user.

    A filter is within the key as it is written, or as it reads for this user.

    Raises: GrantTooWide.
    """
    if key.kind is not KeyKind.RESTRICTED:
        return
    trees: dict[Permission, FilterTree[None]] = {permission: FilterTree() for permission in Permission}
    for permission, topic_filter in _pairs(key.grants):
        trees[permission].insert(topic_filter, None)
        if (own := bind(topic_filter, values)) is not None:
            trees[permission].insert(own, None)
    for permission, topic_filter in _pairs(grants):
        own = bind(topic_filter, values)
        tree = trees[permission]
        if not tree.covering(topic_filter) and (own is None or not tree.covering(own)):
            raise GrantTooWide(
                f"key does not give {permission} on {topic_filter}",
                topic_filter=topic_filter,
                permission=permission,
            )


def require_left_by_policy(grants: tuple[Grant, ...], policy: Policy, values: Mapping[str, str]) -> None:
    """Refuse a request of which the policy leaves nothing on some filter, for one permission.

    Raises: GrantTooWide.
    """
    for permission, topic_filter in _pairs(grants):
        if not _leaves(policy, permission, topic_filter, values):
            raise GrantTooWide(
                f"policy leaves nothing of {permission} on {topic_filter}",
                topic_filter=topic_filter,
                permission=permission,
            )


def leaves_any(grants: tuple[Grant, ...], policy: Policy, values: Mapping[str, str]) -> bool:
    """Tell whether the policy leaves this user anything at all of these grants."""
    return any(
        _leaves(policy, permission, topic_filter, values) for permission, topic_filter in _pairs(grants)
    )


def left_for_everybody(grants: tuple[Grant, ...], policy: Policy) -> bool:
    """Tell whether the policy leaves something of grants without variables, whoever has them."""
    return all(
        policy.shared[permission].first_overlapping(topic_filter) is not None
        for permission, topic_filter in _pairs(grants)
    )


def _leaves(policy: Policy, permission: Permission, topic_filter: str, values: Mapping[str, str]) -> bool:
    """Tell whether the policy leaves this user anything of a permission on a filter."""
    own = bound(topic_filter, values)
    if own is None:
        return False
    if policy.shared[permission].first_overlapping(own) is not None:
        return True
    templates = (bound(template, values) for template in policy.templates[permission])
    return any(template is not None and overlaps(template, own) for template in templates)


def _pairs(grants: Iterable[Grant]) -> Iterator[tuple[Permission, str]]:
    for grant in grants:
        for permission in grant.permissions:
            for topic_filter in grant.topics:
                yield permission, topic_filter
