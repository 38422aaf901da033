"""A connection takes on other rights while it lives (rulings 1, 8, 9, 10): real tokens, a real store."""

from __future__ import annotations

import pytest

from tokenmq.access.identity import Renewal
from tokenmq.access.permission import Permission
from tokenmq.access.policy import Policy
from tokenmq.access.rules import Rule
from tokenmq.mqtt.packets import Auth, Disconnect, Puback, Publish, Will

BOTH = (Permission.PUBLISH, Permission.SUBSCRIBE)
LASTING = {"clean_start": False, "session_expiry_interval": 600}
ROADS = pytest.mark.parametrize("road", ["auth", "topic"])


async def entered(instance, user_id="ann", *topics, client_id="c1", **more):
    """Return a client that connected with a method, and its token."""
    token = await instance.issue(user_id, *topics)
    client = instance.client()
    fields = {"authentication_method": "JWT", "authentication_data": token.text.encode(), **more}
    assert client.connect(None, None, client_id, **fields).reason_code == 0
    return client, token


def show(client, text, road):
    """Show another token on a connection; return the code that answers and what came behind it."""
    data = text.encode() if isinstance(text, str) else text
    if road == "topic":
        (answer, *client.after) = client.send(Publish("$auth/token", data, 1, packet_id=900))
        assert isinstance(answer, Puback)
    else:
        auth = Auth(0x19, authentication_method="JWT", authentication_data=data)
        (answer, *client.after) = client.send(auth)
    return answer.reason_code


@ROADS
async def test_v83_a_renewal_replaces_the_scope_as_a_whole(instance, road):
    """Ruling 9: nothing of the old rights is left, nothing of the new ones is missing."""
    client, _ = await entered(instance, "ann", "old/#", "both/#")
    assert client.subscribe("old/a", "both/a", "$auth/events") == [0, 0, 0]
    assert show(client, (await instance.issue("ann", "both/#", "new/#")).text, road) == 0
    assert client.subscribe("old/b", "both/b", "new/b") == [0x87, 0, 0]
    codes = [client.publish(topic, qos=1)[-1].reason_code for topic in ("old/a", "both/c", "new/c")]
    assert codes == [0x87, 0x10, 0x10]
    talker = await instance.joined("bob", "#")
    for topic in ("old/a", "both/a", "new/b"):
        await instance.publish(talker, topic)
    assert client.topics() == ["both/a", "new/b"]


@ROADS
async def test_v83_a_renewal_never_changes_organization_user_or_client_id(instance, road):
    other, key = await instance.other_organization()
    shown = {
        "another user": await instance.issue("bob"),
        "another organization": await instance.issue("ann", key=key, organization=other),
        "another client id": await instance.issue("ann", client_id="c2"),
        "another prefix": await instance.issue("ann", client_id="d*"),
        "nearly the same user": await instance.issue("Ann"),
    }
    for what, token in shown.items():
        client, first = await entered(instance)
        assert show(client, token.text, road) == 0x87, what
        assert client.closed == (road == "auth"), what
        if road == "topic":
            assert client.session.identity.token_id == first.family.token_id, what
    client, _ = await entered(instance)
    for client_id in ("c1", "c*"):
        assert show(client, (await instance.issue("ann", client_id=client_id)).text, road) == 0


@ROADS
async def test_v83_nothing_but_a_good_token_of_ours_renews(instance, road):
    client, token = await entered(instance)
    revoked = await instance.issue("ann")
    await instance.revoke(token_id=revoked.family.token_id)
    short = await instance.issue("ann", ttl_seconds=60)
    instance.clock.now += 60
    head, body, signature = token.text.split(".")
    shown = [
        b"",
        b"\xff\xfe",
        instance.key_text,
        instance.admin_text,
        revoked.text,
        short.text,
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{head}.{body}.",
        token.text + "=",
        "x" * 9_000,
    ]
    for text in shown:
        if client.closed:
            client, _ = await entered(instance)
        if road == "topic":
            client.session.tokens_at = ()
        assert show(client, text, road) == 0x87, text
        assert client.closed == (road == "auth")


async def test_a_refused_token_is_shown_to_nobody(instance, capsys):
    """Neither in an answer nor in the log, whatever stands in it."""
    client, _ = await entered(instance)
    for text in ("eyJhbGciOiJFUzI1NiJ9.e30.c2VjcmV0", "sk_secret_secret_secret", "line\nbreak\x00"):
        (answer,) = client.send(Publish("$auth/token", text.encode(), 1, packet_id=1))
        assert text[:10] not in (answer.reason_string or "")
        assert text[:10] not in capsys.readouterr().out


