"""Two trees over topic levels: filters that a topic meets, and names that a filter meets.

Theory of operation. A node stands for one prefix of levels. A filter's last level says
where its values are kept: `a/b` in the `values` of the node a/b, `a/#` in the `tail` of
the node a, because it meets the topic `a` as well as all below. `+` is a link of its own
and never a key, so a text that contains one finds nothing by it.

Filters and names that begin with `$` have a root of their own. No wildcard can stand at
that root, so what begins with `+` or `#` cannot reach them [MQTT-4.7.2-1]
[MQTT311-4.7.2-1]: there is no flag to forget.

A walk goes level by level and holds the set of nodes reached. Two paths never meet in
one node, so however filters and topics are chosen no walk touches a node twice: its cost
is bounded by the nodes stored, and for a topic by what its levels can reach. Nothing
recurses. Arguments are well formed (`filter.check_filter`, `name.check_name`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from tokenmq.topics.filter import canonical

V = TypeVar("V", bound=Hashable)
T = TypeVar("T")


class _Node(Generic[V]):
    """One prefix of filters; the dicts of values are ordered sets."""

    __slots__ = ("children", "plus", "tail", "values")

    def __init__(self) -> None:
        self.children: dict[str, _Node[V]] = {}
        self.plus: _Node[V] | None = None
        self.values: dict[V, None] = {}
        self.tail: dict[V, None] = {}

    def is_empty(self) -> bool:
        return not (self.children or self.values or self.tail or self.plus)


class FilterTree(Generic[V]):
    """Values under Topic Filters, found by topic or by another filter.

    A pair of filter and value is held once. A value under several filters is found once
    for each that fits. Values of one filter come in the order of their insertion.
    `len()` counts pairs.
    """

    __slots__ = ("_dollar", "_root", "_size")

    def __init__(self) -> None:
        self._root: _Node[V] = _Node()
        self._dollar: _Node[V] = _Node()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def insert(self, topic_filter: str, value: V) -> None:
        """Put a value under a filter; a pair that is there already stays where it is."""
        levels, in_tail = _levels(topic_filter)
        node = self._root_of(topic_filter)
        for level in levels:
            below = node.plus if level == "+" else node.children.get(level)
            if below is None:
                below = _Node()
                if level == "+":
                    node.plus = below
                else:
                    node.children[level] = below
            node = below
        values = node.tail if in_tail else node.values
        if value not in values:
            values[value] = None
            self._size += 1

    def remove(self, topic_filter: str, value: V) -> bool:
        """Take a value from under a filter and prune what is empty then; False: was not there."""
        levels, in_tail = _levels(topic_filter)
        node = self._root_of(topic_filter)
        parents: list[_Node[V]] = []
        for level in levels:
            parents.append(node)
            below = node.plus if level == "+" else node.children.get(level)
            if below is None:
                return False
            node = below
        values = node.tail if in_tail else node.values
        if value not in values:
            return False
        del values[value]
        self._size -= 1
        while parents and node.is_empty():
            node, level = parents.pop(), levels.pop()
            if level == "+":
                node.plus = None
            else:
                del node.children[level]
        return True

    def matching(self, topic: str) -> list[V]:
        """Return the values of all filters that match a topic [MQTT-3.3.2-3] [MQTT311-3.3.2-3]."""
        found: list[V] = []
        for node in _reach(self._root_of(topic), topic.split("/"), found):
            if node.values:
                found += node.values
            if node.tail:
                found += node.tail
        return found

    def covering(self, topic_filter: str) -> list[V]:
        """Return the values of all filters that cover a filter (`filter.covers`)."""
        found: list[V] = []
        # A level "+" is no key: the same walk that takes a name takes it by `plus` and `tail` only.
        levels, in_tail = _levels(canonical(topic_filter))
        for node in _reach(self._root_of(topic_filter), levels, found):
            if not in_tail:
                found += node.values
            found += node.tail
        return found

    def overlapping(self, topic_filter: str) -> list[V]:
        """Return the values of all filters that share a topic with a filter (`filter.overlaps`)."""
        return list(self._overlapping(topic_filter))

    def first_overlapping(self, topic_filter: str) -> V | None:
        """Return one value of `overlapping`, without the cost of the others; None if there is none."""
        return next(self._overlapping(topic_filter), None)

    def _overlapping(self, topic_filter: str) -> Iterator[V]:
        root = self._root_of(topic_filter)
        levels, in_tail = _levels(canonical(topic_filter))
        nodes = [root]
        for level in levels:
            below: list[_Node[V]] = []
            for node in nodes:
                yield from node.tail
                if node.plus is not None:
                    below.append(node.plus)
                if level == "+":
                    below += node.children.values()
                elif (child := node.children.get(level)) is not None:
                    below.append(child)
            nodes = below
        if in_tail:
            yield from _all_below(nodes)
            return
        for node in nodes:
            yield from node.values
            # The parent of "/#" is the empty name, which is none: it has no topic of one level.
            if topic_filter != "+" or node is not root.children.get(""):
                yield from node.tail

    def _root_of(self, text: str) -> _Node[V]:
        return self._dollar if text.startswith("$") else self._root


def _levels(topic_filter: str) -> tuple[list[str], bool]:
    """Return the levels of a filter without a final `#`, and whether there was one."""
    levels = topic_filter.split("/")
    in_tail = levels[-1] == "#"
    if in_tail:
        levels.pop()
    return levels, in_tail


def _reach(root: _Node[V], levels: list[str], found: list[V]) -> list[_Node[V]]:
    """Return the nodes at the end of a walk; on the way add to `found` what each tail holds."""
    nodes = [root]
    for level in levels:
        below: list[_Node[V]] = []
        for node in nodes:
            if node.tail:
                found += node.tail
            child = node.children.get(level)
            if child is not None:
                below.append(child)
            if node.plus is not None:
                below.append(node.plus)
        if not below:
            return below
        nodes = below
    return nodes


def _all_below(nodes: list[_Node[V]]) -> Iterator[V]:
    """Yield all that is stored at or below some nodes; uses the list up."""
    while nodes:
        node = nodes.pop()
        yield from node.values
        yield from node.tail
        nodes += node.children.values()
        if node.plus is not None:
            nodes.append(node.plus)


class _Branch:
    """One prefix of names; `name` where one ends."""

    __slots__ = ("children", "name")

    def __init__(self) -> None:
        self.children: dict[str, _Branch] = {}
        self.name: str | None = None


class NameTree(Generic[T]):
    """Values under Topic Names, one each, found by name or by filter. `len()` counts names.

    Attributes:
        looked_at: prefixes that `matched_by` has gone through so far, for those who must
            bound what filters cost them.
    """

    __slots__ = ("_dollar", "_root", "_values", "looked_at")

    def __init__(self) -> None:
        self.looked_at = 0
        self._values: dict[str, T] = {}
        self._root = _Branch()
        self._dollar = _Branch()

    def __len__(self) -> int:
        return len(self._values)

    def set(self, name: str, value: T) -> None:
        """Put a value under a name, in place of the one before."""
        if name not in self._values:
            branch = self._root_of(name)
            for level in name.split("/"):
                below = branch.children.get(level)
                if below is None:
                    below = branch.children[level] = _Branch()
                branch = below
            branch.name = name
        self._values[name] = value

    def get(self, name: str) -> T | None:
        """Return the value under a name, None if there is none."""
        return self._values.get(name)

    def pop(self, name: str) -> T | None:
        """Take the value from under a name, prune what is empty then; None if there was none."""
        if name not in self._values:
            return None
        branch = self._root_of(name)
        levels = name.split("/")
        parents: list[_Branch] = []
        for level in levels:
            parents.append(branch)
            branch = branch.children[level]
        branch.name = None
        while parents and not branch.children and branch.name is None:
            branch = parents.pop()
            del branch.children[levels.pop()]
        return self._values.pop(name)

    def matched_by(self, topic_filter: str) -> list[tuple[str, T]]:
        """Return names and values of all names that a filter matches."""
        levels, in_tail = _levels(topic_filter)
        if not in_tail and "+" not in levels:
            return [(topic_filter, self._values[topic_filter])] if topic_filter in self._values else []
        branches = [self._root_of(topic_filter)]
        for level in levels:
            below: list[_Branch] = []
            for branch in branches:
                if level == "+":
                    below += branch.children.values()
                elif (child := branch.children.get(level)) is not None:
                    below.append(child)
            branches = below
            self.looked_at += len(below)
        if in_tail:
            found = len(branches)
            _add_all_below(branches)
            self.looked_at += len(branches) - found
        return [(branch.name, self._values[branch.name]) for branch in branches if branch.name is not None]

    def _root_of(self, text: str) -> _Branch:
        return self._dollar if text.startswith("$") else self._root


def _add_all_below(branches: list[_Branch]) -> None:
    # The list grows while it is read: what is added is visited in its turn.
    for branch in branches:
        branches += branch.children.values()
