"""Who receives a topic: the subscriptions of one tenant and the routes made of them.

Theory of operation. A route is the judged answer to "who receives this topic": each
session once (one copy is ours to choose), with the highest QoS [MQTT-3.3.4-2] [MQTT311-3.3.5-1]
of its matching subscriptions and all their identifiers [MQTT-3.3.4-3] [MQTT-3.3.4-4], asked again for
the right to receive. It is built at the first message on a topic and kept until
something that it stands on changes: a subscription that comes or goes ends the routes
of the topics that its filter matches, a change of rights those of its session. Ended
routes take the lanes that stand on them along; nothing else is touched.

Neither publishers nor subscribers decide what this costs. What routes hold is bounded
by their weight, the oldest go. Looking for the topics that a filter matches may cost
more than it saves, and a client can ask for it again and again: where so much has been
looked at that building all routes anew is cheaper, they all end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenmq.access.permission import Permission
from tokenmq.broker.lane import Lane
from tokenmq.topics.tree import FilterTree, NameTree

if TYPE_CHECKING:
    from tokenmq.broker.session import Session, Subscription

# Routes of one tenant that are kept: topics in use at one time; the oldest goes.
_MAX_ROUTES = 10_000
# Levels of their topics and receivers, together: each takes some 100 to 350 bytes.
_MAX_WEIGHT = 100_000
# Prefixes of topics that are looked at for the sake of subscriptions before all routes
# end: about as much work as building a few thousand of them.
_MAX_LOOKED_AT = 100_000


class Target:
    """One receiver of a topic.

    Attributes:
        qos: the highest QoS that its matching subscriptions were granted.
        identifiers: the identifiers of all its matching subscriptions, MQTT 5 only.
        for_own: what it receives of its own messages: the same target without the
            subscriptions that said No Local; None for nothing [MQTT-3.8.3-3].
    """

    __slots__ = ("for_own", "identifiers", "qos", "session")

    def __init__(self, session: Session, subscriptions: list[Subscription]) -> None:
        self.session = session
        self.qos = max(subscription.qos for subscription in subscriptions)
        self.identifiers = tuple(s.identifier for s in subscriptions if s.identifier)
        others = [subscription for subscription in subscriptions if not subscription.no_local]
        self.for_own: Target | None = self
        if len(others) < len(subscriptions):
            self.for_own = Target(session, others) if others else None


class Route:
    """The receivers of one topic, as things stand.

    Attributes:
        targets: in the order in which they subscribed.
        weight: levels of the topic, and targets.
    """

    __slots__ = ("_lanes", "live", "targets", "weight")

    def __init__(self, topic: str, targets: list[Target]) -> None:
        self.targets = targets
        self.weight = topic.count("/") + 1 + len(targets)
        self.live = True
        self._lanes: dict[int, Lane | None] = {}

    def lane(self, version: int, max_packet_bytes: int) -> Lane | None:
        """Return the lane for publishers of a protocol version, None if there can be none.

        Args:
            version: 4 or 5.
            max_packet_bytes: what a publisher may send; a receiver that takes less
                needs its size looked at.
        """
        if version not in self._lanes:
            self._lanes[version] = self._build_lane(version, max_packet_bytes)
        return self._lanes[version]

    def end(self) -> None:
        """Take the route and its lanes out of use."""
        self.live = False
        for lane in self._lanes.values():
            if lane is not None:
                lane.end()

    def _build_lane(self, version: int, max_packet_bytes: int) -> Lane | None:
        if not self.targets:
            return None
        for target in self.targets:
            if (
                target.session.version != version
                or target.identifiers
                or target.for_own is not target
                or target.session.max_packet_bytes < max_packet_bytes
            ):
                return None
        return Lane(
            [target.session for target in self.targets if target.qos == 0],
            [target.session for target in self.targets if target.qos > 0],
        )


class Routes:
    """The subscriptions of one tenant and the routes of its topics."""

    __slots__ = ("_routes", "_subscriptions", "_topics", "_weight")

    def __init__(self) -> None:
        self._subscriptions: FilterTree[Subscription] = FilterTree()
        self._routes: dict[str, Route] = {}
        self._topics: NameTree[Route] = NameTree()
        self._weight = 0

    def subscribe(self, subscription: Subscription) -> None:
        """Add a subscription and end the routes that it changes."""
        self._subscriptions.insert(subscription.topic_filter, subscription)
        self._end_matching(subscription.topic_filter)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription and end the routes that it changes."""
        self._subscriptions.remove(subscription.topic_filter, subscription)
        self._end_matching(subscription.topic_filter)

    def route(self, topic: str) -> Route:
        """Return the route of a topic, building it if there is none."""
        route = self._routes.get(topic)
        if route is None:
            route = Route(topic, self._targets(topic))
            self._make_room(route.weight)
            self._routes[topic] = route
            self._topics.set(topic, route)
            self._weight += route.weight
        return route

    def end_all(self) -> None:
        """End every route."""
        for route in self._routes.values():
            route.end()
        self._routes = {}
        self._topics = NameTree()
        self._weight = 0

    def _make_room(self, weight: int) -> None:
        routes = self._routes
        while routes and (len(routes) >= _MAX_ROUTES or self._weight + weight > _MAX_WEIGHT):
            self._end(next(iter(routes)))

    def _targets(self, topic: str) -> list[Target]:
        matching: dict[Session, list[Subscription]] = {}
        for subscription in self._subscriptions.matching(topic):
            matching.setdefault(subscription.session, []).append(subscription)
        return [
            Target(session, subscriptions)
            for session, subscriptions in matching.items()
            if session.scope.on_topic(Permission.SUBSCRIBE, topic).allowed
        ]

    def _end_matching(self, topic_filter: str) -> None:
        if "+" not in topic_filter and "#" not in topic_filter:
            self._end(topic_filter)
            return
        if self._topics.looked_at > _MAX_LOOKED_AT:
            self.end_all()
            return
        for topic, _ in self._topics.matched_by(topic_filter):
            self._end(topic)

    def _end(self, topic: str) -> None:
        route = self._routes.pop(topic, None)
        if route is not None:
            self._topics.pop(topic)
            self._weight -= route.weight
            route.end()
