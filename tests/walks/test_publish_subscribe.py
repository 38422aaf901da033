"""SUBSCRIBE and PUBLISH: what is let through, what is refused, and in which words."""

from __future__ import annotations

import json

import pytest

from tokenmq.mqtt.packets import Puback, Publish, Unsubscribe

ORG_B = "org_bbbbbbbbbbbb"


def codes(packets):
    return [code for packet in packets for code in packet.reason_codes]


def payloads(client):
    return [packet.payload for packet in client.received() if isinstance(packet, Publish)]


# Subscribing


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_subscription_within_the_grant_is_granted_as_asked(world, qos):
    client = world.joined("alice", "chat/#")
    assert codes(client.subscribe("chat/room1", "chat/+/x", "chat/#", qos=qos)) == [qos] * 3


@pytest.mark.parametrize("version", [4, 5])
def test_a2_a_subscription_wider_than_the_grant_is_refused(world, version):
    client = world.joined("alice", "chat/+", version=version)
    wanted = 0x87 if version == 5 else 0x80
    assert codes(client.subscribe("chat/#", "#", "+/+", "chat/+/#", "other")) == [wanted] * 5
    assert codes(client.subscribe("chat/+", "chat/a")) == [0, 0]


def test_the_refusal_says_why(world):
    client = world.joined("alice", "chat/+")
    (suback,) = client.subscribe("chat/#")
    assert suback.reason_string == "filter chat/# is wider than grant chat/+"


def test_no_reason_string_for_a_client_that_wants_none(world):
    client = world.client()
    client.connect(world.person("alice", "chat/+"), request_problem_information=False)
    (suback,) = client.subscribe("chat/#")
    assert suback.reason_string is None


def test_q20_one_reason_code_for_each_filter_in_order(world):
    client = world.joined("alice", "chat/#")
    (suback,) = client.subscribe("chat/a", "other", "chat/#/x", "chat/b", "$share/g/chat/a")
    assert suback.reason_codes == (0, 0x87, 0x8F, 0, 0)


@pytest.mark.parametrize("topic_filter", ["$share/g/other", "$share/g/#"])
def test_v35_a_shared_filter_is_judged_by_its_inner_filter(world, topic_filter):
    assert codes(world.joined("alice", "chat/#").subscribe(topic_filter)) == [0x87]


@pytest.mark.parametrize("topic_filter", ["$share/g", "$share//a", "$share/g+/a", "$share/g/"])
def test_q26_a_malformed_shared_filter_is_0x8f(world, topic_filter):
    assert codes(world.joined("alice", "#").subscribe(topic_filter)) == [0x8F]


@pytest.mark.parametrize(
    "topic_filter", ["$SYS/#", "$SYS/broker/uptime", "$auth/token", "$nope/a", "$presence/a"]
)
def test_v06_other_dollar_trees_are_refused(world, topic_filter):
    client = world.joined("alice", "#")
    assert codes(client.subscribe(topic_filter)) == [0x87]


def test_filters_over_our_limits_are_refused_one_by_one(make_world):
    world = make_world(
        max_topic_bytes=20, max_topic_levels=3, max_filters_per_subscribe=3, max_subscriptions_per_session=2
    )
    client = world.joined("alice", "#")
    assert codes(client.subscribe("a" * 21, "a/b/c/d", "ok", "late")) == [0x8F, 0x8F, 0, 0x97]
    assert codes(client.subscribe("ok", "second", "third")) == [0, 0, 0x97]


def test_v11_65535_slashes_are_refused_filter_and_topic(world):
    client = world.joined("alice", "#")
    assert codes(client.subscribe("/" * 65_535)) == [0x8F]
    (puback,) = client.publish("/" * 65_535, qos=1)
    assert puback.reason_code == 0x90


def test_unsubscribe_ends_delivery_and_says_what_was_there(world):
    client = world.joined("alice")
    client.subscribe("chat/#")
    client.send(Unsubscribe(packet_id=9, topic_filters=("chat/#", "chat/a")))
    assert codes(client.received()) == [0, 0x11]
    client.publish("chat/a")
    assert payloads(client) == []


# Publishing


@pytest.mark.parametrize("version", [4, 5])
def test_a_message_reaches_who_subscribed(world, version):
    bob = world.joined("bob", version=version)
    bob.subscribe("chat/room1")
    world.joined("alice", version=version).publish("chat/room1", b"hello")
    (message,) = bob.received()
    assert (message.topic, message.payload, message.qos, message.retain) == ("chat/room1", b"hello", 0, False)


@pytest.mark.parametrize(
    ("published", "subscribed", "delivered"), [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 1), (1, 2, 1)]
)
def test_qos_is_the_lower_of_both(world, published, subscribed, delivered):
    bob = world.joined("bob")
    bob.subscribe("chat/a", qos=subscribed)
    world.joined("alice").publish("chat/a", qos=published)
    assert [p.qos for p in bob.received()] == [delivered]


