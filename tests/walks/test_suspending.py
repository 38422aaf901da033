"""Rights that become narrower: subscriptions are suspended, told or the connection closed, and revive."""

from __future__ import annotations

import json

import pytest

from tokenmq.access.permission import Permission
from tokenmq.access.policy import STARTING_POLICY, Policy
from tokenmq.access.rules import Rule
from tokenmq.broker.records import DeliveryRecord, MessageRecord, SessionRecord, SubscriptionRecord
from tokenmq.mqtt.packets import Disconnect, Puback, Pubcomp, Publish, Pubrec, Pubrel, Suback, Unsubscribe
from tokenmq.mqtt.packets import Will as PacketWill
from tokenmq.tokens.records import OrganizationRecord, OrganizationSettings

ORG = "org_aaaaaaaaaaaa"
BOTH = (Permission.PUBLISH, Permission.SUBSCRIBE)
both = pytest.mark.parametrize("version", [4, 5])


def enter(world, user_id="ann", *topics, version=5, lasts=False, listens=False, **fields):
    """Return a client that is connected; what came behind its CONNACK is `behind`."""
    client = world.client(version)
    if lasts:
        fields = {
            "clean_start": False,
            **({"session_expiry_interval": 600} if version == 5 else {}),
            **fields,
        }
    client.connack, *client.behind = client.connect(world.person(user_id, *topics), f"c-{user_id}", **fields)
    assert client.connack.reason_code == 0, client.connack
    if listens:
        client.subscribe("$auth/events")
    return client


def narrow(world, client, *topics, user_id="ann"):
    """Have a connection go on with other grants; return what came behind the answer."""
    (answer, *rest) = client.publish("$auth/token", world.person(user_id, *topics), qos=1, packet_id=999)
    assert answer == Puback(packet_id=999)
    return rest


def deploy(world, *filters):
    """Have the organization's policy allow these filters and no others."""
    world.doors.policy = Policy((Rule("*", BOTH, filters),))
    world.hub.organization_changed(OrganizationRecord(ORG, "a", world.doors.settings, 0))


def events(packets):
    return [json.loads(p.payload) for p in packets if isinstance(p, Publish) and p.topic == "$auth/events"]


def payloads(packets):
    return [p.payload for p in packets if isinstance(p, Publish) and p.topic != "$auth/events"]


def suspended(packets):
    """Return the filters that `narrowed` events name."""
    return [name for event in events(packets) if event["event"] == "narrowed" for name in event["suspended"]]


# Told, or closed


@both
def test_who_listens_is_told_which_and_stays(world, version):
    ann = enter(world, "ann", "#", version=version, listens=True)
    ann.subscribe("chat/#", "news/a", "$share/g/jobs/#")
    got = narrow(world, ann, "news/#", "jobs/a")
    assert [event["event"] for event in events(got)] == ["refreshed", "narrowed"]
    assert suspended(got) == ["chat/#", "$share/g/jobs/#"]
    assert not ann.transport.closed
    talker = world.joined("bob", "#")
    for topic in ("chat/a", "news/a", "jobs/a"):
        talker.publish(topic, topic.encode())
    assert payloads(ann.received()) == [b"news/a"]


def test_who_does_not_listen_is_closed_with_the_reason(world):
    ann = enter(world, "ann", "#")
    ann.subscribe("chat/#", "news/a")
    (end,) = narrow(world, ann, "chat/+")
    assert (type(end), end.reason_code) == (Disconnect, 0x98)
    assert end.reason_string == (
        "subscription chat/# is suspended: filter chat/# is wider than grant chat/+; and 1 more"
    )
    assert ann.transport.closed
    ann = enter(world, "ann", "chat/+")
    assert not ann.connack.session_present
    assert ann.subscribe("chat/#", "chat/a")[0].reason_codes == (0x87, 0)


def test_3_1_1_that_does_not_listen_is_closed(world):
    ann = enter(world, "ann", "#", version=4)
    ann.subscribe("chat/#")
    assert narrow(world, ann, "chat/+") == []
    assert ann.transport.closed
    ann = enter(world, "ann", "chat/+", version=4)
    assert ann.subscribe("chat/#")[0].reason_codes == (0x80,)


