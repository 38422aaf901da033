"""Sessions that outlive their connections: begun, gone on with, taken over, ended."""

from __future__ import annotations

import json

import msgspec
import pytest

from tokenmq.broker.records import SessionRecord, SubscriptionRecord
from tokenmq.mqtt.packets import Connack, Disconnect, Puback, Pubcomp, Publish, Pubrec, Pubrel, Will

ORG = "org_aaaaaaaaaaaa"
DAY = 86_400


def going_on(version, seconds=600):
    """Return what a CONNECT says that wants its session to go on."""
    return {"clean_start": False} | ({"session_expiry_interval": seconds} if version == 5 else {})


def joined(world, user_id="bob", *topics, version=5, client_id=None, password=None, **fields):
    """Return a client whose session goes on, and its CONNACK; what comes behind that is not read."""
    client = world.client(version)
    fields = going_on(version) | fields
    packets = client.connect(
        password or world.person(user_id, *topics), client_id or f"c-{user_id}", **fields
    )
    assert packets[0].reason_code == 0, packets
    client.behind = packets[1:]
    return client, packets[0]


def publishes(packets):
    return [packet for packet in packets if isinstance(packet, Publish)]


def payloads(packets):
    return [packet.payload for packet in publishes(packets)]


def away_with(world, *qos, version=5, **fields):
    """Let bob subscribe and go, and alice publish a message at each QoS: b"0", b"1" and so on."""
    bob, _ = joined(world, version=version, **fields)
    bob.subscribe("chat/#", qos=2)
    bob.link.lost()
    alice = world.joined("alice", version=version)
    for number, one in enumerate(qos):
        alice.publish("chat/a", b"%d" % number, qos=one)
    return alice


both = pytest.mark.parametrize("version", [4, 5])


# Session present, and what goes on


@both
def test_q14_a_session_goes_on_with_its_subscriptions(world, version):
    """[MQTT-3.1.2-5] [MQTT-3.2.2-3] [MQTT311-3.1.2-4] [MQTT311-3.2.2-2]."""
    bob, connack = joined(world, version=version)
    assert not connack.session_present
    bob.subscribe("chat/#", qos=1)
    bob.link.lost()
    bob, connack = joined(world, version=version)
    assert connack.session_present
    world.joined("alice").publish("chat/a", b"again", qos=1)
    assert payloads(bob.received()) == [b"again"]


@both
def test_q14_clean_start_begins_anew_and_what_was_kept_is_gone(world, version):
    """[MQTT-3.1.2-4] [MQTT-3.2.2-2]."""
    away_with(world, 1, version=version)
    bob, connack = joined(world, version=version, clean_start=True)
    assert not connack.session_present
    assert bob.behind == []
    world.joined("carol").publish("chat/a", b"x", qos=1)
    assert bob.received() == []
    bob.link.lost()
    world.tick()
    assert world.kept.all(SubscriptionRecord) == []


def test_a_clean_session_of_311_ends_with_its_connection(world):
    """[MQTT311-3.1.2-6]."""
    bob, _ = joined(world, version=4, clean_start=True)
    bob.subscribe("chat/#", qos=1)
    bob.link.lost()
    _, connack = joined(world, version=4)
    assert not connack.session_present
    assert world.kept.all(SubscriptionRecord) == []


@both
def test_a_session_outlives_the_process(world, version):
    away_with(world, 1, 2, version=version)
    world.restart()
    bob, connack = joined(world, version=version)
    assert connack.session_present
    assert payloads(bob.behind) == [b"0", b"1"]


def test_a_session_of_311_goes_on_in_mqtt_5_and_back(world):
    away_with(world, 1, version=4)
    bob, connack = joined(world, version=5)
    assert connack.session_present
    (message,) = bob.behind
    assert (message.payload, message.qos) == (b"0", 1)
    bob.link.lost()
    bob, connack = joined(world, version=4)
    assert connack.session_present
    (message,) = bob.behind
    assert (message.payload, message.dup) == (b"0", True)


def test_subscription_identifiers_are_kept_and_left_out_of_311(world):
    bob, _ = joined(world)
    bob.subscribe("chat/#", qos=1, subscription_identifier=7)
    bob.link.lost()
    alice = world.joined("alice")
    alice.publish("chat/a", b"0", qos=1)
    world.restart()
    bob, _ = joined(world)
    assert bob.behind[0].subscription_identifiers == (7,)
    bob.link.lost()
    bob, _ = joined(world, version=4)
    assert payloads(bob.behind) == [b"0"]


