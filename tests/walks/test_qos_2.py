"""QoS 2, from the publisher to the broker and from the broker to the receiver."""

from __future__ import annotations

import msgspec
import pytest

from tokenmq.broker.records import DeliveryRecord, MessageRecord, ReceivedRecord
from tokenmq.mqtt.packets import Connack, Disconnect, Puback, Pubcomp, Publish, Pubrec, Pubrel

both = pytest.mark.parametrize("version", [4, 5])
# Whether the session outlives its connection: then its steps wait for the store.
lasting = pytest.mark.parametrize("lasts", [False, True], ids=["memory", "lasting"])


def connecting(world, user_id, *topics, version=5, lasts=True, **fields):
    """Return a client whose session outlives its connection, or does not.

    If it does its CONNACK may wait for the store.
    """
    client = world.client(version)
    if lasts:
        fields = {"clean_start": False} | fields
        if version == 5:
            fields.setdefault("session_expiry_interval", 600)
    client.at_once = client.connect(world.person(user_id, *topics), f"c-{user_id}", **fields)
    assert not (lasts and world.kept.waits and client.at_once)
    return client


def behind_connack(packets):
    """Return what came behind a CONNACK that lets in."""
    connack, *behind = packets
    assert isinstance(connack, Connack)
    assert connack.reason_code == 0
    return behind


def joined(world, user_id, *topics, lasts=False, **fields):
    """Return a client that is connected so, and what came behind its CONNACK."""
    client = connecting(world, user_id, *topics, lasts=lasts, **fields)
    client.behind = behind_connack(client.at_once)
    return client


def listening(world, *, version=5, lasts=False, qos=2, **fields):
    bob = joined(world, "bob", version=version, lasts=lasts, **fields)
    bob.subscribe("chat/#", qos=qos)
    return bob


def payloads(packets):
    return [packet.payload for packet in packets if isinstance(packet, Publish)]


# From the publisher


@lasting
@both
def test_q23_every_step_of_a_publisher(world, version, lasts):
    """[MQTT-4.3.3-8] [MQTT-4.3.3-11] [MQTT-2.2.1-5] [MQTT311-4.3.3-2]."""
    bob = listening(world, version=version)
    alice = joined(world, "alice", version=version, lasts=lasts)
    assert alice.publish("chat/a", b"x", qos=2, packet_id=7) == [Pubrec(packet_id=7)]
    assert payloads(bob.received()) == [b"x"]
    alice.send(Pubrel(packet_id=7))
    assert alice.received() == [Pubcomp(packet_id=7)]
    assert bob.received() == [], "nothing is routed at PUBREL"


@lasting
@both
def test_v17_a_duplicate_is_answered_and_not_delivered(world, version, lasts):
    """[MQTT-4.3.3-10]."""
    bob = listening(world, version=version)
    alice = joined(world, "alice", version=version, lasts=lasts)
    for _ in range(50):
        assert alice.publish("chat/a", b"x", qos=2, packet_id=7, dup=True) == [Pubrec(packet_id=7)]
    assert payloads(bob.received()) == [b"x"]
    assert alice.link.outbox.session.unreleased == {7}
    assert len(world.kept.all(ReceivedRecord)) == lasts


@lasting
@both
def test_after_pubcomp_the_identifier_is_another_message(world, version, lasts):
    """[MQTT-4.3.3-12]."""
    bob = listening(world, version=version)
    alice = joined(world, "alice", version=version, lasts=lasts)
    for payload in (b"x", b"y", b"z"):
        alice.publish("chat/a", payload, qos=2, packet_id=7)
        alice.send(Pubrel(packet_id=7))
    assert payloads(bob.received()) == [b"x", b"y", b"z"]
    assert [type(packet) for packet in alice.received()] == [Pubcomp, Pubrec, Pubcomp, Pubrec, Pubcomp][-1:]


