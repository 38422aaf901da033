"""The organization's policy: what its users may do at most, whatever their tokens say.

A policy is a list of rules that allow; what none allows is refused. It is cut with a
token's grants at each use (`decide`), so a change holds for tokens that are out already.
The part without variables is the same for everybody and compiled once, here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.topics.tree import FilterTree

_NOTIFICATIONS = "$notifications"
_ALL = tuple(Permission)


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules that say what an organization's users may do at most.

    Attributes:
        rules: what is allowed, to everybody; variables stand for who asks.
        shared: by permission, the filters without variables, each its own value.
        templates: by permission, the filters with variables, to be bound for each user.

    It is a key of caches, so its hash is worked out once.
    """

    rules: tuple[Grant, ...]
    shared: dict[Permission, FilterTree[str]] = field(init=False, repr=False, compare=False)
    templates: dict[Permission, tuple[str, ...]] = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        shared: dict[Permission, FilterTree[str]] = {permission: FilterTree() for permission in _ALL}
        templates: dict[Permission, tuple[str, ...]] = dict.fromkeys(_ALL, ())
        for rule in self.rules:
            for permission in rule.permissions:
                for topic_filter in rule.topics:
                    if "{" in topic_filter:
                        templates[permission] += (topic_filter,)
                    else:
                        shared[permission].insert(topic_filter, topic_filter)
        object.__setattr__(self, "shared", shared)
        object.__setattr__(self, "templates", templates)
        object.__setattr__(self, "_hash", hash(self.rules))

    def __hash__(self) -> int:
        return self._hash


def starting_policy(dollar_trees: Sequence[str]) -> Policy:
    """Return the policy of an organization that has not written its own.

    Everybody may do everything on all topics that do not begin with `$` and in each
    configured `$` tree. In `$notifications` one may only listen: to one's own part and
    to the channels.

    Args:
        dollar_trees: the configured trees by their first level, as in "$spaces".
    """
    trees = [tree for tree in dollar_trees if tree != _NOTIFICATIONS]
    rules = [Grant(_ALL, ("#", *(f"{tree}/#" for tree in trees)))]
    if _NOTIFICATIONS in dollar_trees:
        own, channels = f"{_NOTIFICATIONS}/{{user_id}}/#", f"{_NOTIFICATIONS}/channels/#"
        rules.append(Grant((Permission.SUBSCRIBE,), (own, channels)))
    return Policy(tuple(rules))


STARTING_POLICY = starting_policy((_NOTIFICATIONS, "$spaces"))
