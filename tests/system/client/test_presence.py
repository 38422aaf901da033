"""Presence by the client, against the real service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any
from uuid import uuid4

import pytest

from tokenmq.client import (
    Client,
    Denied,
    PresenceEvent,
    PresenceJoin,
    PresenceLeave,
    PresenceSnapshot,
    PresenceUpdate,
    sync,
)
from tokenmq.server_api import AsyncServerApi

pytestmark = pytest.mark.system

Make = Callable[..., Any]
PATIENCE_SECONDS = 30
PRESENT = ["publish", "subscribe", "presence"]


@pytest.fixture
def room() -> str:
    """A topic that no other test uses."""
    return f"chat/{uuid4().hex}"


class Watching:
    """What a client's `presence_events` yield, one by one."""

    def __init__(self, client: Client, topic_filter: str) -> None:
        self._events = client.presence_events(topic_filter)

    async def next(self, kind: type[PresenceEvent] | None = None) -> Any:
        """Return the next event, which is of this kind."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            event = await anext(self._events)
        assert kind is None or isinstance(event, kind), event
        return event

    async def leave(self) -> None:
        await self._events.aclose()


@pytest.fixture
async def watch() -> AsyncIterator[Callable[[Client, str], Watching]]:
    """Watch by a client; every watch is left at the end."""
    begun: list[Watching] = []

    def watch(client: Client, topic_filter: str) -> Watching:
        begun.append(Watching(client, topic_filter))
        return begun[-1]

    yield watch
    for one in begun:
        await one.leave()


@pytest.mark.parametrize("version", [4, 5])
async def test_who_is_there_who_comes_says_something_and_goes(
    make_client: Make, connect: Make, watch: Make, room: str, version: int
) -> None:
    alice, _ = make_client(protocol_version=version)
    bob, _ = make_client(protocol_version=version)
    await connect(alice, "alice", permissions=PRESENT)
    await alice.subscribe(room)
    watching = watch(alice, room)
    snapshot = await watching.next(PresenceSnapshot)
    assert (snapshot.topic_filter, snapshot.user_ids, snapshot.count) == (room, ("alice",), 1)
    await connect(bob, "bob", permissions=PRESENT)
    await bob.subscribe(room)
    joined = await watching.next(PresenceJoin)
    assert (joined.member.user_id, joined.count) == ("bob", 2) and joined.at is not None
    await bob.set_presence_state(room, {"name": "Bob"})
    updated = await watching.next(PresenceUpdate)
    assert (updated.member.id, updated.member.state) == (joined.member.id, {"name": "Bob"})
    assert {one.user_id: one.state for one in (await bob.presence(room)).members} == {
        "alice": None,
        "bob": {"name": "Bob"},
    }
    await bob.unsubscribe(room)
    left = await watching.next(PresenceLeave)
    assert (left.member.id, left.reason, left.count) == (joined.member.id, "unsubscribed", 1)
    assert (await alice.presence(room)).user_ids == ("alice",)


async def test_filters_with_wildcards_are_watched_beside_their_topics(
    make_client: Make, connect: Make, watch: Make, room: str
) -> None:
    alice, _ = make_client()
    bob, _ = make_client()
    await connect(alice, "alice", permissions=PRESENT)
    wide, narrow = watch(alice, f"{room}/+"), watch(alice, f"{room}/a")
    assert (await wide.next()).members == (await narrow.next()).members == ()
    await connect(bob, "bob", permissions=PRESENT)
    await bob.subscribe(f"{room}/b")
    joined = await wide.next(PresenceJoin)
    assert joined.topic_filter == f"{room}/+"
    await bob.subscribe(f"{room}/a")
    assert (await narrow.next(PresenceJoin)).member.id == joined.member.id
    await bob.set_presence_state(f"{room}/a", 5)
    assert (await narrow.next(PresenceUpdate)).member.state == 5
    updated = await wide.next(PresenceUpdate)
    assert (updated.topic, updated.member.states) == (f"{room}/a", {f"{room}/a": 5})


async def test_after_a_reconnect_there_is_a_snapshot_and_the_state_is_said_again(
    make_client: Make, connect: Make, watch: Make, room: str, service: Any, proxy_to: Make
) -> None:
    for expiry in (3600, 0):  # a session that goes on, and one that is new
        proxy = await proxy_to(*service.mqtt)
        alice, heard = make_client(session_expiry_seconds=expiry)
        await connect(alice, "alice", host=proxy.url, permissions=PRESENT)
        await alice.subscribe(room)
        await alice.set_presence_state(room, "here")
        watching = watch(alice, room)
        assert (await watching.next(PresenceSnapshot)).members[0].state == "here"
        await proxy.cut()
        await heard.wait_for("disconnected")
        await proxy.start()
        assert await heard.wait_for("connected", times=2) is bool(expiry)
        again = await watching.next(PresenceSnapshot)
        assert again.user_ids == ("alice",)
        if again.members[0].state is None:
            again = await watching.next(PresenceUpdate)
            assert again.member.state == "here"
        await alice.close()


async def test_a_watch_that_is_left_is_over(make_client: Make, connect: Make, room: str) -> None:
    alice, _ = make_client()
    await connect(alice, "alice", permissions=PRESENT)
    async with aclosing(alice.presence_events(room)) as events:
        assert isinstance(await anext(events), PresenceSnapshot)
    await alice.subscribe(room)
    await alice.publish(room, "hello")
    async for message in alice.messages:
        assert message.topic == room
        break


async def test_a_watch_that_is_left_without_a_connection_is_over_on_the_next(
    make_client: Make, connect: Make, watch: Make, room: str, service: Any, proxy_to: Make
) -> None:
    proxy = await proxy_to(*service.mqtt)
    alice, heard = make_client()
    user_id = f"alice-{room[-8:]}"
    await connect(alice, user_id, host=proxy.url, permissions=PRESENT)

    def subscribed() -> set[str]:
        (session,) = service.call("GET", f"/v2/sessions?user_id={user_id}").json()["sessions"]
        return {one["topic"] for one in session["subscriptions"]}

    watching = watch(alice, room)
    await watching.next(PresenceSnapshot)
    assert subscribed() == {f"$presence/{room}"}
    await proxy.cut()
    await heard.wait_for("disconnected")
    await watching.leave()
    await proxy.start()
    assert await heard.wait_for("connected", times=2) is True
    await alice.publish(room, "")
    assert subscribed() == set()


async def test_without_the_permission_nothing_of_it_is_to_be_had(
    make_client: Make, connect: Make, room: str
) -> None:
    alice, _ = make_client()
    await connect(alice, "alice")
    await alice.subscribe(room)
    with pytest.raises(Denied) as caught:
        await alice.presence(room)
    assert (caught.value.topic, caught.value.reason_code) == (f"$presence/{room}", 0x87)
    with pytest.raises(Denied):
        await anext(alice.presence_events(room))
    with pytest.raises(Denied):
        await alice.set_presence_state(room, {})


async def test_narrowed_the_loop_ends_by_an_error(
    make_client: Make, connect: Make, watch: Make, room: str, service: Any
) -> None:
    alice, heard = make_client()
    permissions = iter([PRESENT, ["publish", "subscribe"]])
    nothing: dict[str, Any] = dict.fromkeys(("secret_key", "user_id", "permissions", "topics"))

    def ask() -> Any:
        return service.create_token("erin", permissions=next(permissions))

    await connect(alice, **{**nothing, "get_token": ask})
    watching = watch(alice, room)
    await watching.next(PresenceSnapshot)
    await alice.refresh_token()
    assert await heard.wait_for("narrowed") == [f"$presence/{room}"]
    with pytest.raises(Denied, match="does not cover it any more"):
        await watching.next()


async def test_a_client_that_blocks_knows_it_too(
    make_client: Make, connect: Make, room: str, service: Any
) -> None:
    bob, _ = make_client()
    await connect(bob, "bob", permissions=PRESENT)
    await bob.subscribe(room)

    def block() -> None:
        token = service.create_token("alice", permissions=PRESENT)
        with sync.Client() as alice:
            alice.connect_with_token(service.ready["mqtt_url"], get_token=lambda: token)
            assert alice.presence(room).user_ids == ("bob",)
            alice.subscribe(room)
            alice.set_presence_state(room, "here")
            events = alice.presence_events(room)
            snapshot = next(events)
            assert isinstance(snapshot, PresenceSnapshot)
            assert {member.user_id: member.state for member in snapshot.members} == {
                "alice": "here",
                "bob": None,
            }
            events.close()

    await asyncio.to_thread(block)


async def test_a_backend_is_told_who_is_present_and_from_where(
    make_client: Make, connect: Make, room: str, service: Any
) -> None:
    for name in ("a", "b"):
        client, _ = make_client()
        await connect(client, "alice", client_id=f"{name}-{room[-8:]}")
        await client.subscribe(room)
    async with AsyncServerApi(service.http_url, service.secret_key) as api:
        present = await api.presence(room)
        assert (present["online_count"], present["count"]) == (1, 2)
        assert sorted(one["client_id"][:2] for one in present["users"]) == ["a-", "b-"]
        assert {(one["username"].partition("@")[0], one["peer_host"]) for one in present["users"]} == {
            ("alice", "127.0.0.1")
        }
        of_alice = await api.presence_of("alice")
        assert room in {topic for one in of_alice["users"] for topic in one["subscribed_topics"]}
