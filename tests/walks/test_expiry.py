"""Message Expiry Interval: counted down wherever a message waits, and over when it is (MQTT 5 §3.3.2.3.3)."""

from __future__ import annotations

import pytest

from tokenmq.broker.records import DeliveryRecord, MessageRecord
from tokenmq.mqtt.packets import Puback, Pubcomp, Publish, Pubrec, Pubrel

both = pytest.mark.parametrize("version", [4, 5])


def joined(world, user_id="bob", *, version=5, lasts=False, **fields):
    client = world.client(version)
    if lasts:
        fields = {"clean_start": False} | fields
        if version == 5:
            fields.setdefault("session_expiry_interval", 6_000)
    connack, *client.behind = client.connect(world.person(user_id), f"c-{user_id}", **fields)
    assert connack.reason_code == 0
    return client


def listening(world, *, qos=1, **options):
    bob = joined(world, **options)
    bob.subscribe("chat/#", qos=qos)
    return bob


def told(packets):
    """Return payloads and what is left of their lives."""
    return [(p.payload, p.message_expiry_interval) for p in packets if isinstance(p, Publish)]


# Where nothing waits


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("lasts", [False, True])
def test_a_message_that_goes_on_at_once_keeps_its_interval(world, qos, lasts):
    bob = listening(world, qos=qos, lasts=lasts)
    alice = joined(world, "alice")
    for _ in range(3):
        alice.publish("chat/a", b"x", qos=qos, message_expiry_interval=60)
    assert told(bob.received()) == [(b"x", 60)] * 3


@both
def test_311_knows_nothing_of_it(world, version):
    bob = listening(world, lasts=True, version=4)
    joined(world, "alice", version=5).publish("chat/a", b"x", qos=1, message_expiry_interval=60)
    (packet,) = bob.received()
    assert (packet.payload, packet.message_expiry_interval) == (b"x", None)
    assert bytes(packet.payload) == b"x"


# A run that waits for a link, or for the window


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 3])
def test_a_run_that_waits_for_its_link_is_counted_down(world, qos, count):
    """[MQTT-3.3.2-6]."""
    bob = listening(world, qos=qos)
    alice = joined(world, "alice")
    alice.publish("chat/a", qos=qos)
    bob.received()
    bob.link.writing_paused()
    alice.send(
        *(
            Publish(
                topic="chat/a", payload=b"%d" % n, qos=qos, packet_id=n + 7 if qos else 0,
                message_expiry_interval=60, content_type="t",
            )
            for n in range(count)
        )
    )  # fmt: skip
    world.clock.advance(20.5)
    bob.link.writing_resumed()
    assert told(bob.received()) == [(b"%d" % n, 40) for n in range(count)]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_run_that_is_over_before_its_link_takes_it_is_never_sent(world, qos):
    """[MQTT-3.3.2-5]."""
    bob = listening(world, qos=qos)
    alice = joined(world, "alice")
    bob.link.writing_paused()
    alice.publish("chat/a", b"short", qos=qos, message_expiry_interval=10)
    alice.publish("chat/a", b"long", qos=qos, message_expiry_interval=100)
    alice.publish("chat/a", b"for ever", qos=qos)
    world.clock.advance(10)
    bob.link.writing_resumed()
    assert told(bob.received()) == [(b"long", 90), (b"for ever", None)]
    assert world.broker.counters.expired == 1


def test_a_run_for_311_is_over_too(world):
    bob = listening(world, version=4)
    alice = joined(world, "alice")
    bob.link.writing_paused()
    alice.publish("chat/a", b"short", qos=1, message_expiry_interval=10)
    alice.publish("chat/a", b"long", qos=1, message_expiry_interval=100)
    world.clock.advance(10)
    bob.link.writing_resumed()
    assert told(bob.received()) == [(b"long", None)]


def test_a_run_with_subscription_identifiers_is_counted_down_where_its_interval_stands(world):
    bob = joined(world)
    bob.subscribe("chat/#", qos=1, subscription_identifier=200_000)
    bob.subscribe("chat/a", qos=1, subscription_identifier=7)
    alice = joined(world, "alice")
    bob.link.writing_paused()
    alice.publish(
        "chat/a", b"x", qos=1, content_type="t", message_expiry_interval=60, user_properties=(("a", "b"),)
    )
    world.clock.advance(1)
    bob.link.writing_resumed()
    (packet,) = bob.received()
    assert packet.message_expiry_interval == 59
    assert sorted(packet.subscription_identifiers) == [7, 200_000]
    assert (packet.content_type, packet.user_properties) == ("t", (("a", "b"),))


@pytest.mark.parametrize("lasts", [False, True])
def test_a_message_that_waits_for_the_window_is_counted_down_or_over(make_world, lasts):
    world = make_world(max_inflight=1)
    bob = listening(world, lasts=lasts)
    alice = joined(world, "alice")
    alice.publish("chat/a", b"0", qos=1)
    alice.publish("chat/a", b"1", qos=1, message_expiry_interval=10)
    alice.publish("chat/a", b"2", qos=1, message_expiry_interval=100)
    (first,) = bob.received()
    world.clock.advance(30)
    bob.send(Puback(packet_id=first.packet_id))
    assert told(bob.received()) == [(b"2", 70)]


