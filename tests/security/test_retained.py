"""Retained messages: who gets them, who left them, what they may cost (SECURITY ruling 11, V-07, V-37)."""

from __future__ import annotations

import itertools

import pytest

from tokenmq.access.permission import Permission
from tokenmq.broker.retaining import TURN
from tokenmq.mqtt.packets import Subscribe, Will
from tokenmq.mqtt.packets.subscribe import Subscription
from tokenmq.topics.tree import NameTree

DAY = 86_400


async def leave(instance, client, topic="chat/a", payload=b"kept", **more):
    """Leave a message on a topic; return the reason code."""
    (answer,) = await instance.publish(client, topic, payload, retain=True, **more)
    return answer.reason_code


async def seen(instance, topic_filter="chat/#", *topics):
    """Return what somebody gets who subscribes now."""
    client = await instance.joined("reader", *(topics or ("#",)), client_id="reader")
    client.subscribe(topic_filter)
    await instance.turns()
    found = client.topics()
    client.link.lost()
    return found


# Its publisher


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("by", ["token_id", "user_id", "client_id", "key_id", "all"])
async def test_v07_a_revoked_publishers_message_reaches_nobody(instance, by, restart):
    maker = await instance.make_key()
    token = await instance.issue("ann", key=maker.record, client_id="c1")
    client, _ = instance.enter(token)
    keeper = await instance.joined("bob")
    await leave(instance, client, "chat/a")
    await leave(instance, client, "chat/b")
    await leave(instance, keeper, "chat/b")
    assert await seen(instance) == ["chat/a", "chat/b"]
    asked = {
        "token_id": token.family.token_id,
        "user_id": "ann",
        "client_id": "c1",
        "key_id": maker.record.id,
        "all": True,
    }
    await instance.revoke(**{by: asked[by]})
    if restart:
        await instance.restart()
    assert await seen(instance) == ([] if by == "all" else ["chat/b"])


@pytest.mark.parametrize("days", [1, 8, 29])
async def test_v07_a_publisher_whose_token_ended_long_ago_is_still_found(instance, days):
    """A message is kept for thirty days, far longer than its publisher's token lasts."""
    ann = await instance.joined("ann")
    bob = await instance.joined("bob")
    await leave(instance, ann, "chat/a")
    await leave(instance, bob, "chat/b")
    instance.clock.advance(days * DAY)
    await instance.services.upkeep.once(instance.clock.now)
    await instance.revoke(user_id="ann")
    assert await seen(instance) == ["chat/b"]
    await instance.restart()
    assert await seen(instance) == ["chat/b"]


async def test_what_keep_retained_keeps_is_judged_by_policy_alone(instance):
    client = await instance.joined("ann", "$spaces/#")
    await leave(instance, client, "$spaces/a")
    await instance.revoke(user_id="ann", keep_retained=True)
    assert await seen(instance, "$spaces/#", "$spaces/#") == ["$spaces/a"]
    await instance.restart()
    assert await seen(instance, "$spaces/#", "$spaces/#") == ["$spaces/a"]
    reader = await instance.joined("bob", "$spaces/#")
    await instance.change(dollar_trees=[])
    assert reader.subscribe("$spaces/#") == [0x87]
    assert reader.messages() == []


async def test_v07_a_message_that_waits_for_the_store_ends_with_its_publisher(instance):
    ann = await instance.joined("ann")
    instance.store.waits = True
    ann.publish("chat/a", b"x", 1, retain=True)
    await instance.revoke(user_id="ann", keep_retained=True)
    instance.store.go_on()
    await instance.kept()
    assert await seen(instance) == []
    await instance.restart()
    assert await seen(instance) == []


# Its receivers


async def test_v37_what_is_retained_is_judged_for_each_receiver(instance):
    server = await instance.joined("ann", "#")
    for topic in ("chat/a", "chat/b", "chat/a/b", "other"):
        await leave(instance, server, topic)
    assert await seen(instance, "chat/+", "chat/+") == ["chat/a", "chat/b"]
    assert await seen(instance, "chat/a", "chat/a") == ["chat/a"]
    assert await seen(instance, "chat/a/#", "chat/#") == ["chat/a", "chat/a/b"]
    reader = await instance.joined("bob", "chat/a")
    assert reader.subscribe("chat/#", "chat/a") == [0x87, 0]
    assert reader.topics() == ["chat/a"]


PAGE = 100


