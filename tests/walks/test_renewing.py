"""A connection goes on under another password: by AUTH, by `$auth/token`, by a refresh over HTTP."""

from __future__ import annotations

import json

import msgspec
import pytest

from tokenmq.access.grants import Grant
from tokenmq.access.identity import Renewal
from tokenmq.access.permission import Permission
from tokenmq.broker.records import DeliveryRecord, MessageRecord, ReceivedRecord, SessionRecord
from tokenmq.mqtt.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Will,
)

ORG = "org_aaaaaaaaaaaa"
BOTH = (Permission.PUBLISH, Permission.SUBSCRIBE)
ROADS = ["http", "topic", "auth"]
both = pytest.mark.parametrize("version", [4, 5])


def enter(world, user_id="ann", *topics, version=5, method=None, client_id=None, **fields):
    """Return a client that is connected, with a method if there is one."""
    client = world.client(version)
    password = world.person(user_id, *topics)
    if method is not None:
        fields = {"authentication_method": method, "authentication_data": password, **fields}
    (connack, *client.behind) = client.connect(password, client_id or f"c-{user_id}", **fields)
    assert connack.reason_code == 0, connack
    return client


def another(world, user_id="ann", *topics, life=3_600, family=None, gen=1, **fields):
    """Return a later password of somebody."""
    password = world.person(user_id, *topics, life=life, **fields)
    identity = world.doors.identities[password]
    world.doors.identities[password] = msgspec.structs.replace(
        identity, token_id=family or identity.token_id, jti=f"jti{gen}", gen=gen, issued_at=world.clock.now
    )
    return password


def renew(world, client, password, road):
    """Move a connection to a password; return what its client is told."""
    identity = world.doors.identities[password]
    if road == "http":
        world.hub.renew(
            ORG,
            identity.token_id,
            Renewal(identity.jti, identity.gen, identity.grants, identity.issued_at, identity.expires_at),
        )
        return client.received()
    if road == "topic":
        (answer, *rest) = client.publish("$auth/token", password, qos=1, packet_id=77)
        assert answer == Puback(packet_id=77)
        return rest
    client.send(Auth(0x19, authentication_method="JWT", authentication_data=password))
    (answer, *rest) = client.received()
    assert answer == Auth(0, authentication_method="JWT")  # [MQTT-4.12.0-5]
    return rest


def events(packets):
    """Return what was told on `$auth/events`."""
    return [json.loads(p.payload) for p in packets if isinstance(p, Publish) and p.topic == "$auth/events"]


def payloads(packets):
    return [p.payload for p in packets if isinstance(p, Publish) and p.topic != "$auth/events"]


# Time


@pytest.mark.parametrize("road", ROADS)
def test_a_renewed_connection_outlives_its_first_token_and_ends_with_its_second(world, road):
    client = enter(world, method="JWT")
    world.clock.now += 1_800
    assert renew(world, client, another(world, life=3_600), road) == []
    world.clock.now += 3_599
    world.tick()
    client.publish("chat/a", qos=1)
    assert not client.transport.closed
    world.clock.now += 1
    world.tick()
    assert [p.reason_code for p in client.received()][-1] == 0xA0


@pytest.mark.parametrize("road", ROADS)
def test_a_token_that_ends_sooner_ends_the_connection_sooner(world, road):
    client = enter(world, method="JWT")
    renew(world, client, another(world, life=60), road)
    world.clock.now += 60
    world.tick()
    assert [p.reason_code for p in client.received()] == [0xA0]


def test_3_1_1_is_renewed_by_topic_and_by_http(world):
    client = enter(world, version=4)
    for road in ("topic", "http", "topic"):
        world.clock.now += 3_000
        world.tick()
        renew(world, client, another(world, gen=int(world.clock.now)), road)
    world.clock.now += 3_599
    world.tick()
    assert not client.transport.closed


