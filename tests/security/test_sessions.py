"""Whose session it is, and what comes out of it after rights have changed (rulings 1 and 5, V-14, V-38)."""

from __future__ import annotations

import asyncio

import pytest

from tokenmq.mqtt.packets import Pubrel


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
