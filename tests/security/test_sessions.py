"""Whose session it is, and what comes out of it after rights have changed (rulings 1 and 5, V-14, V-38)."""

from __future__ import annotations

import asyncio

import pytest

from tokenmq.mqtt.packets import Pubrec, Pubrel, Subscribe
from tokenmq.mqtt.packets.subscribe import Subscription


class Gate:
    """Holds a store between a commit and what follows from it."""

    def __init__(self, store, monkeypatch):
        self.closed = asyncio.Event()
        self._open = asyncio.Event()
        runner = store.writer._runner
        run = runner.run

        async def held(work):
            outcome = await run(work)
            self.closed.set()
            await self._open.wait()
            return outcome

        monkeypatch.setattr(runner, "run", held)

    def open(self):
        self._open.set()


def payloads(client):
    return [packet.payload for packet in client.messages()]


# A session moves to a new family while its old one is being revoked


@pytest.mark.parametrize("when", ["before the commit", "after the commit"])
async def test_n1_a_session_that_left_a_family_in_time_does_not_go_with_it(instance, monkeypatch, when):
    """The store drops what it has under the old family; the session goes on, after a restart, too."""
    old, new, talker = [await instance.issue(user) for user in ("ann", "ann", "bob")]
    bob, _ = instance.enter(talker, "c-bob")
    ann = await instance.lasting(old, "chat/#", qos=2)
    ann.publish("chat/own", b"", qos=2)
    await instance.kept()
    ann.link.lost()
    for number in range(3):
        await instance.publish(bob, "chat/a", b"%d" % number, qos=1 + number % 2)
    if when == "after the commit":
        gate = Gate(instance.services.store, monkeypatch)
        revocation = asyncio.create_task(instance.revoke(token_id=old.family.token_id))
        await gate.closed.wait()
    back, connack = instance.enter(new, clean_start=False, session_expiry_interval=600)
    assert connack.session_present
    if when == "before the commit":
        revocation = asyncio.create_task(instance.revoke(token_id=old.family.token_id))
    else:
        gate.open()
    assert (await revocation).sessions_closed == 0
    await instance.kept()
    assert not back.closed
    await instance.restart()
    back, connack = instance.enter(new, clean_start=False, session_expiry_interval=600)
    assert connack.session_present
    assert payloads(back) == [b"", b"0", b"1", b"2"]
    assert [type(answer) for answer in back.send(Pubrel(1))] == []
    await instance.kept()
    assert [answer.reason_code for answer in back.received()] == [0]
    bob, _ = instance.enter(talker, "c-bob")
    await instance.publish(bob, "chat/b", b"later")
    assert payloads(back) == [b"later"]


# Hijack and fixation


LASTING = {"clean_start": False, "session_expiry_interval": 600}


async def intruder(instance, who):
    """Return a username and a password that are good, and not the owner's."""
    if who == "another user":
        token = await instance.issue("eve", "#")
    elif who == "another organization":
        other, key = await instance.other_organization()
        token = await instance.issue("ann", "#", organization=other, key=key)
    elif who == "a prefix":
        token = await instance.issue("eve", "#", client_id="c*")
    elif who == "another id":
        token = await instance.issue("eve", "#", client_id="c2")
    else:
        key = await instance.make_key()
        return f"server@{instance.organization.id}", key.text.encode()
    return token.username, token.text.encode()


@pytest.mark.parametrize("clean_start", [False, True])
@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize(
    "who", ["another user", "another organization", "a prefix", "another id", "another key"]
)
@pytest.mark.parametrize("owner", ["user", "key"])
async def test_v38_nobody_else_gets_ends_or_changes_a_lasting_session(
    instance, owner, who, connected, clean_start
):
    if owner == "user":
        token = await instance.issue("ann", "chat/#")
        username, password = token.username, token.text.encode()
    else:
        key = await instance.make_key()
        username, password = f"server@{instance.organization.id}", key.text.encode()
    client = instance.client()
    client.connect(username, password, "c1", **LASTING)
    client.send(Subscribe(1, (Subscription("chat/#", qos=1),)))
    await instance.kept()
    if not connected:
        client.link.lost()
    talker = await instance.joined("bob")
    await instance.publish(talker, "chat/a", b"secret")
    thief = instance.client()
    connack = thief.connect(*await intruder(instance, who), "c1", **{**LASTING, "clean_start": clean_start})
    await instance.kept()
    if who == "another organization":
        assert (connack.reason_code, connack.session_present) == (0, False)
    else:
        assert connack.reason_code == 0x85
    assert thief.messages() == []
    assert client.closed is False
    if not connected:
        client = instance.client()
        assert client.connect(username, password, "c1", **LASTING).session_present
    assert payloads(client) == [b"secret"]


