"""SUBSCRIBE and UNSUBSCRIBE: clause by clause."""

from __future__ import annotations

import pytest

from tokenmq.mqtt.packets import Puback, Publish, Suback, Subscribe, Unsuback, Unsubscribe
from tokenmq.mqtt.packets.subscribe import Subscription

BOTH = pytest.mark.parametrize("version", [4, 5])


def publishes(client):
    return [packet for packet in client.received() if isinstance(packet, Publish)]


def subscribe(client, packet_id, *filters, **fields):
    client.send(Subscribe(packet_id, tuple(Subscription(text, qos) for text, qos in filters), **fields))
    return client.received()


def unsubscribe(client, packet_id, *filters):
    client.send(Unsubscribe(packet_id, filters))
    return client.received()


# [MQTT-2.2.1-6] [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1]
# [MQTT-3.9.3-2] [MQTT311-2.3.1-7] [MQTT311-3.8.4-1] [MQTT311-3.8.4-2] [MQTT311-3.8.4-4] [MQTT311-3.8.4-5]
# [MQTT311-3.9.3-1] [MQTT311-3.9.3-2]
@BOTH
@pytest.mark.parametrize("packet_id", [1, 77, 65_535])
def test_one_suback_with_the_identifier_and_an_answer_for_each_filter_in_order(world, version, packet_id):
    client = world.joined("alice", "chat/#", version=version)
    filters = (("chat/a", 0), ("other", 1), ("chat/#/x", 0), ("chat/b", 1), ("chat/a", 1), ("#", 2))
    answers = subscribe(client, packet_id, *filters)
    refused = (0x87, 0x8F, 0x87) if version == 5 else (0x80,) * 3
    (suback,) = answers
    assert isinstance(suback, Suback)
    assert suback.packet_id == packet_id
    assert suback.reason_codes == (0, refused[0], refused[1], 1, 1, refused[2])


# [MQTT-3.8.4-5] [MQTT311-3.8.4-4]
@BOTH
def test_many_filters_are_as_many_subscribes(world, version):
    one, other, alice = (world.joined(name, version=version) for name in ("bob", "carol", "alice"))
    filters = (("chat/a", 0), ("chat/+", 1), ("chat/a", 1), ("wrong/#/x", 0), ("chat/b/#", 0))
    together = subscribe(one, 1, *filters)[0].reason_codes
    apart = tuple(
        code
        for number, one_filter in enumerate(filters, 1)
        for code in subscribe(other, number, one_filter)[0].reason_codes
    )
    assert together == apart
    for topic in ("chat/a", "chat/b", "chat/b/c"):
        alice.publish(topic, qos=1)
    got = [[(packet.topic, packet.qos) for packet in publishes(client)] for client in (one, other)]
    assert got[0] == got[1] == [("chat/a", 1), ("chat/b", 1), ("chat/b/c", 0)]


# [MQTT-3.8.4-3]
def test_the_same_filter_again_replaces_the_subscription_whole(world):
    bob, alice = world.joined("bob"), world.joined("alice")
    subscribe(bob, 1, ("chat/a", 1), subscription_identifier=5)
    alice.publish("chat/a", qos=1)
    (first,) = publishes(bob)
    assert (first.qos, first.subscription_identifiers) == (1, (5,))
    subscribe(bob, 2, ("chat/a", 0))
    alice.publish("chat/a", qos=1)
    (second,) = publishes(bob)
    assert (second.qos, second.subscription_identifiers) == (0, ())
    bob.send(Subscribe(3, (Subscription("chat/a", no_local=True),), subscription_identifier=6))
    bob.received()
    bob.publish("chat/a")
    assert publishes(bob) == []
    assert unsubscribe(bob, 4, "chat/a", "chat/a")[0].reason_codes == (0, 0x11)


# [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT311-3.3.5-1]
@BOTH
@pytest.mark.parametrize("published", [0, 1])
def test_overlapping_subscriptions_give_one_copy_at_the_highest_qos_with_all_identifiers(
    world, version, published
):
    bob, alice = world.joined("bob", version=version), world.joined("alice")
    numbers = (3, 0, 268_435_455) if version == 5 else (0, 0, 0)
    filters = (("chat/#", 0), ("chat/+", 1), ("chat/a", 0))
    for packet_id, (one, number) in enumerate(zip(filters, numbers, strict=True), 1):
        subscribe(bob, packet_id, one, subscription_identifier=number or None)
    alice.publish("chat/a", qos=published)
    (packet,) = publishes(bob)
    assert packet.qos == published
    assert sorted(packet.subscription_identifiers) == sorted(filter(None, numbers))


