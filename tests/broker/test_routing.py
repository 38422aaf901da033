"""Routes: who receives, judged, and ended exactly when something they stand on changes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tokenmq.access.decide import Decision
from tokenmq.broker import routing
from tokenmq.broker.routing import Routes
from tokenmq.broker.subscription import Subscription


class Rights:
    """A scope that allows what it is told to."""

    def __init__(self):
        self.denied = set()

    def on_topic(self, permission, topic):
        return Decision(topic not in self.denied, "rule")


class Session(SimpleNamespace):
    """What a route looks at of a session; told apart by identity."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__


def session(version=4, max_packet_bytes=1 << 20):
    return Session(
        version=version, max_packet_bytes=max_packet_bytes, scope=Rights(), backlog=None, aliases=None
    )


def subscribed(routes, who, topic_filter, *, qos=0, no_local=False, identifier=0):
    subscription = Subscription(
        who, topic_filter, qos=qos, no_local=no_local, retain_as_published=False, identifier=identifier
    )
    routes.subscribe(subscription)
    return subscription


def test_a_session_with_several_matching_subscriptions_is_one_target():
    routes, who = Routes(), session()
    subscribed(routes, who, "chat/#", qos=0, identifier=3)
    subscribed(routes, who, "chat/+", qos=1)
    subscribed(routes, who, "chat/a", qos=0, identifier=5)
    (target,) = routes.route("chat/a").targets
    assert (target.session, target.qos, sorted(target.identifiers)) == (who, 1, [3, 5])


def test_a_session_that_may_not_receive_is_no_target():
    routes, who = Routes(), session()
    subscribed(routes, who, "chat/#")
    who.scope.denied.add("chat/secret")
    assert routes.route("chat/secret").targets == []
    assert len(routes.route("chat/a").targets) == 1


@pytest.mark.parametrize(
    ("topic_filter", "ended"),
    [
        ("chat/a", {"chat/a"}),
        ("chat/+", {"chat/a", "chat/b"}),
        ("#", {"chat/a", "chat/b", "other"}),
        ("chat/a/#", {"chat/a"}),
        ("nothing/+", set()),
    ],
)
def test_a_subscription_that_comes_or_goes_ends_the_routes_it_matches_and_no_others(topic_filter, ended):
    routes = Routes()
    for change in ("comes", "goes"):
        kept = {topic: routes.route(topic) for topic in ("chat/a", "chat/b", "other")}
        if change == "comes":
            subscription = subscribed(routes, session(), topic_filter)
        else:
            routes.unsubscribe(subscription)
        assert {topic for topic, route in kept.items() if not route.live} == ended


def test_a_lane_groups_receivers_and_ends_with_its_route():
    routes, low, high = Routes(), session(), session()
    subscribed(routes, low, "a", qos=0)
    subscribed(routes, high, "a", qos=1)
    lane = routes.route("a").lane(4, 1_000)
    assert (lane.at_qos_0, lane.at_qos_1, lane.receivers) == ([low], [high], [low, high])
    assert routes.route("a").lane(4, 1_000) is lane
    routes.end_all()
    assert not lane.live


@pytest.mark.parametrize(
    ("who", "options"),
    [
        (session(version=5), {}),
        (session(max_packet_bytes=999), {}),
        (session(), {"identifier": 1}),
        (session(), {"no_local": True}),
    ],
    ids=["another version", "takes smaller packets", "an identifier", "no local"],
)
def test_there_is_no_lane_where_a_receiver_is_not_plain(who, options):
    routes = Routes()
    subscribed(routes, session(), "a")
    subscribed(routes, who, "a", **options)
    assert routes.route("a").lane(4, 1_000) is None


def test_there_is_no_lane_to_nobody():
    assert Routes().route("a").lane(4, 1_000) is None


def test_routes_are_bounded_and_the_oldest_ends(monkeypatch):
    monkeypatch.setattr(routing, "_MAX_ROUTES", 3)
    routes = Routes()
    kept = [routes.route(f"t{n}") for n in range(5)]
    assert [route.live for route in kept] == [False, False, True, True, True]


def test_what_it_receives_of_its_own_leaves_no_local_subscriptions_out():
    routes, who = Routes(), session()
    subscribed(routes, who, "chat/#", qos=1, no_local=True, identifier=1)
    (target,) = routes.route("chat/a").targets
    assert target.for_own is None
    subscribed(routes, who, "chat/a", qos=0, identifier=2)
    (target,) = routes.route("chat/a").targets
    assert (target.for_own.qos, target.for_own.identifiers) == (0, (2,))