async def reading(instance):
    """Return a lasting client that has subscribed to 150 topics with a message."""
    ann = await instance.joined("ann", "$spaces/#")
    for number in range(150):
        ann.publish(f"$spaces/{number:03}", b"%d" % number, 0, retain=True)
    await instance.kept()
    token = await instance.issue("bob", "$spaces/#")
    reader, _ = instance.enter(token, "reader", clean_start=False, session_expiry_interval=600)
    reader.send(Subscribe(1, (Subscription("$spaces/#"),)))
    await instance.kept()
    return reader


async def revoke_publisher(instance):
    await instance.revoke(user_id="ann")


async def revoke_receiver(instance):
    await instance.revoke(user_id="bob")


async def narrow_receiver(instance):
    token = await instance.issue("bob", "$spaces/001", "$spaces/149")
    instance.enter(token, "reader", clean_start=False, session_expiry_interval=600)


async def change_policy(instance):
    await instance.change(dollar_trees=[])


@pytest.mark.parametrize("change", [revoke_publisher, revoke_receiver, narrow_receiver, change_policy])
async def test_v37_rights_that_change_between_two_pages_hold_for_the_second(instance, change):
    turn = instance.hub.go_on
    instance.hub.go_on = lambda: None
    reader = await reading(instance)
    assert len(reader.topics()) == PAGE
    assert instance.hub.broker.unfinished
    await change(instance)
    instance.hub.go_on = turn
    turn()
    await instance.turns()
    await instance.kept()
    assert reader.topics() == []


async def test_a_second_page_comes_when_nothing_changes(instance):
    reader = await reading(instance)
    await instance.turns()
    assert len(reader.topics()) == 150


# Limits


async def test_an_organization_has_so_many_and_a_topic_one(instance):
    await instance.change(max_retained_messages=2)
    ann = await instance.joined("ann")
    other, key = await instance.other_organization()
    foreign = await instance.issue("ann", organization=other, key=key)
    assert [await leave(instance, ann, f"chat/{n}") for n in range(3)] == [0x10, 0x10, 0x97]
    assert await leave(instance, ann, "chat/1", b"again") == 0x10
    client, _ = instance.enter(foreign)
    assert await leave(instance, client, "chat/2") == 0x10
    assert await leave(instance, ann, "chat/0", b"") == 0x10
    assert await leave(instance, ann, "chat/2") == 0x10
    assert await seen(instance) == ["chat/1", "chat/2"]


async def test_messages_and_wills_that_come_together_keep_within_the_limit(instance):
    """All of them are judged before any of them is there."""
    await instance.change(max_retained_messages=3)
    clients = []
    for number in range(8):
        token = await instance.issue(f"u{number}")
        will = Will(f"chat/will/{number}", b"gone", qos=1, retain=True)
        clients.append(instance.enter(token, f"c{number}", will=will)[0])
    instance.store.waits = True
    for number, client in enumerate(clients):
        client.publish(f"chat/{number}", b"x", 1, retain=True)
    for client in clients[4:]:
        client.link.lost()
    instance.store.go_on()
    await instance.kept()
    tenant = instance.hub.broker.tenants[instance.organization.id]
    assert len(tenant.retained) == 3
    await instance.restart()
    assert len(instance.hub.broker.tenants[instance.organization.id].retained) == 3


async def test_a_message_over_the_limit_of_bytes_is_refused_and_what_was_there_stays(make_instance):
    instance = await make_instance(max_retained_bytes=100)
    ann = await instance.joined("ann")
    assert await leave(instance, ann, payload=bytes(100)) == 0x10
    assert await leave(instance, ann, payload=bytes(101)) == 0x97
    assert await leave(instance, ann, payload=bytes(90), content_type="x" * 20) == 0x97
    assert await seen(instance) == ["chat/a"]


async def test_a_refused_message_touches_nothing_that_is_kept(instance):
    """Not even behind one that waits, where it is refused in its turn."""
    ann = await instance.joined("ann")
    instance.store.waits = True
    ann.publish("chat/a", b"x", 1, retain=True)
    kept = instance.hub.broker.keeping
    for number in range(100):
        ann.publish(f"other/{number}", b"x", 1, retain=True)
    instance.store.go_on()
    await instance.kept()
    assert [answer.reason_code for answer in ann.received()] == [0x10] + 100 * [0x87]
    assert not kept._changes


# What wildcards cost


async def deep(instance, count):
    ann = await instance.joined("ann", "#")
    tail = "/".join(["x"] * 31)
    for number in range(count):
        ann.publish(f"{number:05}/{tail}", b"x", 0, retain=True)
    await instance.kept()
    return ann


