"""Wills: what may be one, and when it still goes out (SECURITY ruling 10, V-10, V-19, V-21, V-65)."""

from __future__ import annotations

import pytest

from tokenmq.mqtt.packets import Disconnect, Publish, Will

BOTH_VERSIONS = pytest.mark.parametrize("version", [4, 5])
WILL = Will("chat/will", b"gone", qos=1)


@pytest.fixture
async def reader(instance):
    """Somebody who hears every will, at once where it has not to be kept first."""
    client = await instance.joined("reader", "#", "$spaces/#", client_id="reader")
    client.subscribe("#", "$spaces/#", qos=1)
    return client


async def lasting_reader(instance):
    """Somebody whose session must keep a will before it goes out."""
    return await instance.lasting(await instance.issue("cat", "#"), "#", client_id="cat")


async def dying(instance, will=WILL, user_id="ann", *topics, version=5, client_id="c1", **more):
    """Return a client with a will, and its token."""
    token = await instance.issue(user_id, *topics)
    client, connack = instance.enter(token, client_id, version, will=will, **more)
    assert connack.reason_code == 0, connack
    return client, token


# At CONNECT


@BOTH_VERSIONS
@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("topic", ["other", "chat", "$SYS/a", "$share/g/chat/a", "chat/" + "x" * 1_100])
async def test_v65_a_will_that_is_not_allowed_refuses_connect_and_leaves_the_session_there_is(
    instance, version, retain, topic
):
    token = await instance.issue("ann", "chat/+")
    earlier = await instance.lasting(token, "chat/+")
    client, connack = instance.enter(token, "c1", version, will=Will(topic, b"x", retain=retain))
    assert client.closed
    assert connack.reason_code == 0x87
    assert not earlier.closed
    talker = await instance.joined("bob")
    await instance.publish(talker, "chat/a")
    assert earlier.topics() == ["chat/a"]


async def test_v47_a_will_cannot_carry_a_user_property_of_ours(instance, reader):
    token = await instance.issue("ann")
    will = Will("chat/will", b"x", user_properties=(("tokenmq-user", "admin"),))
    client, connack = instance.enter(token, will=will)
    assert (connack.reason_code, client.closed) == (0x87, True)
    assert "tokenmq-user is reserved" in connack.reason_string


@pytest.mark.parametrize(("version", "code"), [(5, 0x97), (4, 0x88)])
async def test_a_will_that_there_is_no_room_for_now_does_not_say_stop(instance, version, code):
    """Whoever fills the organization's retained messages must not make others give up for good."""
    await instance.change(max_retained_messages=1)
    ann = await instance.joined("ann")
    await instance.publish(ann, "chat/a", retain=True)
    token = await instance.issue("bob")
    _, connack = instance.enter(token, "c1", version, will=Will("chat/will", b"x", retain=True))
    assert connack.reason_code == code
    _, connack = instance.enter(token, "c1", version, will=Will("chat/a", b"x", retain=True))
    assert connack.reason_code == 0


# A revoked user's will is dropped, wherever it is by then


@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("by", ["token", "user", "all"])
async def test_ruling_10_revocation_closes_without_the_will(instance, reader, by, qos, retain):
    client, token = await dying(instance, Will("chat/will", b"gone", qos, retain))
    asked = {"token": {"token_id": token.family.token_id}, "user": {"user_id": "ann"}, "all": {"all": True}}
    if by == "all":
        reader.link.lost()
    await instance.revoke(**asked[by])
    assert client.closed
    client.link.lost()
    instance.clock.advance(4_000)
    instance.tick()
    await instance.kept()
    assert reader.topics() == []
    await instance.restart()
    late = await instance.joined("late", "#")
    late.subscribe("#")
    assert late.topics() == []


@pytest.mark.parametrize("restart", [False, True])
async def test_ruling_10_a_delayed_will_is_dropped_with_its_owner(instance, restart):
    will = Will("chat/will", b"gone", 1, will_delay_interval=60)
    client, _ = await dying(instance, will, session_expiry_interval=600)
    client.link.lost()
    await instance.kept()
    if restart:
        await instance.restart()
    reader = await instance.joined("reader", "#")
    reader.subscribe("#")
    await instance.revoke(user_id="ann")
    for seconds in (61, 600):
        instance.clock.advance(seconds)
        instance.tick()
        await instance.kept()
    assert reader.topics() == []


@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("session_expiry_interval", [0, 600])
@pytest.mark.parametrize("how", ["token", "key"])
async def test_ruling_10_a_will_that_waits_for_the_store_is_dropped_with_its_owner(
    instance, how, session_expiry_interval, retain
):
    """Its session may be over by then, and is found all the same."""
    reader = await lasting_reader(instance)
    will = Will("chat/will", b"gone", 1, retain)
    if how == "token":
        client, _ = await dying(instance, will, session_expiry_interval=session_expiry_interval)
    else:
        server = await instance.make_key()
        client = instance.client()
        client.connect(
            f"server@{instance.organization.id}",
            server.text.encode(),
            will=will,
            session_expiry_interval=session_expiry_interval,
        )
    await instance.kept()
    instance.store.waits = True
    client.link.lost()
    if how == "token":
        await instance.revoke(user_id="ann")
    else:
        await instance.services.keys.delete(
            server.record.id,
            key=instance.key,
            org_id=instance.organization.id,
            revoke_tokens=False,
            now=instance.clock.now,
        )
    instance.store.go_on()
    await instance.kept()
    assert reader.topics() == []
    lives = instance.hub.broker.lives
    assert len(lives._families) + len(lives._keys) == 1
    late = await instance.joined("late", "#")
    late.subscribe("#")
    assert late.topics() == []


