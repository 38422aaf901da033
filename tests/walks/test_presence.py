"""Presence: who joins and leaves where somebody watches, what members say of themselves, slow watchers."""

from __future__ import annotations

import json

import pytest

from tokenmq.access.permission import Permission
from tokenmq.access.policy import Policy
from tokenmq.access.rules import Effect, Rule
from tokenmq.broker import operating, presence, retaining, revoking, watching
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.packets import Disconnect, Puback, Publish, Pubrec, Pubrel, Suback, Unsubscribe
from tokenmq.mqtt.packets import Will as PacketWill
from tokenmq.tokens.records import OrganizationRecord

ORG = "org_aaaaaaaaaaaa"
ALL = ("publish", "subscribe", "presence")
both = pytest.mark.parametrize("version", [4, 5])


@pytest.fixture(autouse=True)
def by_hand(timers):
    """Nothing is collected, and nobody has another turn, until the test says so."""


def enter(world, user_id, *topics, permissions=ALL, version=5, client_id=None, **fields):
    """Return a client that is connected and listens to its own events."""
    client = world.client(version)
    password = world.person(user_id, *(topics or ("#",)), permissions=permissions)
    connack, *client.behind = client.connect(password, client_id or f"c-{user_id}", **fields)
    assert connack.reason_code == 0, connack
    client.subscribe("$auth/events")
    return client


def watcher(world, topic_filter="chat/a", user_id="eve", **fields):
    """Return a client that watches, and what its first snapshot said."""
    client = enter(world, user_id, **fields)
    suback, *packets = client.subscribe(f"$presence/{topic_filter}")
    assert suback.reason_codes == (0,)
    client.snapshot = bodies(packets)
    return client


def bodies(packets):
    """Return the JSON of what came about presence, batches opened."""
    found = [
        json.loads(p.payload) for p in packets if isinstance(p, Publish) and p.topic[:10] == "$presence/"
    ]
    return [event for body in found for event in (body["events"] if body["event"] == "batch" else [body])]


def told(client, timers):
    """Return the events that a watcher gets once the time has come."""
    timers.ring()
    return bodies(client.received())


def brief(events):
    return [(event["event"], event["user_id"], event["count"]) for event in events]


def unsubscribe(client, *filters):
    client.send(Unsubscribe(9, filters))
    return client.received()


def people(pages):
    return sorted(member["user_id"] for page in pages for member in page["members"])


# Snapshot, join, leave


@both
def test_a_watcher_gets_a_snapshot_behind_its_suback_and_then_what_happens(world, timers, version):
    ann = enter(world, "ann", version=version)
    ann.subscribe("chat/a")
    eve = enter(world, "eve", version=version)
    suback, first = eve.subscribe("$presence/chat/a", qos=2)
    assert isinstance(suback, Suback) and suback.reason_codes == (0,)
    assert (first.topic, first.qos, first.retain) == ("$presence/chat/a", 0, False)
    snapshot = json.loads(first.payload)
    (member,) = snapshot.pop("members")
    assert snapshot == {"event": "snapshot", "filter": "chat/a", "page": 1, "pages": 1, "count": 1}
    assert member == {
        "member": member["member"], "user_id": "ann", "at": "2027-01-15T08:00:00Z", "state": None,
    }  # fmt: skip
    bob = enter(world, "bob", version=version)
    bob.subscribe("chat/a")
    assert bodies(eve.received()) == []
    (joined,) = told(eve, timers)
    assert joined == {
        "event": "join", "filter": "chat/a", "member": joined["member"], "user_id": "bob",
        "at": "2027-01-15T08:00:00Z", "count": 2, "state": None,
    }  # fmt: skip
    unsubscribe(ann, "chat/a")
    (left,) = told(eve, timers)
    assert left == {
        "event": "leave", "filter": "chat/a", "member": member["member"], "user_id": "ann",
        "at": "2027-01-15T08:00:00Z", "count": 1, "reason": "unsubscribed", "state": None,
    }  # fmt: skip


def test_what_falls_into_a_tenth_of_a_second_comes_in_one_message(world, timers):
    eve = watcher(world)
    for user_id in ("ann", "bob", "cid"):
        enter(world, user_id).subscribe("chat/a")
    assert [seconds for seconds, _ in timers.later] == [watching.COLLECT_SECONDS]
    timers.ring()
    (packet,) = eve.received()
    body = json.loads(packet.payload)
    assert set(body) == {"event", "events"} and body["event"] == "batch"
    assert brief(body["events"]) == [("join", "ann", 1), ("join", "bob", 2), ("join", "cid", 3)]


def test_the_topic_of_events_has_no_wildcard_and_the_body_the_true_filter(world, timers):
    eve = enter(world, "eve")
    _, packet = eve.subscribe("$presence/chat/+/#", subscription_identifier=7)
    assert packet.topic == "$presence/chat/%2B/%23"
    assert packet.subscription_identifiers == (7,)
    enter(world, "ann").subscribe("chat/a/b")
    timers.ring()
    (event,) = eve.received()
    assert (event.topic, json.loads(event.payload)["filter"]) == ("$presence/chat/%2B/%23", "chat/+/#")
    assert event.subscription_identifiers == (7,)


