"""Without a connection: what keys publish, and what operators end and remove (SECURITY rulings 1, 7, 16)."""

from __future__ import annotations

import asyncio

import pytest

from tokenmq.access.permission import Permission
from tokenmq.errors import (
    Conflict,
    Forbidden,
    InvalidKey,
    InvalidRequest,
    NotFound,
    NotKept,
    Unavailable,
)
from tokenmq.mqtt.packets import Disconnect, Will

REMOVED = 0x98


async def publish(instance, topic="chat/a", payload=b"hi", *, qos=1, retain=False, key=None):
    """Publish over HTTP's service; return the message's id."""
    return await instance.services.messages.publish(
        topic,
        payload,
        qos=qos,
        retain=retain,
        key=key or instance.key,
        organization=instance.organization,
    )


async def restricted(instance, *topics, scopes=("publish",), permissions=("publish",)):
    made = await instance.make_key("rk", scopes=scopes, permissions=permissions, topics=topics or ("chat/#",))
    return made.record


def listed(instance, *, key=None, user_id=None, limit=None, cursor=None):
    return instance.services.sessions.list(
        instance.organization.id, key=key or instance.key, user_id=user_id, limit=limit, cursor=cursor
    )


async def end(instance, client_id, *, key=None):
    await instance.services.sessions.end(
        client_id, key=key or instance.key, org_id=instance.organization.id, now=instance.clock.now
    )


async def end_user(instance, name, *, key=None):
    return await instance.services.sessions.end_user(
        name, key=key or instance.key, org_id=instance.organization.id, now=instance.clock.now
    )


async def retained(instance, topic_filter="#", *, key=None, org_id=None, limit=None, cursor=None):
    return await instance.services.messages.retained(
        topic_filter,
        key=key or instance.key,
        org_id=org_id or instance.organization.id,
        limit=limit,
        cursor=cursor,
    )


async def topics_retained(instance, topic_filter="#", **more):
    return sorted(one.topic for one in (await retained(instance, topic_filter, **more)).items)


async def clear(instance, topic, *, key=None):
    await instance.services.messages.clear_retained(
        topic, key=key or instance.key, org_id=instance.organization.id, now=instance.clock.now
    )


# A key publishes


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", [4, 5])
async def test_what_a_key_publishes_reaches_subscribers(instance, version, qos):
    client = await instance.joined("ann", version=version)
    client.subscribe("chat/#", qos=1)
    made = {await publish(instance, payload=b"from a server", qos=qos) for _ in range(2)}
    first, second = client.messages()
    assert (first.topic, first.payload, first.qos) == ("chat/a", b"from a server", min(qos, 1))
    assert qos == 0 or first.packet_id != second.packet_id
    assert len(made) == 2 and all(one.startswith("msg_") for one in made)


async def test_publishing_to_nobody_is_a_success_and_counted(instance):
    assert await publish(instance)
    counters = instance.hub.broker.counters
    assert (counters.received, counters.delivered, counters.refused) == (1, 0, 0)