async def test_a_will_that_waits_for_the_store_goes_out_if_nobody_is_revoked(instance):
    reader = await lasting_reader(instance)
    client, _ = await dying(instance)
    instance.store.waits = True
    client.link.lost()
    assert reader.topics() == []
    instance.store.go_on()
    await instance.kept()
    assert reader.topics() == ["chat/will"]
    assert len(instance.hub.broker.lives._families) == 1


async def test_sessions_that_ended_are_not_counted_as_closed(instance):
    await lasting_reader(instance)
    client, _ = await dying(instance)
    instance.store.waits = True
    client.link.lost()
    assert (await instance.revoke(user_id="ann")).sessions_closed == 0
    instance.store.go_on()
    await instance.kept()


# Expiry is one of the ways to lose a connection


@BOTH_VERSIONS
async def test_ruling_10_a_will_goes_out_when_its_token_ends(instance, reader, version):
    client, _ = await dying(instance, version=version)
    instance.clock.advance(3_601)
    instance.tick()
    assert client.closed
    await instance.kept()
    assert "chat/will" in reader.topics()


async def test_ruling_10_a_delayed_will_goes_out_after_its_token_ended(instance):
    will = Will("chat/will", b"gone", 1, will_delay_interval=600)
    client, _ = await dying(instance, will, session_expiry_interval=3_600)
    instance.clock.advance(3_500)
    client.link.lost()
    reader = await instance.joined("reader", "#")
    reader.subscribe("#")
    instance.clock.advance(601)
    instance.tick()
    await instance.kept()
    assert reader.topics() == ["chat/will"]


@pytest.mark.parametrize("delay", [0, 60])
async def test_ruling_10_a_will_whose_right_a_policy_has_taken_does_not_go_out(instance, reader, delay):
    will = Will("$spaces/will", b"gone", 1, will_delay_interval=delay)
    client, _ = await dying(instance, will, "ann", "$spaces/#", session_expiry_interval=600)
    await instance.change(dollar_trees=[])
    client.link.lost()
    instance.clock.advance(61)
    instance.tick()
    await instance.kept()
    assert reader.topics() == []
    assert instance.hub.broker.counters.refused == 1


async def test_ruling_10_a_policy_that_changes_while_a_will_waits_for_the_store_holds(instance):
    reader = await instance.lasting(await instance.issue("cat", "$spaces/#"), "$spaces/#", client_id="cat")
    client, _ = await dying(instance, Will("$spaces/will", b"gone", 1), "ann", "$spaces/#")
    instance.store.waits = True
    client.link.lost()
    await instance.change(dollar_trees=[])
    instance.store.go_on()
    await instance.kept()
    assert reader.topics() == []


async def test_a_narrower_token_brings_its_own_will_and_takes_the_earlier_along(instance, reader):
    token = await instance.issue("ann", "chat/#")
    will = Will("chat/will", b"gone", 1, will_delay_interval=60)
    client, _ = instance.enter(token, will=will, clean_start=False, session_expiry_interval=600)
    client.link.lost()
    narrower = await instance.issue("ann", "chat/b")
    more = {"clean_start": False, "session_expiry_interval": 600}
    _, connack = instance.enter(narrower, will=will, **more)
    assert connack.reason_code == 0x87
    client, _ = instance.enter(narrower, **more)
    await instance.kept()
    (connack,) = client.received()
    assert connack.reason_code == 0
    client.link.lost()
    instance.clock.advance(700)
    instance.tick()
    assert reader.topics() == []


# V-10: every order of delay, expiry, return, takeover and restart


@pytest.mark.parametrize("back", ["never", "resumed", "clean", "restart"])
@pytest.mark.parametrize("back_after", [10, 100])
@pytest.mark.parametrize("expiry", [0, 50, 200])
@pytest.mark.parametrize("delay", [0, 30, 100, 1_000])
async def test_v10_a_will_goes_out_once_at_the_end_of_its_delay_or_its_session(
    instance, delay, expiry, back_after, back
):
    reading = await instance.issue("reader")
    reader, _ = instance.enter(reading, "reader")
    reader.subscribe("chat/#")

    async def came(seconds):
        count = 0
        for _ in range(seconds // 10):
            instance.clock.advance(10)
            instance.tick()
            reader.link.received(b"\xc0\x00")
            count += reader.topics().count("chat/will")
        return count

    will = Will("chat/will", b"gone", 1, will_delay_interval=delay)
    client, token = await dying(instance, will, session_expiry_interval=expiry, clean_start=False)
    client.link.lost()
    before = reader.topics().count("chat/will") + await came(back_after)
    assert before == (min(delay, expiry) <= back_after)
    if back == "restart":
        await instance.restart()
        reader, _ = instance.enter(reading, "reader")
        reader.subscribe("chat/#")
    elif back != "never":
        client, _ = instance.enter(token, clean_start=back == "clean")
        client.send(Disconnect())
    after = reader.topics().count("chat/will") + await came(300)
    assert before + after == (0 if back == "resumed" and not before else 1)


async def test_what_a_will_says_is_what_is_published(instance, reader):
    will = Will("chat/will", b"gone", 1, False, None, 1, 100, "text/plain", "reply", b"x", (("a", "b"),))
    client, _ = await dying(instance, will)
    client.link.lost()
    (packet,) = reader.messages()
    assert isinstance(packet, Publish)
    assert (packet.content_type, packet.response_topic, packet.correlation_data) == (
        "text/plain",
        "reply",
        b"x",
    )
    assert packet.user_properties == (("a", "b"),)