# How long


def test_q22_a_session_ends_when_its_time_is_over_and_not_before(world):
    """[MQTT-4.1.0-2]."""
    for seconds, present in ((59, True), (61, False)):
        bob, _ = joined(world, session_expiry_interval=60)
        bob.link.lost()
        world.clock.advance(seconds)
        world.tick()
        _, connack = joined(world, session_expiry_interval=60)
        assert connack.session_present == present


def test_q22_what_is_kept_of_a_session_goes_with_it(world):
    away_with(world, 1, 2)
    world.clock.advance(601)
    world.tick()
    assert world.kept.records == {}


@pytest.mark.parametrize(
    ("asked", "told"), [(60, None), (DAY, None), (DAY + 1, DAY), (0xFFFF_FFFF, DAY), (0, None)]
)
def test_q22_the_expiry_is_capped_and_told_where_it_differs(world, asked, told):
    _, connack = joined(world, session_expiry_interval=asked)
    assert connack.session_expiry_interval == told


@pytest.mark.parametrize(("clean_start", "told"), [(False, 900), (True, None)])
def test_the_organization_says_how_long_where_an_mqtt_5_client_does_not(world, clean_start, told):
    world.doors.settings = msgspec.structs.replace(world.doors.settings, default_session_expiry_seconds=900)
    bob, connack = joined(world, clean_start=clean_start, session_expiry_interval=None)
    assert connack.session_expiry_interval == told
    bob.link.lost()
    _, connack = joined(world, session_expiry_interval=None)
    assert connack.session_present == (not clean_start)


def test_without_a_default_the_session_ends_as_the_standard_says(world):
    """[MQTT-4.1.0-1] [MQTT-3.1.2-23]."""
    bob, connack = joined(world, session_expiry_interval=None)
    assert connack.session_expiry_interval is None
    bob.link.lost()
    _, connack = joined(world, session_expiry_interval=None)
    assert not connack.session_present


def test_sessions_of_311_have_the_longest_expiry(make_world):
    world = make_world(max_session_expiry_seconds=100)
    for seconds, present in ((99, True), (101, False)):
        bob, _ = joined(world, version=4)
        bob.link.lost()
        world.clock.advance(seconds)
        world.tick()
        assert joined(world, version=4)[1].session_present == present


@pytest.mark.parametrize(
    ("said", "away", "present"), [(1_000, 999, True), (1_000, 1_001, False), (0, 0, False)]
)
def test_a_disconnect_changes_the_expiry(world, said, away, present):
    bob, _ = joined(world, session_expiry_interval=60)
    bob.send(Disconnect(session_expiry_interval=said))
    world.clock.advance(away)
    world.tick()
    assert joined(world)[1].session_present == present


def test_a_disconnect_cannot_ask_for_more_than_the_longest(make_world):
    world = make_world(max_session_expiry_seconds=100)
    bob, _ = joined(world, session_expiry_interval=60)
    bob.send(Disconnect(session_expiry_interval=5_000))
    world.clock.advance(101)
    world.tick()
    assert not joined(world)[1].session_present


def test_q22_a_disconnect_cannot_make_a_session_that_was_not_to_go_on(world):
    bob, _ = joined(world, session_expiry_interval=None)
    bob.send(Disconnect(session_expiry_interval=60))
    assert bob.received()[-1].reason_code == 0x82
    assert not joined(world)[1].session_present


def test_a_later_connect_changes_the_expiry(world):
    bob, _ = joined(world, session_expiry_interval=600)
    bob.link.lost()
    bob, connack = joined(world, session_expiry_interval=0)
    assert connack.session_present
    bob.link.lost()
    assert not joined(world)[1].session_present


def test_q22_the_time_away_counts_from_the_restart_for_who_was_connected(world):
    joined(world, session_expiry_interval=60)
    world.tick()
    world.restart()
    world.tick()
    world.clock.advance(59)
    world.restart()
    world.clock.advance(2)
    world.tick()
    assert not joined(world)[1].session_present


def test_q22_the_time_away_counts_from_the_loss_and_not_from_the_restart(world):
    bob, _ = joined(world, session_expiry_interval=60)
    bob.link.lost()
    world.tick()
    world.clock.advance(59)
    world.restart()
    world.clock.advance(2)
    world.tick()
    assert not joined(world)[1].session_present


# Taken over