async def test_what_is_for_a_session_that_is_kept_is_answered_when_it_is_stored(instance):
    token = await instance.issue("ann")
    client = await instance.lasting(token, "chat/#")
    client.link.lost()
    instance.store.waits = True
    publishing = asyncio.create_task(publish(instance, payload=b"kept"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not publishing.done()
    instance.store.go_on()
    await publishing
    await instance.restart()
    client, connack = instance.enter(token, clean_start=False, session_expiry_interval=600)
    assert connack.session_present
    assert [message.payload for message in client.messages()] == [b"kept"]


@pytest.mark.parametrize("retain", [True, False])
async def test_what_cannot_be_stored_is_refused_and_reaches_nobody(instance, retain):
    token = await instance.issue("ann")
    client = await instance.lasting(token, "chat/#")
    instance.store.fails = True
    with pytest.raises(Unavailable):
        await publish(instance, retain=retain)
    instance.store.fails = False
    assert client.messages() == []
    assert await topics_retained(instance) == []


async def test_a_message_is_retained_and_an_empty_one_clears_its_topic(instance):
    await publish(instance, payload=b"left", retain=True)
    await instance.restart()
    client = await instance.joined("ann")
    client.subscribe("chat/#")
    (message,) = client.messages()
    assert message.payload == b"left" and message.retain
    await publish(instance, payload=b"", retain=True)
    await instance.restart()
    assert await topics_retained(instance) == []


async def test_a_restricted_key_publishes_within_its_grants_only(instance):
    key = await restricted(instance, "chat/+", "only/{user_id}", "never/{client_id}")
    await publish(instance, "chat/a", key=key)
    await publish(instance, "only/server", key=key)
    for topic in ("chat", "chat/a/b", "never/", "never/x", "other"):
        with pytest.raises(Forbidden):
            await publish(instance, topic, key=key)
    assert instance.hub.broker.counters.refusals == {"rights": 5}


async def test_a_restricted_key_publishes_with_the_scope_and_the_permission_only(instance):
    without_scope = await restricted(instance, scopes=("sessions",))
    without_permission = await restricted(instance, permissions=("subscribe",))
    for key in (without_scope, without_permission):
        with pytest.raises(Forbidden):
            await publish(instance, key=key)


async def test_a_key_for_publishing_has_topics(instance):
    with pytest.raises(InvalidRequest):
        await instance.make_key("rk", scopes=("publish",))


@pytest.mark.parametrize("topic", ["$SYS/x", "$auth/token", "$auth/events", "$presence/chat/a", "$other/x"])
async def test_no_key_publishes_into_the_brokers_own_trees(instance, topic):
    for key in (instance.key, instance.admin):
        with pytest.raises(Forbidden):
            await publish(instance, topic, key=key)


async def test_a_secret_key_and_the_administrators_publish_everywhere_else(instance):
    client = await instance.joined("ann", "#", "$notifications/ann/#", permissions=(Permission.SUBSCRIBE,))
    client.subscribe("#", "$notifications/ann/#")
    await publish(instance, "any/where")
    await publish(instance, "$notifications/ann/new", key=instance.admin)
    assert client.topics() == ["any/where", "$notifications/ann/new"]


@pytest.mark.parametrize("topic", ["", "a/+", "a/#", "a\0b", "a\nb", "a" * 1_025, "/".join("a" * 33)])
async def test_a_topic_that_is_none_or_too_long_is_named(instance, topic):
    with pytest.raises(InvalidRequest) as refused:
        await publish(instance, topic)
    assert refused.value.problems[0][0] == "topic"


async def test_what_a_client_may_not_send_for_its_size_a_key_may_not(make_instance):
    instance = await make_instance(max_packet_bytes=2_048, max_retained_bytes=1_024)
    for payload, retain in ((b"x" * 2_048, False), (b"x" * 1_025, True)):
        with pytest.raises(InvalidRequest) as refused:
            await publish(instance, payload=payload, retain=retain)
        assert refused.value.problems[0][0] == "payload"
    assert instance.hub.broker.counters.refusals == {"size": 2}


async def test_no_more_is_retained_than_the_organization_may_have(instance):
    await instance.change(max_retained_messages=1)
    await publish(instance, "a", retain=True)
    with pytest.raises(Conflict):
        await publish(instance, "b", retain=True)
    await publish(instance, "a", payload=b"another", retain=True)
    assert await topics_retained(instance) == ["a"]


async def test_a_key_that_is_deleted_while_its_message_waits_publishes_nothing(instance):
    made = await instance.make_key()
    client = await instance.lasting(await instance.issue("ann"), "chat/#")
    instance.store.waits = True
    publishing = asyncio.create_task(publish(instance, key=made.record))
    await asyncio.sleep(0)
    org_id = instance.organization.id
    await instance.services.keys.delete(
        made.record.id, key=instance.key, org_id=org_id, revoke_tokens=False, now=instance.clock.now
    )
    instance.store.go_on()
    with pytest.raises(InvalidKey):
        await publishing
    await instance.kept()
    assert client.messages() == []
    assert instance.hub.broker.lives.of_key(made.record.id) == []


async def test_nothing_of_a_message_is_left_behind(instance):
    await publish(instance, retain=True)
    await publish(instance)
    assert instance.hub.broker.lives.of_key(instance.key.id) == []
    assert instance.hub.broker.tenants[instance.organization.id].sessions == {}


async def test_an_organization_hears_nothing_of_what_another_publishes(instance):
    organization, key = await instance.other_organization()
    token = await instance.issue("ann", key=key, organization=organization)
    client, _ = instance.enter(token)
    client.subscribe("chat/#")
    await publish(instance)
    with pytest.raises(NotFound):
        await publish(instance, key=key)
    assert client.messages() == []


# Sessions


async def test_sessions_are_listed_with_a_connection_and_without(instance):
    ann = await instance.issue("ann")
    await instance.joined("bob", client_id="b/1", version=4)
    client = await instance.lasting(ann, "chat/#", client_id="a")
    first, second = listed(instance).items
    assert (first.client_id, first.user_id, first.username) == ("a", "ann", ann.username)
    assert (first.token_id, first.key_id) == (ann.family.token_id, None)
    assert (first.connected, first.address, first.transport, first.protocol) == (
        True,
        "192.0.2.7",
        "tcp",
        "5.0",
    )
    assert (first.since, first.expires_at) == (instance.clock.now, ann.family.expires_at)
    assert (first.expiry_seconds, first.ends_at, first.queue) == (600, None, 0)
    assert [(one.topic_filter, one.qos) for one in first.subscriptions] == [("chat/#", 1)]
    assert (second.client_id, second.protocol, second.expiry_seconds) == ("b/1", "3.1.1", 0)
    instance.clock.advance(5)
    client.link.lost()
    await publish(instance)
    await publish(instance)
    await instance.restart()
    (view,) = listed(instance).items
    assert (view.connected, view.address, view.transport, view.protocol) == (False, None, None, None)
    assert (view.since, view.ends_at) == (instance.clock.now, instance.clock.now + 600)
    assert view.queue == 2


async def test_what_a_client_does_not_read_is_in_its_queue(instance):
    client = await instance.joined("ann")
    client.subscribe("chat/#")
    client.link.writing_paused()
    await publish(instance, qos=0)
    assert listed(instance).items[0].queue == 1


async def test_servers_connections_are_listed_with_their_key(instance):
    client = instance.client()
    assert client.connect(f"server@{instance.organization.id}", instance.key_text.encode()).reason_code == 0
    (view,) = listed(instance).items
    assert (view.user_id, view.token_id, view.key_id) == ("server", None, instance.key.id)


async def test_sessions_come_in_pages_each_once(instance):
    names = sorted(["a", "b/c", "é", "😀", "z" * 128, "a b", "a+"])
    for name in names:
        await instance.joined("ann", client_id=name)
    seen, cursor = [], None
    while True:
        page = listed(instance, limit=2, cursor=cursor)
        seen += [view.client_id for view in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert seen == names
    with pytest.raises(InvalidRequest):
        listed(instance, user_id="ann", cursor=listed(instance, limit=1).next)


async def test_sessions_of_one_user(instance):
    for user in ("ann", "bob"):
        await instance.joined(user)
    assert [view.user_id for view in listed(instance, user_id="bob").items] == ["bob"]


async def test_sessions_of_another_organization_are_not_there(instance):
    organization, key = await instance.other_organization()
    client = await instance.joined("ann", client_id="c1")
    with pytest.raises(NotFound):
        listed(instance, key=key)
    foreign = instance.services.sessions
    assert foreign.list(organization.id, key=key, user_id=None, limit=None, cursor=None).items == []
    with pytest.raises(NotFound):
        await foreign.end("c1", key=key, org_id=organization.id, now=instance.clock.now)
    assert (
        await foreign.end_user(
            client.session.identity.username, key=key, org_id=organization.id, now=instance.clock.now
        )
        == 0
    )
    assert not client.closed


@pytest.mark.parametrize("version", [4, 5])
async def test_a_session_that_is_ended_is_closed_and_gone(instance, version):
    client = await instance.joined("ann", version=version)
    await end(instance, "c-ann")
    assert client.closed
    answers = client.received()
    if version == 5:
        assert [(type(one), one.reason_code) for one in answers] == [(Disconnect, REMOVED)]
    else:
        assert answers == []
    assert listed(instance).items == []
    with pytest.raises(NotFound):
        await end(instance, "c-ann")


@pytest.mark.parametrize("connected", [True, False])
async def test_a_session_that_is_ended_is_ended_for_good(instance, connected):
    token = await instance.issue("ann")
    client = await instance.lasting(token, "chat/#")
    if not connected:
        client.link.lost()
        await publish(instance)
    instance.store.waits = True
    ending = asyncio.create_task(end(instance, "c1"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not ending.done()
    instance.store.go_on()
    await ending
    await instance.restart()
    assert listed(instance).items == []
    again, connack = instance.enter(token, clean_start=False, session_expiry_interval=600)
    assert (connack.reason_code, connack.session_present) == (0, False)
    assert again.messages() == []


async def test_a_session_whose_end_is_not_stored_is_told_so_and_ends_as_soon_as_it_can(instance):
    client = await instance.lasting(await instance.issue("ann"), "chat/#")
    instance.store.fails = True
    with pytest.raises(NotKept):
        await end(instance, "c1")
    assert client.closed
    instance.store.fails = False
    instance.tick()
    await instance.restart()
    assert listed(instance).items == []


@pytest.mark.parametrize("delay", [0, 60])
async def test_the_will_of_a_session_that_is_ended_goes_out(instance, delay):
    reader = await instance.joined("bob")
    reader.subscribe("chat/#")
    will = Will("chat/will", b"gone", will_delay_interval=delay)
    await instance.lasting(await instance.issue("ann"), will=will)
    await end(instance, "c1")
    assert reader.topics() == ["chat/will"]


async def test_all_sessions_of_a_user_are_ended_and_no_others(instance):
    token = await instance.issue("ann/b@home")
    clients = [instance.enter(token, name, version)[0] for name, version in (("a1", 4), ("a2", 5))]
    away = await instance.lasting(token, "chat/#", client_id="a3")
    away.link.lost()
    other = await instance.joined("ann")
    assert await end_user(instance, token.username) == 3
    assert all(client.closed for client in clients) and not other.closed
    await instance.restart()
    assert listed(instance).items == []
    assert await end_user(instance, token.username) == 0


async def test_a_user_is_named_by_id_or_by_username_in_its_one_spelling(instance):
    org_id = instance.organization.id
    for name, ended in ((f"a%6En@{org_id}", 0), ("ANN", 0), (f"ann@{org_id[:-1]}", 0), (f"ann@{org_id}", 1)):
        client = await instance.joined("ann")
        assert await end_user(instance, name) == ended
        assert client.closed == bool(ended)
    await instance.joined("ann")
    assert await end_user(instance, "ann") == 1


@pytest.mark.parametrize("scope", ["retained", "publish", "tokens:revoke"])
async def test_sessions_need_their_scope(instance, scope):
    client = await instance.joined("ann")
    key = await restricted(instance, scopes=(scope,))
    with pytest.raises(Forbidden):
        listed(instance, key=key)
    with pytest.raises(Forbidden):
        await end(instance, "c-ann", key=key)
    with pytest.raises(Forbidden):
        await end_user(instance, "ann", key=key)
    assert not client.closed
    await end(instance, "c-ann", key=await restricted(instance, scopes=("sessions",)))
    assert client.closed


# Retained messages


async def test_retained_messages_are_listed_by_filter_without_their_payload(instance):
    for topic, payload in (("chat/a", b"1"), ("chat/b/c", b"12"), ("other", b""), ("$spaces/x", b"123")):
        await publish(instance, topic, payload, retain=True)
    assert await topics_retained(instance) == ["chat/a", "chat/b/c"]
    assert await topics_retained(instance, "chat/+") == ["chat/a"]
    assert await topics_retained(instance, "$spaces/#") == ["$spaces/x"]
    (one,) = (await retained(instance, "chat/b/c")).items
    assert (one.topic, one.payload_size, one.stored_at) == ("chat/b/c", 2, instance.clock.now)
    for bad in ("a#", "", "$share/g/a"):
        with pytest.raises(InvalidRequest):
            await retained(instance, bad)


async def test_retained_messages_come_in_pages_each_once(instance):
    names = {f"t/{index}" for index in range(7)} | {"t/" + "x" * 1_000}
    for name in names:
        await publish(instance, name, retain=True)
    seen, cursor = [], None
    while True:
        page = await retained(instance, limit=3, cursor=cursor)
        seen += [one.topic for one in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert len(seen) == len(names) and set(seen) == names


async def test_a_retained_message_that_is_over_is_not_listed(make_instance):
    instance = await make_instance(max_retained_seconds=10)
    await publish(instance, retain=True)
    instance.clock.advance(10)
    instance.hub.broker.moment.now = instance.clock.now
    assert await topics_retained(instance) == []


async def test_a_retained_message_that_is_removed_is_gone_for_good_in_silence(instance):
    reader = await instance.joined("ann")
    reader.subscribe("chat/#")
    await publish(instance, "chat/a", retain=True)
    await publish(instance, "chat/b", retain=True)
    reader.messages()
    instance.store.waits = True
    clearing = asyncio.create_task(clear(instance, "chat/a"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not clearing.done()
    instance.store.go_on()
    await clearing
    assert reader.messages() == []
    await instance.restart()
    assert await topics_retained(instance) == ["chat/b"]
    with pytest.raises(NotFound):
        await clear(instance, "chat/a")


async def test_what_is_removed_while_another_message_waits_does_not_undo_that(instance):
    await publish(instance, payload=b"old", retain=True)
    instance.store.waits = True
    publishing = asyncio.create_task(publish(instance, payload=b"new", retain=True))
    await asyncio.sleep(0)
    clearing = asyncio.create_task(clear(instance, "chat/a"))
    await asyncio.sleep(0)
    instance.store.go_on()
    await asyncio.gather(publishing, clearing)
    await instance.restart()
    assert await topics_retained(instance) == ["chat/a"]


async def test_a_removal_that_is_not_stored_is_told_so_and_done_as_soon_as_it_can(instance):
    await publish(instance, retain=True)
    instance.store.fails = True
    with pytest.raises(NotKept):
        await clear(instance, "chat/a")
    instance.store.fails = False
    instance.tick()
    await instance.restart()
    assert await topics_retained(instance) == []


async def test_retained_messages_of_another_organization_are_not_there(instance):
    organization, key = await instance.other_organization()
    await publish(instance, retain=True)
    assert (await retained(instance, key=key, org_id=organization.id)).items == []
    for call in (retained(instance, key=key), clear(instance, "chat/a", key=key)):
        with pytest.raises(NotFound):
            await call
    with pytest.raises(NotFound):
        await instance.services.messages.clear_retained(
            "chat/a", key=key, org_id=organization.id, now=instance.clock.now
        )
    assert await topics_retained(instance) == ["chat/a"]


async def test_retained_messages_need_their_scope(instance):
    await publish(instance, retain=True)
    for scope in ("sessions", "publish"):
        key = await restricted(instance, "#", scopes=(scope,), permissions=tuple(Permission))
        for call in (retained(instance, key=key), clear(instance, "chat/a", key=key)):
            with pytest.raises(Forbidden):
                await call
    await clear(instance, "chat/a", key=await restricted(instance, scopes=("retained",)))


async def test_commits_of_the_store_are_timed_and_failures_counted(instance, monkeypatch):
    writer = instance.services.store.writer
    before = writer.commit_seconds.count
    await publish(instance, retain=True)
    assert (writer.commit_seconds.count, writer.failures, writer.waiting) == (before + 1, 0, 0)

    async def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(writer._runner, "run", fail)
    with pytest.raises(Unavailable):
        await publish(instance, retain=True)
    assert (writer.commit_seconds.count, writer.failures) == (before + 1, 1)
