"""What one subscription is still to get of the history, as `replaying` reads and sends it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

from tokenmq.access.permission import Permission
from tokenmq.broker.asking import Asked
from tokenmq.broker.barrier import Barrier
from tokenmq.broker.records import HistoryRecord
from tokenmq.topics.filter import matches

if TYPE_CHECKING:
    from tokenmq.access.decide import Scope
    from tokenmq.access.recording import HistoryRule
    from tokenmq.broker.delivery import Delivery
    from tokenmq.broker.session import Session
    from tokenmq.broker.subscription import Subscription
    from tokenmq.broker.tenant import TenantRules


class Head(Protocol):
    """What is known of a recorded message before it is read."""

    @property
    def id(self) -> int: ...  # noqa: D102
    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def at(self) -> float: ...  # noqa: D102
    @property
    def expires_at(self) -> float | None: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102


class Unread(msgspec.Struct, frozen=True):
    """The history could not be asked."""

    reason: str


Answer: TypeAlias = Sequence[Head] | Sequence[HistoryRecord] | bool | Unread


class Reading:
    """What one subscription is still to get of the history.

    Attributes:
        asked: what its SUBSCRIBE asked for.
        seam: ids up to this one are its affair.
        left_out: those among them that reach the session another way.
        retains: retained messages are to follow.
        barrier: what holds up the live messages.
        heads: what is to be sent: the newest first while it is read, then the oldest.
        page: messages that are to be sent next.
        replayed: the ids of what was sent.
        reserved: deliveries of a page that are kept before it is sent, by id.
        gap: something is missing before the next message, and that was not said yet.
        missing: the first and the last id that the store should have and has not; None: all are
            there, or that was said. Every message in between says so, and the next one.
        is_begun: the store was asked.
        is_loading: it has not answered.
        is_over: nothing is to be sent any more.
        looked_at: heads so far.
    """

    __slots__ = (
        "_known",
        "_rules",
        "_scope",
        "asked",
        "barrier",
        "gap",
        "heads",
        "is_begun",
        "is_loading",
        "is_over",
        "left_out",
        "looked_at",
        "missing",
        "page",
        "replayed",
        "reserved",
        "retains",
        "seam",
        "subscription",
    )

    def __init__(self, subscription: Subscription, asked: Asked, seam: int, *, retains: bool) -> None:
        self.subscription = subscription
        self.asked = asked
        self.seam = seam
        self.left_out = _left_out(subscription, seam)
        self.retains = retains
        self.barrier = Barrier()
        self.heads: deque[Head] = deque()
        self.page: deque[HistoryRecord] = deque()
        self.replayed: set[int] = set()
        self.reserved: dict[int, Delivery] = {}
        self.gap = False
        self.is_begun = self.is_loading = self.is_over = False
        self.looked_at = 0
        self.missing: tuple[int, int] | None = None
        self._known: dict[str, HistoryRule | None] = {}
        self._scope: Scope | None = None
        self._rules: TenantRules | None = None

    @property
    def session(self) -> Session:
        """Whose it is."""
        return self.subscription.session

    @property
    def identifiers(self) -> tuple[int, ...]:
        """What its subscription is called, for those who are told."""
        identifier = self.subscription.identifier
        return (identifier,) if identifier and self.session.version == 5 else ()

    @property
    def oldest(self) -> float:
        """The time before which everything is gone by any rule, dropped already or not."""
        session = self.session
        return session.now - max((rule.max_age for rule in session.tenant.rules.history.rules), default=0)

    def end(self) -> None:
        """Send nothing any more."""
        self._stop()
        for delivery in self.reserved.values():
            delivery.backlog.forget(delivery)
        self.reserved = {}

    def leave(self) -> None:
        """Send nothing over a connection that is gone; what is kept goes out over the next one."""
        self._stop()
        if not self.is_loading:
            for delivery in self.reserved.values():
                delivery.pending = False

    def _stop(self) -> None:
        self.is_over = True
        self.session.tenant.history.asking.pop(self, None)

    def lack(self, topic: str, first: int, last: int) -> None:
        """Take note of records that the store did not take: a topic's, from one id to another."""
        if first > self.seam or last <= (self.asked.after or 0):
            return
        if matches(self.subscription.inner_filter, topic):
            known = self.missing or (first, last)
            self.missing = min(first, known[0]), max(min(last, self.seam), known[1])

    def may_have(self, one: Head | HistoryRecord) -> bool:
        """Tell whether its session may have a message, as things stand."""
        session = self.session
        scope, rules = session.scope, session.tenant.rules
        if scope is not self._scope or rules is not self._rules:
            self._scope, self._rules = scope, rules
            self._known = {}
        topic = one.topic
        if topic in self._known:
            rule = self._known[topic]
        else:
            may_read = (
                scope.on_topic(Permission.HISTORY, topic).allowed
                and scope.on_topic(Permission.SUBSCRIBE, topic).allowed
            )
            rule = self._known[topic] = rules.history.of_topic(topic) if may_read else None
        now = session.now
        if rule is None or now - one.at > rule.max_age:
            return False
        return one.expires_at is None or now < one.expires_at


def _left_out(subscription: Subscription, seam: int) -> set[int]:
    """Return ids up to the seam that reach the session another way.

    They are those of messages that come through late, under other ids, and of what waits for
    the session, or was not acknowledged, since the same subscription was in force before.
    """
    session, prefix = subscription.session, subscription.prefix
    found: set[int] = set()
    for number in session.tenant.history.pending:
        if number > seam:
            break
        found.add(number)
    if session.backlog is not None:
        for delivery in session.backlog.deliveries.values():
            if delivery.message is not None and delivery.prefix == prefix and (prefix or delivery.stamped):
                found.add(delivery.message.history_id)
    return found