def test_q23_puback_says_whether_anybody_received(world):
    alice, bob = world.joined("alice"), world.joined("bob")
    assert alice.publish("chat/a", qos=1, packet_id=7) == [Puback(packet_id=7, reason_code=0x10)]
    bob.subscribe("chat/a")
    assert alice.publish("chat/a", qos=1, packet_id=8) == [Puback(packet_id=8)]


def test_a_publish_outside_the_grant_is_refused_with_0x87_and_why(world):
    bob = world.joined("bob", "#")
    bob.subscribe("#")
    (puback,) = world.joined("alice", "chat/#").publish("other/x", qos=1, packet_id=3)
    assert (puback.packet_id, puback.reason_code) == (3, 0x87)
    assert "other/x" in puback.reason_string
    assert payloads(bob) == []


def test_q28_a_refused_publish_in_311_is_acknowledged_and_dropped(world):
    bob = world.joined("bob", "#")
    bob.subscribe("#")
    alice = world.joined("alice", "chat/#", version=4)
    assert alice.publish("other/x", qos=1, packet_id=3) == [Puback(packet_id=3)]
    assert not alice.transport.closed
    assert payloads(bob) == []
    assert world.broker.counters.refused == 1


def test_q28_a_refused_publish_in_311_closes_where_that_is_set(world):
    import msgspec

    world.doors.settings = msgspec.structs.replace(world.doors.settings, refused_publish_311="close")
    alice = world.joined("alice", "chat/#", version=4)
    assert alice.publish("other/x", qos=1) == []
    assert alice.transport.closed


@pytest.mark.parametrize("version", [4, 5])
def test_a_refused_publish_at_qos_0_is_dropped_and_counted(world, version):
    alice = world.joined("alice", "chat/#", version=version)
    assert alice.publish("other/x") == []
    assert world.broker.counters.refused == 1
    assert not alice.transport.closed


def test_a_publish_to_a_dollar_tree_is_refused_unless_it_is_configured(world):
    alice = world.joined("alice", "$spaces/#", "#")
    assert alice.publish("$SYS/x", qos=1)[0].reason_code == 0x87
    assert alice.publish("$auth/token", b"secret", qos=1)[0].reason_code == 0x87
    assert alice.publish("$spaces/a", qos=1)[0].reason_code == 0x10


def test_q25_a_wildcard_does_not_reach_a_dollar_tree(world):
    bob, alice = world.joined("bob", "#", "$spaces/#"), world.joined("alice", "$spaces/#")
    bob.subscribe("#", "+/a")
    alice.publish("$spaces/a")
    assert payloads(bob) == []
    bob.subscribe("$spaces/+")
    alice.publish("$spaces/a")
    assert payloads(bob) == [b"hi"]


def test_v47_a_user_property_of_ours_is_refused(world):
    alice = world.joined("alice")
    (puback,) = alice.publish("chat/a", qos=1, user_properties=(("tokenmq-history-id", "1"),))
    assert puback.reason_code == 0x87


def test_properties_pass_through_unchanged(world):
    bob = world.joined("bob")
    bob.subscribe("chat/#", qos=1)
    sent = {
        "payload_format_indicator": 1,
        "message_expiry_interval": 300,
        "content_type": "application/json",
        "response_topic": "response/cs_1",
        "correlation_data": b"req__0001",
        "user_properties": (("a", "1"), ("b", "2"), ("a", "3")),
    }
    world.joined("alice").publish("chat/a", b"{}", qos=1, **sent)
    (message,) = bob.received()
    assert {name: getattr(message, name) for name in sent} == sent


def test_properties_are_left_out_for_a_311_receiver(world):
    bob = world.joined("bob", version=4)
    bob.subscribe("chat/#")
    world.joined("alice").publish("chat/a", b"x", content_type="text/plain")
    assert bob.received() == [Publish(topic="chat/a", payload=b"x")]


def test_subscription_identifiers_of_all_matching_subscriptions_come_along(world):
    bob = world.joined("bob")
    bob.subscribe("chat/#", subscription_identifier=1)
    bob.subscribe("chat/a", qos=1, subscription_identifier=2)
    world.joined("alice").publish("chat/a", qos=1)
    (message,) = bob.received()
    assert (sorted(message.subscription_identifiers), message.qos) == ([1, 2], 1)


def test_no_local_keeps_ones_own_messages_away(world):
    bob, alice = world.joined("bob"), world.joined("alice")
    alice.subscribe("chat/#", no_local=True)
    bob.subscribe("chat/#")
    alice.send(Publish(topic="chat/a", payload=b"mine"))
    bob.send(Publish(topic="chat/a", payload=b"yours"))
    assert payloads(bob) == [b"mine", b"yours"]
    assert payloads(alice) == [b"yours"]


