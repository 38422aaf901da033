"""What one client can make the broker hold or work at: everything has an end (SECURITY 6.1)."""

from __future__ import annotations

import time
import tracemalloc
from typing import Self

from tokenmq.broker import routing
from tokenmq.broker.routing import Routes
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Puback, Publish, Subscribe
from tokenmq.mqtt.packets.subscribe import Subscription as Request

# One code point that makes Python keep all others in four bytes each.
WIDE = "\U0001f600"
MIB = 2**20


class Traced:
    """Counts what is held of what was allocated inside."""

    def __enter__(self) -> Self:
        tracemalloc.start()
        self._before = tracemalloc.get_traced_memory()[0]
        return self

    def __exit__(self, *_: object) -> None:
        self.bytes = tracemalloc.get_traced_memory()[0] - self._before
        tracemalloc.stop()


async def test_v17_aliases_hold_no_topic_beyond_our_limit(make_instance):
    instance = await make_instance(topic_alias_maximum=256)
    client = await instance.joined("ann", "#")
    with Traced() as held:
        for alias in range(1, 257):
            client.publish(WIDE + "x" * 65_000, topic_alias=alias)
    assert held.bytes < 4 * MIB


async def test_v17_an_alias_of_a_topic_that_was_too_long_is_refused_like_the_topic(instance):
    client = await instance.joined("ann", "#")
    for topic in ("x" * 5_000, ""):
        (answer,) = client.publish(topic, qos=1, topic_alias=1)
        assert (answer.reason_code, answer.reason_string) == (0x90, "topic is longer than 1024 bytes")


async def test_what_a_session_remembers_of_topics_is_bounded_in_bytes(instance):
    client = await instance.joined("ann", "chat/#")
    listener = await instance.joined("bob", "chat/#")
    listener.subscribe("chat/#")
    session = client.session
    for number in range(1_500):
        client.publish(f"chat/{number}/{WIDE}" + "x" * 980)
        client.publish(f"other/{number}/{WIDE}" + "x" * 980)
    assert sum(map(len, session.lanes)) < 128 * 1024
    assert sum(4 * len(topic) for topic in session.judgements) < 256 * 1024


# What routes of one tenant may hold: levels of topics and receivers.
MOST = 100_000


async def test_routes_of_random_topics_are_bounded_by_their_levels(instance):
    client = await instance.joined("ann", "#")
    routes = client.session.tenant.routes
    tail = "/".join(["x" * 30] * 30)
    kept = []
    for number in range(5_000):
        client.publish(f"{number:05}/{tail}")
        kept.append(routes.route(f"{number:05}/{tail}"))
    assert 0 < sum(31 for route in kept if route.live) <= MOST


def test_routes_of_topics_with_many_receivers_are_bounded_by_these(subscriptions):
    routes = Routes()
    for subscription in subscriptions(300):
        routes.subscribe(subscription)
    kept = [routes.route(f"chat/{number}") for number in range(500)]
    assert 0 < sum(len(route.targets) for route in kept if route.live) <= MOST


def test_one_topic_with_more_receivers_than_that_has_a_route_all_the_same(subscriptions, monkeypatch):
    monkeypatch.setattr(routing, "_MAX_WEIGHT", 100)
    routes = Routes()
    for subscription in subscriptions(150):
        routes.subscribe(subscription)
    route = routes.route("chat/a")
    assert routes.route("chat/a") is route
    assert len(route.targets) == 150
    assert routes.route("chat/b").live
    assert not route.live


async def test_a_lane_that_has_ended_holds_no_receivers(instance):
    client = await instance.joined("ann", "chat/#")
    listener = await instance.joined("bob", "chat/#")
    listener.subscribe("chat/#")
    client.publish("chat/a")
    (lane,) = client.session.lanes.values()
    listener.link.lost()
    assert not lane.live
    assert not (lane.receivers or lane.acknowledging or lane.at_qos_0 or lane.at_qos_1 or lane.at_qos_2)


async def test_a_client_that_never_reads_its_answers_is_not_read_from_either(instance):
    client = await instance.joined("ann", "chat/#")
    client.link.writing_paused()
    written = 0
    for _ in range(1_000):
        client.link.received(b"\xc0\x00" * 1_000)
        written = len(client.transport.written)
        if not client.transport.reading:
            break
    assert not client.transport.reading
    assert written < MIB
    client.link.writing_resumed()
    assert client.transport.reading


async def test_a_client_within_the_receive_maximum_is_read_from_while_it_does_not_read(instance):
    client = await instance.joined("ann", "chat/#", version=4)
    client.link.writing_paused()
    for packet_id in range(1, 65_536):
        client.link.received(codec.encode(Publish("chat/a", b"", 1, packet_id=packet_id), 4))
    assert client.transport.reading
    answers = client.received()
    assert answers == [Puback(packet_id) for packet_id in range(1, 65_536)]


async def test_v71_a_packet_in_tiny_portions_takes_little_more_than_its_bytes(instance):
    client = await instance.joined("ann", "chat/#")
    packet = codec.encode(Publish("chat/a", bytes(200_000)), 5)
    with Traced() as held:
        for start in range(0, len(packet) - 1, 2):
            client.link.received(packet[start : min(start + 2, len(packet) - 1)])
    assert held.bytes < 2 * len(packet)
    client.link.received(packet[-1:])
    assert not client.closed


async def test_q19_receive_maximum_cannot_be_exceeded_because_every_publish_is_answered_at_once(
    make_instance,
):
    instance = await make_instance(receive_maximum=2)
    token = await instance.issue("ann")
    client, connack = instance.enter(token)
    assert connack.receive_maximum == 2
    answers = client.send(*(Publish("chat/a", b"", 1, packet_id=number) for number in range(1, 6)))
    assert [answer.packet_id for answer in answers] == [1, 2, 3, 4, 5]
    assert not client.closed


async def test_v87_subscriptions_against_many_deep_topics_take_bounded_time(instance):
    """Each filter is held against all topics in use: those who subscribe must not decide how often."""
    client = await instance.joined("ann", "#")
    tail = "/".join(["x"] * 31)
    for number in range(10_000):
        client.publish(f"{number:05}/{tail}")
    head = "/".join(["+"] * 31)
    filters = tuple(Request(f"{head}/z{number}") for number in range(100))
    began = time.thread_time()
    for packet_id in range(1, 21):
        client.send(Subscribe(packet_id, filters))
    assert time.thread_time() - began < 10


async def test_a_deleted_organization_leaves_nothing_in_the_broker(instance):
    organization, key = await instance.other_organization()
    token = await instance.issue("ann", organization=organization, key=key)
    client, _ = instance.enter(token)
    client.publish("chat/a")
    assert organization.id in instance.hub.broker.tenants
    closed = await instance.services.organizations.delete(
        organization.id, key=instance.admin, now=instance.clock.now
    )
    assert closed == 1
    assert client.closed
    assert organization.id not in instance.hub.broker.tenants


async def test_q9_events_are_within_what_the_peer_accepts(instance):
    token = await instance.issue("ann")
    client, _ = instance.enter(token, maximum_packet_size=100)
    assert client.subscribe("$auth/events") == [0]
    assert client.publish("chat/" + "x" * 200 + "/y") == []
    assert client.publish("other/" + "x" * 200) == []
