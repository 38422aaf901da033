"""What is acknowledged is on the disk, and who needs no disk does not wait for it (ruling 16)."""

from __future__ import annotations

import msgspec
import pytest

from tokenmq.access.policy import Policy
from tokenmq.broker.records import (
    DeliveryRecord,
    MessageRecord,
    ReceivedRecord,
    RetainedRecord,
    SubscriptionRecord,
)
from tokenmq.mqtt.packets import (
    Disconnect,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Unsuback,
    Unsubscribe,
)
from tokenmq.tokens.records import OrganizationRecord

ORG = "org_aaaaaaaaaaaa"
both = pytest.mark.parametrize("version", [4, 5])


def lasting(world, user_id, *topics, version=5, **fields):
    """Return a client whose session outlives its connection, and what came behind its CONNACK."""
    client = world.client(version)
    fields = {"clean_start": False} | fields
    if version == 5:
        fields.setdefault("session_expiry_interval", 600)
    connack, *client.behind = client.connect(world.person(user_id, *topics), f"c-{user_id}", **fields)
    assert connack.reason_code == 0
    return client


def listening(world, *, version=5, topic_filter="chat/#", qos=2):
    bob = lasting(world, "bob", version=version)
    bob.subscribe(topic_filter, qos=qos)
    return bob


def payloads(packets):
    return [packet.payload for packet in packets if isinstance(packet, Publish)]


def message(payload, qos, packet_id=0, topic="chat/a", **fields):
    return Publish(topic=topic, payload=payload, qos=qos, packet_id=packet_id, **fields)


# Behind the disk


@pytest.mark.parametrize(("qos", "answer"), [(1, Puback), (2, Pubrec)])
@both
def test_n1_a_message_is_delivered_and_acknowledged_when_it_is_kept(world, version, qos, answer):
    bob = listening(world, version=version)
    alice = world.joined("alice", version=version)
    world.kept.waits = True
    assert alice.publish("chat/a", b"x", qos=qos, packet_id=7) == []
    assert bob.received() == []
    world.kept.go_on()
    assert world.kept.all(MessageRecord)[0].payload == b"x"
    assert len(world.kept.all(DeliveryRecord)) == 1
    assert alice.received() == [answer(packet_id=7)]
    assert payloads(bob.received()) == [b"x"]


@both
def test_v72_pubrec_and_pubcomp_of_a_lasting_publisher_come_when_their_step_is_kept(world, version):
    alice = lasting(world, "alice", version=version)
    world.kept.waits = True
    assert alice.publish("chat/a", b"x", qos=2, packet_id=7) == []
    world.kept.go_on()
    assert isinstance(alice.received()[0], Pubrec)
    assert [record.packet_id for record in world.kept.all(ReceivedRecord)] == [7]
    alice.send(Pubrel(packet_id=7))
    assert alice.received() == []
    world.kept.go_on()
    assert alice.received() == [Pubcomp(packet_id=7)]
    assert world.kept.all(ReceivedRecord) == []


@both
def test_suback_and_unsuback_of_a_lasting_session_come_when_it_is_kept(world, version):
    bob = lasting(world, "bob", version=version)
    world.kept.waits = True
    assert bob.subscribe("chat/#", "other", qos=1) == []
    world.kept.go_on()
    (suback,) = bob.received()
    assert suback.reason_codes == (1, 0x87 if version == 5 else 0x80)
    assert [record.topic_filter for record in world.kept.all(SubscriptionRecord)] == ["chat/#"]
    bob.send(Unsubscribe(packet_id=9, topic_filters=("chat/#",)))
    assert bob.received() == []
    world.kept.go_on()
    assert bob.received() == [Unsuback(packet_id=9, reason_codes=(0,) if version == 5 else ())]
    assert world.kept.all(SubscriptionRecord) == []


def test_a_subscription_counts_from_its_suback_on(world):
    bob = lasting(world, "bob")
    alice = world.joined("alice")
    world.kept.waits = True
    bob.subscribe("chat/#", qos=1)
    assert [type(packet) for packet in alice.publish("chat/a", b"before", qos=1)] == [Puback]
    world.kept.go_on()
    assert [type(packet) for packet in bob.received()] == [Suback]
    alice.publish("chat/a", b"after", qos=1)
    world.kept.go_on()
    assert payloads(bob.received()) == [b"after"]