@pytest.mark.parametrize("road", ROADS)
def test_it_is_told_and_warned_again(world, road):
    client = enter(world, method="JWT")
    client.subscribe("$auth/events")
    world.clock.now += 3_540
    world.tick()
    assert [event["event"] for event in events(client.received())] == ["expiring"]
    told = renew(world, client, another(world, life=600), road)
    assert events(told) == [
        {"event": "refreshed", "token_id": f"tok_ann_{ORG}", "expires_at": "2027-01-15T09:09:00Z"}
    ]
    world.clock.now += 539
    world.tick()
    assert client.received() == []
    world.clock.now += 1
    world.tick()
    (event,) = events(client.received())
    assert (event["event"], event["seconds_left"]) == ("expiring", 60)


@pytest.mark.parametrize("road", ROADS)
def test_the_warning_counts_from_the_renewal_where_the_token_does_not_say_when_it_was_made(world, road):
    client = enter(world, method="JWT")
    client.subscribe("$auth/events")
    world.clock.now += 3_000
    password = another(world, life=100)
    if road != "http":
        identity = world.doors.identities[password]
        world.doors.identities[password] = msgspec.structs.replace(identity, issued_at=None)
    renew(world, client, password, road)
    world.clock.now += 89
    world.tick()
    assert events(client.received()) == []
    world.clock.now += 1
    world.tick()
    assert [event["seconds_left"] for event in events(client.received())] == [10]


# Which password


@pytest.mark.parametrize("road", ["topic", "auth"])
def test_it_moves_to_another_family_and_is_revoked_with_that_alone(world, road):
    client = enter(world, method="JWT")
    renew(world, client, another(world, family="tok_other", gen=0), road)
    assert world.hub.connected(ORG, [f"tok_ann_{ORG}", "tok_other"]) == {"tok_other"}
    assert world.hub.revoke(ORG, [f"tok_ann_{ORG}"], reason="revoked", keep_retained=False) == 0
    assert client.publish("chat/a", qos=1)
    assert world.hub.revoke(ORG, ["tok_other"], reason="revoked", keep_retained=False) == 1
    assert [p.reason_code for p in client.received()] == [0x87]


@pytest.mark.parametrize("road", ["topic", "auth"])
@pytest.mark.parametrize("back", [False, True])
def test_a_kept_session_is_kept_under_the_family_that_it_moved_to(world, road, back):
    client = enter(world, method="JWT", clean_start=False, session_expiry_interval=600)
    first = f"tok_ann_{ORG}"
    renew(world, client, another(world, family="tok_other"), road)
    if back:
        renew(world, client, another(world, family=first), road)
    world.tick()
    (record,) = world.kept.all(SessionRecord)
    assert record.identity.token_id == (first if back else "tok_other")
    world.restart()
    assert world.hub.revoke(ORG, ["tok_other" if back else first], reason="x", keep_retained=False) == 0
    assert world.hub.revoke(ORG, [record.identity.token_id], reason="x", keep_retained=False) == 1


def test_a_revocation_between_the_move_and_its_commit_leaves_the_session(world):
    """The store drops what it has under the family that was left; all of it is kept once more."""
    client = enter(world, clean_start=False, session_expiry_interval=600)
    client.subscribe("chat/#", qos=1)
    world.kept.waits = True
    renew(world, client, another(world, family="tok_other"), "topic")
    world.hub.revoke(ORG, [f"tok_ann_{ORG}"], reason="revoked", keep_retained=False)
    (number,) = [record.number for record in world.kept.all(SessionRecord)]
    for name in list(world.kept.records):  # as the store does it, in the transaction of the revocation
        if name[1] == number or (isinstance(name[1], tuple) and name[1][0] == number):
            del world.kept.records[name]
    world.kept.waits = False
    world.kept.go_on()
    world.tick()
    world.restart()
    back = world.client()
    (connack, *_) = back.connect(
        another(world, family="tok_other"), "c-ann", clean_start=False, session_expiry_interval=600
    )
    assert connack.session_present
    world.joined("bob").publish("chat/a", b"still", qos=1)
    assert payloads(back.received()) == [b"still"]


