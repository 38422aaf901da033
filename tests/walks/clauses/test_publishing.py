"""PUBLISH at QoS 0 and 1, in and out: clause by clause."""

from __future__ import annotations

import pytest

from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Pingreq, Pingresp, Puback, Publish, Suback, Unsuback, Unsubscribe

BOTH = pytest.mark.parametrize("version", [4, 5])
# Beginnings of lanes, too: the second message on a topic takes the short way.
TWICE = (b"first", b"second", b"third")


def publishes(client):
    return [packet for packet in client.received() if isinstance(packet, Publish)]


# [MQTT-2.2.1-5] [MQTT-3.3.4-1] [MQTT-4.3.2-4] [MQTT311-2.3.1-6] [MQTT311-3.3.4-1] [MQTT311-4.3.2-2]
@BOTH
def test_qos_1_is_answered_with_its_identifier_and_qos_0_with_nothing(world, version):
    bob, alice = world.joined("bob"), world.joined("alice", version=version)
    bob.subscribe("chat/#")
    for packet_id in (7, 65_535, 1):
        answers = alice.publish("chat/a", qos=1, packet_id=packet_id)
        assert [(type(one), one.packet_id) for one in answers] == [(Puback, packet_id)]
        assert alice.publish("chat/a") == []
    alice.send(*(Publish("chat/a", qos=1, packet_id=n) for n in (3, 2, 9)))
    assert [one.packet_id for one in alice.received()] == [3, 2, 9]


# [MQTT-4.3.2-5] [MQTT-3.3.1-3] [MQTT-4.3.2-2] [MQTT311-3.3.1-3] [MQTT311-4.3.2-1] [MQTT311-4.3.2-2]
@BOTH
def test_after_puback_the_same_identifier_is_a_new_message_and_dup_does_not_travel(world, version):
    bob, alice = world.joined("bob", version=version), world.joined("alice", version=version)
    bob.subscribe("chat/#", qos=1)
    for payload, dup in zip(TWICE, (False, True, True), strict=True):
        alice.publish("chat/a", payload, qos=1, packet_id=5, dup=dup)
    assert [(p.payload, p.qos, p.dup) for p in publishes(bob)] == [(payload, 1, False) for payload in TWICE]


# [MQTT-2.2.1-2] [MQTT-3.3.1-2] [MQTT-4.3.1-1] [MQTT311-2.3.1-5] [MQTT311-3.3.1-2] [MQTT311-4.3.1-1]
@BOTH
@pytest.mark.parametrize("published", [0, 1])
def test_at_qos_0_there_is_neither_identifier_nor_dup(world, version, published):
    bob, alice = world.joined("bob", version=version), world.joined("alice", version=version)
    bob.subscribe("chat/#", qos=0)
    for payload in TWICE:
        alice.publish("chat/a", payload, qos=published)
    data = bytes(bob.transport.written)
    expected = [codec.encode(Publish("chat/a", payload), version) for payload in TWICE]
    assert data == b"".join(expected)
    assert data[0] == 0x30


# [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT311-2.3.1-4] [MQTT311-4.3.2-1]
@BOTH
def test_what_is_unacknowledged_keeps_its_identifier_to_itself(world, version):
    bob, alice = world.joined("bob", version=version), world.joined("alice", version=version)
    bob.subscribe("chat/#", qos=1)
    for _ in range(50):
        alice.publish("chat/a", qos=1, packet_id=1)
    packet_ids = [packet.packet_id for packet in publishes(bob)]
    assert len(set(packet_ids)) == 50
    assert 0 not in packet_ids


# [MQTT-3.3.4-9] [MQTT-4.3.2-3] [MQTT-4.9.0-1] [MQTT-4.9.0-2] [MQTT311-4.3.2-1]
@pytest.mark.parametrize(("receive_maximum", "window"), [(1, 1), (2, 2), (3, 3), (None, 4)])
def test_no_more_is_under_way_than_the_client_takes(make_world, receive_maximum, window):
    world = make_world(max_inflight=4)
    bob, alice = world.client(), world.joined("alice")
    bob.connect(world.person("bob"), receive_maximum=receive_maximum)
    bob.subscribe("chat/#", qos=1)
    for n in range(6):
        alice.publish("chat/a", b"%d" % n, qos=1)
    got = publishes(bob)
    assert [packet.payload for packet in got] == [b"%d" % n for n in range(window)]
    bob.send(Puback(65_000))
    assert publishes(bob) == []
    for n in range(window, 6):
        bob.send(Puback(got[0].packet_id))
        (one,) = publishes(bob)
        assert one.payload == b"%d" % n
        got = [*got[1:], one]


# [MQTT-3.3.4-10] [MQTT-4.9.0-3]
def test_a_full_window_holds_nothing_but_publishes_back(world):
    bob, alice = world.client(), world.joined("alice")
    bob.connect(world.person("bob"), receive_maximum=1)
    bob.subscribe("chat/#", qos=1)
    alice.publish("chat/a", qos=1)
    alice.publish("chat/a", qos=1)
    assert len(publishes(bob)) == 1
    bob.send(Pingreq(), Unsubscribe(9, ("x",)))
    assert [type(packet) for packet in bob.received()] == [Pingresp, Unsuback]
    assert [type(packet) for packet in bob.subscribe("chat/b")] == [Suback]
    assert [type(packet) for packet in bob.publish("chat/b", qos=1)] == [Puback]


