"""Grants: which permissions hold on which topic filters, and how two lists of them compare.

Topic filters here may contain variables (`binding`). Each then stands for one part of a
level without wildcards, so the relations of `topics.filter` hold for the text as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tokenmq.access.permission import Permission
from tokenmq.topics.tree import FilterTree


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Every permission of a list on every topic filter of another.

    JSON: `{"permissions": ["publish"], "topics": ["chat/+"]}`. An unknown field is refused:
    ignored, it could have meant less.
    """

    permissions: tuple[Permission, ...]
    topics: tuple[str, ...]


def merge(grants: Iterable[Grant]) -> tuple[Grant, ...]:
    """Write grants in the one order and grouping that all equal lists of grants share.

    Filters that have the same permissions come together in one grant; permissions, filters
    and grants are sorted. What grants nothing is gone.
    """
    permissions_of: dict[str, set[Permission]] = {}
    for grant in grants:
        for topic_filter in grant.topics:
            permissions_of.setdefault(topic_filter, set()).update(grant.permissions)
    filters_with: dict[tuple[Permission, ...], list[str]] = {}
    for topic_filter in sorted(permissions_of):
        if permissions := permissions_of[topic_filter]:
            filters_with.setdefault(tuple(sorted(permissions)), []).append(topic_filter)
    return tuple(Grant(permissions, tuple(topics)) for permissions, topics in sorted(filters_with.items()))


def excess(inner: Iterable[Grant], outer: Sequence[Grant]) -> tuple[Permission, str] | None:
    """Return the first permission and filter of `inner` that no grant of `outer` covers.

    One filter of one grant must cover it: what only several together would hold is excess.

    Returns:
        The pair, in the order of `inner`; None if all of it is within.
    """
    trees: dict[Permission, FilterTree[None]] = {}
    for grant in inner:
        for permission in grant.permissions:
            tree = trees.get(permission)
            if tree is None:
                tree = trees[permission] = _filters_with(permission, outer)
            for topic_filter in grant.topics:
                if not tree.covering(topic_filter):
                    return permission, topic_filter
    return None


def _filters_with(permission: Permission, grants: Sequence[Grant]) -> FilterTree[None]:
    tree: FilterTree[None] = FilterTree()
    for grant in grants:
        if permission in grant.permissions:
            for topic_filter in grant.topics:
                tree.insert(topic_filter, None)
    return tree