@pytest.mark.parametrize("road", ROADS)
def test_a_password_that_a_later_one_has_superseded_changes_nothing(world, road):
    client = enter(world, "ann", "chat/#", method="JWT")
    client.subscribe("$auth/events")
    old = another(world, "ann", "old/#", life=100, gen=1)
    renew(world, client, another(world, "ann", "new/#", life=3_600, gen=2), road)
    told = events(renew(world, client, old, road))
    assert [event["expires_at"] for event in told] == ["2027-01-15T09:00:00Z"]
    assert client.subscribe("old/a")[0].reason_codes == (0x87,)
    assert client.subscribe("new/a")[0].reason_codes == (0,)
    world.clock.now += 100
    world.tick()
    assert not client.transport.closed


@both
def test_a_bad_token_on_the_topic_is_refused_and_the_old_scope_stays(world, version):
    client = enter(world, version=version)
    (*_, answer) = client.publish("$auth/token", another(world, "bob"), qos=1, packet_id=5) or [None]
    if version == 4:
        assert client.transport.closed
        return
    assert (type(answer), answer.packet_id, answer.reason_code) == (Puback, 5, 0x87)
    assert answer.reason_string == "token is no good"
    assert client.publish("chat/a", qos=1)[0].reason_code == 0x10
    assert world.broker.counters.refused == 1


def test_a_bad_token_at_qos_2_gets_pubrec_and_its_pubrel_finds_nothing(world):
    client = enter(world)
    (answer,) = client.publish("$auth/token", b"nonsense", qos=2, packet_id=5)
    assert (type(answer), answer.reason_code) == (Pubrec, 0x87)
    client.send(Pubrel(packet_id=5))
    assert client.received() == [Pubcomp(packet_id=5, reason_code=0x92)]


@both
def test_a_bad_token_at_qos_0_is_told_as_an_event_and_closes_nothing(world, version):
    client = enter(world, version=version)
    client.subscribe("$auth/events")
    (event,) = events(client.publish("$auth/token", b"nonsense"))
    assert event == {
        "event": "denied", "action": "publish", "topic": "$auth/token", "reason": "token is no good",
    }  # fmt: skip
    assert not client.transport.closed


def test_a_revoked_or_expired_token_renews_nothing(world):
    client = enter(world)
    password = another(world, life=10, family="tok_other")
    world.clock.now += 10
    assert client.publish("$auth/token", password, qos=1)[0].reason_code == 0x87
    world.doors.revoked.add("tok_gone")
    gone = another(world, family="tok_gone")
    assert client.publish("$auth/token", gone, qos=1)[0].reason_code == 0x87


def test_a_token_over_the_limit_is_not_even_read(make_world):
    world = make_world(max_password_bytes=1_024)
    client = enter(world)
    world.doors.renew = None
    (answer,) = client.publish("$auth/token", b"x" * 1_025, qos=1)
    assert answer.reason_string == "token has 1025 bytes, at most 1024 are accepted"


@both
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_at_most_ten_a_minute_are_looked_at(world, version, qos):
    client = enter(world, version=version)
    client.subscribe("$auth/events")
    passwords = [another(world, gen=n) for n in range(12)]
    for n, password in enumerate(passwords[:10]):
        world.clock.now += 1
        got = client.publish("$auth/token", password, qos=qos)
        assert [event["event"] for event in events(got)] == ["refreshed"], n
    got = client.publish("$auth/token", passwords[10], qos=qos)
    if qos == 0:
        (event,) = events(got)
        assert event["reason"] == "10 tokens came within a minute, try again later"
    elif version == 5:
        assert [answer.reason_code for answer in got] == [0x97]
    else:
        assert client.transport.closed
        return
    world.clock.now += 51
    assert "refreshed" in [
        event["event"] for event in events(client.publish("$auth/token", passwords[11], qos=qos))
    ]


def test_a_clock_that_is_set_back_does_not_hold_tokens_up_for_ever(world):
    client = enter(world)
    for n in range(10):
        client.publish("$auth/token", another(world, gen=n), qos=1)
    world.clock.now -= 3_000
    assert client.publish("$auth/token", another(world, gen=11), qos=1)[0].reason_code == 0


