"""What MQTT 5 §4.7 says, transcribed without a look at the package, and Grid A of it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

Vectors = dict[str, Any]


def spec_matches(topic_filter: str, topic: str) -> bool:
    if topic[0] == "$" and topic_filter[0] in "+#":  # §4.7.2
        return False
    return _levels_match(tuple(topic_filter.split("/")), tuple(topic.split("/")))


def _levels_match(wanted: tuple[str, ...], levels: tuple[str, ...]) -> bool:
    if wanted == ("#",):  # §4.7.1.2: the parent and any number of child levels
        return True
    if not wanted or not levels:
        return wanted == levels
    return wanted[0] in ("+", levels[0]) and _levels_match(wanted[1:], levels[1:])  # §4.7.1.3


class Grid(NamedTuple):
    """Filters, topics, and for each filter the set of its topics as bits of an int."""

    filters: list[str]
    topics: list[str]
    sets: dict[str, int]


def _texts(levels: str, depths: range, *, prefix: tuple[str, ...] = ()) -> list[str]:
    alphabet = levels.split(",")
    every = (
        "/".join(prefix + path) for depth in depths for path in itertools.product(alphabet, repeat=depth)
    )
    return [text for text in every if text]


@pytest.fixture(scope="session")
def grid() -> Grid:
    plain = _texts("a,b,,+", range(1, 5)) + _texts("a,b,,+", range(3), prefix=("$s",))
    with_tail = [
        "/".join((*path, "#"))
        for prefix, depths in (((), range(4)), (("$s",), range(3)))
        for depth in depths
        for path in (prefix + rest for rest in itertools.product(("a", "b", "", "+"), repeat=depth))
    ]
    topics = _texts("a,b,,z", range(1, 6))
    topics += _texts("a,b,,z", range(5), prefix=("$s",)) + _texts("a,b,,z", range(5), prefix=("$z",))
    filters = plain + with_tail
    sets = {
        topic_filter: sum(1 << bit for bit, topic in enumerate(topics) if spec_matches(topic_filter, topic))
        for topic_filter in filters
    }
    return Grid(filters, topics, sets)


@pytest.fixture(scope="session")
def by_the_spec() -> Callable[[str, str], bool]:
    return spec_matches


@pytest.fixture(scope="session")
def topic_vectors() -> Vectors:
    return _vectors("topics.json")


@pytest.fixture(scope="session")
def cover_vectors() -> Vectors:
    return _vectors("covers.json")


def _vectors(name: str) -> Vectors:
    path = Path(__file__).parents[1] / "vectors" / name
    loaded: Vectors = json.loads(path.read_text(encoding="utf-8"))
    return loaded
