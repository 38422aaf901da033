"""Lines of a policy under their topic filters; what codes are, `policy` tells."""

from __future__ import annotations

from collections.abc import Iterable

from tokenmq.topics.tree import FilterTree

# Comes after every line, and allows nothing: what no rule is about.
NOTHING = 1 << 62


def is_allowed(code: int) -> bool:
    """Tell whether the line of a code allows."""
    return bool(code & 1)


class Layer:
    """The lines of one permission, bound, to be asked by topic or filter.

    Attributes:
        tree: the lowest code under each filter.
        first: the lowest code of all.
        has_denies: whether any line denies.
    """

    __slots__ = ("first", "has_denies", "tree")

    def __init__(self, lines: Iterable[tuple[int, str]]) -> None:
        codes: dict[str, int] = {}
        for code, topic_filter in lines:
            codes[topic_filter] = min(code, codes.get(topic_filter, NOTHING))
        self.tree: FilterTree[int] = FilterTree()
        for topic_filter, code in codes.items():
            self.tree.insert(topic_filter, code)
        self.first = min(codes.values(), default=NOTHING)
        self.has_denies = not all(map(is_allowed, codes.values()))


NO_LINES = Layer(())


def lowest(layer: Layer, topic: str) -> int:
    """Return the code that decides about a topic in a layer; NOTHING if none does."""
    found = layer.tree.matching(topic)
    return min(found) if found else NOTHING