def test_a_servers_connection_has_nothing_to_renew(world):
    client = world.client()
    client.connect(world.person("server", key_id="key_1"))
    assert client.publish("$auth/token", another(world), qos=1)[0].reason_code == 0x87


# What becomes of the token


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("alias", [False, True])
@pytest.mark.parametrize("lasts", [False, True])
def test_a_published_token_goes_nowhere(world, capsys, qos, alias, lasts):
    """Not routed, not retained, not kept, not logged: with any flag, by an alias too."""
    everything = world.client()
    everything.connect(world.person("server", "#", key_id="key_1"), "all")
    everything.subscribe("#")
    fields = {"clean_start": False, "session_expiry_interval": 600} if lasts else {}
    client = enter(world, **fields)
    passwords = another(world, gen=1), another(world, gen=2)
    names = [{}, {}]
    if alias:
        names = [{"topic_alias": 3}, {"topic_alias": 3}]
    for n, password in enumerate(passwords):
        topic = "" if alias and n else "$auth/token"
        packet_id = n + 1 if qos else 0
        client.send(Publish(topic, password, qos, True, packet_id=packet_id, **names[n]))
        got = client.received()
        assert [type(one) for one in got] == ([], [Puback], [Pubrec])[qos]
        assert all(one.reason_code == 0 for one in got)
    assert client.link.outbox.session.identity.gen == 2
    assert everything.received() == []
    assert not len(world.broker.tenants[ORG].retained)
    world.tick()
    told = capsys.readouterr().out + repr(list(world.kept.records.values()))
    assert not any(password.decode() in told for password in passwords)
    assert world.kept.all(MessageRecord) == world.kept.all(DeliveryRecord) == []
    assert world.kept.all(ReceivedRecord) == []


@pytest.mark.parametrize("lasts", [False, True])
def test_at_qos_2_pubrec_is_the_answer_and_the_exchange_ends_as_ever(world, lasts):
    fields = {"clean_start": False, "session_expiry_interval": 600} if lasts else {}
    client = enter(world, **fields)
    password = another(world)
    assert client.publish("$auth/token", password, qos=2, packet_id=9) == [Pubrec(packet_id=9)]
    again = Publish("$auth/token", b"whatever stands here is not looked at", 2, dup=True, packet_id=9)
    client.send(again)
    assert client.received() == [Pubrec(packet_id=9)]
    client.send(Pubrel(packet_id=9))
    assert client.received() == [Pubcomp(packet_id=9)]


@both
@pytest.mark.parametrize(
    "topic_filter", ["$auth/token", "$auth/#", "$auth/+", "$share/g/$auth/token", "$auth/token/#"]
)
def test_nobody_can_subscribe_to_it(world, version, topic_filter):
    client = enter(world, "ann", "#", version=version)
    assert client.subscribe(topic_filter)[0].reason_codes == (0x87 if version == 5 else 0x80,)


def test_nobody_can_have_a_will_on_it(world):
    client = world.client()
    (connack,) = client.connect(world.person("ann", "#"), will=Will("$auth/token", b"x"))
    assert connack.reason_code == 0x87


def test_a_reserved_user_property_is_refused_there_too(world):
    client = enter(world)
    password = another(world)
    got = client.publish("$auth/token", password, qos=1, user_properties=(("tokenmq-x", "1"),))
    assert [answer.reason_code for answer in got] == [0x87]
    assert client.link.outbox.session.identity.gen == 0


def test_it_is_taken_in_at_once_also_while_something_waits_for_the_store(world):
    """Else the token that is shown in time would be too late."""
    client = enter(world, method="JWT")
    world.kept.waits = True
    client.publish("chat/a", b"x", qos=1, retain=True)
    password = another(world)
    assert client.publish("$auth/token", password, qos=1, packet_id=50) == [Puback(packet_id=50)]
    assert client.link.outbox.session.identity.gen == 1


# AUTH


