"""Shared subscriptions: each message goes to one member of a group (MQTT 5 §4.8.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tokenmq.access.permission import Permission

if TYPE_CHECKING:
    from tokenmq.broker.routing import Target
    from tokenmq.broker.session import Session
    from tokenmq.broker.subscription import Subscription

# Of a member that has a connection and nothing waiting.
_AT_ONCE = 3


class Group:
    """The members of one `$share/group/filter` of one tenant.

    Attributes:
        name: as it was subscribed to, `$share/` included.
        topic_filter: the filter that is shared.
        members: in the order in which they came.
    """

    __slots__ = ("_order", "_turn", "members", "name", "topic_filter")

    def __init__(self, name: str, topic_filter: str) -> None:
        self.name = name
        self.topic_filter = topic_filter
        self.members: dict[Session, Subscription] = {}
        self._order: list[Subscription] = []
        self._turn = -1

    def add(self, subscription: Subscription) -> None:
        """Take in a member, or another subscription of one."""
        self.members[subscription.session] = subscription
        self._order = []

    def remove(self, session: Session) -> None:
        """Let a member go."""
        del self.members[session]
        self._order = []

    def choose(self, candidates: Candidates, qos: int) -> Target | None:
        """Return the member whose turn it is, of those that may receive the topic.

        In turn, each that has a connection and nothing waiting; if all of them are behind,
        the next that has a connection; else the next whose session goes on without one. A
        message at QoS 1 or 2 goes to those who get it as such.

        Args:
            candidates: the group, judged for the topic.
            qos: of the message.

        Returns: None if nobody can take it.
        """
        if not self._order:
            self._order = list(self.members.values())
        order = self._order
        count = len(order)
        connected = away = -1
        for step in range(1, count + 1):
            turn = (self._turn + step) % count
            subscription = order[turn]
            session = subscription.session
            if qos and not subscription.qos:
                continue
            if session.connected:
                if (connected < 0 or not session.is_behind) and candidates.admit(subscription):
                    connected = turn
                    if not session.is_behind:
                        break
            elif away < 0 and qos and candidates.admit(subscription):
                away = turn
        turn = connected if connected >= 0 else away
        if turn < 0:
            return None
        self._turn = turn
        return candidates.admit(order[turn])

    def another(self, topic: str) -> Subscription | None:
        """Return a member that may have a message at QoS 1 or 2 which was meant for another one.

        Of a thousand messages each may have a topic of its own, so no more members are asked
        for their right than it takes to find one.
        """
        found = None
        best = 0
        for session, subscription in self.members.items():
            rank = 1 + session.connected + (not session.is_behind)
            if (
                rank > best
                and subscription.qos
                and not subscription.suspended
                and session.scope.on_topic(Permission.SUBSCRIBE, topic).allowed
            ):
                found, best = subscription, rank
                if rank == _AT_ONCE:
                    break
        return found


class Candidates:
    """A group as one topic finds it: who of its members may receive it, asked when it matters.

    A group may have a thousand members and its filter match a thousand topics: to judge each
    member for each topic would cost a million decisions whenever somebody comes or goes. So a
    member is judged when its turn comes, once for as long as the route stands.

    Attributes:
        group: whose members these are.
    """

    __slots__ = ("_judged", "_make", "_topic", "group")

    def __init__(
        self, group: Group, topic: str, make: Callable[[Session, list[Subscription]], Target]
    ) -> None:
        self.group = group
        self._topic = topic
        self._make = make
        self._judged: dict[Subscription, Target | None] = {}

    def choose(self, qos: int) -> Target | None:
        """Return the member whose turn it is; None if nobody can take a message at this QoS."""
        return self.group.choose(self, qos)

    def admit(self, subscription: Subscription) -> Target | None:
        """Return a member as a receiver of the topic, None if it may not receive it."""
        try:
            return self._judged[subscription]
        except KeyError:
            session = subscription.session
            target = None
            if (
                not subscription.suspended
                and session.scope.on_topic(Permission.SUBSCRIBE, self._topic).allowed
            ):
                target = self._make(session, [subscription])
            self._judged[subscription] = target
            return target
