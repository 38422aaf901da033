"""The history by the client, against the real service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tokenmq.client import Client, Denied, sync
from tokenmq.errors import InvalidRequest
from tokenmq.server_api import AsyncServerApi, ServerApi

pytestmark = pytest.mark.system

Make = Callable[..., Any]
PATIENCE_SECONDS = 30
READING = ["publish", "subscribe", "history"]


@pytest.fixture
def room() -> str:
    """A topic that no other test uses."""
    return f"chat/{uuid4().hex}"


async def take(client: Client, count: int) -> list[Any]:
    """Return the next messages."""
    taken = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for message in client.messages:
            taken.append(message)
            if len(taken) == count:
                break
    return taken


async def test_recorded_messages_are_read_with_who_and_when(
    make_client: Make, connect: Make, room: str
) -> None:
    alice, _ = make_client()
    await connect(alice, "alice", permissions=READING)
    began = datetime.now(UTC) - timedelta(seconds=2)
    for number in range(5):
        await alice.publish(
            f"{room}/{number % 2}", b"\xff" if number == 4 else str(number), qos=number % 2 + 1
        )
    found = await alice.history(f"{room}/#", limit=3)
    assert [(one.topic[-1], one.payload) for one in found] == [("0", b"2"), ("1", b"3"), ("0", b"\xff")]
    assert {one.published_by for one in found} == {"alice"}
    assert all(one.published_at is not None and began < one.published_at for one in found)
    ids = [one.history_id for one in found]
    assert ids == sorted(ids)
    oldest = await alice.history(f"{room}/+", limit=2, from_oldest=True)
    assert [one.text for one in oldest] == ["0", "1"]
    rest = await alice.history(f"{room}/#", after=oldest[1].history_id)
    assert [one.payload for one in rest] == [b"2", b"3", b"\xff"]
    assert await alice.history(f"{room}/#", until=began) == []
    assert len(await alice.history(f"{room}/#", since=began)) == 5


async def test_a_subscription_begins_with_what_was_said_and_goes_on(
    make_client: Make, connect: Make, room: str
) -> None:
    alice, _ = make_client()
    bob, _ = make_client()
    await connect(alice, "alice")
    for number in range(5):
        await alice.publish(room, str(number))
    await connect(bob, "bob", permissions=READING)
    subscription = await bob.subscribe(room, history=3)
    assert subscription.is_recorded is True
    await alice.publish(room, "live")
    told = await take(bob, 4)
    assert [one.text for one in told] == ["2", "3", "4", "live"]
    assert {one.published_by for one in told} == {"alice"} and all(one.published_at for one in told)
    ids = [one.history_id for one in told]
    assert None not in ids and ids == sorted(set(ids))
    assert not any(one.history_gap for one in told)
    carol, _ = make_client()
    await connect(carol, "carol", permissions=READING)
    heard: asyncio.Queue[Any] = asyncio.Queue()
    await carol.subscribe(room, after=ids[1], callback=heard.put_nowait)
    await alice.publish(room, "again")
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert [(await heard.get()).text for _ in range(3)] == ["4", "live", "again"]
    assert (await bob.subscribe("response/x", history=1)).is_recorded is False


async def test_a_new_session_goes_on_after_the_last_that_has_come(
    make_client: Make, connect: Make, room: str, service: Any, proxy_to: Make
) -> None:
    proxy = await proxy_to(*service.mqtt)
    alice, heard = make_client(session_expiry_seconds=0)
    await connect(alice, "alice", host=proxy.url, permissions=READING)
    await alice.subscribe(room, history=10)
    await alice.publish(room, "before")
    assert [one.text for one in await take(alice, 1)] == ["before"]
    await proxy.cut()
    await heard.wait_for("disconnected")
    async with AsyncServerApi(service.http_url, service.secret_key) as api:
        for number in range(3):
            await api.publish(room, f"meanwhile {number}")
    await proxy.start()
    assert await heard.wait_for("connected", times=2) is False
    await alice.publish(room, "after")
    told = await take(alice, 4)
    assert [one.text for one in told] == ["meanwhile 0", "meanwhile 1", "meanwhile 2", "after"]
    assert not any(one.history_gap for one in told)


async def test_what_is_gone_by_then_is_told_as_a_gap(
    make_client: Make, start_service: Any, proxy_to: Make
) -> None:
    service = start_service()
    rule = {"topic": "chat/#", "max_age": 3600, "max_messages": 2}
    proxy = await proxy_to(*service.mqtt)
    alice, heard = make_client(token_service_url=service.http_url, session_expiry_seconds=0)
    async with AsyncServerApi(service.http_url, service.secret_key) as api:
        assert (await api.set_history_rules([rule]))["rules"] == (await api.history_rules())["rules"]
        await alice.connect_with_token(
            proxy.url, get_token=lambda: service.create_token("alice", permissions=READING)
        )
        await alice.subscribe("chat/a", history=10)
        await api.publish("chat/a", "0")
        assert [one.text for one in await take(alice, 1)] == ["0"]
        await proxy.cut()
        await heard.wait_for("disconnected")
        for number in range(1, 6):
            await api.publish("chat/a", str(number))
        await proxy.start()
        await heard.wait_for("connected", times=2)
        told = await take(alice, 2)
    assert [(one.text, one.history_gap) for one in told] == [("4", True), ("5", False)]


async def test_without_the_permission_it_is_refused_in_every_way(
    make_client: Make, connect: Make, room: str
) -> None:
    alice, _ = make_client()
    await connect(alice, "alice")
    for asked in ({"history": 5}, {"since": 0}, {"after": 1}):
        with pytest.raises(Denied) as caught:
            await alice.subscribe(room, **asked)
        assert caught.value.reason_code == 0x87
    with pytest.raises(Denied):
        await alice.subscribe(f"$history/5/{room}")
    with pytest.raises(Denied) as caught:
        await alice.history(room)
    assert caught.value.action == "history"
    await alice.subscribe(room)
    await alice.publish(room, "plain")
    (message,) = await take(alice, 1)
    assert (message.history_id, message.published_at, message.published_by) == (None, None, None)


async def test_the_way_of_the_replay_is_one_of_mqtt_5(make_client: Make, connect: Make, room: str) -> None:
    old, _ = make_client(protocol_version=4)
    await connect(old, "alice", permissions=READING)
    with pytest.raises(InvalidRequest, match=r"\$history/<count>/<filter>"):
        await old.subscribe(room, history=5)
    await old.publish(room, "one")
    await old.subscribe(f"$history/5/{room}")
    (message,) = await take(old, 1)
    assert (message.topic, message.text) == (f"$history/5/{room}", "one")
    assert [one.text for one in await old.history(room)] == ["one"]


async def test_clients_and_backends_that_block_read_it_too(room: str, service: Any) -> None:
    def block() -> None:
        with (
            ServerApi(service.http_url, service.secret_key) as api,
            sync.Client(token_service_url=service.http_url) as alice,
        ):
            for number in range(3):
                api.publish(room, str(number))
            token = service.create_token("alice", permissions=READING)
            alice.connect_with_token(service.ready["mqtt_url"], get_token=lambda: token)
            assert [one.text for one in alice.history(room, limit=2)] == ["1", "2"]
            alice.subscribe(room, history=1)
            assert next(iter(alice.messages)).text == "2"
            assert [one["payload"] for one in api.history(room)] == ["2", "1", "0"]
            assert [one["payload"] for one in api.history(room, order="asc", limit=2)] == ["0", "1"]
            assert api.history_page(room, limit=1)["recorded"] is True
            assert api.erase_history(room) == {"erased": 3}
            assert list(api.history(room)) == []

    await asyncio.to_thread(block)