@both
def test_a_session_that_outlives_the_close_goes_on_suspended_and_is_not_closed_again(world, version):
    ann = enter(world, "ann", "#", version=version, lasts=True)
    ann.subscribe("chat/#", "news/#", qos=1)
    narrow(world, ann, "news/#")
    assert ann.transport.closed
    talker = world.joined("bob", "#")
    talker.publish("chat/a", b"lost", qos=1)
    talker.publish("news/a", b"kept", qos=1)
    ann = enter(world, "ann", "news/#", version=version, lasts=True)
    assert ann.connack.session_present
    if version == 5:
        assert ann.connack.user_properties == (("tokenmq-suspended", "chat/#"),)
    assert payloads(ann.behind) == [b"kept"]
    assert not ann.transport.closed
    assert ann.subscribe("chat/#")[0].reason_codes == (0x87 if version == 5 else 0x80,)
    assert narrow(world, ann, "news/+", "news/#") == []
    assert not ann.transport.closed


def test_connack_names_each_and_only_of_a_session_that_is_there(world):
    ann = enter(world, "ann", "#", lasts=True)
    ann.subscribe("chat/#", "news/#", "$share/g/jobs/#", "free/a")
    ann.link.lost()
    ann = enter(world, "ann", "free/#", lasts=True)
    names = [("tokenmq-suspended", name) for name in ("chat/#", "news/#", "$share/g/jobs/#")]
    assert ann.connack.user_properties == tuple(names)
    assert ann.behind == []
    ann.link.lost()
    ann = enter(world, "ann", "free/#", clean_start=True)
    assert ann.connack.user_properties == ()


def test_where_no_subscription_is_lost_nothing_is_told(world):
    ann = enter(world, "ann", "#")
    ann.subscribe("chat/+")
    assert narrow(world, ann, "chat/#") == []


def test_a_link_that_takes_no_bytes_is_told_all_the_same(world):
    ann = enter(world, "ann", "#", listens=True)
    ann.subscribe("chat/#")
    ann.link.writing_paused()
    assert suspended(narrow(world, ann, "news/#")) == ["chat/#"]


def test_what_fits_into_no_packet_is_told_in_several(world):
    ann = enter(world, "ann", "#", listens=True, maximum_packet_size=200)
    names = [f"a/rather/long/filter/number/{n}" for n in range(20)]
    for name in names:
        ann.subscribe(name)
    got = narrow(world, ann, "news/#")
    assert suspended(got) == names
    assert len(got) > 4


def test_who_cannot_be_told_is_closed(world):
    ann = enter(world, "ann", "#", listens=True, maximum_packet_size=60)
    ann.subscribe("x" * 40)
    assert [p.reason_code for p in narrow(world, ann, "news/#") if isinstance(p, Disconnect)] == [0x98]


# What it does not deliver


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("lasts", [False, True])
def test_what_waits_for_it_goes_and_is_counted(world, qos, lasts):
    """SECURITY (a): also what the new rights match, if no subscription that stands does."""
    ann = enter(world, "ann", "#", listens=True, lasts=lasts)
    ann.subscribe("chat/#", "news/#", "chat/kept", qos=qos)
    talker = world.joined("bob", "#")
    ann.link.writing_paused()
    for topic in ("chat/a", "news/a", "chat/kept", "chat/b", "news/b"):
        talker.publish(topic, topic.encode(), qos=qos)
    got = narrow(world, ann, "chat/kept", "chat/a", "news/#")
    assert suspended(got) == ["chat/#"]
    ann.link.writing_resumed()
    assert payloads(ann.received()) == [b"news/a", b"chat/kept", b"news/b"]
    assert world.broker.counters.withheld == 2
    assert world.broker.counters.dropped == 0
    if qos and lasts:
        world.tick()
        assert len(world.kept.all(MessageRecord)) == len(world.kept.all(DeliveryRecord)) == 3


@pytest.mark.parametrize("lasts", [False, True])
def test_a_queue_that_is_emptied_takes_what_comes_at_once_again(make_world, lasts):
    world = make_world(max_inflight=1)
    ann = enter(world, "ann", "#", listens=True, lasts=lasts)
    ann.subscribe("chat/#", "news/#", qos=1)
    talker = world.joined("bob", "#")
    for n in range(3):
        talker.publish("chat/a", b"%d" % n, qos=1)
    (first,) = ann.received()
    narrow(world, ann, "news/#")
    assert not ann.link.outbox.session.is_behind
    talker.publish("news/a", b"at once")
    assert payloads(ann.received()) == [b"at once"]
    talker.publish("news/a", b"next", qos=1)
    assert payloads(ann.received()) == []
    ann.send(Puback(packet_id=first.packet_id))
    assert payloads(ann.received()) == [b"next"]


