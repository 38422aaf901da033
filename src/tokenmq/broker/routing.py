"""Who receives a topic: the subscriptions of one tenant and the routes made of them.

Theory of operation. A route is the judged answer to "who receives this topic": each
session once (one copy is ours to choose), with the highest QoS [MQTT-3.3.4-2] [MQTT311-3.3.5-1]
of its matching subscriptions and all their identifiers [MQTT-3.3.4-3] [MQTT-3.3.4-4], asked again for
the right to receive. It is built at the first message on a topic and kept until
something that it stands on changes: a subscription that comes or goes ends the routes
of the topics that its filter matches, a change of rights those of its session. Ended
routes take the lanes that stand on them along; nothing else is touched. A subscription that
is suspended stays where it is, and no route has it.

Of a shared subscription a route holds the group; which of its members gets a message, and
may get it, is found message by message (`shared`).

Neither publishers nor subscribers decide what this costs. What routes hold is bounded
by their weight, the oldest go. Looking for the topics that a filter matches may cost
more than it saves, and a client can ask for it again and again: where so much has been
looked at that building all routes anew is cheaper, they all end.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tokenmq.access.permission import Permission
from tokenmq.access.recording import HistoryRule, HistoryRules
from tokenmq.broker.lane import Lane
from tokenmq.broker.shared import Candidates, Group
from tokenmq.topics.tree import FilterTree, NameTree

if TYPE_CHECKING:
    from tokenmq.broker.session import Session
    from tokenmq.broker.subscription import Subscription

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
        retain_as_published: one of them asked for that.
        identifiers: the identifiers of all its matching subscriptions, MQTT 5 only.
        no_local: one of them said No Local.
        prefix: what stands before the topic: `$history/count/`, else nothing.
        stamped: it is told under which ids messages are recorded.
        reads: one of the two: it does not get the message as it is.
    """

    __slots__ = (
        "_others",
        "identifiers",
        "no_local",
        "prefix",
        "qos",
        "reads",
        "retain_as_published",
        "session",
        "stamped",
    )

    def __init__(
        self, session: Session, subscriptions: list[Subscription], *, prefix: str = "", stamped: bool = False
    ) -> None:
        self.session = session
        self.prefix = prefix
        self.stamped = stamped
        self.reads = stamped or bool(prefix)
        self.qos = max(subscription.qos for subscription in subscriptions)
        self.retain_as_published = any(s.retain_as_published for s in subscriptions)
        self.identifiers = tuple(s.identifier for s in subscriptions if s.identifier)
        others = [subscription for subscription in subscriptions if not subscription.no_local]
        self.no_local = len(others) < len(subscriptions)
        self._others: Target | None = None
        if self.no_local and others:
            self._others = Target(session, others, prefix=prefix, stamped=stamped)

    @property
    def for_own(self) -> Target | None:
        """What it receives of its own messages.

        The same target without the subscriptions that said No Local; None for nothing
        [MQTT-3.8.3-3].
        """
        # Not kept as an attribute: a target that held itself would not be freed as its route ends.
        return self._others if self.no_local else self

    def tell_ids(self) -> None:
        """Have it told under which ids messages are recorded; its protocol may have no words for that."""
        self.stamped = self.reads = True
        if self._others is not None:
            self._others.tell_ids()

    @property
    def key(self) -> Session | tuple[Session, str]:
        """Return what sets it apart from the others of a topic: a session may get two copies."""
        return (self.session, self.prefix) if self.prefix else self.session


class Route:
    """The receivers of one topic, as things stand.

    Attributes:
        targets: in the order in which they subscribed.
        groups: shared subscriptions; which of their members may receive the topic is asked in turn.
        one_by_one: some of these get messages at QoS 1 and 2 out of a `backlog`.
        rule: the rule of the organization's history that holds for the topic, None if none does.
        keeps_stamps: some of these wait in the store and are told the message's id: it is needed first.
        weight: levels of the topic, and targets.
    """

    __slots__ = (
        "_lanes", "_topic", "groups", "keeps_stamps", "live", "one_by_one", "rule", "targets", "weight",
    )  # fmt: skip

    def __init__(
        self, topic: str, targets: list[Target], groups: list[Candidates], rule: HistoryRule | None = None
    ) -> None:
        self._topic = topic
        self.targets = targets
        self.rule = rule
        self.keeps_stamps = any(t.stamped and t.qos and t.session.number for t in targets)
        self.groups = groups
        self.one_by_one = bool(groups) or any(t.qos and t.session.backlog is not None for t in targets)
        self.weight = topic.count("/") + 1 + len(targets) + sum(len(one.group.members) for one in groups)
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
        if not self.targets or self.one_by_one or (self.rule is not None and self.rule.durable):
            return None
        for target in self.targets:
            session = target.session
            if (
                session.version != version
                or target.identifiers
                or target.no_local
                or session.max_packet_bytes < max_packet_bytes
                or session.aliases is not None
                or target.reads
            ):
                return None
        return Lane(self._topic, [(target.session, target.qos) for target in self.targets], self.rule)