@pytest.mark.parametrize(
    ("subscription", "watched", "is_there"),
    [
        ("chat/a", "chat/a", True),
        ("chat/#", "chat/a", True),
        ("chat/+", "chat/a", True),
        ("chat/a", "chat/#", True),
        ("chat/+/x", "chat/y/+", True),
        ("chat/#", "chat", True),
        ("$share/g/chat/a", "chat/a", True),
        ("$spaces/s/x", "$spaces/s/#", True),
        ("chat/b", "chat/a", False),
        ("chat/a/b", "chat/+", False),
        ("#", "chat/a", False),
        ("+/a", "chat/a", False),
        ("$share/g/#", "chat/a", False),
        ("$presence/chat/a", "chat/a", False),
        ("$auth/events", "#", False),
        ("$spaces/s/x", "#", False),
    ],
)
def test_who_is_present_is_who_has_a_counting_subscription_that_overlaps(
    world, timers, subscription, watched, is_there
):
    """Before the watch begins and after, and the answer of HTTP is the same."""
    grants = ("#", "$spaces/#")
    before = enter(world, "ann", *grants)
    before.subscribe(subscription)
    eve = enter(world, "eve", *grants)
    _, first = eve.subscribe(f"$presence/{watched}")
    assert people([json.loads(first.payload)]) == (["ann"] if is_there else [])
    enter(world, "bob", *grants).subscribe(subscription)
    assert brief(told(eve, timers)) == ([("join", "bob", 2)] if is_there else [])
    found = world.hub.present(ORG, watched, after="", limit=10)
    assert sorted(view.user_id for view in found.views) == (["ann", "bob"] if is_there else [])
    unsubscribe(eve, f"$presence/{watched}")
    found = world.hub.present(ORG, watched, after="", limit=10)
    assert (found.online_count, found.count) == ((2, 2) if is_there else (0, 0))


def test_server_connections_do_not_count_and_may_watch(world, timers):
    server = world.client()
    server.connect(world.person("server", "#", permissions=ALL, key_id="k1"), "s1")
    _, first = server.subscribe("$presence/chat/a")
    server.subscribe("chat/a")
    enter(world, "ann").subscribe("chat/a")
    assert json.loads(first.payload)["count"] == 0
    assert brief(told(server, timers)) == [("join", "ann", 1)]


def test_the_first_subscription_joins_and_the_last_leaves(world, timers):
    eve, ann = watcher(world, "chat/#"), enter(world, "ann")
    ann.subscribe("chat/a", "chat/b")
    ann.subscribe("chat/a")
    ann.subscribe("$share/g/chat/a")
    assert brief(told(eve, timers)) == [("join", "ann", 1)]
    unsubscribe(ann, "chat/a", "chat/b")
    assert told(eve, timers) == []
    unsubscribe(ann, "$share/g/chat/a")
    assert brief(told(eve, timers)) == [("leave", "ann", 0)]


def test_watches_that_overlap_the_same_subscription_hear_each_change_once(world, timers):
    eve, eva = watcher(world), watcher(world, "chat/#", user_id="eva")
    ann, bob = enter(world, "ann"), enter(world, "bob")
    ann.subscribe("chat/a")
    late = watcher(world, "chat/+", user_id="late")
    assert people(late.snapshot) == ["ann"]
    bob.subscribe("chat/a")
    timers.ring()
    assert brief(bodies(late.received())) == [("join", "bob", 2)]
    for client in (eve, eva):
        assert brief(bodies(client.received())) == [("join", "ann", 1), ("join", "bob", 2)]
    for client in (ann, bob):
        unsubscribe(client, "chat/a")
    timers.ring()
    for client in (eve, eva, late):
        assert brief(bodies(client.received())) == [("leave", "ann", 1), ("leave", "bob", 0)]
    presence = world.broker.tenants[ORG].presence
    assert not presence.members and not presence._audiences and not len(presence._audience_tree)


def test_several_connections_of_a_user_are_several_members(world, timers):
    eve = watcher(world)
    for n in (1, 2):
        enter(world, "ann", client_id=f"c{n}").subscribe("chat/a")
    events = told(eve, timers)
    assert brief(events) == [("join", "ann", 1), ("join", "ann", 2)]
    assert events[0]["member"] != events[1]["member"]
    found = world.hub.present(ORG, "chat/a", after="", limit=10)
    assert (found.online_count, found.count) == (1, 2)


def leave_by(world, how, ann):
    session = ann.link.outbox.session
    match how:
        case "goodbye":
            ann.send(Disconnect())
        case "lost":
            ann.link.lost()
        case "timeout":
            world.clock.advance(200)
            for client in world.others:
                client.send_bytes(b"\xc0\x00")
            world.tick()
        case "expired":
            world.clock.now += 4_000
            world.tick()
        case "revoked":
            revoking.revoke_families(
                world.broker, [session.identity.token_id], ReasonCode.NOT_AUTHORIZED, "revoked"
            )
        case "operator":
            operating.end_sessions(world.broker, [session], "removed")
        case "refused":
            ann.send_bytes(b"\x00\x00")
    world.hub.settle()