def test_what_is_in_flight_keeps_its_identifier_until_it_is_acknowledged(world):
    ann = enter(world, "ann", "#", listens=True, lasts=True)
    ann.subscribe("chat/#", "news/#", qos=2)
    talker = world.joined("bob", "#")
    talker.publish("chat/a", b"1", qos=1)
    talker.publish("chat/a", b"2", qos=2)
    one, two = ann.received()
    narrow(world, ann, "news/#")
    inflight = ann.link.outbox.session.inflight
    assert inflight == {one.packet_id, two.packet_id}
    ann.send(Puback(packet_id=one.packet_id), Pubrec(packet_id=two.packet_id))
    assert ann.received() == [Pubrel(packet_id=two.packet_id)]
    ann.send(Pubcomp(packet_id=two.packet_id))
    assert inflight == set()
    world.tick()
    assert world.kept.all(DeliveryRecord) == world.kept.all(MessageRecord) == []


@pytest.mark.parametrize("restart", [False, True])
def test_what_was_in_flight_when_the_connection_was_lost_goes_and_is_released(world, restart):
    ann = enter(world, "ann", "#", lasts=True)
    ann.subscribe("chat/#", qos=2)
    talker = world.joined("bob", "#")
    talker.publish("chat/a", b"1", qos=1)
    talker.publish("chat/a", b"2", qos=2)
    _, two = ann.received()
    ann.link.lost()
    if restart:
        world.restart()
    ann = enter(world, "ann", "chat/a", lasts=True)
    assert ann.behind == [Pubrel(packet_id=two.packet_id)]


async def test_retained_messages_that_are_still_to_come_do_not(world):
    ann = enter(world, "ann", "#", listens=True)
    talker = world.joined("bob", "#")
    for n in range(300):
        talker.publish(f"chat/{n}", b"x", qos=1, retain=True)
    (_, *first) = ann.subscribe("chat/#")
    assert len(first) == 100
    narrow(world, ann, "chat/299")
    for _ in range(5):
        world.hub.go_on()
    assert payloads(ann.received()) == []


def test_a_subscription_that_waits_for_the_store_is_judged_when_it_is_kept(world):
    """Ruling 1: what was admitted and is not in force yet is not in force after."""
    ann = enter(world, "ann", "#", listens=True, lasts=True)
    ann.subscribe("jobs/#", qos=1)
    world.kept.waits = True
    ann.subscribe("chat/#", "news/#", "jobs/#", "a/+/+#", qos=2)
    narrow(world, ann, "news/#")
    world.kept.waits = False
    world.kept.go_on()
    (suback,) = [packet for packet in ann.received() if isinstance(packet, Suback)]
    assert suback.reason_codes == (0x87, 2, 0x87, 0x8F)
    assert "no grant of subscribe covers chat/#" in suback.reason_string
    world.tick()
    kept = {record.topic_filter: record.qos for record in world.kept.all(SubscriptionRecord)}
    assert kept == {"jobs/#": 1, "news/#": 2}
    assert {name: one.suspended for name, one in ann.link.outbox.session.subscriptions.items()} == {
        "jobs/#": True,
        "news/#": False,
    }


def test_it_may_be_unsubscribed_from(world):
    ann = enter(world, "ann", "#", listens=True, lasts=True)
    ann.subscribe("chat/#", qos=1)
    narrow(world, ann, "news/#")
    ann.send(Unsubscribe(5, ("chat/#",)))
    assert [p.reason_codes for p in ann.received()] == [(0,)]
    world.tick()
    assert world.kept.all(SubscriptionRecord) == []
    assert suspended(narrow(world, ann, "#")) == []


# And comes back


@pytest.mark.parametrize("how", ["renewal", "policy", "reconnect", "restart"])
def test_it_revives_when_it_is_covered_again(world, how):
    ann = enter(world, "ann", "#", listens=True, lasts=True)
    ann.subscribe("chat/#", "$share/g/jobs/#", qos=1)
    talker = world.joined("bob", "#")
    if how == "policy":
        deploy(world, "talk/#", "jobs/a", "chat/a")
    else:
        narrow(world, ann, "news/#", "chat/a", "jobs/a")
    for topic in ("chat/a", "jobs/a"):
        talker.publish(topic, b"missed", qos=1)
    assert payloads(ann.received()) == []
    if how == "renewal":
        assert [event["event"] for event in events(narrow(world, ann, "#"))] == ["refreshed"]
    elif how == "policy":
        deploy(world, "#")
    else:
        ann.link.lost()
        if how == "restart":
            world.restart()
            talker = world.joined("bob", "#")
        ann = enter(world, "ann", "#", lasts=True)
        assert ann.connack.user_properties == ()
        assert ann.behind == []
    for topic in ("chat/a", "jobs/a"):
        talker.publish(topic, topic.encode(), qos=1)
    assert payloads(ann.received()) == [b"chat/a", b"jobs/a"]