def test_what_the_same_publisher_sends_behind_it_waits(world):
    """[MQTT-4.6.0-5]"""
    bob = listening(world, topic_filter="chat/kept")
    carol = world.joined("carol")
    carol.subscribe("chat/#", qos=1)
    alice = world.joined("alice")
    world.kept.waits = True
    alice.send(
        message(b"0", 1, 1, "chat/kept"),
        message(b"1", 0),
        message(b"2", 1, 2),
        message(b"3", 2, 3),
        message(b"4", 1, 4, "other/x"),
        message(b"5", 0),
    )
    alice.send(Pingreq())
    assert alice.received() == [Pingresp()], "what is no message need not wait"
    assert carol.received() == bob.received() == []
    world.kept.go_on()
    assert payloads(carol.received()) == [b"0", b"1", b"2", b"3", b"5"]
    assert payloads(bob.received()) == [b"0"]
    answers = alice.received()
    assert [(type(p), p.packet_id) for p in answers] == [(Puback, 1), (Puback, 2), (Pubrec, 3), (Puback, 4)]
    assert [p.reason_code for p in answers] == [0, 0, 0, 0x87]


def test_another_publisher_does_not_wait(world):
    listening(world, topic_filter="chat/kept")
    carol = world.joined("carol")
    carol.subscribe("chat/a", qos=1)
    alice, dave = world.joined("alice"), world.joined("dave")
    world.kept.waits = True
    alice.publish("chat/kept", qos=1)
    assert dave.publish("chat/a", b"at once", qos=1, packet_id=1) == [Puback(packet_id=1)]
    assert payloads(carol.received()) == [b"at once"]


@both
def test_memory_only_sessions_pay_nothing(world, version):
    world.kept.waits = world.kept.fails = True
    alice, bob = world.joined("alice", version=version), world.joined("bob", version=version)
    bob.subscribe("chat/#", qos=2)
    for qos in (0, 1, 2, 1, 2):
        alice.publish("chat/a", b"x", qos=qos)
    packets = bob.received()
    assert len(packets) == 5
    bob.send(*((Puback if p.qos == 1 else Pubrec)(packet_id=p.packet_id) for p in packets if p.qos))
    bob.send(*(Pubcomp(packet_id=p.packet_id) for p in packets if p.qos == 2))
    alice.send(Pubrel(packet_id=3), Pubrel(packet_id=5))
    bob.send(Unsubscribe(packet_id=9, topic_filters=("chat/#",)), Disconnect())
    alice.link.lost()
    for _ in range(3):
        world.tick()
    assert world.kept.saves == 0


def test_a_publisher_is_never_delayed_for_sessions_that_do_not_receive(world):
    listening(world, topic_filter="chat/kept")
    listening(world, topic_filter="chat/at-0", qos=0)
    alice = world.joined("alice")
    world.kept.waits = True
    saves = world.kept.saves
    assert len(alice.publish("chat/a", qos=1)) == 1
    assert len(alice.publish("chat/at-0", qos=1)) == 1
    assert len(alice.publish("chat/kept", qos=0)) == 0
    assert world.kept.saves == saves


def test_what_comes_together_is_kept_together(world):
    listening(world)
    alice = world.joined("alice")
    saves = world.kept.saves
    alice.send(*(message(b"x", 1, packet_id) for packet_id in range(1, 101)))
    assert world.kept.saves == saves + 1
    assert len(alice.received()) == 100


def test_acknowledgements_of_receivers_cost_no_save_of_their_own(world):
    bob = listening(world)
    alice = world.joined("alice")
    for _ in range(10):
        alice.publish("chat/a", qos=1)
    saves = world.kept.saves
    for packet in bob.received():
        bob.send(Puback(packet_id=packet.packet_id))
    assert world.kept.saves == saves
    world.tick()
    assert world.kept.saves == saves + 1
    assert world.kept.all(MessageRecord) == world.kept.all(DeliveryRecord) == []


def test_a_message_is_kept_once_however_many_wait_for_it(world):
    for user_id in ("u1", "u2", "u3"):
        client = lasting(world, user_id)
        client.subscribe("chat/#", qos=1)
    world.joined("alice").publish("chat/a", b"x", qos=1)
    assert len(world.kept.all(MessageRecord)) == 1
    assert len(world.kept.all(DeliveryRecord)) == 3


# The store fails


