"""What a SUBSCRIBE asks for of the history (the wire contract, section 3).

By user properties, which hold for all its filters: `tokenmq-history` = a count,
`tokenmq-history-since` = RFC 3339 or unix seconds, `tokenmq-history-after` = an id. Or, for
clients that have none, by the filter itself: `$history/<count>/<filter>`.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass

from tokenmq.errors import ProtocolError
from tokenmq.mqtt.codes import ReasonCode

# At most so many messages a replay (the wire contract).
MOST = 1_000

_TREE = "$history/"
_COUNT, _SINCE, _AFTER = "tokenmq-history", "tokenmq-history-since", "tokenmq-history-after"
# No count, id or time has more digits.
_MOST_DIGITS = 16
# Seconds since 1970 at the end of the year 9999.
_LAST_SECOND = 253_402_300_799


@dataclass(frozen=True, slots=True)
class Asked:
    """Which recorded messages are to come before the live ones.

    Attributes:
        count: the newest so many; None: all that the others let through.
        since: unix seconds; None: however old.
        after: those with greater ids; None: whatever their ids.
    """

    count: int | None = None
    since: float | None = None
    after: int | None = None

    @property
    def limit(self) -> int:
        """At most so many messages."""
        return MOST if self.count is None else min(self.count, MOST)

    @property
    def wants_all(self) -> bool:
        """Whether it is to be told if more would have matched than come."""
        return self.since is not None or self.after is not None or self.count is None or self.count > MOST


def split_history(topic_filter: str) -> tuple[str, str]:
    """Split `$history/<count>/<rest>` into `$history/<count>/` and the rest; else nothing and all.

    Whether the count is one is not asked: `count_of` does.
    """
    if not topic_filter.startswith(_TREE):
        return "", topic_filter
    at = topic_filter.find("/", len(_TREE)) + 1
    return (topic_filter[:at], topic_filter[at:]) if at else (topic_filter, "")


def is_history(topic_filter: str) -> bool:
    """Tell whether a filter is, or tries to be, one of the history."""
    return topic_filter.partition("/")[0] + "/" == _TREE


def count_of(prefix: str) -> int:
    """Return the count of `$history/<count>/`. Raises: ProtocolError 0x8F."""
    text = prefix[len(_TREE) : -1] if prefix.endswith("/") else ""
    count = _number(text)
    if count is None or str(count) != text:
        text = "wanted $history/<count>/<filter>, the count a number without zeros before it"
        raise ProtocolError(ReasonCode.TOPIC_FILTER_INVALID, text)
    return count


def asked_by(user_properties: tuple[tuple[str, str], ...]) -> Asked | None:
    """Return what the user properties of a SUBSCRIBE ask for; None if that is nothing.

    Raises: ProtocolError 0x83.
    """
    found: dict[str, str] = {}
    for name, value in user_properties:
        if not name.startswith(_COUNT):
            continue
        if name not in (_COUNT, _SINCE, _AFTER):
            raise _wrong(f"user property {name[:64]} is unknown")
        if name in found:
            raise _wrong(f"user property {name} comes twice")
        found[name] = value
    if not found:
        return None
    return Asked(
        _wanted_number(_COUNT, found[_COUNT]) if _COUNT in found else None,
        _moment(found[_SINCE]) if _SINCE in found else None,
        _wanted_number(_AFTER, found[_AFTER]) if _AFTER in found else None,
    )


def _wanted_number(name: str, text: str) -> int:
    number = _number(text)
    if number is None:
        raise _wrong(f"{name} is {text[:32]!r}, wanted a number")
    return number


def _wrong(text: str) -> ProtocolError:
    return ProtocolError(ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR, text)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None


def _moment(text: str) -> float:
    """Read RFC 3339, or unix seconds with or without a fraction."""
    try:
        seconds = float(text) if text[:1].isdecimal() and "-" not in text else _rfc3339(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= _LAST_SECOND:
        raise _wrong(f"{_SINCE} is {text[:32]!r}, wanted RFC 3339 or unix seconds")
    return seconds


def _rfc3339(text: str) -> float:
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its offset")
    return moment.timestamp()
