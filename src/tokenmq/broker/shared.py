"""Shared subscriptions: each message goes to one member of a group (MQTT 5 §4.8.2)."""

from __future__ import annotations

from collections.abc import Sequence
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

    __slots__ = ("_turn", "members", "name", "topic_filter")

    def __init__(self, name: str, topic_filter: str) -> None:
        self.name = name
        self.topic_filter = topic_filter
        self.members: dict[Session, Subscription] = {}
        self._turn = -1

    def choose(self, targets: Sequence[Target], qos: int) -> Target | None:
        """Return the member whose turn it is, of those that may receive the topic.

        In turn, each that has a connection and nothing waiting; if all of them are behind,
        the next that has a connection; else the next whose session goes on without one. A
        message at QoS 1 or 2 goes to those who get it as such.

        Args:
            targets: members, judged for the topic.
            qos: of the message.

        Returns: None if nobody can take it.
        """
        count = len(targets)
        connected = away = -1
        for step in range(1, count + 1):
            turn = (self._turn + step) % count
            session = targets[turn].session
            if qos and not targets[turn].qos:
                continue
            if session.connected:
                if not session.is_behind:
                    connected = turn
                    break
                if connected < 0:
                    connected = turn
            elif away < 0 and qos:
                away = turn
        turn = connected if connected >= 0 else away
        if turn < 0:
            return None
        self._turn = turn
        return targets[turn]

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