@pytest.mark.parametrize(("qos", "answer"), [(1, Puback), (2, Pubrec)])
def test_a_full_disk_refuses_with_0x97_and_recovers(world, qos, answer):
    bob = listening(world)
    alice = world.joined("alice")
    world.kept.fails = True
    (refused,) = alice.publish("chat/a", b"lost", qos=qos, packet_id=7)
    assert isinstance(refused, answer)
    assert refused.reason_code == 0x97
    assert "later" in refused.reason_string
    assert bob.received() == []
    world.kept.fails = False
    assert alice.publish("chat/a", b"kept", qos=qos, packet_id=7) == [answer(packet_id=7)]
    assert payloads(bob.received()) == [b"kept"]
    world.restart()
    assert payloads(lasting(world, "bob").behind) == [b"kept"]


@pytest.mark.parametrize("qos", [1, 2])
def test_a_full_disk_closes_in_311_and_recovers(world, qos):
    bob = listening(world, version=4)
    alice = world.joined("alice", version=4)
    world.kept.fails = True
    assert alice.publish("chat/a", b"lost", qos=qos, packet_id=7) == []
    assert alice.transport.closed
    assert bob.received() == []
    world.kept.fails = False
    alice = world.joined("alice", version=4)
    assert len(alice.publish("chat/a", b"kept", qos=qos, packet_id=7)) == 1
    assert payloads(bob.received()) == [b"kept"]


def test_a_full_disk_refuses_and_closes_what_waits_behind_it_in_turn(world):
    bob = listening(world)
    carol = world.joined("carol")
    carol.subscribe("chat/b", qos=1)
    alice = world.joined("alice")
    world.kept.waits = world.kept.fails = True
    alice.send(message(b"0", 1, 1), message(b"1", 1, 2, "chat/b"), message(b"2", 0, 0, "chat/c"))
    alice.send(message(b"3", 2, 3))
    world.kept.go_on()
    assert [(p.packet_id, p.reason_code) for p in alice.received()] == [(1, 0x97), (2, 0x97), (3, 0x97)]
    assert carol.received() == []
    assert payloads(bob.received()) == [b"2"]
    world.kept.waits = world.kept.fails = False
    world.tick()
    assert world.kept.all(MessageRecord) == world.kept.all(DeliveryRecord) == []


@both
def test_a_full_disk_refuses_a_subscribe_with_0x97(world, version):
    bob = lasting(world, "bob", version=version)
    world.kept.fails = True
    (suback,) = bob.subscribe("chat/#", "other", qos=1)
    assert suback.reason_codes == ((0x97, 0x87) if version == 5 else (0x80, 0x80))
    world.joined("alice").publish("chat/a", qos=0)
    assert bob.received() == []
    world.kept.fails = False
    assert bob.subscribe("chat/#", qos=1)[0].reason_codes == (1,)


def test_a_refused_subscribe_leaves_the_subscription_that_was(world):
    bob = listening(world, qos=1)
    world.kept.fails = True
    assert bob.subscribe("chat/#", qos=0)[0].reason_codes == (0x97,)
    world.kept.fails = False
    world.joined("alice").publish("chat/a", b"x", qos=1)
    (came,) = bob.received()
    assert came.qos == 1
    world.restart()
    assert lasting(world, "bob").behind[0].payload == b"x"


def test_an_unsubscribe_that_cannot_be_kept_holds_and_is_kept_later(world):
    bob = listening(world)
    world.kept.fails = True
    bob.send(Unsubscribe(packet_id=9, topic_filters=("chat/#",)))
    assert bob.received() == [Unsuback(packet_id=9, reason_codes=(0,))]
    assert bob.subscribe("chat/#", qos=1)[0].reason_codes == (0x97,)
    world.tick()
    world.kept.fails = False
    world.tick()
    assert world.kept.all(SubscriptionRecord) == []


@pytest.mark.parametrize("back", [False, True])
def test_a_pubrec_that_cannot_be_kept_is_tried_again_at_the_tick(world, back):
    bob = listening(world)
    world.joined("alice").publish("chat/a", b"x", qos=2)
    (came,) = bob.received()
    world.kept.fails = True
    bob.send(Pubrec(packet_id=came.packet_id))
    assert bob.received() == []
    world.kept.fails = False
    if back:
        bob.link.lost()
        bob = lasting(world, "bob")
        assert [(p.packet_id, p.dup) for p in bob.behind] == [(came.packet_id, True)]
    world.tick()
    assert bob.received() == [Pubrel(packet_id=came.packet_id)]
    bob.send(Pubcomp(packet_id=came.packet_id))
    world.tick()
    assert world.kept.all(DeliveryRecord) == []


