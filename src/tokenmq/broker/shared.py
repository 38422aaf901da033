"""Shared subscriptions: each message goes to one member of a group (MQTT 5 §4.8.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenmq.broker.routing import Target
    from tokenmq.broker.session import Session, Subscription


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
        the next that has a connection; else the next whose session goes on without one.

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
            if session.connected:
                if not session.is_behind:
                    connected = turn
                    break
                if connected < 0:
                    connected = turn
            elif away < 0 and qos and targets[turn].qos:
                away = turn
        turn = connected if connected >= 0 else away
        if turn < 0:
            return None
        self._turn = turn
        return targets[turn]