@pytest.mark.parametrize("clean_start", [False, True])
@both
def test_q13_the_same_user_takes_over(world, version, clean_start):
    """[MQTT-3.1.4-3] [MQTT311-3.1.4-2]."""
    bob, _ = joined(world, version=version)
    bob.subscribe("chat/#", qos=1)
    again, connack = joined(world, version=version, clean_start=clean_start)
    assert connack.session_present == (not clean_start)
    assert bob.transport.closed
    assert [packet.reason_code for packet in bob.received()] == ([0x8E] if version == 5 else [])
    world.joined("alice").publish("chat/a", b"x", qos=1)
    assert payloads(again.received()) == ([] if clean_start else [b"x"])
    bob.link.lost()
    assert not again.transport.closed
    world.joined("carol").publish("chat/a", b"y", qos=1)
    assert payloads(again.received()) == ([] if clean_start else [b"y"])


@pytest.mark.parametrize("clean_start", [False, True])
@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("expiry", [0, 600])
@both
def test_v38_another_users_session_is_untouched(world, version, expiry, connected, clean_start):
    """[MQTT-3.1.3-8], ruling 5."""
    bob, _ = joined(world, client_id="shared", version=5)
    bob.subscribe("chat/#", qos=1)
    if not connected:
        bob.link.lost()
    mallory = world.client(version)
    fields = {"session_expiry_interval": expiry} if version == 5 else {}
    (connack,) = mallory.connect(world.person("mallory"), "shared", clean_start=clean_start, **fields)
    assert (connack.reason_code, connack.session_present) == (0x85, False)
    assert mallory.transport.closed
    world.joined("alice").publish("chat/a", b"for bob", qos=1)
    if connected:
        assert payloads(bob.received()) == [b"for bob"]
    else:
        assert payloads(joined(world, client_id="shared")[0].behind) == [b"for bob"]


@pytest.mark.parametrize("connected", [True, False])
def test_v38_a_token_that_names_the_client_id_wins_and_begins_fresh(world, connected):
    bob, _ = joined(world, client_id="shared")
    bob.subscribe("chat/#", qos=1)
    if not connected:
        bob.link.lost()
    world.joined("alice").publish("chat/a", b"for bob", qos=1)
    bob.received()
    named = world.person("carol", client_id="shared")
    carol, connack = joined(world, password=named, client_id="shared")
    assert not connack.session_present
    assert carol.behind == []
    if connected:
        assert [packet.reason_code for packet in bob.received()] == [0x8E]
    world.joined("dave").publish("chat/a", b"x", qos=1)
    assert carol.received() == []
    world.tick()
    assert [record.identity.user_id for record in world.kept.all(SessionRecord)] == ["carol"]


def test_v38_a_prefix_names_no_client_id(world):
    joined(world, client_id="shared-1")
    prefixed = world.person("carol", client_id="shared-*")
    (connack,) = world.client().connect(prefixed, "shared-1", clean_start=False)
    assert connack.reason_code == 0x85


def test_a_client_id_means_nothing_in_another_organization(world):
    bob, _ = joined(world, client_id="shared")
    there = world.person("bob", org_id="org_bbbbbbbbbbbb")
    _, connack = joined(world, password=there, client_id="shared")
    assert not connack.session_present
    assert not bob.transport.closed


# What waited


@both
def test_queued_messages_come_in_order_behind_the_connack(world, version):
    away_with(world, 1, 2, 1, 0, 2, version=version)
    client = world.client(version)
    packets = client.connect(world.person("bob"), "c-bob", **going_on(version))
    assert isinstance(packets[0], Connack)
    assert [(p.payload, p.qos, p.dup) for p in packets[1:]] == [
        (b"0", 1, False), (b"1", 2, False), (b"2", 1, False), (b"4", 2, False),
    ]  # fmt: skip
    assert len({p.packet_id for p in packets[1:]}) == 4


@pytest.mark.parametrize("restart", [False, True])
@both
def test_q23_what_is_unacknowledged_comes_again_with_its_packet_identifiers(world, version, restart):
    """[MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT311-4.4.0-1]."""
    away_with(world, 1, 2, 1, 2, 1, version=version)
    bob, _ = joined(world, version=version)
    first, second, third, fourth, fifth = bob.behind
    bob.send(Puback(packet_id=first.packet_id), Pubrec(packet_id=second.packet_id))
    assert bob.received() == [Pubrel(packet_id=second.packet_id)]
    bob.link.lost()
    if restart:
        world.tick()
        world.restart()
    bob, _ = joined(world, version=version)
    assert [p for p in bob.behind if isinstance(p, Pubrel)] == [Pubrel(packet_id=second.packet_id)]
    assert [(p.packet_id, p.payload, p.dup) for p in publishes(bob.behind)] == [
        (p.packet_id, p.payload, True) for p in (third, fourth, fifth)
    ]
    bob.send(Pubcomp(packet_id=second.packet_id))
    bob.link.lost()
    bob, _ = joined(world, version=version)
    assert [p.packet_id for p in bob.behind] == [p.packet_id for p in (third, fourth, fifth)]


