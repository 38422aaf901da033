"""How fast one client may publish: what it may still send now, told the time.

Theory of operation. A client that has a rate has a `Pace`, one bucket for its messages and
one for their bytes. A bucket holds what the rate gives in a second and is full at first. A
message may pass while there is something in each bucket, and takes out what it is, below
nothing if need be: so one of any size goes at last, and who keeps to the rate is never held.
A message that may not pass waits where it is, unread, and all that its client sends after it;
`server.slowing` lets it go on, and ends what is over the rate for too long.

Whoever has no rate has no pace. Whoever has one has no lanes (`publishing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenmq.broker.session import Session
    from tokenmq.broker.tenant import Tenant
    from tokenmq.config import BrokerSettings


class Pace:
    """What one connection may publish now.

    Attributes:
        over_since: monotonic seconds since when it has been over its rate without a pause; None: it is not.
        rates: messages and bytes a second; 0: any number.
    """

    __slots__ = ("_left", "_seen_at", "over_since", "rates")

    def __init__(self, *, messages_per_second: int, bytes_per_second: int) -> None:
        self.rates = (messages_per_second, bytes_per_second)
        self.over_since: float | None = None
        self._left: tuple[float, float] = self.rates
        self._seen_at: float | None = None

    def may_pass(self, mono: float) -> bool:
        """Tell whether a message may pass now.

        Args:
            mono: monotonic seconds; never less than the time before.
        """
        passed = 0.0 if self._seen_at is None else mono - self._seen_at
        self._seen_at = mono
        (rate, byte_rate), (left, left_bytes) = self.rates, self._left
        left, left_bytes = min(rate, left + rate * passed), min(byte_rate, left_bytes + byte_rate * passed)
        self._left = left, left_bytes
        return (left > 0 or not rate) and (left_bytes > 0 or not byte_rate)

    def spend(self, size: int) -> None:
        """Take out what a message of so many bytes is."""
        left, left_bytes = self._left
        self._left = left - 1, left_bytes - size


def pace_of(session: Session, settings: BrokerSettings) -> Pace | None:
    """Return the pace of a session's connection, None if it has no rate.

    Each of the two rates is the lower of what is configured and what the organization has set. A
    server's connection has none: it stands for many users, and is trusted with what a key may do.
    """
    if session.identity.is_server:
        return None
    rules = session.tenant.rules
    messages = _lower(settings.max_publish_messages_per_second, rules.max_publish_messages_per_second)
    size = _lower(settings.max_publish_bytes_per_second, rules.max_publish_bytes_per_second)
    return Pace(messages_per_second=messages, bytes_per_second=size) if messages or size else None


def apply(tenant: Tenant, settings: BrokerSettings) -> None:
    """Have an organization's rates hold for the connections that there are, as they are now."""
    for session in tenant.sessions.values():
        if not session.connected:
            continue
        outbox, pace = session.outbox, pace_of(session, settings)
        if pace is None or outbox.pace is None or pace.rates != outbox.pace.rates:
            outbox.pace = pace
        session.lanes.clear()


def _lower(one: int, other: int) -> int:
    return min(one, other) if one and other else one or other
