"""In which order the kinds of operation run within a group.

What takes away comes before what gives: a creation in the same group as the deletion of
its key finds the key deleted. What the core has kept comes first of all: a revocation in
the same group finds what it takes away. The audit trail of a group is written after all of it.
"""

from __future__ import annotations

from enum import IntEnum, auto


class Order(IntEnum):
    """The kinds, first to last."""

    SAVE_KEPT = auto()
    DROP_HISTORY = auto()
    SWEEP_HISTORY = auto()
    RESERVE_NUMBERS = auto()
    SAVE_SIGNING_KEY = auto()
    DELETE_ORGANIZATION = auto()
    CREATE_ORGANIZATION = auto()
    UPDATE_ORGANIZATION = auto()
    DELETE_KEY = auto()
    CREATE_KEY = auto()
    DELETE_PROVIDER = auto()
    UPDATE_PROVIDER = auto()
    CREATE_PROVIDER = auto()
    ROTATE_KEY = auto()
    REVOKE_FAMILIES = auto()
    CREATE_FAMILY = auto()
    REFRESH_FAMILY = auto()
    EXCHANGE_FAMILY = auto()
    NOTE_FAMILIES = auto()
    TOUCH_KEYS = auto()
    PRUNE_FAMILIES = auto()
    PRUNE_IDEMPOTENCY = auto()
    ERASE_PERSON = auto()
    PRUNE_AUDIT = auto()
    NOTE_AUDIT = auto()
    LOAD_KEPT = auto()
