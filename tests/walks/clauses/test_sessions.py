"""Sessions that outlive their connection: clause by clause."""

from __future__ import annotations

import pytest

from tokenmq.mqtt.packets import Disconnect, Puback, Publish

BOTH = pytest.mark.parametrize("version", [4, 5])


def enter(world, version, password, client_id="c-bob", *, clean_start=False, expiry=600):
    """Connect; returns the client, its CONNACK and what followed."""
    client = world.client(version)
    fields = {"session_expiry_interval": expiry} if version == 5 else {}
    connack, *rest = client.connect(password, client_id, clean_start=clean_start, **fields)
    assert connack.reason_code == 0
    return client, connack, rest


def publishes(packets):
    return [(packet.payload, packet.qos) for packet in packets if isinstance(packet, Publish)]


# [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.2-23] [MQTT-3.1.4-4] [MQTT-3.2.2-3] [MQTT-4.5.0-1]
# [MQTT311-3.1.2-4] [MQTT311-3.1.2-5] [MQTT311-3.1.4-3] [MQTT311-3.2.2-2] [MQTT311-3.2.2-3]
# [MQTT311-4.1.0-1] [MQTT311-4.5.0-1]
@BOTH
def test_a_session_goes_on_with_its_subscriptions_and_what_came_meanwhile(world, version):
    password = world.person("bob")
    bob, connack, _ = enter(world, version, password)
    assert not connack.session_present
    bob.subscribe("chat/#", qos=2)
    bob.link.lost()
    alice = world.joined("alice")
    for qos in (1, 2):
        alice.publish("chat/a", b"%d" % qos, qos=qos)
    bob, connack, rest = enter(world, version, password)
    assert connack.session_present
    assert publishes(rest) == [(b"1", 1), (b"2", 2)]
    alice.publish("chat/a", b"live")
    assert publishes(bob.received()) == [(b"live", 0)]


# [MQTT-3.1.2-4] [MQTT-3.1.4-4] [MQTT-3.2.2-2] [MQTT311-3.1.2-6] [MQTT311-3.1.4-3] [MQTT311-3.2.2-1]
@BOTH
def test_a_clean_start_throws_away_what_was_kept(world, version):
    password = world.person("bob")
    bob, _, _ = enter(world, version, password)
    bob.subscribe("chat/#", qos=1)
    bob.link.lost()
    alice = world.joined("alice")
    alice.publish("chat/a", b"lost", qos=1)
    bob, connack, rest = enter(world, version, password, clean_start=True)
    assert (connack.session_present, rest) == (False, [])
    alice.publish("chat/a", qos=1)
    assert bob.received() == []
    bob.link.lost()
    if version == 4:  # it lasted as long as that connection
        assert not enter(world, version, password)[1].session_present


# [MQTT-3.1.2-23] [MQTT-4.1.0-1] [MQTT-4.1.0-2] [MQTT311-4.1.0-2]
@BOTH
def test_a_session_ends_when_its_expiry_has_passed_and_not_while_it_is_connected(make_world, version):
    world = make_world(max_session_expiry_seconds=600)
    password = world.person("bob", life=100_000)
    bob, _, _ = enter(world, version, password)
    bob.subscribe("chat/#", qos=1)
    for _ in range(20):
        world.clock.advance(50)
        bob.send(Puback(1))
        world.tick()
    assert not bob.transport.closed
    bob.link.lost()
    world.clock.advance(590)
    world.tick()
    bob, connack, _ = enter(world, version, password)
    assert connack.session_present
    bob.link.lost()
    world.clock.advance(602)
    world.tick()
    assert not enter(world, version, password)[1].session_present


# [MQTT-4.1.0-2]
@pytest.mark.parametrize("ending", ["lost", "disconnect"])
def test_a_session_without_expiry_ends_with_its_connection(world, ending):
    password = world.person("bob")
    bob, _, _ = enter(world, 5, password, expiry=None)
    if ending == "lost":
        bob.link.lost()
    else:
        bob.send(Disconnect())
    assert not enter(world, 5, password, expiry=None)[1].session_present


# [MQTT-3.1.3-2] [MQTT311-3.1.3-2]
@BOTH
def test_the_client_id_names_the_session(world, version):
    password = world.person("bob")
    bob, _, _ = enter(world, version, password, "phone")
    bob.subscribe("chat/#", qos=1)
    bob.link.lost()
    world.joined("alice").publish("chat/a", b"x", qos=1)
    for other in ("Phone", "phone ", "tablet"):
        _, connack, rest = enter(world, version, password, other)
        assert (connack.session_present, rest) == (False, [])
    _, connack, rest = enter(world, version, password, "phone")
    assert connack.session_present
    assert publishes(rest) == [(b"x", 1)]


# [MQTT-3.3.1-1] [MQTT-3.3.1-3] [MQTT-4.4.0-1] [MQTT311-3.3.1-1] [MQTT311-4.4.0-1]
@BOTH
def test_what_is_unacknowledged_comes_again_in_order_on_resuming_and_at_no_other_time(world, version):
    password = world.person("bob")
    bob, _, _ = enter(world, version, password)
    bob.subscribe("chat/#", qos=1)
    alice = world.joined("alice")
    for n in range(5):
        alice.publish("chat/a", b"%d" % n, qos=1)
    first = bob.received()
    bob.send(Puback(first[1].packet_id))
    for _ in range(5):
        world.clock.advance(10)
        world.tick()
    assert bob.received() == []
    bob.link.lost()
    _, _, again = enter(world, version, password)
    wanted = [(p.payload, p.packet_id) for p in first if p is not first[1]]
    assert [(p.payload, p.packet_id) for p in again] == wanted
    assert all(packet.dup for packet in again)
    assert not any(packet.dup for packet in first)


@BOTH
def test_subscribe_may_ask_for_any_qos(world, version):
    client = world.joined("alice", version=version)
    assert [client.subscribe("chat/a", qos=qos)[0].reason_codes for qos in (0, 1, 2)] == [(0,), (1,), (2,)]


# [MQTT-3.3.2-5] [MQTT-3.3.2-6]
def test_expiry_is_counted_down_while_a_message_waits_and_what_is_over_is_dropped(world):
    password = world.person("bob")
    bob, _, _ = enter(world, 5, password)
    bob.subscribe("chat/#", qos=1)
    bob.link.lost()
    alice = world.joined("alice")
    alice.publish("chat/a", b"short", qos=1, message_expiry_interval=10)
    alice.publish("chat/a", b"long", qos=1, message_expiry_interval=100)
    alice.publish("chat/a", b"for ever", qos=1)
    world.clock.advance(30)
    world.tick()
    _, _, rest = enter(world, 5, password)
    assert [(p.payload, p.message_expiry_interval) for p in rest] == [(b"long", 70), (b"for ever", None)]


# [MQTT-3.3.2-5] [MQTT-3.3.2-6]
@pytest.mark.parametrize("qos", [0, 1])
def test_expiry_is_counted_down_behind_a_slow_connection_too(world, qos):
    bob, alice = world.joined("bob"), world.joined("alice")
    bob.subscribe("chat/#", qos=qos)
    bob.link.writing_paused()
    alice.publish("chat/a", b"short", qos=qos, message_expiry_interval=10)
    alice.publish("chat/a", b"long", qos=qos, message_expiry_interval=100)
    world.clock.advance(30)
    bob.link.writing_resumed()
    assert [(p.payload, p.message_expiry_interval) for p in bob.received()] == [(b"long", 70)]


# [MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11]
@pytest.mark.parametrize("most", [None, 0, 1, 3])
def test_topic_aliases_of_ours_are_within_what_the_client_takes(world, most):
    bob, alice = world.client(), world.joined("alice")
    bob.connect(world.person("bob"), topic_alias_maximum=most)
    bob.subscribe("chat/#", qos=1)
    topics = [f"chat/a-rather-long-topic/{n % 5}" for n in range(25)]
    for n, topic in enumerate(topics):
        alice.publish(topic, qos=n % 2)
    stands_for = {}
    got = []
    for packet in bob.received():
        alias = packet.topic_alias
        if alias is not None:
            assert 1 <= alias <= (most or 0)
            if packet.topic:
                stands_for[alias] = packet.topic
        got.append(packet.topic or stands_for[alias])
    assert got == topics
