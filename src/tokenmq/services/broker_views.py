"""What the running broker shows of itself: plain values, as of one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SubscriptionView:
    """A subscription; `topic_filter` with `$share/group/` where it is shared."""

    topic_filter: str
    qos: int


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session, with a connection or without.

    Attributes:
        user_id: `server` where a key opened it.
        token_id: the family whose token opened its newest connection; None for a key's.
        key_id: the key that opened it; None for a user's.
        address: where its connection comes from; None without one.
        transport: `tcp` or `websocket`; None without a connection.
        protocol: `3.1.1` or `5.0`; None where it has had no connection since the start.
        since: unix seconds; since when it is connected, or waits for its client.
        expires_at: unix seconds; end of its token or key, None for never.
        ends_at: unix seconds; when it ends unless its client comes back, None while that is there.
        expiry_seconds: how long it outlives its connection.
        queue: messages that wait to go out, or for its client.
    """

    client_id: str
    user_id: str
    username: str
    token_id: str | None
    key_id: str | None
    address: str | None
    transport: Literal["tcp", "websocket"] | None
    protocol: Literal["3.1.1", "5.0"] | None
    since: float
    expires_at: float | None
    ends_at: float | None
    expiry_seconds: int
    subscriptions: tuple[SubscriptionView, ...]
    queue: int

    @property
    def connected(self) -> bool:
        """Whether it has a connection."""
        return self.ends_at is None


@dataclass(frozen=True, slots=True)
class PresenceView:
    """A connected session of a user, as presence has it.

    Attributes:
        member: its opaque id.
        name: the user's, as an identity provider has proven it; None where that is not known.
        address: where its connection comes from.
        since: unix seconds; since when it is connected.
        subscriptions: those that stand, as they were subscribed to, each with its plain filter.
    """

    member: str
    client_id: str
    user_id: str
    username: str
    name: str | None
    address: str | None
    since: float
    subscriptions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PresentViews:
    """Who is present on a filter: how many users and sessions, and some of the sessions."""

    online_count: int
    count: int
    views: list[PresenceView]


@dataclass(frozen=True, slots=True)
class RetainedView:
    """A retained message without its payload; `stored_at` in unix seconds."""

    topic: str
    payload_size: int
    stored_at: float