# [MQTT-4.4.0-2]
@pytest.mark.parametrize("code", [0x80, 0x83, 0x87, 0x97, 0x99])
def test_a_puback_that_refuses_acknowledges_and_nothing_comes_again(world, code):
    bob, alice = world.client(), world.joined("alice")
    bob.connect(world.person("bob"), receive_maximum=1)
    bob.subscribe("chat/#", qos=1)
    for payload in TWICE:
        alice.publish("chat/a", payload, qos=1)
    for payload in TWICE:
        (packet,) = publishes(bob)
        assert packet.payload == payload
        bob.send(Puback(packet.packet_id, code))
    assert publishes(bob) == []


# [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
@pytest.mark.parametrize("indicator", [0, 1])
def test_what_describes_a_message_goes_on_unaltered(world, indicator):
    bob, alice = world.joined("bob"), world.joined("alice")
    bob.subscribe("chat/#", qos=1)
    sent = {
        "payload_format_indicator": indicator,
        "content_type": "text/plain; charset=utf-8",
        "response_topic": "answers/é",
        "correlation_data": b"\x00\xff",
        "user_properties": (("b", "1"), ("a", ""), ("b", "1"), ("", "\ufeff")),
    }
    for payload in TWICE:
        alice.publish("chat/a", payload, qos=1, **sent)
    got = publishes(bob)
    assert [packet.payload for packet in got] == list(TWICE)
    for packet in got:
        assert {name: getattr(packet, name) for name in sent} == sent


# [MQTT-3.3.2-3] [MQTT-4.7.2-1] [MQTT-4.7.3-4] [MQTT311-3.3.2-3] [MQTT311-4.7.2-1] [MQTT311-4.7.3-4]
@BOTH
@pytest.mark.parametrize(
    ("topic_filter", "received"),
    [
        ("chat/a", {"chat/a"}),
        ("chat/+", {"chat/a", "chat/A", "chat/"}),
        ("chat/#", {"chat", "chat/", "chat/a", "chat/A", "chat/a/b"}),
        ("+/a", {"chat/a", "/a"}),
        ("/+", {"/a"}),
        ("+", {"chat", "\u00e9", "e\u0301"}),
        ("\u00e9", {"\u00e9"}),
        ("#", {"chat", "chat/", "chat/a", "chat/A", "chat/a/b", "/a", "\u00e9", "e\u0301"}),
        ("$spaces/#", {"$spaces/a"}),
    ],
)
def test_a_client_gets_what_its_filter_matches_and_nothing_else(world, version, topic_filter, received):
    bob = world.joined("bob", "#", "$spaces/#", version=version)
    alice = world.joined("alice", "#", "$spaces/#", version=version)
    bob.subscribe(topic_filter)
    topics = ("chat", "chat/", "chat/a", "chat/A", "chat/a/b", "/a", "\u00e9", "e\u0301", "$spaces/a")
    for topic in topics * 2:
        alice.publish(topic)
    assert {packet.topic for packet in publishes(bob)} == received


# [MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT311-4.6.0-5] [MQTT311-4.6.0-6]
@BOTH
@pytest.mark.parametrize("qos", [0, 1])
def test_messages_of_one_client_keep_their_order(make_world, version, qos):
    world = make_world(max_inflight=3)
    bob = world.joined("bob", version=version)
    first, second = world.joined("alice", version=version), world.joined("carol", version=version)
    bob.subscribe("chat/#", qos=qos)
    got = []
    for n in range(40):
        publisher = (first, second)[n % 3 == 0]
        publisher.send(Publish("chat/a", b"%d" % n, qos, packet_id=n % 7 + 1))
        if n % 5 == 0:
            bob.link.writing_paused()
        if n % 5 == 3:
            bob.link.writing_resumed()
        if n % 4 == 0:
            new = publishes(bob)
            got += new
            if qos:
                bob.send(*(Puback(packet.packet_id) for packet in new))
    bob.link.writing_resumed()
    while new := publishes(bob):
        got += new
        if qos:
            bob.send(*(Puback(packet.packet_id) for packet in new))
    assert [packet.payload for packet in got] == [b"%d" % n for n in range(40)]


# [MQTT-3.3.2-12] [MQTT-3.3.2-7]
def test_every_topic_alias_up_to_the_announced_maximum_is_taken(world):
    bob, alice = world.joined("bob"), world.client()
    bob.subscribe("chat/#")
    (connack,) = alice.connect(world.person("alice"))
    most = connack.topic_alias_maximum
    for alias in range(1, most + 1):
        alice.publish(f"chat/{alias}", topic_alias=alias)
    publishes(bob)
    for alias in range(1, most + 1):
        alice.publish("", topic_alias=alias)
    assert [packet.topic for packet in publishes(bob)] == [f"chat/{alias}" for alias in range(1, most + 1)]
    again = world.joined("alice")
    again.publish("", topic_alias=1)
    assert again.transport.closed


# [MQTT311-3.3.5-2]
def test_a_publish_that_is_not_allowed_is_acknowledged_and_goes_nowhere_in_311(world):
    bob, alice = world.joined("bob", "#"), world.joined("alice", "chat/#", version=4)
    bob.subscribe("#")
    assert alice.publish("other/x", qos=1, packet_id=3) == [Puback(packet_id=3)]
    assert publishes(bob) == []