@pytest.mark.parametrize("lasts", [False, True])
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("goodbye", "disconnected"),
        ("lost", "disconnected"),
        ("refused", "disconnected"),
        ("timeout", "timeout"),
        ("expired", "expired"),
        ("revoked", "revoked"),
        ("operator", "disconnected"),
    ],
)
def test_a_leave_says_why(world, timers, how, reason, lasts):
    eve = world.client()
    eve.connect(world.person("eve", "#", permissions=ALL, life=None), "c-eve")
    eve.subscribe("$presence/chat/a")
    world.others = [eve]
    fields = {"clean_start": False, "session_expiry_interval": 600} if lasts else {}
    ann = enter(world, "ann", **fields)
    ann.subscribe("chat/a")
    told(eve, timers)
    leave_by(world, how, ann)
    (left,) = told(eve, timers)
    assert (left["event"], left["reason"], left["count"]) == ("leave", reason, 0)


# Coming again


@pytest.mark.parametrize("lasts", [False, True])
def test_a_takeover_that_subscribes_again_is_no_leave(world, timers, lasts):
    eve, ann = watcher(world), enter(world, "ann", **({"session_expiry_interval": 600} if lasts else {}))
    ann.subscribe("chat/a")
    (joined,) = told(eve, timers)
    again = enter(world, "ann")
    world.clock.advance(3)
    world.tick()
    again.subscribe("chat/a")
    world.clock.advance(10)
    world.tick()
    assert told(eve, timers) == []
    again.link.lost()
    (left,) = told(eve, timers)
    assert (left["member"], left["reason"]) == (joined["member"], "disconnected")


def test_a_takeover_that_does_not_subscribe_again_leaves_after_a_while(world, timers):
    eve, ann = watcher(world, "chat/#"), enter(world, "ann")
    ann.subscribe("chat/a")
    told(eve, timers)
    enter(world, "ann").subscribe("other")
    world.clock.advance(4)
    world.tick()
    assert told(eve, timers) == []
    world.clock.advance(2)
    world.tick()
    (left,) = told(eve, timers)
    assert (left["user_id"], left["reason"]) == ("ann", "unsubscribed")


def test_what_is_held_stays_through_a_change_of_rights_and_goes_when_it_is_ended(world, timers):
    eve, ann = watcher(world, "chat/#"), enter(world, "ann")
    ann.subscribe("chat/a", "chat/b")
    told(eve, timers)
    again = enter(world, "ann")
    deploy(world, EVERYTHING)
    again.subscribe("chat/a")
    unsubscribe(again, "chat/a")
    assert told(eve, timers) == []
    again.subscribe("chat/b")
    unsubscribe(again, "chat/b")
    assert brief(told(eve, timers)) == [("leave", "ann", 0)]


def test_a_takeover_of_a_session_that_goes_on_changes_nothing(world, timers):
    fields = {"clean_start": False, "session_expiry_interval": 600}
    eve, ann = watcher(world), enter(world, "ann", **fields)
    ann.subscribe("chat/a")
    told(eve, timers)
    again = enter(world, "ann", **fields)
    assert told(eve, timers) == []
    unsubscribe(again, "chat/a")
    assert brief(told(eve, timers)) == [("leave", "ann", 0)]


def test_a_client_id_that_another_user_takes_is_another_member(world, timers):
    eve, ann = watcher(world), enter(world, "ann", client_id="shared")
    ann.subscribe("chat/a")
    (joined,) = told(eve, timers)
    bob = world.client()
    password = world.person("bob", "#", permissions=ALL, client_id="shared")
    assert bob.connect(password, "shared")[0].reason_code == 0
    bob.subscribe("chat/a")
    left, other = told(eve, timers)
    assert (left["event"], left["user_id"], left["reason"]) == ("leave", "ann", "disconnected")
    assert (other["event"], other["user_id"]) == ("join", "bob")
    assert other["member"] != joined["member"]


def test_a_session_that_comes_back_joins_again_and_its_watches_begin_anew(world, timers):
    fields = {"clean_start": False, "session_expiry_interval": 600}
    ann = enter(world, "ann", **fields)
    ann.subscribe("chat/a", "$presence/chat/a")
    eve = watcher(world)
    assert people(eve.snapshot) == ["ann"]
    ann.link.lost()
    assert brief(told(eve, timers)) == [("leave", "ann", 0)]
    back = enter(world, "ann", **fields)
    assert [(page["event"], people([page])) for page in bodies(back.behind)] == [("snapshot", ["ann"])]
    assert brief(told(eve, timers)) == [("join", "ann", 1)]


def test_watches_come_through_a_restart(world, timers):
    fields = {"clean_start": False, "session_expiry_interval": 600}
    watcher(world, **fields)
    world.restart()
    eve = enter(world, "eve", **fields)
    assert [page["count"] for page in bodies(eve.behind)] == [0]
    enter(world, "ann").subscribe("chat/a")
    assert brief(told(eve, timers)) == [("join", "ann", 1)]


# Rights