def test_auth_without_data_closes(world):
    """[MQTT-4.12.1-2]."""
    client = enter(world, method="JWT")
    client.send(Auth(0x19, authentication_method="JWT"))
    assert [(type(p), p.reason_code) for p in client.received()] == [(Disconnect, 0x87)]
    assert client.transport.closed


@pytest.mark.parametrize("token", ["bob's", "nonsense"])
def test_auth_with_a_bad_token_closes_and_says_why(world, token):
    """[MQTT-4.12.1-2]."""
    client = enter(world, method="JWT")
    data = another(world, "bob") if token == "bob's" else b"nonsense"
    client.send(Auth(0x19, authentication_method="JWT", authentication_data=data))
    (packet,) = client.received()
    assert (type(packet), packet.reason_code, packet.reason_string) == (Disconnect, 0x87, "token is no good")


@pytest.mark.parametrize("method", [None, "OAUTH2-JWT", "jwt"])
def test_q10_auth_with_another_method_or_none_is_against_the_protocol(world, method):
    """[MQTT-4.12.1-1]: the new token is not even looked at."""
    client = enter(world, method="JWT")
    password = another(world)
    client.send(Auth(0x19, authentication_method=method, authentication_data=password))
    assert [(type(p), p.reason_code) for p in client.received()] == [(Disconnect, 0x82)]
    assert client.transport.closed


@pytest.mark.parametrize("reason_code", [0x00, 0x18])
def test_q10_auth_that_does_not_begin_a_re_authentication_is_against_the_protocol(world, reason_code):
    client = enter(world, method="JWT")
    client.send(Auth(reason_code, authentication_method="JWT", authentication_data=another(world)))
    assert [(type(p), p.reason_code) for p in client.received()] == [(Disconnect, 0x82)]


def test_auth_may_come_again_and_again(world):
    client = enter(world, method="JWT")
    for n in range(20):
        assert renew(world, client, another(world, gen=n + 1), "auth") == []


def test_a_re_authentication_is_whole_before_a_takeover_and_nothing_of_it_is_left_after(world):
    """SECURITY (f): there is no moment at which an exchange is under way."""
    client = enter(world, method="JWT", clean_start=False, session_expiry_interval=600)
    other = world.client()
    other.connect(world.person("ann"), "c-ann", clean_start=False, session_expiry_interval=600)
    assert [p.reason_code for p in client.received()] == [0x8E]
    client.send(Auth(0x19, authentication_method="JWT", authentication_data=another(world, gen=7)))
    assert client.received() == []
    assert other.link.outbox.session.identity.gen == 0
    assert not other.transport.closed


def test_what_is_pipelined_behind_auth_is_judged_by_the_new_rights(world):
    client = enter(world, "ann", "old/#", method="JWT")
    password = another(world, "ann", "new/#")
    client.send(
        Publish("old/a", b"1", 1, packet_id=1),
        Auth(0x19, authentication_method="JWT", authentication_data=password),
        Publish("old/a", b"2", 1, packet_id=2),
        Publish("new/a", b"3", 1, packet_id=3),
    )
    got = client.received()
    assert [type(one) for one in got] == [Puback, Auth, Puback, Puback]
    assert [one.reason_code for one in got] == [0x10, 0, 0x87, 0x10]


def test_q17_a_topic_alias_that_was_set_while_it_was_allowed_is_judged_after_the_renewal(world):
    """Q17: the resolved topic, message by message."""
    client = enter(world, "ann", "old/#")
    assert client.publish("old/a", qos=1, topic_alias=1)[0].reason_code == 0x10
    renew(world, client, another(world, "ann", "new/#"), "topic")
    assert client.publish("", qos=1, topic_alias=1)[0].reason_code == 0x87


