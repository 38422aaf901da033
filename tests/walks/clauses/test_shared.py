"""Shared subscriptions: clause by clause."""

from __future__ import annotations

import pytest

from tokenmq.mqtt.packets import Puback, Pubcomp, Publish, Pubrec, Pubrel

SHARE = "$share/g/chat/#"


def publishes(client):
    return [packet for packet in client.received() if isinstance(packet, Publish)]


def member(world, name, password=None, qos=2):
    """Connect with a session that outlives its connection, and join the group."""
    client = world.client()
    password = password or world.person(name)
    rest = client.connect(password, f"c-{name}", clean_start=False, session_expiry_interval=600)[1:]
    if not rest:
        client.subscribe(SHARE, qos=qos)
    return client, password, rest


# [MQTT-4.8.2-3]
def test_each_member_gets_what_its_granted_qos_allows(world):
    low, high, alice = world.joined("low"), world.joined("high"), world.joined("alice")
    low.subscribe(SHARE, qos=0)
    high.subscribe(SHARE, qos=1)
    for n in range(12):
        alice.publish("chat/a", b"%d" % n, qos=2)
    got = {"low": publishes(low), "high": publishes(high)}
    assert {packet.qos for packet in got["low"]} <= {0}
    assert {packet.qos for packet in got["high"]} <= {1}
    assert sorted(int(packet.payload) for packets in got.values() for packet in packets) == list(range(12))


# [MQTT-4.8.2-4]
@pytest.mark.parametrize("released", [False, True])
def test_a_delivery_at_qos_2_that_was_begun_is_finished_with_the_same_member(world, released):
    one, password, _ = member(world, "one")
    alice = world.joined("alice")
    alice.publish("chat/a", b"x", qos=2)
    (packet,) = publishes(one)
    if released:
        one.send(Pubrec(packet.packet_id))
        one.received()
    other, _, _ = member(world, "other")
    one.link.lost()
    one, _, rest = member(world, "one", password)
    if released:
        assert rest == [Pubrel(packet.packet_id)]
    else:
        assert [(p.payload, p.packet_id, p.dup) for p in rest] == [(b"x", packet.packet_id, True)]
        one.send(Pubrec(packet.packet_id))
        assert one.received() == [Pubrel(packet.packet_id)]
    one.send(Pubcomp(packet.packet_id))
    assert publishes(other) == []


# [MQTT-4.8.2-5]
@pytest.mark.parametrize("released", [False, True])
def test_if_its_session_ends_nobody_else_gets_it(world, released):
    one, _, _ = member(world, "one")
    world.joined("alice").publish("chat/a", b"x", qos=2)
    (packet,) = publishes(one)
    if released:
        one.send(Pubrec(packet.packet_id))
    other, _, _ = member(world, "other")
    one.link.lost()
    world.clock.advance(40)
    world.tick()
    other.send(Puback(1))
    world.clock.advance(40)
    world.tick()
    assert publishes(other) == []
    one, _, _ = world.client(), None, None
    one.connect(world.person("one"), "c-one", clean_start=True)
    assert publishes(other) == []


# [MQTT-4.8.2-6]
@pytest.mark.parametrize("qos", [1, 2])
def test_what_a_member_refuses_goes_to_nobody_else(world, qos):
    one, password, _ = member(world, "one", qos=qos)
    world.joined("alice").publish("chat/a", b"x", qos=qos)
    (packet,) = publishes(one)
    other, _, _ = member(world, "other", qos=qos)
    one.send((Puback if qos == 1 else Pubrec)(packet.packet_id, 0x97))
    assert one.received() == other.received() == []
    one.link.lost()
    one = world.client()
    one.connect(password, "c-one", clean_start=True)
    assert one.received() == publishes(other) == []