def test_q23_nothing_is_sent_again_on_the_same_connection(world):
    """[MQTT-4.4.0-1]."""
    bob, _ = joined(world)
    bob.subscribe("chat/#", qos=1)
    world.joined("alice").publish("chat/a", qos=1)
    assert len(bob.received()) == 1
    for _ in range(100):
        world.clock.advance(0.5)
        world.tick()
    assert bob.received() == []


@pytest.mark.parametrize("peer", [2, None])
def test_q19_the_window_holds_after_a_resume(make_world, peer):
    """[MQTT-3.3.4-9] [MQTT-4.9.0-2]."""
    world = make_world(max_inflight=3)
    away_with(world, *[1] * 6)
    window = peer or 3
    bob, _ = joined(world, receive_maximum=peer)
    assert payloads(bob.behind) == [b"%d" % n for n in range(window)]
    bob.send(Puback(packet_id=bob.behind[0].packet_id))
    assert payloads(bob.received()) == [b"%d" % window]
    bob.link.lost()
    bob, _ = joined(world, receive_maximum=1)
    assert payloads(bob.behind) == [b"1"]
    assert bob.behind[0].dup


def test_q19_released_messages_do_not_wait_for_the_window(make_world):
    """[MQTT-3.3.4-10] [MQTT-4.9.0-3]."""
    world = make_world()
    away_with(world, 2, 2, 2)
    bob, _ = joined(world)
    bob.send(*(Pubrec(packet_id=p.packet_id) for p in bob.behind))
    bob.link.lost()
    again, _ = joined(world, receive_maximum=1)
    assert again.behind == [Pubrel(packet_id=p.packet_id) for p in bob.behind]


def test_a_link_that_takes_no_bytes_gets_what_waits_when_it_does(world):
    bob, _ = joined(world)
    bob.subscribe("chat/#", qos=1)
    bob.link.writing_paused()
    world.joined("alice").publish("chat/a", b"late", qos=1)
    assert bob.received() == []
    bob.link.writing_resumed()
    assert payloads(bob.received()) == [b"late"]


# Rights


def test_ruling_8_the_session_of_a_token_that_expires_goes_on(world):
    bob = world.client()
    bob.connect(world.person("bob", life=60), "c-bob", clean_start=False, session_expiry_interval=600)
    bob.subscribe("chat/#", qos=1)
    world.clock.advance(61)
    world.tick()
    assert bob.received()[-1].reason_code == 0xA0
    world.joined("alice").publish("chat/a", b"meanwhile", qos=1)
    bob, connack = joined(world)
    assert connack.session_present
    assert payloads(bob.behind) == [b"meanwhile"]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("connected", [True, False])
def test_revocation_ends_the_session_and_nothing_comes_back(world, connected, restart):
    """SECURITY, position (d): it is deleted, not kept until its expiry."""
    listener = world.joined("dave", "#")
    listener.subscribe("#", qos=1)
    bob, _ = joined(world, will=Will("chat/will", b"gone", qos=1, will_delay_interval=5))
    bob.subscribe("chat/#", qos=1)
    if not connected:
        bob.link.lost()
    world.joined("alice").publish("chat/a", b"x", qos=1)
    listener.received()
    assert world.hub.revoke(ORG, [f"tok_bob_{ORG}"], reason="revoked", keep_retained=False) == 1
    if connected:
        assert bob.received()[-1].reason_code == 0x87
    world.tick()
    assert world.kept.records == {}
    if restart:
        world.restart()
    world.clock.advance(30)
    world.tick()
    if not restart:
        assert listener.received() == [], "no will of a revoked user goes out"
    bob, connack = joined(world)
    assert (connack.session_present, bob.behind) == (False, [])


def test_a_replaced_token_closes_the_connection_and_the_session_goes_on(world):
    bob, _ = joined(world)
    assert world.hub.displace(ORG, [f"tok_bob_{ORG}"], reason="replaced") == 1
    assert bob.received()[-1].reason_code == 0x98
    assert joined(world)[1].session_present


