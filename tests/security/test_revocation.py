"""What is revoked, deleted or over is so at once, everywhere, and for ever (N3, rulings 8 and 17)."""

from __future__ import annotations

import asyncio

import pytest

from tokenmq.errors import InvalidKey, NotFound, TokenmqError
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Connect, Disconnect, Publish, Subscribe
from tokenmq.mqtt.packets.subscribe import Subscription
from tokenmq.services.keys import Rotation
from tokenmq.services.tokens import Replacing
from tokenmq.tokens.minting import MintRequest

BOTH_VERSIONS = pytest.mark.parametrize("version", [4, 5])


def codes(client):
    return [packet.reason_code for packet in client.received() if isinstance(packet, Disconnect)]


async def test_v30_a_revoked_token_is_refused_by_every_acceptor(instance):
    token = await instance.issue("ann")
    client, _ = instance.enter(token)
    await instance.revoke(token_id=token.family.token_id)
    assert client.closed
    assert codes(client) == [0x87]
    text = token.text.encode()
    for fields in (
        {"username": token.username, "password": text},
        {"username": None, "password": None, "authentication_method": "JWT", "authentication_data": text},
        {
            "username": token.username,
            "password": text,
            "authentication_method": "JWT",
            "authentication_data": text,
        },
    ):
        assert instance.client().connect(**fields).reason_code == 0x87
    assert instance.client(4).connect(token.username, text).reason_code == 0x87
    found = instance.services.tokens.introspect(
        token.text, key=instance.key, org_id=instance.organization.id, now=instance.clock.now
    )
    assert found is None


async def test_v14_access_that_was_taken_away_comes_back_with_no_reconnect_and_no_restart(instance):
    token = await instance.issue("ann")
    client, _ = instance.enter(token)
    client.subscribe("chat/#")
    await instance.revoke(user_id="ann")
    await instance.restart()
    _, connack = instance.enter(token)
    assert connack.reason_code == 0x87
    bob = await instance.joined("bob")
    bob.publish("chat/a")
    assert client.topics() == []
    instance.clock.advance(3_599)
    await instance.restart()
    _, connack = instance.enter(token)
    assert connack.reason_code == 0x87


async def test_a_clock_that_is_set_back_makes_nothing_good_again(instance):
    token = await instance.issue("ann")
    await instance.revoke(user_id="ann")
    instance.clock.advance(3_600 + 600)
    instance.services.families.forget(instance.clock.now)
    instance.clock.now -= 3_600
    _, connack = instance.enter(token)
    assert connack.reason_code == 0x87


@BOTH_VERSIONS
async def test_what_was_sent_after_the_revocation_is_not_done(instance, version):
    """CONNECT, SUBSCRIBE and PUBLISH in one portion, and the revocation came first."""
    token = await instance.issue("ann")
    listener = await instance.joined("bob")
    listener.subscribe("chat/#")
    await instance.revoke(user_id="ann")
    client = instance.client(version)
    packets = (
        Connect(version, "c1", username=token.username, password=token.text.encode()),
        Subscribe(1, (Subscription("chat/#"),)),
        Publish("chat/a"),
    )
    client.link.received(b"".join(codec.encode(packet, version) for packet in packets))
    assert client.closed
    assert client.session is None
    assert listener.topics() == []


async def test_a_connect_between_commit_and_answer_does_not_survive(instance):
    """Whoever comes in while the revocation is on its way to the disk is thrown out by it."""
    tokens = [await instance.issue("ann") for _ in range(40)]
    clients = []
    revocation = asyncio.create_task(instance.revoke(user_id="ann"))
    while not revocation.done():
        await asyncio.sleep(0)
        if len(clients) < 400:  # a slow disk would let in more than an organization may have
            client, connack = instance.enter(tokens[len(clients) % 40], f"c{len(clients)}")
            clients.append((client, connack.reason_code))
    assert (await revocation).revoked == 40
    assert all(client.closed for client, _ in clients)
    assert {code for _, code in clients} <= {0, 0x87}
    tenant = instance.hub.broker.tenants.get(instance.organization.id)
    assert tenant is None or tenant.sessions == {}


async def test_a_key_that_is_deleted_while_it_makes_tokens_leaves_none_that_outlives_it(instance):
    maker = (await instance.make_key()).record
    creations = [asyncio.create_task(instance.issue(f"u{number}", key=maker)) for number in range(20)]
    await asyncio.sleep(0)
    org_id = instance.organization.id
    await instance.services.keys.delete(
        maker.id, key=instance.key, org_id=org_id, revoke_tokens=True, now=instance.clock.now
    )
    late = [asyncio.create_task(instance.issue(f"v{number}", key=maker)) for number in range(5)]
    made = await asyncio.gather(*creations, *late, return_exceptions=True)
    for outcome in made:
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, InvalidKey)
            continue
        _, connack = instance.enter(outcome, "c")
        assert connack.reason_code == 0x87
    assert all(isinstance(outcome, InvalidKey) for outcome in made[20:])


