"""One organization inside the core: its sessions, subscriptions, routes and rules.

Nothing is shared between tenants but the code: a topic, a client id or a filter means
nothing outside the tenant that it was looked up in.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenmq.access.policy import Policy
from tokenmq.access.recording import HistoryRules
from tokenmq.broker.counters import Counters
from tokenmq.broker.outbox import Outbox
from tokenmq.broker.presence import Presence
from tokenmq.broker.recording import History
from tokenmq.broker.retained import RetainedMessages
from tokenmq.broker.routing import Routes
from tokenmq.broker.session import Session
from tokenmq.broker.waiting import Queues, Share, Unstored
from tokenmq.broker.watch import Watch

_NOTHING_RECORDED = HistoryRules()


@dataclass(frozen=True, slots=True)
class TenantRules:
    """What an organization has set that the core obeys.

    Attributes:
        policy: what users may do at most; server connections are not cut by it.
        dollar_trees: first levels that begin with `$` and are ordinary topics.
        close_on_refused_publish: 3.1.1 connections are closed when a PUBLISH at QoS 1 or 2
            is refused, rather than acknowledged and the message dropped.
        default_session_expiry_seconds: of MQTT 5 clients that ask for a session to go on and
            do not say for how long.
        max_connections: at one time.
        max_sessions: that outlive their connections, at one time.
        max_retained_messages: at one time.
        max_publish_messages_per_second: of one client; 0: as configured for all.
        max_publish_bytes_per_second: likewise.
        history: what of its messages is recorded.
    """

    policy: Policy
    dollar_trees: tuple[str, ...]
    close_on_refused_publish: bool
    default_session_expiry_seconds: int = 0
    max_connections: int = 20_000
    max_sessions: int = 10_000
    max_retained_messages: int = 10_000
    max_publish_messages_per_second: int = 0
    max_publish_bytes_per_second: int = 0
    history: HistoryRules = _NOTHING_RECORDED

    @property
    def publish_rates(self) -> tuple[int, int]:
        """How fast one client may publish."""
        return self.max_publish_messages_per_second, self.max_publish_bytes_per_second


class Tenant:
    """The state of one organization.

    Attributes:
        dirty, unfinished, counters, unstored: the broker's own, for its sessions.
        share: what waits in their queues.
        overflowed: sessions whose queue lost something that they were not told of.
        sessions: by client id, those without a connection too.
        connected: how many of them have a connection.
        kept: how many of them outlive their connections.
        away: those without a connection, by owner, the one that has been away longest first.
        retained: the retained messages.
        due: the broker's own: watches that have something to tell.
        salt: the broker's own: keeps what sessions are called in presence from being guessed.
        presence: who is present where somebody watches; None where nobody does.
        history: what is being recorded.
    """

    __slots__ = (
        "away",
        "connected",
        "counters",
        "dirty",
        "due",
        "history",
        "kept",
        "org_id",
        "overflowed",
        "presence",
        "retained",
        "routes",
        "rules",
        "salt",
        "sessions",
        "share",
        "unfinished",
        "unstored",
    )

    def __init__(
        self,
        org_id: str,
        rules: TenantRules,
        *,
        dirty: list[Outbox],
        unfinished: dict[Session, None],
        due: dict[Watch, None],
        counters: Counters,
        queues: Queues,
        unstored: Unstored,
        salt: bytes,
    ) -> None:
        self.org_id = org_id
        self.rules = rules
        self.dirty = dirty
        self.unfinished = unfinished
        self.due = due
        self.counters = counters
        self.share = Share(queues)
        self.unstored = unstored
        self.salt = salt
        self.overflowed: dict[Session, None] = {}
        self.sessions: dict[str, Session] = {}
        self.connected = 0
        self.kept = 0
        self.away: dict[tuple[str, str], dict[Session, None]] = {}
        self.retained = RetainedMessages()
        self.history = History()
        self.routes = Routes()
        self.routes.recording = rules.history
        self.presence: Presence | None = None

    def presence_of(self) -> Presence:
        """Return who is present, for those who begin to ask."""
        if self.presence is None:
            self.presence = Presence(self)
        return self.presence

    def knows(self, topic: str) -> bool:
        """Tell whether a topic or filter lies in a tree that this tenant has."""
        return not topic.startswith("$") or topic.partition("/")[0] in self.rules.dollar_trees