def test_v17_alias_is_resolved_before_it_is_judged(world):
    bob = world.joined("bob", "#")
    bob.subscribe("#")
    alice = world.joined("alice", "chat/#")
    alice.publish("chat/a", b"1", topic_alias=1)
    alice.publish("", b"2", topic_alias=1)
    alice.publish("other/x", b"3", topic_alias=2)
    alice.publish("", b"4", topic_alias=2)
    assert payloads(bob) == [b"1", b"2"]
    assert world.broker.counters.refused == 2


def test_two_organizations_never_see_each_other(world):
    here = world.client()
    here.connect(world.person("alice", "#"), "same-id")
    there = world.client()
    there.connect(world.person("alice", "#", org_id=ORG_B), "same-id")
    assert not here.transport.closed
    here.subscribe("#")
    there.subscribe("#")
    here.send(Publish(topic="chat/a", payload=b"from here"))
    there.send(Publish(topic="chat/a", payload=b"from there"))
    assert payloads(here) == [b"from here"]
    assert payloads(there) == [b"from there"]


# Windows, queues, back-pressure


def test_the_window_holds_messages_back_until_acknowledged(make_world):
    world = make_world(max_inflight=2)
    bob, alice = world.joined("bob"), world.joined("alice")
    bob.subscribe("chat/#", qos=1)
    for n in range(5):
        alice.publish("chat/a", b"%d" % n, qos=1)
    first = bob.received()
    assert [p.payload for p in first] == [b"0", b"1"]
    bob.send(Puback(packet_id=first[0].packet_id))
    (third,) = bob.received()
    assert third.payload == b"2"
    bob.send(Puback(packet_id=first[1].packet_id), Puback(packet_id=third.packet_id))
    assert payloads(bob) == [b"3", b"4"]


def test_q19_the_peers_receive_maximum_is_obeyed(world):
    bob = world.client()
    bob.connect(world.person("bob"), receive_maximum=1)
    bob.subscribe("chat/#", qos=1)
    alice = world.joined("alice")
    for n in range(3):
        alice.publish("chat/a", b"%d" % n, qos=1)
    assert payloads(bob) == [b"0"]


def test_a_slow_consumer_loses_its_oldest_and_nobody_elses(make_world):
    world = make_world(max_queued_messages=3)
    slow, quick, alice = world.joined("slow"), world.joined("quick"), world.joined("alice")
    slow.subscribe("chat/#", "$auth/events")
    quick.subscribe("chat/#")
    slow.link.writing_paused()
    for n in range(6):
        alice.publish("chat/a", b"%d" % n)
    assert payloads(quick) == [b"%d" % n for n in range(6)]
    assert slow.received() == []
    slow.link.writing_resumed()
    assert payloads(slow) == [b"3", b"4", b"5"]
    assert world.broker.counters.dropped == 3
    world.tick()
    (event,) = slow.received()
    assert (event.topic, json.loads(event.payload)) == ("$auth/events", {"event": "dropped", "count": 3})


def test_q9_a_packet_over_the_peers_maximum_is_dropped_and_counted(world):
    bob = world.client()
    bob.connect(world.person("bob"), maximum_packet_size=64)
    bob.subscribe("chat/#")
    alice = world.joined("alice")
    alice.publish("chat/a", b"x" * 100)
    alice.publish("chat/a", b"small")
    assert payloads(bob) == [b"small"]
    assert world.broker.counters.dropped == 1


def test_order_is_kept_between_queue_and_link(world):
    bob, alice = world.joined("bob"), world.joined("alice")
    bob.subscribe("chat/#", qos=1)
    alice.publish("chat/a", b"0")
    bob.link.writing_paused()
    alice.publish("chat/a", b"1")
    alice.publish("chat/a", b"2", qos=1)
    bob.link.writing_resumed()
    alice.publish("chat/a", b"3")
    assert payloads(bob) == [b"0", b"1", b"2", b"3"]


# Its own events


def test_a_denied_publish_is_told_at_most_once_a_second(world):
    alice = world.joined("alice", "chat/#")
    assert codes(alice.subscribe("$auth/events")) == [0]
    (event,) = alice.publish("other/x")
    assert event.topic == "$auth/events"
    assert json.loads(event.payload) == {
        "event": "denied",
        "action": "publish",
        "topic": "other/x",
        "reason": "no grant of publish matches other/x",
    }
    assert alice.publish("other/y") == []
    world.clock.advance(1)
    assert len(alice.publish("other/y")) == 1


def test_events_are_seen_by_their_own_connection_only(world):
    alice, bob = world.joined("alice"), world.joined("bob")
    alice.subscribe("$auth/events")
    bob.publish("other/x")
    assert alice.received() == []
    assert codes(alice.subscribe("$share/g/$auth/events")) == [0x87]


def test_a_connections_own_events_carry_the_identifier_they_were_subscribed_with(world):
    alice = world.joined("alice", "chat/#")
    alice.subscribe("$auth/events", subscription_identifier=9)
    (event,) = alice.publish("other/x")
    assert (event.topic, event.subscription_identifiers) == ("$auth/events", (9,))