# A backlog


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_for_who_is_away_is_counted_down_or_over(world, qos, restart):
    bob = listening(world, qos=qos, lasts=True)
    bob.link.lost()
    alice = joined(world, "alice")
    alice.publish("chat/a", b"short", qos=qos, message_expiry_interval=10, content_type="t")
    alice.publish("chat/a", b"long", qos=qos, message_expiry_interval=100, content_type="t")
    alice.publish("chat/a", b"for ever", qos=qos)
    world.clock.advance(5)
    if restart:
        world.restart()
    world.clock.advance(5.5)
    bob = joined(world, lasts=True)
    assert told(bob.behind) == [(b"long", 90), (b"for ever", None)]
    for packet in bob.behind:
        if isinstance(packet, Pubrel):
            bob.send(Pubcomp(packet_id=packet.packet_id))
    world.tick()
    assert len(world.kept.all(MessageRecord)) == len(world.kept.all(DeliveryRecord)) == 2


@pytest.mark.parametrize("restart", [False, True])
def test_a_message_for_311_that_is_away_is_over_too_and_has_no_properties(world, restart):
    bob = listening(world, version=4, lasts=True)
    bob.link.lost()
    alice = joined(world, "alice")
    alice.publish("chat/a", b"short", qos=1, message_expiry_interval=10)
    alice.publish("chat/a", b"long", qos=1, message_expiry_interval=100)
    if restart:
        world.restart()
    world.clock.advance(10)
    bob = joined(world, version=4, lasts=True)
    assert told(bob.behind) == [(b"long", None)]
    bob.link.lost()
    world.clock.advance(10)
    assert told(joined(world, version=5, lasts=True).behind) == [(b"long", 80)]


def test_what_was_sent_at_qos_1_and_is_over_is_not_sent_again(world):
    bob = listening(world, lasts=True)
    joined(world, "alice").publish("chat/a", b"x", qos=1, message_expiry_interval=10)
    assert len(bob.received()) == 1
    bob.link.lost()
    world.clock.advance(10)
    assert joined(world, lasts=True).behind == []


def test_what_was_sent_at_qos_2_does_not_expire(world):
    """[MQTT-4.3.3-7]."""
    bob = listening(world, qos=2, lasts=True)
    joined(world, "alice").publish("chat/a", b"x", qos=2, message_expiry_interval=10)
    (first,) = bob.received()
    bob.link.lost()
    world.clock.advance(10)
    bob = joined(world, lasts=True)
    (again,) = bob.behind
    assert (again.packet_id, again.dup, again.payload) == (first.packet_id, True, b"x")
    bob.send(Pubrec(packet_id=again.packet_id))
    assert bob.received() == [Pubrel(packet_id=again.packet_id)]


def test_of_what_may_have_been_sent_before_a_restart_only_the_end_is_sent(world):
    """It is over and must not be sent; if it was, its receiver waits for PUBREL."""
    bob = listening(world, qos=2, lasts=True)
    joined(world, "alice").publish("chat/a", b"x", qos=2, message_expiry_interval=10)
    (first,) = bob.received()
    world.restart()
    world.clock.advance(10)
    assert joined(world, lasts=True).behind == [Pubrel(packet_id=first.packet_id)]


def test_what_waits_for_the_store_is_counted_down_and_may_be_over(world):
    bob = listening(world, lasts=True)
    alice = joined(world, "alice")
    world.kept.waits = True
    alice.publish("chat/a", b"short", qos=1, packet_id=1, message_expiry_interval=10)
    alice.publish("chat/a", b"long", qos=1, packet_id=2, message_expiry_interval=100)
    world.clock.advance(15)
    world.kept.go_on()
    assert alice.received() == [Puback(packet_id=1), Puback(packet_id=2)]
    assert told(bob.received()) == [(b"long", 85)]


@pytest.mark.parametrize("qos", [0, 1])
def test_what_waits_behind_a_message_that_waits_is_counted_down_for_everybody(world, qos):
    listening(world, lasts=True)
    carol = joined(world, "carol")
    carol.subscribe("other/#", "chat/#", qos=qos)
    password = world.person("alice", "chat/#", "other/#")
    alice = world.client()
    alice.connect(password, "c-alice")
    carol.received()
    world.kept.waits = True
    alice.publish("chat/a", b"x", qos=1)
    alice.publish("chat/b", b"short", qos=0, message_expiry_interval=10)
    alice.publish("chat/b", b"long", qos=0, message_expiry_interval=100)
    world.clock.advance(30)
    world.kept.go_on()
    assert told(carol.received()) == [(b"x", None), (b"long", 70)]


def test_an_interval_of_0_is_over_as_soon_as_it_waits(world):
    bob = listening(world, lasts=True)
    carol = joined(world, "carol")
    carol.subscribe("chat/#")
    alice = joined(world, "alice")
    carol.link.writing_paused()
    alice.publish("chat/a", b"x", qos=0, message_expiry_interval=0)
    carol.link.writing_resumed()
    assert carol.received() == []
    bob.link.lost()
    alice.publish("chat/a", b"y", qos=1, message_expiry_interval=0)
    assert joined(world, lasts=True).behind == []