@pytest.mark.parametrize("restart", [False, True])
def test_a_session_without_a_connection_goes_on_suspended(world, restart):
    """Under its last rights, cut by the policy, through a restart."""
    ann = enter(world, "ann", "#", lasts=True)
    ann.subscribe("chat/#", "news/#", qos=1)
    ann.link.lost()
    talker = world.joined("bob", "#")
    talker.publish("chat/a", b"before", qos=1)
    deploy(world, "news/#", "chat/a")
    if restart:
        world.restart()
        talker = world.joined("bob", "#")
    for topic in ("chat/a", "news/a"):
        talker.publish(topic, topic.encode(), qos=1)
    deploy(world, "#")
    talker.publish("chat/a", b"after", qos=1)
    ann = enter(world, "ann", "#", lasts=True)
    assert payloads(ann.behind) == [b"news/a", b"after"]


# A change of policy


def test_a_change_of_policy_is_felt_by_every_session_and_told_to_each(world):
    listener, deaf = enter(world, "ann", "#", listens=True), enter(world, "bob", "#")
    bystander = enter(world, "cat", "#", listens=True)
    listener.subscribe("chat/#", "news/#")
    deaf.subscribe("chat/#")
    bystander.subscribe("news/#")
    deploy(world, "news/#", "talk/#")
    assert suspended(listener.received()) == ["chat/#"]
    (end,) = deaf.received()
    assert (end.reason_code, end.reason_string) == (
        0x98,
        "subscription chat/# is suspended: no policy rule of subscribe covers chat/#",
    )
    assert bystander.received() == []


def test_a_change_of_settings_that_leaves_the_rights_alone_ends_no_lane(world):
    ann, bob = enter(world, "ann"), enter(world, "bob")
    ann.subscribe("chat/#")
    bob.publish("chat/a")
    lane = bob.link.outbox.session.lanes[b"chat/a"]
    world.doors.settings = OrganizationSettings(max_connections=3)
    world.hub.organization_changed(OrganizationRecord(ORG, "renamed", world.doors.settings, 0))
    assert lane.live
    assert world.broker.tenants[ORG].rules.max_connections == 3


def test_a_tree_that_is_no_longer_one_is_lost_like_a_right(world):
    ann = enter(world, "ann", "$spaces/#", "chat/#", listens=True)
    ann.subscribe("$spaces/a", "chat/#")
    world.doors.settings = OrganizationSettings(dollar_trees=("$notifications",))
    world.hub.organization_changed(OrganizationRecord(ORG, "a", world.doors.settings, 0))
    assert suspended(ann.received()) == ["$spaces/a"]
    assert not ann.transport.closed


def test_many_sessions_lose_a_right_in_one_step(world):
    clients = [enter(world, f"u{n}", "#") for n in range(50)]
    for client in clients:
        client.subscribe("chat/#")
    deploy(world, "news/#")
    assert all(client.transport.closed for client in clients)
    assert not world.broker.tenants[ORG].sessions


def test_server_connections_are_not_cut_by_the_policy(world):
    server = world.client()
    server.connect(world.person("server", "#", key_id="key_1"), "s")
    server.subscribe("chat/#")
    deploy(world, "news/#")
    assert server.received() == []


def test_who_is_closed_by_a_change_of_policy_is_away_from_then_on(world):
    ann = enter(world, "ann", "#", lasts=True)
    ann.subscribe("chat/#", qos=1)
    world.clock.advance(30)
    deploy(world, "news/#")
    world.tick()
    (record,) = world.kept.all(SessionRecord)
    assert record.left_at == world.clock.now