def _with_readers(topic: str, targets: dict[Session, Target], readers: list[Subscription]) -> list[Target]:
    """Add the receivers that read the history to those that receive the topic as it is.

    A session gets another copy under each `$history/count/`; by all of them, and by filters
    that asked for history, it is told the id, if it has the right to read.
    """
    prefixed: dict[tuple[Session, str], list[Subscription]] = {}
    for subscription in readers:
        session = subscription.session
        if not session.scope.on_topic(Permission.HISTORY, topic).allowed:
            continue
        if subscription.prefix:
            if session.scope.on_topic(Permission.SUBSCRIBE, topic).allowed:
                prefixed.setdefault((session, subscription.prefix), []).append(subscription)
        elif session in targets:
            targets[session].tell_ids()
    return [
        *targets.values(),
        *(
            Target(session, subscriptions, prefix=prefix, stamped=True)
            for (session, prefix), subscriptions in prefixed.items()
        ),
    ]


class Routes:
    """The subscriptions of one tenant and the routes of its topics.

    Attributes:
        recording: the rules of its history; end all routes when they are others.
    """

    __slots__ = ("_groups", "_routes", "_shared", "_subscriptions", "_topics", "_weight", "recording")

    def __init__(self) -> None:
        self.recording = HistoryRules()
        self._subscriptions: FilterTree[Subscription] = FilterTree()
        self._groups: dict[str, Group] = {}
        self._shared: FilterTree[Group] = FilterTree()
        self._routes: dict[str, Route] = {}
        self._topics: NameTree[Route] = NameTree()
        self._weight = 0

    def subscribe(self, subscription: Subscription) -> None:
        """Add a subscription and end the routes that it changes; who watches presence gets no messages."""
        if subscription.watched is not None:
            return
        if subscription.group is None:
            self._subscriptions.insert(subscription.inner_filter, subscription)
        else:
            group = self._groups.get(subscription.topic_filter)
            if group is None:
                group = Group(subscription.topic_filter, subscription.inner_filter)
                self._groups[group.name] = group
                self._shared.insert(group.topic_filter, group)
            group.add(subscription)
        self._end_matching(subscription.inner_filter)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription and end the routes that it changes."""
        if subscription.watched is not None:
            return
        if subscription.group is None:
            self._subscriptions.remove(subscription.inner_filter, subscription)
        else:
            group = self._groups[subscription.topic_filter]
            group.remove(subscription.session)
            if not group.members:
                del self._groups[group.name]
                self._shared.remove(group.topic_filter, group)
        self._end_matching(subscription.inner_filter)

    def overlapping(self, topic_filter: str) -> list[Subscription]:
        """Return the subscriptions, shared ones too, that share a topic with a filter."""
        found = self._subscriptions.overlapping(topic_filter)
        for group in self._shared.overlapping(topic_filter):
            found += group.members.values()
        return found

    def end_of(self, subscriptions: Iterable[Subscription]) -> None:
        """End the routes of a session whose connection or rights are others now."""
        for subscription in subscriptions:
            self._end_matching(subscription.inner_filter)

    def group(self, name: str) -> Group | None:
        """Return a shared subscription by what was subscribed to, `$share/` included."""
        return self._groups.get(name)

    def route(self, topic: str) -> Route:
        """Return the route of a topic, building it if there is none."""
        route = self._routes.get(topic)
        if route is None:
            rule = self.recording.of_topic(topic)
            route = Route(topic, self._targets(topic), self._candidates(topic), rule)
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
        readers: list[Subscription] = []
        for subscription in self._subscriptions.matching(topic):
            if not subscription.suspended:
                if subscription.history:
                    readers.append(subscription)
                if not subscription.prefix:
                    matching.setdefault(subscription.session, []).append(subscription)
        targets = {
            session: Target(session, subscriptions)
            for session, subscriptions in matching.items()
            if session.scope.on_topic(Permission.SUBSCRIBE, topic).allowed
        }
        if not readers:
            return list(targets.values())
        return _with_readers(topic, targets, readers)

    def _candidates(self, topic: str) -> list[Candidates]:
        return [Candidates(group, topic, Target) for group in self._shared.matching(topic)]

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
