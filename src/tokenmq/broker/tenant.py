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
from tokenmq.broker.recording import History
from tokenmq.broker.retained import RetainedMessages
from tokenmq.broker.routing import Routes
from tokenmq.broker.session import Session

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
        history: what of its messages is recorded.
    """

    policy: Policy
    dollar_trees: tuple[str, ...]
    close_on_refused_publish: bool
    default_session_expiry_seconds: int = 0
    max_connections: int = 20_000
    max_sessions: int = 10_000
    max_retained_messages: int = 10_000
    history: HistoryRules = _NOTHING_RECORDED


class Tenant:
    """The state of one organization.

    Attributes:
        dirty, unfinished, counters: the broker's own, for its sessions.
        overflowed: sessions whose queue lost something that they were not told of.
        sessions: by client id, those without a connection too.
        connected: how many of them have a connection.
        kept: how many of them outlive their connections.
        away: those without a connection, by owner, the one that has been away longest first.
        retained: the retained messages.
        history: what is being recorded.
    """

    __slots__ = (
        "away",
        "connected",
        "counters",
        "dirty",
        "history",
        "kept",
        "org_id",
        "overflowed",
        "retained",
        "routes",
        "rules",
        "sessions",
        "unfinished",
    )

    def __init__(
        self,
        org_id: str,
        rules: TenantRules,
        *,
        dirty: list[Outbox],
        unfinished: dict[Session, None],
        counters: Counters,
    ) -> None:
        self.org_id = org_id
        self.rules = rules
        self.dirty = dirty
        self.unfinished = unfinished
        self.counters = counters
        self.overflowed: dict[Session, None] = {}
        self.sessions: dict[str, Session] = {}
        self.connected = 0
        self.kept = 0
        self.away: dict[tuple[str, str], dict[Session, None]] = {}
        self.retained = RetainedMessages()
        self.history = History()
        self.routes = Routes()
        self.routes.recording = rules.history

    def knows(self, topic: str) -> bool:
        """Tell whether a topic or filter lies in a tree that this tenant has."""
        return not topic.startswith("$") or topic.partition("/")[0] in self.rules.dollar_trees