def test_what_was_acknowledged_while_the_disk_was_full_is_dropped_later(world):
    bob = listening(world)
    world.joined("alice").publish("chat/a", b"x", qos=1)
    world.kept.fails = True
    bob.send(Puback(packet_id=bob.received()[0].packet_id))
    for _ in range(3):
        world.tick()
    world.kept.fails = False
    world.tick()
    assert world.kept.all(MessageRecord) == world.kept.all(DeliveryRecord) == []
    world.restart()
    assert lasting(world, "bob").behind == []


# Somebody comes or goes while a message waits


def test_a_subscriber_that_comes_meanwhile_gets_it_kept_too(world):
    bob = listening(world)
    carol = lasting(world, "carol")
    alice = world.joined("alice")
    world.kept.waits = True
    carol.subscribe("chat/#", qos=1)
    alice.publish("chat/a", b"x", qos=1)
    world.kept.go_on(2)
    assert [type(packet) for packet in carol.received()] == [Suback]
    assert alice.received() == [], "it is kept for carol first"
    world.kept.go_on()
    assert len(alice.received()) == 1
    assert payloads(carol.received()) == payloads(bob.received()) == [b"x"]
    assert len(world.kept.all(DeliveryRecord)) == 2
    assert len(world.kept.all(MessageRecord)) == 1


def test_a_memory_only_subscriber_that_comes_meanwhile_gets_it(world):
    listening(world)
    alice = world.joined("alice")
    world.kept.waits = True
    alice.publish("chat/a", b"x", qos=1)
    carol = world.joined("carol")
    carol.subscribe("chat/#", qos=1)
    carol.received()
    world.kept.go_on()
    assert payloads(carol.received()) == [b"x"]


def unsubscribes(world, bob):
    bob.send(Unsubscribe(packet_id=9, topic_filters=("chat/#",)))
    world.kept.go_on(1)


def ends(world, bob):
    bob.send(Disconnect(session_expiry_interval=0))


def is_revoked(world, bob):
    world.hub.revoke(ORG, [f"tok_bob_{ORG}"], reason="revoked", keep_retained=False)


@pytest.mark.parametrize("goes", [ends, is_revoked], ids=["ends", "is revoked"])
def test_a_subscriber_that_goes_meanwhile_gets_nothing(world, goes):
    bob = listening(world)
    alice = world.joined("alice")
    world.kept.waits = True
    alice.publish("chat/a", b"x", qos=1, packet_id=7)
    goes(world, bob)
    bob.received()
    world.kept.go_on()
    assert alice.received() == [Puback(packet_id=7, reason_code=0x10)]
    assert bob.received() == []
    world.kept.waits = False
    world.tick()
    assert world.kept.records == {}


def test_a_subscriber_that_is_away_meanwhile_gets_it_when_it_is_back(world):
    bob = listening(world)
    alice = world.joined("alice")
    world.kept.waits = True
    alice.publish("chat/a", b"x", qos=1, packet_id=7)
    bob.link.lost()
    bob = lasting(world, "bob")
    assert bob.behind == [], "it is not kept yet"
    world.kept.go_on()
    assert alice.received() == [Puback(packet_id=7)]
    assert payloads(bob.received()) == [b"x"]
    bob.send(Puback(packet_id=1))
    assert bob.received() == []


def test_v37_a_subscriber_that_may_not_have_it_any_more_does_not_get_it(world):
    bob = listening(world)
    alice = world.joined("alice")
    world.kept.waits = True
    alice.publish("chat/a", b"x", qos=1)
    bob.link.lost()
    bob = lasting(world, "bob", "chat/b")
    world.kept.go_on()
    assert bob.behind + bob.received() == []
    world.kept.waits = False
    world.tick()
    assert world.kept.all(DeliveryRecord) == []


@pytest.mark.parametrize("qos", [1, 2])
@both
def test_the_message_of_a_publisher_that_has_left_meanwhile_goes_on(world, version, qos):
    bob = listening(world)
    alice = world.joined("alice", version=version)
    world.kept.waits = True
    alice.publish("chat/a", b"x", qos=qos)
    alice.link.lost()
    world.kept.go_on()
    assert payloads(bob.received()) == [b"x"]


def test_n1_what_was_sent_before_and_behind_is_one_message_at_qos_2(world):
    bob = listening(world)
    alice = lasting(world, "alice")
    world.kept.waits = True
    alice.publish("chat/a", b"x", qos=2, packet_id=7)
    alice.link.lost()
    alice = lasting(world, "alice")
    assert alice.publish("chat/a", b"x", qos=2, packet_id=7, dup=True) == []
    world.kept.go_on()
    assert alice.received() == [Pubrec(packet_id=7)]
    assert payloads(bob.received()) == [b"x"]