def test_v72_a_pubrel_that_comes_twice_releases_once(world):
    """What is published under the identifier behind its PUBCOMP is another message."""
    bob = listening(world)
    alice = joined(world, "alice", lasts=True)
    alice.publish("chat/a", b"x", qos=2, packet_id=7)
    world.kept.waits = True
    alice.send(Pubrel(packet_id=7))
    alice.link.lost()
    alice = connecting(world, "alice")
    alice.send(Pubrel(packet_id=7))
    world.kept.go_on(1)  # the first PUBREL
    assert alice.received() == []
    world.kept.go_on(1)  # CONNECT
    assert behind_connack(alice.received()) == [Pubcomp(packet_id=7)]
    alice.publish("chat/a", b"y", qos=2, packet_id=7)
    world.kept.go_on()
    assert alice.received() == [Pubrec(packet_id=7)]
    alice.link.lost()
    world.kept.waits = False
    alice = joined(world, "alice", lasts=True)
    assert alice.publish("chat/a", b"y", qos=2, packet_id=7, dup=True) == [Pubrec(packet_id=7)]
    assert payloads(bob.received()) == [b"x", b"y"]


def test_v72_pubcomp_does_not_cross_the_pubrel_that_the_next_connection_sends_again(world):
    """It would answer that, and the second one whatever is published under the identifier then."""
    alice = joined(world, "alice", lasts=True)
    alice.publish("chat/a", b"x", qos=2, packet_id=7)
    world.kept.waits = True
    alice.send(Pubrel(packet_id=7))
    alice.link.lost()
    alice = connecting(world, "alice")
    world.kept.go_on()
    assert behind_connack(alice.received()) == []
    alice.send(Pubrel(packet_id=7))
    assert [(type(p), p.packet_id) for p in alice.received()] == [(Pubcomp, 7)]


@pytest.mark.parametrize("then", ["waits", "goes", "ends"])
def test_v72_a_pubrel_that_cannot_be_kept_is_tried_again_at_the_tick(world, then):
    bob = listening(world)
    alice = joined(world, "alice", lasts=True)
    alice.publish("chat/a", b"x", qos=2, packet_id=7)
    world.kept.fails = True
    alice.send(Pubrel(packet_id=7))
    assert alice.received() == []
    world.kept.fails = False
    alice.send(Pubrel(packet_id=7))
    if then != "waits":
        alice.send(Disconnect(session_expiry_interval=600 if then == "goes" else 0))
        alice.link.lost()
    world.tick()
    assert alice.received() == ([Pubcomp(packet_id=7)] if then == "waits" else [])
    assert world.kept.all(ReceivedRecord) == []
    world.joined("carol").publish("chat/a", b"others go on", qos=1)
    assert payloads(bob.received()) == [b"x", b"others go on"]


@lasting
@both
def test_a_pubrel_of_nothing_is_completed_and_said_so(world, version, lasts):
    alice = joined(world, "alice", version=version, lasts=lasts)
    alice.send(Pubrel(packet_id=9))
    assert alice.received() == [Pubcomp(packet_id=9, reason_code=0x92 if version == 5 else 0)]


@lasting
@both
def test_a_pubrel_that_is_there_twice_in_one_piece_finds_something_once(world, version, lasts):
    alice = joined(world, "alice", version=version, lasts=lasts)
    alice.publish("chat/a", qos=2, packet_id=7)
    alice.send(Pubrel(packet_id=7), Pubrel(packet_id=7))
    nothing = [Pubcomp(packet_id=7, reason_code=0x92 if version == 5 else 0)]
    # Of a lasting session it comes while the first is on its way to the store: one answer is both's.
    assert alice.received() == [Pubcomp(packet_id=7), *([] if lasts else nothing)]