@both
@pytest.mark.parametrize(
    ("topic_filter", "code"),
    [
        ("$presence/chat/a", 0x00),
        ("$presence/chat/+", 0x00),
        ("$presence/chat/#", 0x87),
        ("$presence/news/a", 0x87),
        ("$presence/#", 0x87),
        ("$presence/$presence/chat/a", 0x87),
        ("$presence/$auth/events", 0x87),
        ("$presence/$share/g/chat/a", 0x8F),
        ("$presence/", 0x8F),
        ("$presence", 0x87),
        ("$presence/chat/a#", 0x8F),
        ("$share/g/$presence/chat/a", 0x8F),
    ],
)
def test_a_watch_needs_presence_on_all_of_its_filter(world, version, topic_filter, code):
    eve = world.client(version)
    eve.connect(world.person("eve", "chat/+", permissions=("presence",)), "c-eve")
    (suback, *_) = eve.subscribe(topic_filter)
    assert suback.reason_codes == (code if version == 5 or code < 0x80 else 0x80,)


def test_publish_and_subscribe_open_no_presence_and_presence_opens_neither(world):
    ann = world.client()
    ann.connect(world.person("ann", "#", permissions=("publish", "subscribe")), "c-ann")
    assert ann.subscribe("$presence/chat/a")[0].reason_codes == (0x87,)
    eve = world.client()
    eve.connect(world.person("eve", "#", permissions=("presence",)), "c-eve")
    assert eve.subscribe("chat/a")[0].reason_codes == (0x87,)
    assert eve.publish("chat/a", qos=1)[0].reason_code == 0x87


def deploy(world, *rules):
    world.doors.policy = Policy(rules)
    world.hub.organization_changed(OrganizationRecord(ORG, "a", world.doors.settings, 0))


EVERYTHING = Rule("*", tuple(Permission), ("#",))


def test_a_deny_of_a_part_of_the_filter_refuses_it(world):
    deny = Rule("*", (Permission.PRESENCE,), ("chat/secret",), effect=Effect.DENY)
    deploy(world, deny, EVERYTHING)
    eve = enter(world, "eve")
    suback = eve.subscribe(
        "$presence/chat/#", "$presence/chat/+", "$presence/chat/secret", "$presence/chat/a"
    )[0]
    assert suback.reason_codes == (0x87, 0x87, 0x87, 0)
    assert "chat/secret" in suback.reason_string


def test_a_watch_whose_right_goes_is_suspended_and_begins_anew_when_it_is_back(world, timers):
    eve, ann = watcher(world), enter(world, "ann")
    deploy(world, Rule("*", (Permission.PUBLISH, Permission.SUBSCRIBE), ("#",)))
    narrowed = [json.loads(p.payload) for p in eve.received() if p.topic == "$auth/events"]
    assert [event["suspended"] for event in narrowed] == [["$presence/chat/a"]]
    ann.subscribe("chat/a")
    assert told(eve, timers) == [] and world.broker.tenants[ORG].presence is None
    deploy(world, EVERYTHING)
    assert people(bodies(eve.received())) == ["ann"]
    unsubscribe(ann, "chat/a")
    assert brief(told(eve, timers)) == [("leave", "ann", 0)]


def test_what_was_noted_before_the_right_went_is_not_told_after(world, timers):
    eve = watcher(world)
    enter(world, "ann").subscribe("chat/a")
    deploy(world, Rule("*", (Permission.PUBLISH, Permission.SUBSCRIBE), ("#",)))
    assert told(eve, timers) == []


def test_a_member_whose_subscription_is_suspended_leaves_and_joins_when_it_revives(world, timers):
    eve, ann = watcher(world, "chat/#"), enter(world, "ann", "chat/#")
    ann.subscribe("chat/a", "chat/b")
    told(eve, timers)
    ann.publish("$auth/token", world.person("ann", "chat/b", permissions=ALL), qos=1)
    assert told(eve, timers) == []  # still there by the other one
    ann.publish("$auth/token", world.person("ann", "x", permissions=ALL), qos=1)
    ((kind, reason),) = [(event["event"], event["reason"]) for event in told(eve, timers)]
    assert (kind, reason) == ("leave", "unsubscribed")
    ann.publish("$auth/token", world.person("ann", "chat/#", permissions=ALL), qos=1)
    assert brief(told(eve, timers)) == [("join", "ann", 1)]


def test_an_organization_watches_so_many_filters(make_world):
    world = make_world(max_presence_filters=2)
    eve, bob = enter(world, "eve"), enter(world, "bob")
    assert eve.subscribe("$presence/a", "$presence/b")[0].reason_codes == (0, 0)
    assert bob.subscribe("$presence/a", "$presence/c")[0].reason_codes == (0, 0x97)
    unsubscribe(eve, "$presence/b")
    assert bob.subscribe("$presence/c")[0].reason_codes == (0,)


@pytest.mark.parametrize(("most", "codes"), [(0, (0x97, 0x97)), (1, (0, 0x97))])
def test_the_filters_of_one_packet_count_each(make_world, most, codes):
    eve = enter(make_world(max_presence_filters=most), "eve")
    assert eve.subscribe("$presence/a", "$presence/b")[0].reason_codes == codes