@pytest.mark.parametrize("again", [False, True], ids=["", "sent again"])
@pytest.mark.parametrize("qos", [1, 2])
@both
def test_a_refusal_goes_to_the_connection_that_it_is_about(world, version, qos, again):
    """An answer to the earlier attempt would be taken for one to what was sent since."""
    listening(world)
    alice = lasting(world, "alice", version=version)
    world.kept.waits = world.kept.fails = True
    alice.publish("chat/a", b"x", qos=qos, packet_id=7)
    alice.link.lost()
    alice = lasting(world, "alice", version=version)
    if again and qos == 2:  # at QoS 1 that would be another message
        alice.publish("chat/a", b"x", qos=2, packet_id=7, dup=True)
    world.kept.go_on(1)
    if qos == 1 or not again:
        assert not alice.transport.closed
        assert alice.received() == []
    elif version == 5:  # what is sent again under this identifier is the same message
        (pubrec,) = alice.received()
        assert (pubrec.packet_id, pubrec.reason_code) == (7, 0x97)
    else:
        assert alice.transport.closed


@pytest.mark.parametrize("qos", [1, 2])
def test_v15_what_a_revoked_publisher_had_waiting_goes_nowhere(world, qos):
    bob = listening(world)
    alice = lasting(world, "alice")
    world.kept.waits = True
    alice.send(message(b"x", qos, 1), message(b"y", qos, 2))
    world.hub.revoke(ORG, [f"tok_alice_{ORG}"], reason="revoked", keep_retained=False)
    world.kept.go_on()
    assert bob.received() == []
    assert [p.reason_code for p in alice.received()] == [0x87]
    world.kept.waits = False
    world.tick()
    assert world.kept.all(MessageRecord) == world.kept.all(DeliveryRecord) == []
    assert world.kept.all(ReceivedRecord) == []


def test_it_is_judged_again_when_it_is_kept(world):
    """What has changed meanwhile holds: ruling 1."""
    bob = listening(world, topic_filter="chat/#")
    alice = world.joined("alice")
    world.kept.waits = True
    alice.publish("chat/a", b"x", qos=1, packet_id=7)
    world.doors.policy_of = lambda org_id: Policy(())
    world.hub.organization_changed(OrganizationRecord(ORG, "a", world.doors.settings, 0))
    assert [p.reason_code for p in bob.received()] == [0x98]
    world.kept.go_on()
    assert [p.reason_code for p in alice.received()] == [0x87]
    world.kept.waits = False
    world.tick()
    assert world.kept.all(MessageRecord) == world.kept.all(DeliveryRecord) == []


# Reading is paused


@both
def test_nothing_more_is_read_while_too_much_waits(world, version):
    bob = listening(world, version=version)
    alice = world.joined("alice", version=version)
    world.kept.waits = True
    payload = b"x" * 300_000
    for packet_id in range(1, 4):
        alice.publish("chat/a", payload, qos=1, packet_id=packet_id)
        assert alice.transport.reads
    alice.publish("chat/a", payload, qos=1, packet_id=4)
    assert not alice.transport.reads
    world.kept.go_on(2)
    assert not alice.transport.reads, "more than half of it still waits"
    world.kept.go_on(1)
    assert alice.transport.reads
    world.kept.go_on()
    assert len(alice.received()) == 4
    assert len(bob.received()) == 4


def test_a_link_that_is_held_for_both_reasons_reads_when_both_are_over(world):
    listening(world)
    alice = world.joined("alice")
    alice.subscribe("chat/own")
    world.kept.waits = True
    alice.link.writing_paused()
    for packet_id in range(1, 5):
        alice.publish("chat/a", b"x" * 300_000, qos=1, packet_id=packet_id)
    assert not alice.transport.reads
    alice.link.writing_resumed()
    assert not alice.transport.reads
    world.kept.go_on()
    assert alice.transport.reads


def test_a_link_that_is_lost_while_it_is_held_harms_nobody(world):
    bob = listening(world)
    alice = world.joined("alice")
    world.kept.waits = True
    for packet_id in range(1, 5):
        alice.publish("chat/a", b"x" * 300_000, qos=1, packet_id=packet_id)
    alice.link.lost()
    world.kept.go_on()
    assert len(bob.received()) == 4


