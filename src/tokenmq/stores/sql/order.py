"""In which order the kinds of operation run within a group.

What takes away comes before what gives: a creation in the same group as the deletion of
its key finds the key deleted. What the core has kept comes first of all: a revocation in
the same group finds what it takes away.
"""

from __future__ import annotations

from enum import IntEnum, auto


class Order(IntEnum):
    """The kinds, first to last."""

    SAVE_KEPT = auto()
    SAVE_SIGNING_KEY = auto()
    DELETE_ORGANIZATION = auto()
    CREATE_ORGANIZATION = auto()
    UPDATE_ORGANIZATION = auto()
    DELETE_KEY = auto()
    CREATE_KEY = auto()
    REVOKE_FAMILIES = auto()
    CREATE_FAMILY = auto()
    REFRESH_FAMILY = auto()
    EXCHANGE_FAMILY = auto()
    NOTE_FAMILIES = auto()
    TOUCH_KEYS = auto()
    PRUNE_FAMILIES = auto()
    PRUNE_IDEMPOTENCY = auto()
    LOAD_KEPT = auto()
