"""How times are written for people and in JSON."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(seconds: float) -> str:
    """Write unix seconds as an RFC 3339 UTC time in whole seconds, ending in Z."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_milliseconds(seconds: float) -> str:
    """Write unix seconds as an RFC 3339 UTC time in whole milliseconds, ending in Z."""
    whole, part = divmod(round(seconds * 1_000), 1_000)
    return f"{datetime.fromtimestamp(whole, UTC).strftime('%Y-%m-%dT%H:%M:%S')}.{part:03d}Z"