async def test_an_organization_that_is_deleted_while_it_is_used_leaves_nothing(instance):
    other, key = await instance.other_organization()
    token = await instance.issue("ann", organization=other, key=key)
    client, _ = instance.enter(token)
    creations = [
        asyncio.create_task(instance.issue(f"u{number}", organization=other, key=key)) for number in range(10)
    ]
    deletion = asyncio.create_task(
        instance.services.organizations.delete(other.id, key=instance.admin, now=instance.clock.now)
    )
    made = await asyncio.gather(*creations, return_exceptions=True)
    await deletion
    assert client.closed
    assert codes(client) == [0x87]
    for outcome in (token, *made):
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, InvalidKey | NotFound)
            continue
        _, connack = instance.enter(outcome, "c")
        assert connack.reason_code == 0x87
    with pytest.raises(TokenmqError):
        await instance.issue("late", organization=other, key=key)
    assert other.id not in instance.hub.broker.tenants
    await instance.restart()
    _, connack = instance.enter(token)
    assert connack.reason_code == 0x87


async def test_a_deleted_key_opens_nothing_and_its_connections_end(instance):
    made = await instance.make_key()
    name = f"server@{instance.organization.id}"
    client = instance.client()
    assert client.connect(name, made.text.encode()).reason_code == 0
    await instance.services.keys.delete(
        made.record.id,
        key=instance.key,
        org_id=instance.organization.id,
        revoke_tokens=False,
        now=instance.clock.now,
    )
    assert client.closed
    assert codes(client) == [0x87]
    assert instance.client().connect(name, made.text.encode()).reason_code == 0x86
    await instance.restart()
    assert instance.client().connect(name, made.text.encode()).reason_code == 0x86


async def test_v64_a_keys_connection_ends_when_the_key_expires(instance):
    expires_at = int(instance.clock.now) + 100
    made = await instance.make_key(expires_at=expires_at, expires_at_given=True)
    client = instance.client()
    name = f"server@{instance.organization.id}"
    client.connect(name, made.text.encode())
    instance.clock.advance(100)
    instance.tick()
    assert client.closed
    assert codes(client) == [0xA0]
    assert instance.client().connect(name, made.text.encode()).reason_code == 0x86


async def rotate(instance, made, **asked):
    return await instance.services.keys.rotate(
        made.record.id,
        Rotation(**asked),
        key=instance.key,
        org_id=instance.organization.id,
        now=instance.clock.now,
    )


async def test_v64_connections_of_a_rotated_secret_end_when_it_does(instance):
    made = await instance.make_key()
    name = f"server@{instance.organization.id}"
    old, lasting = instance.client(), instance.client()
    old.connect(name, made.text.encode(), client_id="old", session_expiry_interval=600, clean_start=False)
    changed = await rotate(instance, made, grace_seconds=60)
    in_grace = instance.client()
    assert in_grace.connect(name, made.text.encode(), client_id="in grace").reason_code == 0
    lasting.connect(name, changed.text.encode(), client_id="new")
    instance.clock.advance(59)
    instance.tick()
    assert not old.closed and not in_grace.closed
    instance.clock.advance(1)
    instance.tick()
    assert codes(old) == codes(in_grace) == [0xA0]
    assert not lasting.closed
    assert instance.client().connect(name, made.text.encode()).reason_code == 0x86
    back = instance.client()
    connack = back.connect(
        name, changed.text.encode(), client_id="old", session_expiry_interval=600, clean_start=False
    )
    assert connack.session_present


async def test_v64_connections_of_a_leaked_secret_end_at_once(instance):
    made = await instance.make_key()
    name = f"server@{instance.organization.id}"
    client = instance.client()
    client.connect(name, made.text.encode())
    await rotate(instance, made, grace_seconds=0)
    instance.tick()
    assert codes(client) == [0xA0]
    assert instance.client().connect(name, made.text.encode()).reason_code == 0x86


async def test_v64_a_defect_that_ends_one_expiry_does_not_keep_others_from_theirs(instance, monkeypatch):
    clients = [await instance.joined(f"u{number}", ttl_seconds=60) for number in range(5)]
    broker = instance.hub.broker
    expire = broker.expire
    failed = []

    def fail_once(session):
        if not failed:
            failed.append(session)
            raise RuntimeError("a defect")
        expire(session)

    monkeypatch.setattr(broker, "expire", fail_once)
    instance.clock.advance(60)
    with pytest.raises(RuntimeError):
        instance.tick()
    instance.tick()
    assert [client for client in clients if not client.closed] == [
        client for client in clients if client.session in failed
    ]


async def test_v64_the_timer_goes_on_after_a_defect(instance, monkeypatch):
    turns = []

    def tick(now, mono):
        turns.append(now)
        if len(turns) == 1:
            raise RuntimeError("a defect")
        ended.set()

    ended = asyncio.Event()
    monkeypatch.setattr(instance.hub, "tick", tick)
    timer = asyncio.create_task(instance.hub.run())
    await asyncio.wait_for(ended.wait(), 30)
    timer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await timer


async def test_replaced_sessions_are_closed_and_their_passwords_open_nothing(instance):
    first = await instance.issue("ann")
    client, _ = instance.enter(first)
    await instance.services.tokens.issue(
        MintRequest(user_id="ann", topics=("chat/#",)),
        key=instance.key,
        organization=instance.organization,
        replacing=Replacing(families=True, sessions=True),
        idempotency=None,
        now=instance.clock.now,
    )
    assert codes(client) == [0x98]
    _, connack = instance.enter(first)
    assert connack.reason_code == 0x87
    await instance.restart()
    _, connack = instance.enter(first)
    assert connack.reason_code == 0x87
