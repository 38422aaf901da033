"""One organization inside the core: its sessions, subscriptions, routes and rules.

Nothing is shared between tenants but the code: a topic, a client id or a filter means
nothing outside the tenant that it was looked up in.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenmq.access.policy import Policy
from tokenmq.broker.counters import Counters
from tokenmq.broker.outbox import Outbox
from tokenmq.broker.routing import Routes
from tokenmq.broker.session import Session


@dataclass(frozen=True, slots=True)
class TenantRules:
    """What an organization has set that the core obeys.

    Attributes:
        policy: what users may do at most; server connections are not cut by it.
        dollar_trees: first levels that begin with `$` and are ordinary topics.
        close_on_refused_publish: 3.1.1 connections are closed when a PUBLISH at QoS 1
            is refused, rather than acknowledged and the message dropped.
    """

    policy: Policy
    dollar_trees: tuple[str, ...]
    close_on_refused_publish: bool


class Tenant:
    """The state of one organization.

    Attributes:
        dirty, counters: the broker's own, for its sessions.
        overflowed: sessions whose queue lost something that they were not told of.
        sessions: by client id.
    """

    __slots__ = ("counters", "dirty", "org_id", "overflowed", "routes", "rules", "sessions")

    def __init__(self, org_id: str, rules: TenantRules, dirty: list[Outbox], counters: Counters) -> None:
        self.org_id = org_id
        self.rules = rules
        self.dirty = dirty
        self.counters = counters
        self.overflowed: dict[Session, None] = {}
        self.sessions: dict[str, Session] = {}
        self.routes = Routes()

    def knows(self, topic: str) -> bool:
        """Tell whether a topic or filter lies in a tree that this tenant has."""
        return not topic.startswith("$") or topic.partition("/")[0] in self.rules.dollar_trees