def test_filters_that_wait_for_the_store_count_and_refused_ones_do_not(make_world):
    world = make_world(max_presence_filters=1)
    eve = enter(world, "eve", clean_start=False, session_expiry_interval=600)
    world.kept.waits = True
    assert eve.subscribe("$presence/a") == []
    eve.subscribe("$presence/b", "$presence/a")
    world.kept.go_on()
    subacks = [packet for packet in eve.received() if isinstance(packet, Suback)]
    assert [suback.reason_codes for suback in subacks] == [(0,), (0x97, 0)]
    assert not eve.link.outbox.session.joining


# Nothing else comes of it


def test_events_reach_nobody_who_does_not_watch_and_watches_get_no_messages(world, timers):
    eve, ann = watcher(world, "chat/#"), enter(world, "ann")
    ann.subscribe("#", "chat/a")
    ann.publish("chat/a", b"kept", qos=1, retain=True)
    ann.publish("$presence/chat/a", b"1", qos=1)
    timers.ring()
    assert {packet.topic for packet in ann.received() if isinstance(packet, Publish)} <= {"chat/a"}
    assert {packet.topic for packet in eve.received()} == {"$presence/chat/%23"}
    tenant = world.broker.tenants[ORG]
    assert list(tenant.retained.walk("#")) != [] and not [t for t in tenant.retained.walk("$presence/#") if t]


def test_where_nobody_watches_nothing_is_counted(world, timers):
    ann, bob = enter(world, "ann"), enter(world, "bob")
    tenant = world.broker.tenants[ORG]
    ann.subscribe("chat/a")
    assert tenant.presence is None
    eve = watcher(world)
    assert tenant.presence is not None
    bob.subscribe("chat/a")
    eve.link.lost()
    assert tenant.presence is None and not world.broker.due
    bob.subscribe("chat/b")
    assert tenant.presence is None


def test_other_organizations_are_not_seen(world, timers):
    other = world.client()
    other.connect(world.person("ann", "#", permissions=ALL, org_id="org_bbbbbbbbbbbb"), "c-ann")
    other.subscribe("chat/a")
    eve = watcher(world)
    assert people(eve.snapshot) == []
    other.publish("$presence/chat/a", b"1", qos=1)
    unsubscribe(other, "chat/a")
    assert told(eve, timers) == []


def test_nothing_that_is_told_has_a_client_id_or_an_address_in_it(world, timers):
    eve, ann = watcher(world, "chat/#"), enter(world, "ann", client_id="telltale")
    ann.subscribe("chat/a", "secret/room")
    ann.publish("$presence/chat/a", b"1")
    ann.publish("$presence/secret/room", b'"hush"')
    timers.ring()
    events = eve.received()
    unsubscribe(ann, "chat/a", "secret/room")
    timers.ring()
    late = watcher(world, "chat/#", user_id="eva")
    text = (
        b"".join(packet.payload for packet in [*events, *eve.received()]) + json.dumps(late.snapshot).encode()
    )
    assert b"join" in text and b"leave" in text and b"snapshot" in text
    for hidden in (b"telltale", b"127.0.0.1", b"secret", b"hush", b"tok_"):
        assert hidden not in text


def test_a_member_is_another_one_in_another_organization_and_after_a_restart(world):
    ids = set()
    for org_id in (ORG, "org_bbbbbbbbbbbb"):
        client = world.client()
        client.connect(world.person("ann", "#", permissions=ALL, org_id=org_id), "c-ann")
        ids.add(client.link.outbox.session.member_id)
    world.restart()
    ids.add(enter(world, "ann").link.outbox.session.member_id)
    assert len(ids) == 3 and all(len(one) == 16 for one in ids)


# What members say of themselves


def state(client, topic, payload, **fields):
    """Publish a state; return the code of the answer."""
    (answer,) = [
        p for p in client.publish(f"$presence/{topic}", payload, qos=1, **fields) if type(p) is Puback
    ]
    return answer.reason_code


@pytest.mark.parametrize("payload", [b'{"name":"Ann"}', b'"here"', b"5", b"[1, null]", b" true\n"])
def test_a_state_is_told_and_shown(world, timers, payload):
    eve, ann = watcher(world), enter(world, "ann")
    ann.subscribe("chat/a")
    assert state(ann, "chat/a", payload) == 0
    join, update = told(eve, timers)
    assert join["state"] is None
    assert update == {**join, "event": "update", "topic": "chat/a", "state": json.loads(payload)}
    (page,) = watcher(world, user_id="eva").snapshot
    assert page["members"][0]["state"] == json.loads(payload)
    for nothing in (b"", b"null"):
        assert state(ann, "chat/a", payload) == 0
        assert state(ann, "chat/a", nothing) == 0
    *_, update = told(eve, timers)
    assert (update["event"], update["state"]) == ("update", None)
    assert state(ann, "chat/a", b"") == 0
    assert told(eve, timers) == []


