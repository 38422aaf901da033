"""Lines of a policy under their topic filters; what codes are, `policy` tells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

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
        denies: the lowest code that denies under each filter, whatever comes before it there.
        first: the lowest code of all.
        has_denies: whether any line denies.
    """

    __slots__ = ("denies", "first", "has_denies", "tree")

    def __init__(self, lines: Iterable[tuple[int, str]]) -> None:
        codes: dict[str, int] = {}
        denied: dict[str, int] = {}
        for code, topic_filter in lines:
            codes[topic_filter] = min(code, codes.get(topic_filter, NOTHING))
            if not is_allowed(code):
                denied[topic_filter] = min(code, denied.get(topic_filter, NOTHING))
        self.tree = _tree(codes)
        self.denies = _tree(denied)
        self.first = min(codes.values(), default=NOTHING)
        self.has_denies = not all(map(is_allowed, codes.values()))


def _tree(codes: dict[str, int]) -> FilterTree[int]:
    tree: FilterTree[int] = FilterTree()
    for topic_filter, code in codes.items():
        tree.insert(topic_filter, code)
    return tree


NO_LINES = Layer(())


class Ruling(NamedTuple):
    """What the lines say about a filter.

    Attributes:
        code: of the line that decides; NOTHING if none does.
        allowed: the answer.
        partly: it denies a part of the filter, of which all is needed.
    """

    code: int
    allowed: bool
    partly: bool = False


def rule_on_topic(shared: Layer, own: Layer, topic: str) -> int:
    """Return the code that decides about a topic; NOTHING if none does."""
    matched = shared.tree.matching(topic)
    code = min(matched) if matched else NOTHING
    if own.first < code and (matched := own.tree.matching(topic)):
        code = min(code, *matched)
    return code


def rule_on_filter(shared: Layer, own: Layer, topic_filter: str, *, whole: bool) -> Ruling:
    """Decide about a filter.

    Args:
        shared, own: the layers of one permission.
        topic_filter: bound.
        whole: a line that denies a part of it, before the one that allows all, refuses.
    """
    code = min((*shared.tree.covering(topic_filter), *own.tree.covering(topic_filter)), default=NOTHING)
    if whole and is_allowed(code):
        denied = min(_denied(shared, topic_filter), _denied(own, topic_filter))
        if denied < code:  # what covers it would have been found above
            return Ruling(denied, allowed=False, partly=True)
    return Ruling(code, is_allowed(code))


def first_allowed(shared: Layer, own: Layer, topic_filter: str) -> int:
    """Return the lowest code that allows a part of a filter; NOTHING if none does."""
    codes = (*shared.tree.overlapping(topic_filter), *own.tree.overlapping(topic_filter))
    return min(filter(is_allowed, codes), default=NOTHING)


def _denied(layer: Layer, topic_filter: str) -> int:
    """Return the lowest code that denies a part of a filter; NOTHING if none does."""
    return min(layer.denies.overlapping(topic_filter), default=NOTHING)