@pytest.mark.parametrize("restart", [False, True])
def test_v37_a_narrower_token_gets_nothing_of_what_it_may_not(world, restart):
    bob, _ = joined(world, "bob", "chat/#")
    bob.subscribe("chat/#", "chat/b", qos=2)
    bob.link.lost()
    alice = world.joined("alice")
    for topic in ("chat/a", "chat/b", "chat/a", "chat/b"):
        alice.publish(topic, topic.encode(), qos=1)
    if restart:
        world.restart()
    bob, connack = joined(world, "bob", "chat/b")
    assert connack.session_present
    assert connack.user_properties == (("tokenmq-suspended", "chat/#"),)
    assert payloads(bob.behind) == [b"chat/b", b"chat/b"]
    assert world.broker.counters.withheld == 2
    alice = world.joined("alice")
    alice.publish("chat/a", b"live", qos=1)
    alice.publish("chat/b", b"live too", qos=1)
    assert payloads(bob.received()) == [b"live too"]
    bob.link.lost()
    bob, _ = joined(world, "bob", "chat/#")
    assert payloads(bob.behind) == [b"chat/b", b"chat/b", b"live too"]


@pytest.mark.parametrize("restart", [False, True])
def test_v37_what_was_in_flight_is_judged_again_too(world, restart):
    away_with(world, 1)
    bob, _ = joined(world)
    assert payloads(bob.behind) == [b"0"]
    bob.link.lost()
    if restart:
        world.restart()
    bob, _ = joined(world, "bob", "chat/b")
    assert bob.behind == []


# Limits


def events(client):
    return [
        json.loads(packet.payload)
        for packet in client.received()
        if isinstance(packet, Publish) and packet.topic == "$auth/events"
    ]


@pytest.mark.parametrize("qos", [1, 2])
def test_a_full_queue_loses_its_oldest_and_tells_when_the_client_is_back(make_world, qos):
    world = make_world(max_queued_messages=3)
    alice = away_with(world, *[qos] * 5)
    assert world.broker.counters.dropped == 2
    assert alice.publish("chat/a", b"5", qos=qos)[-1].reason_code == 0
    world.tick()
    bob, _ = joined(world)
    assert payloads(bob.behind) == [b"3", b"4", b"5"]
    bob.subscribe("$auth/events")
    world.tick()
    assert events(bob) == [{"event": "dropped", "count": 3}]
    world.tick()
    assert events(bob) == []


def test_a_full_queue_is_bounded_by_bytes_too(make_world):
    world = make_world(max_queued_bytes=2_048)
    alice = away_with(world)
    for number in range(4):
        alice.publish("chat/a", b"%d" % number * 600, qos=1)
    bob, _ = joined(world)
    assert [payload[:1] for payload in payloads(bob.behind)] == [b"1", b"2", b"3"]


def test_a_queue_that_was_kept_has_its_limit_after_a_restart(make_world):
    world = make_world(max_queued_messages=3)
    away_with(world, 1, 1, 1)
    world.tick()
    world.restart()
    alice = world.joined("alice")
    for number in range(3, 6):
        alice.publish("chat/a", b"%d" % number, qos=1)
    assert payloads(joined(world)[0].behind) == [b"3", b"4", b"5"]


def limited(world, **limits):
    world.doors.settings = msgspec.structs.replace(world.doors.settings, **limits)


@both
def test_an_organization_has_so_many_sessions_that_outlive_their_connections(world, version):
    limited(world, max_sessions=2)
    joined(world, "u1", version=version)
    second, _ = joined(world, "u2", version=version)
    second.link.lost()
    third = world.client(version)
    (connack,) = third.connect(world.person("u3"), "c-u3", **going_on(version))
    assert connack.reason_code == (0x97 if version == 5 else 0x88)
    assert third.transport.closed
    world.joined("u3", version=version)
    assert joined(world, "u2", version=version)[1].session_present


def test_a_session_makes_room_for_its_own_successor(world):
    limited(world, max_sessions=1)
    joined(world)
    _, connack = joined(world, clean_start=True)
    assert not connack.session_present


@both
def test_an_organization_has_so_many_connections(world, version):
    limited(world, max_connections=2)
    first, _ = joined(world, "u1", version=version)
    joined(world, "u2", version=version)
    third = world.client(version)
    (connack,) = third.connect(world.person("u3"), "c-u3")
    assert connack.reason_code == (0x97 if version == 5 else 0x88)
    joined(world, "u1", version=version)
    assert first.transport.closed
    again, _ = joined(world, "u2", version=version)
    again.link.lost()
    world.joined("u3", version=version)