def test_of_several_states_within_a_batch_the_last_is_told(world, timers):
    eve, ann = watcher(world), enter(world, "ann")
    watcher(world, "chat/b", user_id="eva")
    ann.subscribe("chat/a", "chat/b")
    for payload in (b"1", b"2"):
        state(ann, "chat/a", payload)
    unsubscribe(ann, "chat/a")
    ann.subscribe("chat/a")
    for payload in (b"3", b"4"):
        state(ann, "chat/a", payload)
    told_ = [(event["event"], event["state"]) for event in told(eve, timers)]
    assert told_ == [("join", None), ("update", 2), ("leave", 2), ("join", None), ("update", 4)]


def test_a_watch_with_wildcards_shows_the_states_of_its_topics(world, timers):
    eve, ann = watcher(world, "chat/#"), enter(world, "ann")
    ann.subscribe("chat/a", "chat/b", "news")
    for topic in ("chat/a", "chat/b", "news"):
        state(ann, topic, b'"%b"' % topic.encode())
    _, first, second = told(eve, timers)
    assert (first["topic"], first["states"]) == ("chat/a", {"chat/a": "chat/a"})
    assert (second["topic"], second["states"]) == ("chat/b", {"chat/a": "chat/a", "chat/b": "chat/b"})
    assert "state" not in second
    unsubscribe(ann, "chat/a")
    (gone,) = told(eve, timers)
    assert (gone["event"], gone["topic"], gone["states"]) == ("update", "chat/a", {"chat/b": "chat/b"})


def test_a_state_is_gone_with_the_last_subscription_that_matches_its_topic(world, timers):
    ann = enter(world, "ann")
    ann.subscribe("chat/a", "chat/#")
    state(ann, "chat/a", b"1")
    unsubscribe(ann, "chat/a")
    (page,) = watcher(world).snapshot
    assert page["members"][0]["state"] == 1
    unsubscribe(ann, "chat/#")
    ann.subscribe("chat/#")
    (page,) = watcher(world, user_id="eva").snapshot
    assert page["members"][0]["state"] is None


def test_a_state_goes_with_the_connection_and_with_the_right(world, timers):
    fields = {"clean_start": False, "session_expiry_interval": 600}
    eve, ann = watcher(world), enter(world, "ann", **fields)
    ann.subscribe("chat/a")
    state(ann, "chat/a", b"1")
    ann.link.lost()
    told(eve, timers)
    ann = enter(world, "ann", **fields)
    (joined,) = told(eve, timers)
    assert joined["state"] is None
    state(ann, "chat/a", b"2")
    narrower = world.person("ann", "chat/a", permissions=("publish", "subscribe"))
    ann.publish("$auth/token", narrower, qos=1)
    assert [event["state"] for event in told(eve, timers)] == [None]


def test_a_state_stays_through_a_takeover_that_subscribes_again(world, timers):
    ann = enter(world, "ann")
    ann.subscribe("chat/a")
    state(ann, "chat/a", b"1")
    again = enter(world, "ann")
    again.subscribe("chat/a")
    world.clock.advance(10)
    world.tick()
    (page,) = watcher(world).snapshot
    assert page["members"][0]["state"] == 1


@pytest.mark.parametrize(
    ("topic", "payload", "fields", "code", "word"),
    [
        ("chat/a", b"{", {}, 0x99, "JSON"),
        ("chat/a", b"\xff", {}, 0x99, "JSON"),
        ("chat/a", b'"\xff"', {}, 0x99, "JSON"),
        ("chat/a", b"NaN", {}, 0x99, "JSON"),
        ("chat/a", b"1 2", {}, 0x99, "JSON"),
        ("chat/a", b'"' + b"x" * 1_023 + b'"', {}, 0x99, "1025 bytes"),
        ("chat/a", b"1", {"retain": True}, 0x87, "retained"),
        ("chat/a", b"", {"retain": True}, 0x87, "retained"),
        ("chat/a", b"1", {"user_properties": (("tokenmq-x", "1"),)}, 0x87, "reserved"),
        ("chat/b", b"1", {}, 0x87, "subscribe"),
        ("news", b"1", {}, 0x87, "no grant of presence"),
        ("$nope/a", b"1", {}, 0x87, "no topic begins"),
        ("", b"1", {}, 0x90, "empty"),
        ("x" * 1_025, b"1", {}, 0x90, "bytes"),
        ("c", b"1", {}, 0x97, "2 topics"),
    ],
)
def test_a_state_that_cannot_be_is_refused_with_a_reason(
    make_world, timers, topic, payload, fields, code, word
):
    world = make_world(max_presence_states=2)
    eve = watcher(world, "#")
    ann = world.client()
    ann.connect(world.person("ann", "chat/#", "c", "d", "e", "x", permissions=ALL), "c-ann")
    ann.subscribe("chat/a", "c", "d", "e")
    assert (state(ann, "d", b"1"), state(ann, "e", b"1")) == (0, 0)
    told(eve, timers)
    (answer,) = ann.publish(f"$presence/{topic}", payload, qos=1, **fields)
    assert answer.reason_code == code
    assert word in answer.reason_string
    assert told(eve, timers) == []
    assert state(ann, "d", b"") == 0 and state(ann, "c", b'"' + b"x" * 1_022 + b'"') == 0