# [MQTT-3.8.4-8] [MQTT311-3.8.4-6]
@BOTH
@pytest.mark.parametrize("published", [0, 1])
@pytest.mark.parametrize("granted", [0, 1])
def test_a_message_comes_at_the_lower_qos_of_both(world, version, published, granted):
    bob, alice = world.joined("bob", version=version), world.joined("alice", version=version)
    assert subscribe(bob, 1, ("chat/a", granted))[0].reason_codes == (granted,)
    for _ in range(3):
        alice.publish("chat/a", qos=published)
    assert [packet.qos for packet in publishes(bob)] == [min(published, granted)] * 3


# [MQTT-3.8.3-3]
def test_no_local_keeps_away_what_one_published_oneself_and_nothing_else(world):
    alice, bob = world.joined("alice"), world.joined("bob")
    alice.send(Subscribe(1, (Subscription("chat/#", no_local=True),)))
    alice.received()
    for _ in range(2):
        alice.send(Publish("chat/a", b"own"))
        bob.send(Publish("chat/a", b"another's"))
    assert [packet.payload for packet in publishes(alice)] == [b"another's"] * 2


# [MQTT-2.2.1-6] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] [MQTT-3.11.3-1] [MQTT-3.11.3-2]
# [MQTT311-2.3.1-7] [MQTT311-3.10.4-4] [MQTT311-3.10.4-5] [MQTT311-3.10.4-6]
@BOTH
@pytest.mark.parametrize("filters", [("chat/a",), ("nothing", "chat/b", "chat/a", "chat/a"), ("nothing",)])
def test_one_unsuback_with_the_identifier_whatever_was_there(world, version, filters):
    client = world.joined("alice", version=version)
    subscribe(client, 1, ("chat/a", 0), ("chat/b", 0))
    there = {"chat/a", "chat/b"}
    codes = []
    for text in filters:
        codes.append(0 if text in there else 0x11)
        there.discard(text)
    assert unsubscribe(client, 40_000, *filters) == [Unsuback(40_000, tuple(codes) if version == 5 else ())]


# [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT311-3.10.4-1] [MQTT311-3.10.4-2]
@BOTH
@pytest.mark.parametrize("other", ["chat/A", "chat/+", "#", "chat/a/", "chat/a/#", "chat"])
def test_only_the_very_same_filter_is_ended_and_nothing_new_comes_by_it(world, version, other):
    bob, alice = world.joined("bob", version=version), world.joined("alice")
    subscribe(bob, 1, ("chat/a", 0))
    unsubscribe(bob, 2, other)
    alice.publish("chat/a")
    assert len(publishes(bob)) == 1
    unsubscribe(bob, 3, "chat/a")
    alice.publish("chat/a")
    assert publishes(bob) == []


# [MQTT-3.10.4-3] [MQTT311-3.10.4-3]
@BOTH
def test_what_was_on_its_way_is_finished_after_unsubscribe(make_world, version):
    world = make_world(max_inflight=1)
    bob, alice = world.joined("bob", version=version), world.joined("alice")
    subscribe(bob, 1, ("chat/a", 1))
    alice.publish("chat/a", b"under way", qos=1)
    alice.publish("chat/a", b"waiting", qos=1)
    (packet,) = publishes(bob)
    unsubscribe(bob, 2, "chat/a")
    alice.publish("chat/a", b"new", qos=1)
    bob.send(Puback(packet.packet_id))
    assert [packet.payload for packet in publishes(bob)] == [b"waiting"]


# [MQTT-3.1.2-29]
@pytest.mark.parametrize("wanted", [None, True, False])
def test_explanations_of_answers_come_unless_they_are_not_wanted(world, wanted):
    client = world.client()
    client.connect(world.person("alice", "chat/#"), request_problem_information=wanted)
    (suback,) = subscribe(client, 1, ("other", 0))
    (puback,) = client.publish("other", qos=1)
    assert (suback.reason_string is None, puback.reason_string is None) == (wanted is False,) * 2