@pytest.mark.parametrize("restart", [False, True])
def test_a_user_has_so_many_sessions_away_and_the_one_away_longest_ends(make_world, restart):
    world = make_world(max_sessions_per_user=2)
    clients = {name: joined(world, client_id=name)[0] for name in ("a", "b", "c")}
    other, _ = joined(world, "carol")
    other.link.lost()
    for name in ("b", "a"):
        clients[name].link.lost()
        world.clock.advance(1)
    if restart:
        world.tick()
        world.restart()
        clients["c"] = joined(world, client_id="c")[0]
        world.clock.advance(1)
    clients["c"].link.lost()
    assert {name: joined(world, client_id=name)[1].session_present for name in ("a", "b", "c")} == {
        "a": True,
        "b": False,
        "c": True,
    }
    assert joined(world, "carol")[1].session_present


def test_a_session_that_had_ended_is_not_restored_beside_its_successor(world):
    bob, _ = joined(world)
    bob.subscribe("chat/#", qos=1)
    world.kept.fails = True
    bob, _ = joined(world, clean_start=True)
    world.tick()
    world.kept.fails = False
    bob.subscribe("chat/b", qos=1)
    world.restart()
    bob, connack = joined(world)
    assert connack.session_present
    alice = world.joined("alice")
    alice.publish("chat/a", b"of the old", qos=1)
    alice.publish("chat/b", b"of the new", qos=1)
    assert payloads(bob.received()) == [b"of the new"]
    assert world.broker.tenants[ORG].kept == 1
    world.tick()
    assert len(world.kept.all(SessionRecord)) == 1


def test_a_takeover_costs_the_user_no_other_session(make_world):
    world = make_world(max_sessions_per_user=1)
    joined(world, client_id="a")[0].link.lost()
    joined(world, client_id="b")
    joined(world, client_id="b")
    joined(world, client_id="b", clean_start=True)
    assert joined(world, client_id="a")[1].session_present


# What does not go on


def test_what_is_retained_and_was_still_to_come_ends_with_the_connection(make_world):
    world = make_world(max_inflight=1)
    alice = world.joined("alice")
    for number in range(4):
        alice.publish(f"chat/{number}", b"%d" % number, qos=1, retain=True)
    bob, _ = joined(world, receive_maximum=1)
    assert len(publishes(bob.subscribe("chat/#", qos=1))) == 1
    bob.link.lost()
    bob, connack = joined(world, receive_maximum=1)
    assert connack.session_present
    came = bob.behind
    while came and len(came) < 4:  # what was given a packet identifier before comes
        bob.send(Puback(packet_id=came[-1].packet_id))
        more = bob.received()
        if not more:
            break
        came += more
    assert payloads(came) == [b"0", b"1"]


def test_a_session_without_a_connection_hears_no_events(world):
    bob, _ = joined(world)
    bob.subscribe("$auth/events")
    bob.link.lost()
    bob, _ = joined(world)
    bob.publish("other/x", qos=0)
    assert bob.received() == []


def test_messages_at_qos_0_are_not_kept_for_who_is_away(world):
    away_with(world, 0)
    assert joined(world)[0].behind == []


@both
def test_a_session_is_the_same_whether_it_was_left_with_a_word_or_without(world, version):
    bob, _ = joined(world, version=version)
    bob.subscribe("chat/#", qos=1)
    bob.send(Disconnect())
    assert bob.transport.closed
    world.joined("alice").publish("chat/a", b"x", qos=1)
    assert payloads(joined(world, version=version)[0].behind) == [b"x"]


def test_nothing_is_left_of_sessions_that_ended(world):
    for _ in range(3):
        away_with(world, 1, 2)
        bob, _ = joined(world)
        bob.send(Puback(packet_id=bob.behind[0].packet_id))
        bob.send(Disconnect(session_expiry_interval=0))
    broker = world.broker
    tenant = broker.tenants[ORG]
    world.clock.advance(10)
    world.tick()
    assert set(tenant.sessions) == {"c-alice"}
    assert (tenant.kept, tenant.away, tenant.overflowed) == (0, {}, {})
    assert len(broker.lives._leavings) == len(broker.lives._wills) == 0
    assert world.kept.records == {}
