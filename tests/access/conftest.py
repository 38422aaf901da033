"""Identities to ask about, and what MQTT 5 §4.7 says, transcribed without a look at the packages."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tokenmq.access.grants import Grant
from tokenmq.access.identity import Identity
from tokenmq.access.permission import Permission


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
    """Filters and topics to depth 3, and for each filter the set of its topics as bits of an int."""

    filters: list[str]
    topics: list[str]
    sets: dict[str, int]


@pytest.fixture(scope="session")
def grid() -> Grid:
    paths = [path for depth in range(3) for path in itertools.product(("a", "b", "", "+"), repeat=depth)]
    paths += [("$s", *path) for path in paths if len(path) < 2]
    plain = ["/".join(path) for path in paths]
    filters = [text for text in plain + ["/".join((*path, "#")) for path in paths] if text]
    levels = [path for depth in range(4) for path in itertools.product(("a", "b", "", "z"), repeat=depth)]
    below = [(dollar, *path) for dollar in ("$s", "$z") for path in levels if len(path) < 3]
    topics = [text for text in map("/".join, levels + below) if text]
    sets = {
        topic_filter: sum(1 << bit for bit, topic in enumerate(topics) if spec_matches(topic_filter, topic))
        for topic_filter in filters
    }
    return Grid(filters, topics, sets)


@pytest.fixture(scope="session")
def by_the_spec() -> Callable[[str, str], bool]:
    return spec_matches


@pytest.fixture(scope="session")
def make_identity() -> Callable[..., Identity]:
    def make(*grants: Grant | str, **changes: Any) -> Identity:
        """Make a user's identity; a grant given as text is one filter with all four permissions."""
        whole = tuple(Grant(tuple(Permission), (each,)) if isinstance(each, str) else each for each in grants)
        fields: dict[str, Any] = {
            "org_id": "org_k7xm4pqr2n5t",
            "user_id": "user-123",
            "username": "user-123@org_k7xm4pqr2n5t",
            "grants": whole,
            "expires_at": 1_800_000_000,
            "token_id": "tok_1",
            "jti": "jti_1",
            "gen": 0,
            "key_id": None,
            "client_id": None,
        }
        return Identity(**fields | changes)

    return make
