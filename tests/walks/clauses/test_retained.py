"""Retained messages: clause by clause."""

from __future__ import annotations

import pytest

from tokenmq.mqtt.packets import Publish

BOTH = pytest.mark.parametrize("version", [4, 5])


def publishes(packets):
    return [(p.topic, p.payload, p.qos, p.retain) for p in packets if isinstance(p, Publish)]


def what_is_kept(world, version=5, topic_filter="chat/#", qos=2):
    """Return what somebody new gets who subscribes."""
    number = len(world.doors.identities)
    reader = world.joined(f"reader{number}", "#", version=version)
    return publishes(reader.subscribe(topic_filter, qos=qos))


# [MQTT-3.3.1-5] [MQTT-3.3.1-9] [MQTT311-3.3.1-5] [MQTT311-3.3.1-6] [MQTT311-3.3.1-7] [MQTT311-3.3.1-8]
@BOTH
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_the_last_message_with_retain_is_kept_with_its_qos_and_sent_with_retain(world, version, qos):
    alice = world.joined("alice", "#", version=version)
    alice.publish("chat/a", b"old", qos=1, retain=True)
    alice.publish("chat/a", b"new", qos=qos, retain=True)
    alice.publish("chat/b", b"b", retain=True)
    alice.publish("other", b"x", retain=True)
    kept = [("chat/a", b"new", qos, True), ("chat/b", b"b", 0, True)]
    assert sorted(what_is_kept(world, version)) == kept
    assert what_is_kept(world, version, "chat/a", qos=0) == [("chat/a", b"new", 0, True)]


# [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT311-3.3.1-10] [MQTT311-3.3.1-11]
@BOTH
def test_an_empty_message_is_passed_on_and_clears_the_topic(world, version):
    bob, alice = world.joined("bob", version=version), world.joined("alice", version=version)
    alice.publish("chat/a", b"x", retain=True)
    bob.subscribe("chat/#")
    alice.publish("chat/a", b"", retain=True)
    assert publishes(bob.received()) == [("chat/a", b"", 0, False)]
    assert what_is_kept(world, version) == []


# [MQTT-3.3.1-8] [MQTT311-3.3.1-12]
@BOTH
@pytest.mark.parametrize("payload", [b"y", b""])
def test_a_message_without_retain_changes_nothing_that_is_kept(world, version, payload):
    alice = world.joined("alice", version=version)
    alice.publish("chat/b", payload)
    assert what_is_kept(world, version) == []
    alice.publish("chat/a", b"x", retain=True)
    for qos in (0, 1, 2):
        alice.publish("chat/a", payload, qos=qos)
    assert what_is_kept(world, version) == [("chat/a", b"x", 0, True)]


# [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.8.4-4]
@pytest.mark.parametrize(("handling", "first", "again"), [(0, 1, 1), (1, 1, 0), (2, 0, 0)])
def test_retain_handling_says_when_what_is_kept_is_sent(world, handling, first, again):
    bob, alice = world.joined("bob"), world.joined("alice")
    alice.publish("chat/a", b"x", retain=True)
    counts = [len(publishes(bob.subscribe("chat/#", retain_handling=handling))) for _ in range(3)]
    assert counts == [first, again, again]
    alice.publish("chat/a", b"live")
    assert publishes(bob.received()) == [("chat/a", b"live", 0, False)]


# [MQTT311-3.8.4-3]
def test_subscribing_again_replaces_sends_what_is_kept_and_loses_nothing_in_311(world):
    bob, alice = world.joined("bob", version=4), world.joined("alice")
    alice.publish("chat/a", b"x", retain=True)
    for qos in (1, 0):
        assert publishes(bob.subscribe("chat/a", qos=qos)) == [("chat/a", b"x", 0, True)]
        alice.publish("chat/a", b"live", qos=1)
        assert publishes(bob.received()) == [("chat/a", b"live", qos, False)]


# [MQTT-3.3.1-12] [MQTT-3.3.1-13] [MQTT311-3.3.1-9]
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("published", [False, True])
def test_retain_reaches_an_established_subscription_only_as_published(world, published, qos):
    plain, as_published, old = world.joined("bob"), world.joined("carol"), world.joined("dave", version=4)
    plain.subscribe("chat/#", qos=qos)
    as_published.subscribe("chat/#", qos=qos, retain_as_published=True)
    old.subscribe("chat/#", qos=qos)
    alice = world.joined("alice")
    for _ in range(3):
        alice.send(Publish("chat/a", b"x", qos, published, packet_id=qos and 9))
    for client, flag in ((plain, False), (as_published, published), (old, False)):
        assert {retain for _, _, _, retain in publishes(client.received())} == {flag}


# [MQTT311-3.1.2-7]
@BOTH
def test_what_is_kept_does_not_end_with_the_session_of_who_left_it(world, version):
    alice = world.joined("alice", version=version)
    alice.publish("chat/a", b"x", retain=True)
    alice.link.lost()
    world.joined("alice", client_id="c-alice", version=version)
    assert what_is_kept(world, version) == [("chat/a", b"x", 0, True)]