async def test_a_servers_connection_renews_nothing_by_any_road(instance):
    client = instance.client()
    assert client.connect(f"server@{instance.organization.id}", instance.key_text.encode()).reason_code == 0
    assert show(client, (await instance.issue("ann")).text, "topic") == 0x87
    assert show(client, instance.key_text, "topic") == 0x87
    assert show(client, instance.key_text, "auth") == 0x82


@ROADS
async def test_n3_a_family_that_is_revoked_after_the_move_closes_the_connection(instance, road):
    """And one that is revoked before it, in the same turn of the loop, admits none."""
    client, _ = await entered(instance, **LASTING)
    second = await instance.issue("ann")
    assert show(client, second.text, road) == 0
    await instance.revoke(token_id=second.family.token_id)
    assert client.closed
    await instance.restart()
    client, _ = await entered(instance, **LASTING)
    assert show(client, second.text, road) == 0x87


@ROADS
async def test_n3_a_session_that_moved_outlives_the_revocation_of_the_family_that_it_left(instance, road):
    client, first = await entered(instance, **LASTING)
    second = await instance.issue("ann")
    assert show(client, second.text, road) == 0
    await instance.revoke(token_id=first.family.token_id)
    await instance.restart()
    back, connack = instance.enter(second, **LASTING)
    assert connack.session_present and not back.closed


@pytest.mark.parametrize("restart", [False, True])
async def test_v83_a_kept_session_goes_on_under_the_rights_of_the_last_renewal(instance, restart):
    """What waits for a session without a connection is what those rights allow."""
    client = await instance.lasting(await instance.issue("ann", "#"), "chat/#", "news/#")
    show(client, (await instance.issue("ann", "news/#", "chat/a")).text, "topic")
    assert [packet.reason_code for packet in client.after if isinstance(packet, Disconnect)] == [0x98]
    await instance.kept()
    if restart:
        await instance.restart()
    talker = await instance.joined("bob", "#")
    for topic in ("chat/a", "news/a"):
        await instance.publish(talker, topic, topic.encode())
    client, connack = instance.enter(await instance.issue("ann", "#"), **LASTING)
    assert connack.user_properties == ()
    assert client.topics() == ["news/a"]


async def test_v83_a_change_of_policy_is_felt_at_once_on_every_path(instance):
    """Ruling 1: live, queued, shared, retained still to come, will; each by the rights of now."""
    listener = await instance.joined("ann", "#")
    listener.subscribe("$auth/events")
    listener.subscribe("chat/#", "$share/g/chat/#")
    away = await instance.lasting(await instance.issue("cat", "#"), "chat/#", client_id="cat")
    away.link.lost()
    token = await instance.issue("dan", "#")
    willing, _ = instance.enter(token, "c-dan", will=Will("chat/will", b"gone"))
    talker = await instance.joined("bob", "#")
    listener.link.writing_paused()
    await instance.publish(talker, "chat/a", b"queued")
    _policy(instance, "news/#", "talk")
    listener.link.writing_resumed()
    willing.link.lost()
    await instance.kept()
    assert [answer.reason_code for answer in await instance.publish(talker, "chat/a")] == [0x87]
    assert b"queued" not in [message.payload for message in listener.messages()]
    _policy(instance, "#")
    back, _ = instance.enter(await instance.issue("cat", "#"), "cat", **LASTING)
    assert back.topics() == []
    await instance.publish(talker, "chat/a", b"again")
    assert [message.payload for message in back.messages()] == [b"again"]


def _policy(instance, *filters):
    """Put a policy in force for all connections."""
    organizations = instance.services.organizations
    trees = organizations.settings_of(instance.organization.id).dollar_trees
    organizations._starting[trees] = Policy((Rule("*", BOTH, filters),))
    instance.hub.organization_changed(instance.organization)


async def test_ruling_8_the_end_of_the_first_token_is_no_end_after_a_renewal(instance):
    client, token = await entered(instance)
    family = token.family
    renewal = Renewal("j", 1, family.grants, instance.clock.now, family.expires_at + 600)
    assert instance.hub.renew(instance.organization.id, family.token_id, renewal) == 1
    instance.clock.now = family.expires_at + 599.9
    instance.tick()
    assert not client.closed
    instance.clock.now = family.expires_at + 600
    instance.tick()
    assert [packet.reason_code for packet in client.received()] == [0xA0]