async def test_v87_subscribing_to_all_of_many_deep_topics_again_and_again_lets_others_have_their_turn(
    instance, monkeypatch
):
    """A filter may be held against every topic: who subscribes must not decide how often at once."""
    await deep(instance, 1_000)
    reader = await instance.joined("bob", "#")
    looks = []
    walk = NameTree.walk

    def counted(tree, topic_filter):
        for found in walk(tree, topic_filter):
            looks.append(found)
            yield found

    monkeypatch.setattr(NameTree, "walk", counted)
    filters = tuple(Subscription("/".join(["+"] * 31) + f"/z{number}") for number in range(50))
    reader.send(*(Subscribe(packet_id, filters) for packet_id in range(1, 21)))
    turns = [len(looks)]
    go_on = instance.hub.broker.go_on

    def measured():
        looks.clear()
        go_on()
        turns.append(len(looks))

    instance.hub.broker.go_on = measured
    await instance.turns()
    assert 50 * 31_000 < sum(turns) < 60 * 31_100
    assert max(turns) <= TURN
    assert not reader.closed


async def test_v87_many_who_subscribe_at_once_get_their_pages_in_turns(instance):
    await deep(instance, 300)
    readers = [await instance.joined(f"u{number}", "#") for number in range(40)]
    for reader in readers:
        reader.subscribe("#")
    await instance.turns()
    assert [len(reader.topics()) for reader in readers] == [300] * 40


# What the store has is what subscribers get


async def restored(instance):
    """Return what is retained in memory, and what of it is after a restart."""

    def payloads():
        tenant = instance.hub.broker.tenants.get(instance.organization.id)
        topics = [] if tenant is None else filter(None, tenant.retained.walk("#"))
        return {topic: tenant.retained.get(topic).record.payload for topic in topics}

    await instance.kept()
    before = payloads()
    await instance.restart()
    return before, payloads()


async def test_n1_a_message_that_is_taken_back_takes_back_no_other(instance):
    ann, bob = await instance.joined("ann"), await instance.joined("bob")
    await leave(instance, bob, payload=b"old")
    instance.store.waits = True
    ann.publish("chat/a", b"ann's", 1, retain=True)
    instance.hub.settle()
    bob.publish("chat/a", b"bob's", 1, retain=True)
    await instance.revoke(user_id="ann")
    instance.store.go_on()
    assert await restored(instance) == ({"chat/a": b"bob's"}, {"chat/a": b"bob's"})


async def test_n1_a_message_that_expires_takes_no_successor_along(instance):
    ann = await instance.joined("ann")
    await leave(instance, ann, payload=b"old", message_expiry_interval=10)
    instance.store.waits = True
    ann.publish("chat/a", b"new", 1, retain=True)
    instance.clock.advance(11)
    instance.tick()
    instance.store.go_on()
    assert await restored(instance) == ({"chat/a": b"new"}, {"chat/a": b"new"})


async def test_n1_a_message_that_the_store_refused_takes_back_no_other(instance):
    ann, bob = await instance.joined("ann"), await instance.joined("bob")
    instance.store.waits = instance.store.fails = True
    ann.publish("chat/a", b"ann's", 1, retain=True)
    instance.store.go_on()
    instance.store.fails = False
    bob.publish("chat/a", b"bob's", 1, retain=True)
    assert await restored(instance) == ({"chat/a": b"bob's"}, {"chat/a": b"bob's"})
    assert [answer.reason_code for answer in ann.received()] == [0x97]


async def test_n1_memory_and_store_agree_whatever_order_messages_come_through_in(instance):
    """One waits twice, for a receiver that came meanwhile, and comes through behind its successor."""
    ann, bob = await instance.joined("ann"), await instance.joined("bob")
    for first, second in itertools.permutations((ann, bob)):
        instance.store.waits = True
        first.publish("chat/other", b"x", 1)
        first.publish("chat/a", b"first", 1, retain=True)
        second.publish("chat/a", b"second", 1, retain=True)
        reader = await instance.issue("cat")
        instance.store.go_on()
        client, _ = instance.enter(reader, "reader", clean_start=False, session_expiry_interval=600)
        client.send(Subscribe(1, (Subscription("chat/#", qos=1),)))
        await instance.kept()
    before, after = await restored(instance)
    assert before == after != {}


async def test_the_right_to_publish_is_asked_when_it_is_left_not_when_it_is_sent(instance):
    """A retained message outlives the right to leave another one, but not a policy against it."""
    token = await instance.issue("ann", permissions=(Permission.PUBLISH,))
    client, _ = instance.enter(token)
    await leave(instance, client)
    instance.clock.advance(3_700)
    instance.tick()
    assert client.closed
    assert await seen(instance) == ["chat/a"]