# Shared subscriptions


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("lasts", [False, True])
def test_what_a_member_had_not_acknowledged_goes_to_one_that_may_have_it(world, qos, lasts):
    """SECURITY (e); at QoS 2 not what was sent [MQTT-4.8.2-5]."""
    ann = enter(world, "ann", "#", listens=True, lasts=lasts)
    ann.subscribe("$share/g/chat/#", qos=qos)
    talker = world.joined("bob", "#")
    talker.publish("chat/a", b"sent", qos=qos)
    (sent,) = ann.received()
    ann.link.writing_paused()
    talker.publish("chat/a", b"waits", qos=qos)
    deaf = enter(world, "dan", "chat/b")
    deaf.subscribe("$share/g/chat/b", qos=qos)
    cat = enter(world, "cat", "#")
    cat.subscribe("$share/g/chat/#", qos=qos)
    narrow(world, ann, "chat/a")
    assert payloads(cat.received()) == ([b"sent", b"waits"] if qos == 1 else [b"waits"])
    assert ann.link.outbox.session.inflight == {sent.packet_id}
    ann.link.writing_resumed()
    ann.received()
    ann.send((Puback if qos == 1 else Pubrec)(packet_id=sent.packet_id))
    assert payloads(ann.received()) == payloads(deaf.received()) == []
    for n in range(4):
        talker.publish("chat/a", b"%d" % n, qos=qos)
    assert payloads(cat.received()) == [b"0", b"1", b"2", b"3"]


def test_what_a_member_loses_goes_to_none_that_is_suspended_itself(world):
    ann, dan = enter(world, "ann", "#", listens=True), enter(world, "dan", "#", listens=True)
    ann.subscribe("$share/g/chat/#", qos=1)
    ann.link.writing_paused()
    talker = world.joined("bob", "#")
    talker.publish("chat/a", b"x", qos=1)
    dan.subscribe("$share/g/chat/#", qos=1)
    narrow(world, dan, "chat/a", user_id="dan")
    narrow(world, ann, "chat/a")
    ann.link.writing_resumed()
    assert payloads([*dan.received(), *ann.received()]) == []


def test_when_all_members_lose_their_rights_at_once_nobody_gets_what_was_theirs(world):
    """The rights of all are the new ones before what one has lost goes to another."""
    members = [enter(world, name, "#", listens=True) for name in ("ann", "cat")]
    for member in members:
        member.subscribe("$share/g/chat/#", qos=1)
        member.link.writing_paused()
    talker = world.joined("bob", "#")
    for n in range(6):
        talker.publish("chat/a", b"%d" % n, qos=1)
    deploy(world, "news/#")
    for member in members:
        member.link.writing_resumed()
        assert payloads(member.received()) == []
    assert world.broker.counters.withheld == 6


def test_a_message_that_waits_for_the_store_goes_to_a_member_that_still_may(world):
    ann = enter(world, "ann", "#", listens=True, lasts=True)
    ann.subscribe("$share/g/chat/#", qos=1)
    talker = world.joined("bob", "#")
    world.kept.waits = True
    talker.publish("chat/a", b"x", qos=1, packet_id=4)
    narrow(world, ann, "chat/a")
    cat = enter(world, "cat", "#")
    cat.subscribe("$share/g/chat/#", qos=1)
    world.kept.waits = False
    world.kept.go_on()
    assert payloads(ann.received()) == []
    assert payloads(cat.received()) == [b"x"]
    assert talker.received() == [Puback(packet_id=4)]


# Wills


@pytest.mark.parametrize("how", ["token", "policy"])
@pytest.mark.parametrize("lasts", [False, True])
def test_a_will_that_is_not_allowed_any_more_is_dropped(world, how, lasts):
    """Ruling 10; and it does not come back with the right."""
    ann = enter(world, "ann", "#", lasts=lasts, will=PacketWill("chat/a", b"gone", 1))
    witness = enter(world, "bob", "#", listens=True)
    witness.subscribe("#")
    if how == "token":
        assert narrow(world, ann, "news/#") == []
        narrow(world, ann, "#")
    else:
        deploy(world, "news/#")
        deploy(world, "#")
    ann.link.lost()
    assert payloads(witness.received()) == []
    assert world.broker.counters.refused == 1
    if lasts:
        world.tick()
        (record,) = world.kept.all(SessionRecord)
        assert record.will is None


def test_a_will_that_is_still_allowed_goes_out_at_a_close_for_a_lost_subscription(world):
    ann = enter(world, "ann", "#", will=PacketWill("chat/a", b"gone", 1))
    ann.subscribe("news/#")
    witness = world.joined("bob", "#")
    witness.subscribe("chat/#")
    narrow(world, ann, "chat/+")
    assert payloads(witness.received()) == [b"gone"]


def test_the_starting_policy_suspends_nothing(world):
    ann = enter(world, "ann", "#")
    ann.subscribe("#")
    world.doors.policy = Policy((*STARTING_POLICY.rules, Rule("*", BOTH, ("more/#",))))
    world.hub.organization_changed(OrganizationRecord(ORG, "a", world.doors.settings, 0))
    assert ann.received() == []