def test_3_1_1_and_qos_0_hear_of_a_refusal_as_of_any_other(world):
    ann = enter(world, "ann", version=4)
    ann.subscribe("chat/a")
    for qos in (0, 1):
        ann.link.outbox.session.denied_told_at = 0.0
        *_, event = ann.publish("$presence/chat/a", b"{", qos=qos)
        assert json.loads(event.payload)["action"] == "publish"


def test_a_state_at_qos_2_is_taken_in_once(world, timers):
    eve, ann = watcher(world), enter(world, "ann")
    ann.subscribe("chat/a")
    assert isinstance(ann.publish("$presence/chat/a", b"1", qos=2, packet_id=5)[0], Pubrec)
    assert state(ann, "chat/a", b"2") == 0
    assert isinstance(ann.publish("$presence/chat/a", b"1", qos=2, packet_id=5, dup=True)[0], Pubrec)
    ann.send(Pubrel(packet_id=5))
    assert told(eve, timers)[-1]["state"] == 2


def test_a_state_is_no_will_and_no_server_has_one(world):
    ann = world.client()
    will = PacketWill(topic="$presence/chat/a", payload=b"1")
    assert ann.connect(world.person("ann", "#", permissions=ALL), "c-ann", will=will)[0].reason_code == 0x87
    server = world.client()
    server.connect(world.person("server", "#", permissions=ALL, key_id="k1"), "s1")
    server.subscribe("chat/a")
    assert state(server, "chat/a", b"1") == 0x87


# Many, and slow ones


def fill(world, count):
    clients = [enter(world, f"u{n:03}") for n in range(count)]
    for client in clients:
        client.subscribe("chat/a")
    return clients


def test_a_snapshot_comes_in_pages(world, timers, monkeypatch):
    monkeypatch.setattr(watching, "_PAGE_MEMBERS", 10)
    fill(world, 25)
    eve = watcher(world)
    timers.turn()
    pages = eve.snapshot + bodies(eve.received())
    assert [(p["page"], p["pages"], p["count"], len(p["members"])) for p in pages] == [
        (1, 3, 25, 10), (2, 3, 25, 10), (3, 3, 25, 5),
    ]  # fmt: skip
    assert people(pages) == [f"u{n:03}" for n in range(25)]


def test_what_happens_while_pages_go_out_comes_behind_them(world, timers, monkeypatch):
    monkeypatch.setattr(watching, "_PAGE_MEMBERS", 1)
    monkeypatch.setattr(watching, "_TURN_BYTES", 1)
    first, *_ = fill(world, 3)
    old, eve = watcher(world, user_id="old"), watcher(world)
    timers.turn()
    old.received(), eve.received()
    late = watcher(world, user_id="late")
    unsubscribe(first, "chat/a")
    world.hub.flush()
    assert brief(bodies(old.received())) == [("leave", "u000", 2)]
    timers.turn()
    came = late.snapshot + bodies(late.received())
    assert [event["event"] for event in came] == ["snapshot"] * 3 + ["leave"]
    assert people(came[:3]) == ["u000", "u001", "u002"]


def test_a_watch_finds_its_members_some_in_a_turn_and_misses_none_that_come_and_go(
    world, timers, monkeypatch
):
    monkeypatch.setattr(presence, "_LOOK_COST", retaining.TURN)
    first, second, third, fourth = fill(world, 4)
    third.subscribe("chat/#")
    eve = watcher(world, "chat/+")
    assert eve.snapshot == []
    world.hub.go_on()
    unsubscribe(first, "chat/a")  # was looked at
    unsubscribe(third, "chat/a")  # was not, and is there by another one still
    fourth.link.lost()
    enter(world, "late").subscribe("chat/b")
    assert eve.received() == []
    timers.turn()
    (page,) = bodies(eve.received())
    assert (people([page]), page["count"]) == (["late", "u001", "u002"], 3)
    assert told(eve, timers) == []
    unsubscribe(second, "chat/a")
    assert brief(told(eve, timers)) == [("leave", "u001", 2)]


def test_old_watchers_hear_before_a_new_one_gets_its_snapshot(world, timers):
    old = watcher(world, user_id="old")
    enter(world, "ann").subscribe("chat/a")
    new = watcher(world, user_id="new")
    assert brief(bodies(old.received())) == [("join", "ann", 1)]
    assert people(new.snapshot) == ["ann"]
    assert told(new, timers) == [] and told(old, timers) == []


def test_a_watcher_that_does_not_read_gets_a_new_snapshot_when_it_does(world, timers):
    eve = watcher(world)
    ann, bob = enter(world, "ann"), enter(world, "bob")
    ann.subscribe("chat/a")
    eve.link.writing_paused()
    timers.ring()
    bob.subscribe("chat/a")
    unsubscribe(ann, "chat/a")
    timers.ring()
    assert eve.received() == []
    eve.link.writing_resumed()
    timers.turn()
    assert [(e["event"], people([e])) for e in bodies(eve.received())] == [("snapshot", ["bob"])]
    bob.link.lost()
    assert brief(told(eve, timers)) == [("leave", "bob", 0)]


