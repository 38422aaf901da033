"""A user's program with every public name of the client, for mypy --strict; `make types` checks it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, assert_never, assert_type

from tokenmq.client import (
    Client,
    ConnectError,
    Denied,
    Message,
    NotDelivered,
    Options,
    PresenceEvent,
    PresenceJoin,
    PresenceLeave,
    PresenceSnapshot,
    PresenceUpdate,
    PublishResult,
    Status,
    Subscription,
    Token,
    TokenError,
    TokenSource,
    Will,
    sync,
)
from tokenmq.server_api import AsyncServerApi, ServerApi


async def ask_my_backend() -> dict[str, Any]:
    """Return an answer of POST /v2/tokens."""
    return {}


def hear(message: Message) -> None:
    """Take a message."""
    assert_type(message.payload, bytes)
    assert_type(message.user_properties, tuple[tuple[str, str], ...])


async def use_the_client() -> None:
    """Use it, with all that can be awaited."""
    async with Client(
        token_service_url="https://auth.example", auto_refresh=True, keepalive_seconds=30
    ) as client:
        client.on_token_expiring(lambda seconds_left: None)
        client.set_token_refreshed_callback(None)
        assert_type(client.options, Options)
        try:
            token = await client.connect_with_token(
                "wss://mqtt.example/mqtt",
                get_token=ask_my_backend,
                will=Will("chat/gone", {"who": "alice"}, properties={"content_type": "application/json"}),
            )
        except TokenError as error:
            assert_type(error.kind, str)
            return
        except ConnectError as error:
            assert_type(error.reason_code, int | None)
            return
        assert_type(token, Token | None)
        assert_type(await client.subscribe("chat/#", callback=hear), Subscription)
        try:
            result = await client.publish("chat/a", {"hello": "world"}, qos=1, user_properties=[("a", "1")])
        except (Denied, NotDelivered) as refused:
            assert_type(refused.topic, str)
            return
        assert_type(result, PublishResult)
        assert_type(result.status, Status)
        assert_type(await result.delivered(), PublishResult)
        assert_type(await client.request("sum", [1, 2]), Message)
        await client.on_request("sum", lambda message: sum(message.json()))
        await client.unsubscribe("chat/#")
        async for message in client.messages:
            assert_type(message, Message)
        assert_type(await client.refresh_token(), Token)


async def look_around(client: Client) -> None:
    """Ask who is there, and what was said."""
    there = await client.presence("chat/room1")
    assert_type(there, PresenceSnapshot)
    assert_type(there.user_ids, tuple[str, ...])
    async for event in client.presence_events("chat/room1"):
        told(event)
    await client.set_presence_state("chat/room1", {"typing": True})
    said = await client.history("chat/room1", limit=50, since="2026-01-01T00:00:00Z", from_oldest=True)
    assert_type(said, list[Message])
    assert_type(said[0].history_id, int | None)
    assert_type(said[0].published_at, datetime | None)
    assert_type(said[0].published_by, str | None)
    subscription = await client.subscribe("chat/room1", history=50)
    assert_type(subscription.is_recorded, bool | None)


def told(event: PresenceEvent) -> None:
    """Take every kind of event, and leave none out."""
    match event:
        case PresenceSnapshot():
            assert_type(event.count, int)
        case PresenceJoin() | PresenceUpdate():
            assert_type(event.member.user_id, str)
        case PresenceLeave():
            assert_type(event.reason, str)
        case _:
            assert_never(event)


async def use_a_source() -> None:
    """Use the token's half alone."""
    async with TokenSource(get_token=ask_my_backend) as source:
        assert_type(source.credentials, tuple[str, str])
        assert_type(await source.token(), Token)


async def use_the_api() -> None:
    """Use the backend's half under asyncio."""
    async with AsyncServerApi("https://auth.example", "sk_1") as api:
        token = await api.tokens.create(user_id="alice", permissions=["subscribe"], topics=["chat/#"])
        assert_type(token["token"], str)


def use_what_blocks() -> None:
    """Use all of it without asyncio."""
    with sync.Client(token_service_url="https://auth.example") as client:
        assert_type(client.connect_with_token("mqtts://x", secret_key="sk_1", user_id="a"), Token | None)
        assert_type(client.publish("chat/a", b"x", timeout_seconds=5), PublishResult)
        assert_type(client.subscribe("chat/#", callback=hear), Subscription)
        assert_type(client.presence("chat/room1"), PresenceSnapshot)
        for event in client.presence_events("chat/room1"):
            told(event)
        assert_type(client.history("chat/room1", limit=50), list[Message])
        assert_type(client.subscribe("chat/room1", history=50), Subscription)
        for message in client.messages:
            assert_type(message, Message)
    with sync.TokenSource(external_token=lambda: "a.b.c", organization_id="org_1") as source:
        assert_type(source.credentials, tuple[str, str])
    with ServerApi("https://auth.example", "sk_1") as api:
        assert_type(api.publish("chat/a", {"x": 1})["success"], bool)


def misuse_is_found() -> None:
    """What `type: ignore` names here is an error, or mypy would say that it is not needed."""
    sync.TokenSource(get_tokens=lambda: "x")  # type: ignore[call-arg]
    Client(autorefresh=True)  # type: ignore[call-arg]
    sync.Client().publish("a", b"x", qos="1")  # type: ignore[arg-type]
