"""Commands that are printed to be pasted: they must run as they stand."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from tokenmq.client.answers import IssuedToken, grants_of


def program() -> str:
    """Return how this program was started, as a shell takes it."""
    started = Path(sys.argv[0])
    if started.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m tokenmq"
    found = shutil.which(started.name)
    if found and started.is_absolute() and Path(found) == started:
        return started.name
    return shlex.quote(str(started))


def command(*words: str) -> str:
    """Write a call of this program."""
    return f"{program()} {shlex.join(words)}"


def example_of(topic_filter: str) -> str:
    """Return a topic that a filter matches."""
    return topic_filter.replace("+", "room1").replace("#", "room1")


def filter_for(permission: str, token: IssuedToken) -> str | None:
    """Return the first topic filter for which a token has a permission."""
    return next(
        (grant["topics"][0] for grant in grants_of(token) if permission in grant["permissions"]), None
    )