@both
def test_an_unreleased_identifier_outlives_connection_and_process(world, version):
    bob = listening(world, version=version, lasts=True)
    alice = joined(world, "alice", version=version, lasts=True)
    alice.publish("chat/a", b"x", qos=2, packet_id=7)
    alice.link.lost()
    alice = joined(world, "alice", version=version, lasts=True)
    assert alice.publish("chat/a", b"x", qos=2, packet_id=7, dup=True) == [Pubrec(packet_id=7)]
    assert payloads(bob.received()) == [b"x"]
    world.restart()
    alice = joined(world, "alice", version=version, lasts=True)
    assert alice.publish("chat/a", b"x", qos=2, packet_id=7, dup=True) == [Pubrec(packet_id=7)]
    alice.send(Pubrel(packet_id=7))
    assert alice.received() == [Pubcomp(packet_id=7)]
    bob = joined(world, "bob", version=version, lasts=True)
    assert payloads(bob.behind) == [b"x"]
    assert world.kept.all(ReceivedRecord) == []


def test_v72_a_new_message_under_a_released_identifier_is_new_after_a_restart_too(world):
    bob = listening(world, lasts=True)
    alice = joined(world, "alice", lasts=True)
    alice.publish("chat/a", b"x", qos=2, packet_id=7)
    alice.send(Pubrel(packet_id=7))
    world.restart()
    alice = joined(world, "alice", lasts=True)
    alice.publish("chat/a", b"y", qos=2, packet_id=7)
    bob = joined(world, "bob", lasts=True)
    assert payloads(bob.behind) == [b"x", b"y"]


@lasting
def test_a_refused_message_is_over_and_its_pubrel_finds_nothing(world, lasts):
    """[MQTT-4.3.3-9], the wire contract, "Answers"."""
    bob = listening(world)
    alice = joined(world, "alice", lasts=lasts)
    (pubrec,) = alice.publish("other/x", b"x", qos=2, packet_id=7)
    assert (pubrec.packet_id, pubrec.reason_code) == (7, 0x87)
    alice.send(Pubrel(packet_id=7))
    assert alice.received() == [Pubcomp(packet_id=7, reason_code=0x92)]
    assert alice.publish("chat/a", b"y", qos=2, packet_id=7) == [Pubrec(packet_id=7)]
    assert payloads(bob.received()) == [b"y"]


@lasting
def test_q28_a_refused_message_in_311_goes_through_its_steps_to_nobody(world, lasts):
    """[MQTT311-3.3.5-2]."""
    bob = joined(world, "bob", "#", version=4)
    bob.subscribe("#", qos=2)
    alice = joined(world, "alice", version=4, lasts=lasts)
    assert alice.publish("other/x", qos=2, packet_id=7) == [Pubrec(packet_id=7)]
    alice.send(Pubrel(packet_id=7))
    assert alice.received() == [Pubcomp(packet_id=7)]
    assert bob.received() == []


def test_q28_or_closes_where_the_organization_wants_that(world):
    world.doors.settings = msgspec.structs.replace(world.doors.settings, refused_publish_311="close")
    alice = joined(world, "alice", version=4)
    assert alice.publish("other/x", qos=2) == []
    assert alice.transport.closed


def test_pubrec_says_whether_anybody_received(world):
    alice = joined(world, "alice")
    assert alice.publish("chat/a", qos=2, packet_id=7) == [Pubrec(packet_id=7, reason_code=0x10)]


@lasting
@pytest.mark.parametrize("lane", [False, True], ids=["full path", "lane"])
def test_q19_more_than_the_receive_maximum_is_0x93(make_world, lane, lasts):
    """[MQTT-3.3.4-7]."""
    world = make_world(receive_maximum=3)
    listening(world)
    alice = joined(world, "alice", lasts=lasts)
    if lane:
        alice.publish("chat/a", qos=0)
    for packet_id in (1, 2, 3):
        alice.publish("chat/a", qos=2, packet_id=packet_id)
    alice.send(Pubrel(packet_id=2))
    alice.publish("chat/a", qos=2, packet_id=2)
    assert not alice.transport.closed
    assert alice.publish("chat/a", qos=2, packet_id=3, dup=True) == [Pubrec(packet_id=3)], "not a new one"
    (disconnect,) = alice.publish("chat/a", qos=2, packet_id=4)
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason_code == 0x93
    assert alice.transport.closed