async def test_v38_a_token_bound_to_the_client_id_gets_nothing_of_the_session_that_was_there(instance):
    squatter = await instance.lasting(await instance.issue("eve", "chat/#"), "chat/#")
    talker = await instance.joined("bob")
    squatter.link.lost()
    await instance.publish(talker, "chat/a", b"eve's")
    owner = await instance.issue("ann", "chat/#", client_id="c1")
    client, _ = instance.enter(owner, **LASTING)
    await instance.kept()
    (connack,) = client.received()
    assert (connack.reason_code, connack.session_present) == (0, False)
    assert client.session.subscriptions == {}
    await instance.publish(talker, "chat/a", b"later")
    assert payloads(client) == []
    _, connack = instance.enter(await instance.issue("eve", "chat/#"), **LASTING)
    assert connack.reason_code == 0x85
    assert not client.closed


async def test_v38_a_session_that_a_wider_token_prepared_gives_a_narrower_one_no_more_than_its_own(instance):
    """Fixation: what was subscribed to stays, and is nothing without the right."""
    await instance.lasting(await instance.issue("ann", "#"), "#", "$share/g/#")
    client, connack = instance.enter(await instance.issue("ann", "chat/a"), **LASTING)
    assert connack.session_present
    assert sorted(value for _, value in connack.user_properties) == ["#", "$share/g/#"]
    talker = await instance.joined("bob", "#")
    for topic in ("chat/a", "chat/b", "other"):
        await instance.publish(talker, topic, topic.encode(), retain=True)
    assert payloads(client) == []
    assert client.subscribe("#") == [0x87]
    assert not client.closed


# What waits for a narrower token


async def waiting(instance, state, qos):
    """Return a session, away, with messages on chat/a and chat/b in some state of their delivery."""
    client = await instance.lasting(await instance.issue("ann", "chat/#"), "chat/#", "chat/a", qos=qos)
    talker = await instance.joined("bob")
    if state == "queued":
        client.link.lost()
    for topic in ("chat/a", "chat/b"):
        await instance.publish(talker, topic, topic.encode(), qos=qos)
    if state != "queued":
        messages = client.messages()
        assert len(messages) == 2
        if state == "received":
            client.send(*(Pubrec(message.packet_id) for message in messages))
            await instance.kept()
        client.link.lost()
    return talker


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    ("state", "qos"), [("queued", 1), ("queued", 2), ("in flight", 1), ("in flight", 2), ("received", 2)]
)
async def test_v37_what_waits_is_judged_by_the_rights_that_come_back(instance, state, qos, restart):
    await waiting(instance, state, qos)
    if restart:
        await instance.restart()
    client, connack = instance.enter(await instance.issue("ann", "chat/a"), **LASTING)
    assert connack.session_present
    assert payloads(client) == ([] if state == "received" else [b"chat/a"])
    client.link.lost()
    client, _ = instance.enter(await instance.issue("ann", "chat/#"), **LASTING)
    assert b"chat/b" not in payloads(client)


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("restart", [False, True])
async def test_v15_after_a_revocation_pubrel_delivers_nothing(instance, lasting, restart):
    reader = await instance.lasting(await instance.issue("cat"), "chat/#", client_id="cat", qos=2)
    more = LASTING if lasting else {}
    client, _ = instance.enter(await instance.issue("ann"), **more)
    instance.store.waits = True
    client.publish("chat/a", b"x", 2)
    await instance.revoke(user_id="ann")
    instance.store.go_on()
    await instance.kept()
    if restart:
        await instance.restart()
        reader, _ = instance.enter(await instance.issue("cat"), "cat", **LASTING)
    client, connack = instance.enter(await instance.issue("ann"), **more)
    assert not connack.session_present
    assert [answer.reason_code for answer in client.send(Pubrel(1))] == [0x92]
    await instance.kept()
    assert payloads(reader) == []
