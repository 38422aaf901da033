"""QoS 2 in both directions: clause by clause."""

from __future__ import annotations

import pytest

from tokenmq.mqtt.packets import Puback, Pubcomp, Publish, Pubrec, Pubrel

BOTH = pytest.mark.parametrize("version", [4, 5])


def publishes(client):
    return [packet for packet in client.received() if isinstance(packet, Publish)]


def kept(world, version, name="bob", password=None):
    """Connect with a session that outlives its connection; returns client, password and CONNACK."""
    client = world.client(version)
    password = password or world.person(name)
    fields = {"session_expiry_interval": 600} if version == 5 else {}
    packets = client.connect(password, f"c-{name}", clean_start=False, **fields)
    return client, password, packets


def back(world, client, password, name="bob"):
    """Lose the connection and come back; returns the new client and what it was sent after CONNACK."""
    client.link.lost()
    again, _, packets = kept(world, client.version, name, password)
    assert packets[0].session_present
    return again, packets[1:]


# [MQTT-2.2.1-5] [MQTT-3.3.4-1] [MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12]
# [MQTT311-2.3.1-6] [MQTT311-3.3.4-1] [MQTT311-4.3.3-2]
@BOTH
@pytest.mark.parametrize("is_kept", [False, True])
def test_a_message_is_delivered_once_until_it_is_released_and_then_is_a_new_one(world, version, is_kept):
    bob = world.joined("bob")
    bob.subscribe("chat/#")
    alice = kept(world, version, "alice")[0] if is_kept else world.joined("alice", version=version)
    for payload in (b"one", b"two", b"three"):
        assert alice.publish("chat/a", payload, qos=2, packet_id=7) == [Pubrec(7)]
        assert alice.publish("chat/a", b"again", qos=2, packet_id=7, dup=True) == [Pubrec(7)]
        # Spelled out it does not take the short way.
        spelled_out = version == 5 and payload == b"one"
        alice.send(Pubrel(7, user_properties=(("k", "v"),) if spelled_out else ()))
        assert alice.received() == [Pubcomp(7)]
    assert [packet.payload for packet in publishes(bob)] == [b"one", b"two", b"three"]


# [MQTT-4.3.3-9]
def test_after_a_pubrec_that_refuses_the_identifier_is_a_new_message(world):
    bob, alice = world.joined("bob"), world.joined("alice", "chat/#")
    bob.subscribe("chat/#")
    (pubrec,) = alice.publish("other", qos=2, packet_id=7)
    assert (type(pubrec), pubrec.packet_id, pubrec.reason_code) == (Pubrec, 7, 0x87)
    assert alice.publish("chat/a", b"new", qos=2, packet_id=7) == [Pubrec(7)]
    assert [packet.payload for packet in publishes(bob)] == [b"new"]


# [MQTT-4.3.3-13]
def test_the_sequence_is_finished_though_the_message_is_over(world):
    alice = world.joined("alice")
    alice.publish("chat/a", qos=2, packet_id=7, message_expiry_interval=1)
    world.clock.advance(5)
    world.tick()
    alice.send(Pubrel(7))
    assert alice.received() == [Pubcomp(7)]


# [MQTT-4.3.3-1] [MQTT-4.3.3-2] [MQTT-4.3.3-4] [MQTT-3.3.4-9] [MQTT311-4.3.3-1]
@BOTH
@pytest.mark.parametrize("is_kept", [False, True])
def test_a_delivery_goes_from_publish_to_pubcomp_and_holds_its_place_until_then(make_world, version, is_kept):
    world = make_world(max_inflight=1)
    bob = kept(world, version)[0] if is_kept else world.joined("bob", version=version)
    alice = world.joined("alice")
    bob.subscribe("chat/#", qos=2)
    for payload in (b"one", b"two"):
        alice.publish("chat/a", payload, qos=2)
    for payload in (b"one", b"two"):
        (packet,) = bob.received()
        assert (packet.payload, packet.qos, packet.dup) == (payload, 2, False)
        assert packet.packet_id
        bob.send(Pubrec(packet.packet_id))
        assert bob.received() == [Pubrel(packet.packet_id)]
        bob.send(Pubcomp(packet.packet_id))
    assert bob.received() == []


# [MQTT-3.3.1-1] [MQTT-4.3.3-3] [MQTT-4.3.3-5] [MQTT-4.3.3-6] [MQTT-4.4.0-1] [MQTT311-3.3.1-1]
# [MQTT311-4.3.3-1] [MQTT311-4.4.0-1]
@BOTH
def test_what_is_sent_again_is_publish_before_pubrec_and_pubrel_after_it(world, version):
    bob, password, _ = kept(world, version)
    bob.subscribe("chat/#", qos=2)
    alice = world.joined("alice")
    alice.publish("chat/a", b"x", qos=2)
    (first,) = bob.received()
    bob, sent = back(world, bob, password)
    assert sent == [Publish("chat/a", b"x", 2, dup=True, packet_id=first.packet_id)]
    bob.send(Pubrec(first.packet_id))
    assert bob.received() == [Pubrel(first.packet_id)]
    for _ in range(2):
        bob, sent = back(world, bob, password)
        assert sent == [Pubrel(first.packet_id)]
    bob.send(Pubcomp(first.packet_id))
    bob, sent = back(world, bob, password)
    assert sent == []


# [MQTT-4.3.3-7]
def test_what_was_sent_does_not_expire(world):
    bob, password, _ = kept(world, 5)
    bob.subscribe("chat/#", qos=2)
    world.joined("alice").publish("chat/a", b"x", qos=2, message_expiry_interval=10)
    (first,) = bob.received()
    bob.link.lost()
    world.clock.advance(20)
    world.tick()
    bob, _, packets = kept(world, 5, "bob", password)
    assert [(type(p), p.packet_id) for p in packets[1:]] == [(Publish, first.packet_id)]


# [MQTT-4.4.0-2]
@pytest.mark.parametrize("code", [0x80, 0x97])
@pytest.mark.parametrize("qos", [1, 2])
def test_an_acknowledgement_that_refuses_ends_the_delivery_for_good(world, qos, code):
    bob, password, _ = kept(world, 5)
    bob.subscribe("chat/#", qos=qos)
    world.joined("alice").publish("chat/a", b"x", qos=qos)
    (packet,) = bob.received()
    bob.send((Puback if qos == 1 else Pubrec)(packet.packet_id, code))
    assert bob.received() == []
    _, sent = back(world, bob, password)
    assert sent == []