def test_q19_a_burst_above_the_receive_maximum_is_0x93_in_a_lane_too(make_world):
    world = make_world(receive_maximum=3)
    bob = listening(world)
    alice = joined(world, "alice")
    alice.publish("chat/a", qos=0)
    bob.received()
    alice.send(*(Publish(topic="chat/a", qos=2, packet_id=packet_id) for packet_id in range(1, 6)))
    assert [getattr(packet, "reason_code", None) for packet in alice.received()] == [0, 0, 0, 0x93]
    assert len(bob.received()) == 3


def test_q19_the_receive_maximum_is_told(make_world):
    client = make_world(receive_maximum=3)
    alice = client.client()
    assert alice.connect(client.person("alice"))[0].receive_maximum == 3


def test_q19_what_an_earlier_connection_left_unanswered_does_not_count(make_world):
    """A QoS 1 message is sent again on the next connection: as a message of that one."""
    world = make_world(receive_maximum=2)
    bob = listening(world, lasts=True)
    alice = joined(world, "alice", lasts=True)
    world.kept.waits = True
    alice.publish("chat/a", b"1", qos=1, packet_id=1)
    alice.publish("chat/a", b"2", qos=1, packet_id=2)
    alice.link.lost()
    alice = connecting(world, "alice")
    alice.publish("chat/a", b"1", qos=1, packet_id=1, dup=True)
    alice.publish("chat/a", b"2", qos=1, packet_id=2, dup=True)
    assert not alice.transport.closed
    world.kept.go_on()
    assert behind_connack(alice.received()) == [Puback(packet_id=1), Puback(packet_id=2)]
    assert payloads(bob.received()) == [b"1", b"2", b"1", b"2"]


# Levels and order


@lasting
@pytest.mark.parametrize(
    ("published", "subscribed", "delivered"),
    [(2, 2, 2), (2, 1, 1), (2, 0, 0), (1, 2, 1), (0, 2, 0)],
)
@both
def test_qos_is_the_lower_of_both(world, version, published, subscribed, delivered, lasts):
    """[MQTT-3.8.4-8] [MQTT311-3.8.4-6]."""
    bob = listening(world, version=version, qos=subscribed, lasts=lasts)
    alice = joined(world, "alice", version=version)
    for _ in range(3):  # the full path first, then lanes where there are any
        alice.publish("chat/a", b"x", qos=published)
        (message,) = bob.received()
        assert (message.qos, message.dup) == (delivered, False)
        if delivered:
            bob.send((Puback if delivered == 1 else Pubrec)(packet_id=message.packet_id))
            bob.received()
            bob.send(Pubcomp(packet_id=message.packet_id))


def test_an_answer_of_the_lower_level_is_enough_after_a_downgrade(world):
    bob = listening(world, qos=1, lasts=True)
    joined(world, "alice").publish("chat/a", b"x", qos=2)
    (message,) = bob.received()
    bob.send(Puback(packet_id=message.packet_id))
    bob.link.lost()
    assert joined(world, "bob", lasts=True).behind == []


@lasting
@both
def test_q24_messages_come_in_the_order_in_which_they_were_published(make_world, version, lasts):
    """[MQTT-4.6.0-5] [MQTT-4.6.0-6]."""
    world = make_world(max_inflight=2)
    bob = listening(world, version=version, lasts=lasts)
    alice = joined(world, "alice", version=version)
    for number in range(6):
        alice.publish("chat/a", b"%d" % number, qos=2)
    came = []
    while packets := bob.received():
        came += payloads(packets)
        assert len(payloads(packets)) <= 2
        bob.send(*(Pubrec(packet_id=p.packet_id) for p in packets))
        assert [type(packet) for packet in bob.received()] == [Pubrel] * len(packets)
        bob.send(*(Pubcomp(packet_id=p.packet_id) for p in packets))
    assert came == [b"%d" % number for number in range(6)]


