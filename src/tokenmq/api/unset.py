"""Fields that a request leaves out."""

from __future__ import annotations

from typing import TypeVar

from msgspec import UNSET, UnsetType

_V = TypeVar("_V")


def given(value: _V | UnsetType) -> _V | None:
    """Return what a field says, None where it was left out."""
    return None if value is UNSET else value