def test_nothing_waits_for_a_watcher_that_does_not_read(world, timers):
    eve = watcher(world)
    eve.link.writing_paused()
    for n in range(5):
        enter(world, f"u{n}").subscribe("chat/a")
        timers.ring()
    session = eve.link.outbox.session
    assert (session.queued_messages, eve.link.outbox.chunks) == (0, [])
    (one,) = session.watchers.values()
    assert not one.is_live and not one._held and one._roster is None


def test_a_watcher_that_does_not_read_holds_no_session_that_has_ended(world, timers, monkeypatch):
    monkeypatch.setattr(watching, "_TURN_BYTES", 1)
    monkeypatch.setattr(watching, "_PAGE_MEMBERS", 1)
    clients, eve = fill(world, 3), watcher(world)
    eve.link.writing_paused()
    for client in clients:
        client.link.lost()
    (one,) = eve.link.outbox.session.watchers.values()
    assert len(one._roster) == 3
    assert not any(hasattr(member, "session") for member in one._roster)
    eve.link.writing_resumed()
    timers.turn()
    assert people(eve.snapshot + bodies(eve.received())) == ["u000", "u001", "u002"]
    assert brief(told(eve, timers)) == [("leave", f"u{n:03}", 2 - n) for n in range(3)]


def test_a_watcher_that_falls_too_far_behind_its_snapshot_begins_anew(world, timers, monkeypatch):
    for name, value in (("_PAGE_MEMBERS", 1), ("_TURN_BYTES", 1), ("_HELD_BYTES", 0), ("_MEMBER_BYTES", 1)):
        monkeypatch.setattr(watching, name, value)
    first, second, *_ = fill(world, 3)
    eve = watcher(world)
    for client in (first, second):
        unsubscribe(client, "chat/a")
        world.hub.flush()
    timers.turn()
    came = eve.snapshot + bodies(eve.received())
    assert [event["event"] for event in came] == ["snapshot"] * len(came)
    assert came[-1]["pages"] == came[-1]["page"] == 1 and people(came[-1:]) == ["u002"]


def test_a_peer_that_takes_little_gets_more_and_smaller_messages(world, timers):
    fill(world, 12)
    eve = enter(world, "eve", maximum_packet_size=700)
    packets = eve.subscribe("$presence/chat/a")[1:]
    timers.turn()
    packets += eve.received()
    assert len(packets) > 2 and all(len(packet.payload) < 700 for packet in packets)
    assert people(bodies(packets)) == [f"u{n:03}" for n in range(12)]
    for n in range(9):
        enter(world, f"v{n}").subscribe("chat/a")
    timers.ring()
    packets = eve.received()
    assert len(packets) > 1
    assert brief(bodies(packets)) == [("join", f"v{n}", 13 + n) for n in range(9)]


def test_a_state_that_has_grown_since_the_pages_were_cut_loses_nobody(world, timers, monkeypatch):
    monkeypatch.setattr(watching, "_TURN_BYTES", 1)
    clients = fill(world, 8)
    eve = enter(world, "eve", maximum_packet_size=1_600)
    packets = eve.subscribe("$presence/chat/a")[1:]
    for client in clients:
        assert state(client, "chat/a", b'"' + b"x" * 900 + b'"') == 0
    timers.turn()
    packets += eve.received()
    assert all(len(packet.payload) < 1_600 for packet in packets)
    begin = max(n for n, page in enumerate(bodies(packets)) if page["page"] == 1)
    assert people(bodies(packets)[begin:]) == [f"u{n:03}" for n in range(8)]


def test_a_clients_own_presence_is_in_what_it_watches(world, timers):
    ann = enter(world, "ann")
    packets = ann.subscribe("$presence/chat/a", "chat/a")
    assert people(bodies(packets)) == ["ann"]
    assert told(ann, timers) == []


def test_a_watch_that_is_asked_for_again_begins_anew_and_is_one(world, timers):
    eve = watcher(world)
    _, page = eve.subscribe("$presence/chat/a")
    assert json.loads(page.payload)["event"] == "snapshot"
    enter(world, "ann").subscribe("chat/a")
    assert len(told(eve, timers)) == 1
    assert unsubscribe(eve, "$presence/chat/a")[0].reason_codes == (0,)
    assert world.broker.tenants[ORG].presence is None


def test_subscriptions_that_wait_for_the_store_count_when_they_are_kept(world, timers):
    eve = watcher(world)
    ann = enter(world, "ann", clean_start=False, session_expiry_interval=600)
    world.kept.waits = True
    ann.subscribe("chat/a")
    assert told(eve, timers) == []
    world.kept.go_on()
    assert brief(told(eve, timers)) == [("join", "ann", 1)]
    unsubscribe(ann, "chat/a")
    assert told(eve, timers) == []
    world.kept.go_on()
    assert brief(told(eve, timers)) == [("leave", "ann", 0)]


def test_a_watch_that_is_kept_after_its_client_has_come_back_begins_there(world, timers):
    eve = enter(world, "eve", clean_start=False, session_expiry_interval=600)
    world.kept.waits = True
    eve.subscribe("$presence/chat/a")
    again = enter(world, "eve", clean_start=False, session_expiry_interval=600)
    assert bodies([*again.behind, *again.received()]) == []
    world.kept.go_on()
    assert [page["event"] for page in bodies(again.received())] == ["snapshot"]