# To the receiver


@lasting
@both
def test_q23_every_step_to_a_receiver(world, version, lasts):
    """[MQTT-4.3.3-2] [MQTT-4.3.3-4] [MQTT-4.3.3-5] [MQTT311-4.3.3-1]."""
    bob = listening(world, version=version, lasts=lasts)
    joined(world, "alice", version=version).publish("chat/a", b"x", qos=2)
    (message,) = bob.received()
    assert (message.qos, message.dup) == (2, False)
    bob.send(Pubrec(packet_id=message.packet_id))
    assert bob.received() == [Pubrel(packet_id=message.packet_id)]
    bob.send(Pubcomp(packet_id=message.packet_id))
    assert bob.received() == []
    assert bob.link.outbox.session.inflight == set()
    world.tick()
    assert world.kept.all(DeliveryRecord) == world.kept.all(MessageRecord) == []


@lasting
@both
def test_a_pubrec_of_nothing_is_released_and_said_so(world, version, lasts):
    bob = listening(world, version=version, lasts=lasts)
    bob.send(Pubrec(packet_id=9))
    assert bob.received() == [Pubrel(packet_id=9, reason_code=0x92 if version == 5 else 0)]


@lasting
def test_a_pubcomp_or_puback_of_nothing_does_nothing(world, lasts):
    bob = listening(world, lasts=lasts)
    bob.send(Pubcomp(packet_id=9), Puback(packet_id=8))
    assert bob.received() == []
    assert not bob.transport.closed


@lasting
@pytest.mark.parametrize("code", [0x80, 0x83, 0x87, 0x97, 0x99])
def test_a_delivery_that_its_receiver_refuses_is_over(make_world, code, lasts):
    """[MQTT-4.4.0-2]."""
    world = make_world(max_inflight=1)
    bob = listening(world, lasts=lasts)
    alice = joined(world, "alice")
    alice.publish("chat/a", b"x", qos=2)
    alice.publish("chat/a", b"y", qos=2)
    (message,) = bob.received()
    bob.send(Pubrec(packet_id=message.packet_id, reason_code=code))
    (following,) = bob.received()
    assert following.payload == b"y", "no PUBREL, and its place is free"
    if lasts:
        bob.link.lost()
        assert payloads(joined(world, "bob", lasts=True).behind) == [b"y"]


def test_no_packet_identifier_is_given_twice(make_world):
    """[MQTT-2.2.1-4] [MQTT-4.3.3-1]."""
    world = make_world(max_inflight=10)
    bob = listening(world, lasts=True)
    alice, carol = joined(world, "alice"), joined(world, "carol")
    for packet_id in range(1, 6):
        alice.publish("chat/a", qos=2, packet_id=packet_id)
        carol.publish("chat/b", qos=1, packet_id=packet_id)
    packets = bob.received()
    assert len({packet.packet_id for packet in packets}) == 10


@pytest.mark.parametrize("restart", [False, True])
def test_v72_pubrel_goes_out_only_when_it_is_kept_that_it_may(world, restart):
    """A peer that has had PUBREL forgets the identifier: the message would be new to it."""
    bob = listening(world, lasts=True)
    joined(world, "alice").publish("chat/a", b"x", qos=2)
    (message,) = bob.received()
    world.kept.waits = True
    bob.send(Pubrec(packet_id=message.packet_id))
    bob.send(Pubrec(packet_id=message.packet_id))
    assert bob.received() == []
    bob.link.lost()
    bob = connecting(world, "bob")
    bob.send(Pubrec(packet_id=message.packet_id))
    assert bob.received() == []
    if restart:
        world.kept.waits = False
        world.restart()
        bob = joined(world, "bob", lasts=True)
        (again,) = bob.behind
        assert (again.packet_id, again.dup) == (message.packet_id, True)
    else:
        world.kept.go_on()
        assert behind_connack(bob.received()) == [Pubrel(packet_id=message.packet_id)]


def test_a_released_message_needs_its_contents_no_more(world):
    bob = listening(world, lasts=True)
    joined(world, "alice").publish("chat/a", b"x" * 1_000, qos=2)
    (message,) = bob.received()
    bob.send(Pubrec(packet_id=message.packet_id))
    world.tick()
    assert world.kept.all(MessageRecord) == []
    world.restart()
    bob = joined(world, "bob", lasts=True)
    assert bob.behind == [Pubrel(packet_id=message.packet_id)]
    bob.send(Pubcomp(packet_id=message.packet_id))
    world.tick()
    assert world.kept.all(DeliveryRecord) == []


@pytest.mark.parametrize("restart", [False, True])
def test_v15_what_a_peer_may_hold_is_released_when_it_may_not_have_it_any_more(world, restart):
    """Else it would take the next message under that identifier for this one."""
    bob = listening(world, lasts=True)
    joined(world, "alice").publish("chat/a", b"x", qos=2)
    (message,) = bob.received()
    bob.link.lost()
    if restart:
        world.restart()
    bob = joined(world, "bob", "chat/b", lasts=True)
    assert bob.behind == [Pubrel(packet_id=message.packet_id)]
    bob.send(Pubcomp(packet_id=message.packet_id, reason_code=0x92))
    world.tick()
    assert world.kept.all(DeliveryRecord) == world.kept.all(MessageRecord) == []


def test_what_a_full_queue_costs_is_released_if_the_peer_may_hold_it(make_world):
    world = make_world(max_queued_messages=2)
    bob = listening(world, lasts=True)
    alice = joined(world, "alice")
    alice.publish("chat/a", b"0", qos=2)
    (first,) = bob.received()
    bob.link.lost()
    world.restart()
    alice = joined(world, "alice")
    for number in (1, 2):
        alice.publish("chat/a", b"%d" % number, qos=2)
    bob = joined(world, "bob", lasts=True)
    assert bob.behind[0] == Pubrel(packet_id=first.packet_id)
    assert payloads(bob.behind) == [b"1", b"2"]
    assert first.packet_id not in {p.packet_id for p in bob.behind[1:]}


@pytest.mark.parametrize("version", [4, 5])
def test_a_message_too_large_for_its_receiver_counts_as_sent(world, version):
    """[MQTT-3.1.2-24] [MQTT-3.1.2-25]."""
    bob = joined(world, "bob", lasts=True, maximum_packet_size=100)
    bob.subscribe("chat/#", qos=2)
    alice = joined(world, "alice", version=version)
    alice.publish("chat/a", b"x" * 200, qos=2)
    alice.publish("chat/a", b"y", qos=2)
    assert payloads(bob.received()) == [b"y"]
    assert world.broker.counters.dropped == 1
    world.tick()
    assert len(world.kept.all(MessageRecord)) == 1


@pytest.mark.parametrize("qos", [1, 2])
def test_no_packet_identifier_is_given_twice_where_runs_wait_beside_deliveries(world, qos):
    """[MQTT-2.2.1-4]: a session gets deliveries one by one from its first shared subscription on."""
    bob = joined(world, "bob")
    bob.subscribe("chat/a", qos=qos)
    alice = joined(world, "alice")
    bob.link.writing_paused()
    for packet_id in (1, 2, 3):
        alice.publish("chat/a", b"run", qos=qos, packet_id=packet_id)
    bob.subscribe("$share/g/chat/b", qos=qos)
    for packet_id in (1, 2, 3):
        alice.publish("chat/b", b"shared", qos=qos, packet_id=packet_id + 3)
    bob.link.writing_resumed()
    packets = [packet for packet in bob.received() if isinstance(packet, Publish)]
    assert len(packets) == 6
    assert len({packet.packet_id for packet in packets}) == 6