def test_a_new_connection_reads_though_what_an_earlier_one_sent_still_waits(world):
    listening(world)
    alice = lasting(world, "alice")
    world.kept.waits = True
    for packet_id in range(1, 5):
        alice.publish("chat/a", b"x" * 300_000, qos=1, packet_id=packet_id)
    again = lasting(world, "alice")
    again.publish("chat/a", b"y", qos=1, packet_id=5)
    assert not again.transport.reads
    world.kept.go_on()
    assert again.transport.reads
    assert again.received() == [Puback(packet_id=5)]


# Organizations


def test_the_limits_of_subscriptions_count_those_that_wait(make_world):
    world = make_world(max_subscriptions_per_session=2)
    bob = lasting(world, "bob")
    world.kept.waits = True
    bob.subscribe("chat/a")
    bob.subscribe("chat/b")
    assert bob.subscribe("chat/c")[0].reason_codes == (0x97,)
    assert bob.subscribe("chat/b") == [], "the same one once more waits, too"
    world.kept.go_on()
    assert [suback.reason_codes for suback in bob.received()] == [(0,), (0,), (0,)]


def test_an_organization_that_is_deleted_while_messages_wait_leaves_nothing(world):
    listening(world)
    alice = world.joined("alice")
    world.kept.waits = True
    alice.publish("chat/a", b"x", qos=2)
    world.hub.end_organization(ORG)
    world.kept.go_on()
    world.kept.waits = False
    world.tick()
    assert world.kept.records == {}
    world.doors.settings = msgspec.structs.replace(world.doors.settings, max_sessions=1)
    assert lasting(world, "bob").behind == []


# What is retained is on the disk as it is in memory


def retained(world):
    """Return what is retained in memory and on the disk, by topic."""
    tenant = world.broker.tenants[ORG]
    on_disk = {record.topic: record.payload for record in world.kept.all(RetainedRecord)}
    found = {topic: tenant.retained.get(topic) for topic in ("chat/a", *on_disk)}
    return {topic: one.record.payload for topic, one in found.items() if one is not None}, on_disk


def test_n1_a_retained_message_outlives_the_failure_of_the_one_before(world):
    alice = world.joined("alice")
    world.kept.waits = True
    alice.publish("chat/a", b"first", qos=1, packet_id=1, retain=True)
    alice.publish("chat/a", b"second", qos=1, packet_id=2, retain=True)
    world.kept.fails = True
    world.kept.go_on(1)
    world.kept.fails = False
    world.kept.go_on()
    assert [p.reason_code for p in alice.received()] == [0x97, 0x10]
    world.tick()
    world.kept.go_on()
    assert retained(world) == ({"chat/a": b"second"},) * 2


def test_n1_a_retained_message_outlives_the_revocation_of_the_one_before(world):
    alice, mallory = world.joined("alice"), world.joined("mallory")
    world.kept.waits = True
    mallory.publish("chat/a", b"first", qos=1, retain=True)
    alice.publish("chat/a", b"second", qos=1, packet_id=2, retain=True)
    world.hub.revoke(ORG, [f"tok_mallory_{ORG}"], reason="revoked", keep_retained=False)
    world.kept.go_on()
    assert [p.packet_id for p in alice.received()] == [2]
    world.tick()
    world.kept.go_on()
    assert retained(world) == ({"chat/a": b"second"},) * 2


def test_n1_a_retained_message_outlives_the_end_of_the_one_before(world):
    alice = world.joined("alice")
    alice.publish("chat/a", b"first", qos=1, retain=True, message_expiry_interval=10)
    world.kept.waits = True
    world.clock.advance(10)
    alice.publish("chat/a", b"second", qos=1, retain=True)
    world.tick()
    world.kept.go_on()
    world.tick()
    world.kept.go_on()
    assert retained(world) == ({"chat/a": b"second"},) * 2


def test_of_two_publishers_the_one_that_comes_last_is_retained_on_the_disk_too(world):
    carol = lasting(world, "carol")
    listening(world, topic_filter="chat/kept")
    alice, dave = world.joined("alice"), world.joined("dave")
    world.kept.waits = True
    carol.subscribe("chat/kept", qos=1)
    alice.publish("chat/kept", b"x", qos=1)  # waits twice: carol comes meanwhile
    alice.publish("chat/a", b"of alice", qos=1, retain=True)
    dave.publish("chat/a", b"of dave", qos=1, retain=True)
    world.kept.go_on()
    world.tick()
    world.kept.go_on()
    there, on_disk = retained(world)
    assert there == on_disk