# What is under way


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("lasts", [False, True])
@pytest.mark.parametrize("grants", [("chat/#",), ("chat/#", "more/#"), ("chat/+",)])
def test_nothing_under_way_is_touched(make_world, road, lasts, grants):
    """Window full and a queue behind it, at QoS 1 and 2, in both directions; all of it goes on in order."""
    world = make_world(max_inflight=2)
    fields = {"clean_start": False, "session_expiry_interval": 600} if lasts else {}
    ann = enter(world, "ann", "chat/#", method="JWT", **fields)
    ann.subscribe("chat/+", qos=2)
    bob = world.joined("bob")
    for n in range(6):
        bob.publish("chat/a", b"%d" % n, qos=1 + n % 2)
    sent = ann.received()
    assert payloads(sent) == [b"0", b"1"]
    ann.publish("chat/x", b"up", qos=2, packet_id=40)
    assert renew(world, ann, another(world, "ann", *grants), road) == []
    got = payloads(sent)
    while sent:
        for packet in sent:
            if isinstance(packet, Publish):
                ann.send((Puback if packet.qos == 1 else Pubrec)(packet_id=packet.packet_id))
            elif isinstance(packet, Pubrel):
                ann.send(Pubcomp(packet_id=packet.packet_id))
        sent = ann.received()
        got += payloads(sent)
    assert got == [b"0", b"1", b"2", b"3", b"4", b"5", b"up"]
    ann.send(Pubrel(packet_id=40))
    assert ann.received() == [Pubcomp(packet_id=40)]


def test_where_the_rights_are_the_same_no_route_and_no_lane_ends(world):
    ann, bob = enter(world), world.joined("bob")
    ann.subscribe("chat/#")
    bob.publish("chat/a")
    bob.publish("chat/a")
    lane = bob.link.outbox.session.lanes[b"chat/a"]
    scope = ann.link.outbox.session.scope
    for road in ("http", "topic"):
        renew(world, ann, another(world), road)
    assert lane.live and ann.link.outbox.session.scope is scope
    renew(world, ann, another(world, "ann", "chat/#", "more/#", gen=2), "topic")
    assert not lane.live


def test_its_own_lanes_end_with_the_right_to_publish(world):
    ann, bob = enter(world), world.joined("bob")
    bob.subscribe("chat/#")
    for _ in range(2):
        ann.publish("chat/a", b"x")
    renew(world, ann, another(world, "ann", "other/#"), "topic")
    ann.publish("chat/a", b"y")
    assert payloads(bob.received()) == [b"x", b"x"]


def test_all_connections_of_a_family_move_and_no_others(world):
    first, second = enter(world, client_id="one"), enter(world, client_id="two")
    other = enter(world, "bob")
    gone = enter(world, client_id="three", clean_start=False, session_expiry_interval=600)
    gone.link.lost()
    identity = world.doors.identities[another(world, life=7_200)]
    renewal = Renewal(identity.jti, 1, identity.grants, identity.issued_at, identity.expires_at)
    assert world.hub.renew(ORG, identity.token_id, renewal) == 2
    world.clock.now += 3_600
    world.tick()
    assert [one.transport.closed for one in (first, second, other)] == [False, False, True]


def test_a_token_may_come_in_one_segment_with_the_connect(world):
    client = world.client()
    first, second = world.person("ann"), another(world, "ann", "new/#")
    client.send(
        Connect(5, "c-ann", True, 60, username="ann", password=first),
        Publish("$auth/token", second, 1, packet_id=1),
        Publish("new/a", b"x", 1, packet_id=2),
    )
    assert [type(packet) for packet in client.received()] == [Connack, Puback, Puback]
    assert client.link.outbox.session.identity.gen == 1


def test_grants_of_a_renewal_are_bound_to_the_same_client_id(world):
    client = enter(world, "ann", "box/{client_id}/#")
    identity = client.link.outbox.session.identity
    grants = (Grant(BOTH, ("box/{client_id}/#", "user/{user_id}")),)
    world.hub.renew(ORG, identity.token_id, Renewal("j", 1, grants, world.clock.now, world.clock.now + 60))
    codes = client.subscribe("box/c-ann/a", "user/ann", "box/other/a", "user/bob")[0].reason_codes
    assert codes == (0, 0, 0x87, 0x87)
