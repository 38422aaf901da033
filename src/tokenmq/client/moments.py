"""Moments as callers give them, and as the service is told them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeAlias

from tokenmq.errors import InvalidRequest

Moment: TypeAlias = datetime | float | str


def written(moment: Moment) -> str:
    """Return a moment as the service reads it: RFC 3339, or unix seconds.

    Args:
        moment: an aware datetime, unix seconds, or text, which the service judges.

    Raises: InvalidRequest for a datetime without a time zone, which is no moment.
    """
    match moment:
        case datetime():
            if moment.tzinfo is None:
                raise InvalidRequest(("", f"{moment} has no time zone; give an aware datetime"))
            return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case str():
            return moment
        case _:
            return f"{moment:.6f}".rstrip("0").rstrip(".")


def read(text: str) -> datetime | None:
    """Read an RFC 3339 time with its zone; None for what is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment
