"""Wills: clause by clause."""

from __future__ import annotations

import pytest

from tokenmq.mqtt.packets import Disconnect, Pingreq, Publish, Will

BOTH = pytest.mark.parametrize("version", [4, 5])


@pytest.fixture
def reader(world):
    client = world.joined("reader", "#")
    client.subscribe("#", retain_as_published=True)
    client.received()
    return client


def publishes(client):
    """Return what has come, and stay connected."""
    client.send(Pingreq())
    return [packet for packet in client.received() if isinstance(packet, Publish)]


def dying(world, version=5, password=None, *, will=None, **fields):
    """Connect with a will."""
    client = world.client(version)
    will = will or Will("chat/will", b"gone", qos=1)
    client.connect(password or world.person("alice"), "c-alice", will=will, **fields)
    return client


# [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT311-3.1.2-8] [MQTT311-3.1.2-10]
@BOTH
@pytest.mark.parametrize("how", ["lost", "silent", "malformed", "taken over"])
def test_a_will_is_published_once_when_the_connection_goes_without_disconnect(world, reader, version, how):
    password = world.person("alice")
    client = dying(world, version, password, keep_alive=10)
    assert publishes(reader) == []
    if how == "lost":
        client.link.lost()
    elif how == "silent":
        world.clock.advance(17)
        world.tick()
    elif how == "malformed":
        client.send_bytes(b"\x00\x00")
    else:
        world.client(version).connect(password, "c-alice")
    assert [(packet.topic, packet.payload) for packet in publishes(reader)] == [("chat/will", b"gone")]
    client.link.lost()
    for _ in range(3):
        world.clock.advance(10)
        world.tick()
    assert publishes(reader) == []


# [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.14.4-3] [MQTT311-3.1.2-10] [MQTT311-3.14.4-3]
@BOTH
def test_disconnect_takes_the_will_back(world, reader, version):
    client = dying(world, version)
    client.send(Disconnect())
    client.link.lost()
    world.clock.advance(100)
    world.tick()
    assert publishes(reader) == []


# [MQTT-3.1.2-8]
@pytest.mark.parametrize("code", [0x04, 0x80])
def test_a_disconnect_that_is_not_normal_leaves_the_will(world, reader, code):
    dying(world).send(Disconnect(code))
    assert [packet.payload for packet in publishes(reader)] == [b"gone"]


# [MQTT-2.2.1-4] [MQTT311-2.3.1-4]
@BOTH
@pytest.mark.parametrize("qos", [1, 2])
def test_a_will_has_a_packet_identifier_like_every_message(world, version, qos):
    bob = world.joined("bob", version=version)
    bob.subscribe("chat/#", qos=2)
    dying(world, will=Will("chat/will", b"gone", qos=qos)).link.lost()
    (packet,) = publishes(bob)
    assert (packet.qos, packet.packet_id > 0) == (qos, True)


# [MQTT311-3.1.2-12]
@BOTH
def test_without_a_will_none_is_published(world, reader, version):
    world.joined("alice", version=version).link.lost()
    assert publishes(reader) == []


# [MQTT-3.1.2-14] [MQTT-3.1.2-15] [MQTT311-3.1.2-16] [MQTT311-3.1.2-17]
@BOTH
@pytest.mark.parametrize("retain", [False, True])
def test_a_will_is_retained_if_it_says_so(world, reader, version, retain):
    dying(world, version, will=Will("chat/will", b"gone", qos=1, retain=retain)).link.lost()
    assert [packet.retain for packet in publishes(reader)] == [retain]
    late = world.joined("late")
    kept = [packet.payload for packet in late.subscribe("chat/#") if isinstance(packet, Publish)]
    assert kept == ([b"gone"] if retain else [])


# [MQTT-3.1.2-8]
def test_a_will_waits_for_its_delay_and_no_longer_than_its_session(world, reader):
    will = Will("chat/will", b"gone", will_delay_interval=60)
    for expiry, waits in ((600, 60), (30, 30), (None, 0)):
        password = world.person("alice")
        dying(world, 5, password, will=will, session_expiry_interval=expiry).link.lost()
        if waits:
            world.clock.advance(waits - 2)
            world.tick()
            assert publishes(reader) == []
            world.clock.advance(4)
            world.tick()
        assert [packet.payload for packet in publishes(reader)] == [b"gone"]


# [MQTT-3.1.2-8] [MQTT-3.1.3-9]
@pytest.mark.parametrize("anew", [False, True])
def test_who_is_back_within_the_delay_has_no_will_published(world, reader, anew):
    password = world.person("alice")
    will = Will("chat/will", b"gone", will_delay_interval=60)
    dying(world, 5, password, will=will, session_expiry_interval=600).link.lost()
    world.clock.advance(30)
    world.tick()
    again = world.client()
    fields = {"will": will} if anew else {}
    again.connect(password, "c-alice", clean_start=False, session_expiry_interval=600, **fields)
    for _ in range(3):
        world.clock.advance(40)
        again.send(Pingreq())
        world.tick()
    assert publishes(reader) == []
    assert not again.transport.closed


# [MQTT-3.1.3-10]
def test_the_user_properties_of_a_will_keep_their_order(world, reader):
    pairs = (("b", "1"), ("a", "2"), ("b", "1"), ("a", ""))
    dying(world, will=Will("chat/will", b"gone", user_properties=pairs)).link.lost()
    assert [packet.user_properties for packet in publishes(reader)] == [pairs]
