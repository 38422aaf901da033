"""Who is present, as HTTP tells it: to keys all of it, to users what they may know."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from tokenmq import clock
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Connect, Subscribe
from tokenmq.mqtt.packets.subscribe import Subscription
from tokenmq.server.peer import Peer

PATH = "/v2/utilities/presence"
KEYS = {"username", "display_name", "connected_since", "subscribed_topics"}


@pytest.fixture(autouse=True)
def one_clock(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the broker live in the application's time."""
    monkeypatch.setattr(clock, "now", lambda: world.now)


class Transport:
    """Takes everything."""

    def write(self, data: bytes) -> None:
        """Forget it."""

    def close(self) -> None:
        """Nothing is open."""


def connect(world: Any, token: dict[str, Any], client_id: str, *filters: str) -> Any:
    """Connect a client and subscribe; return its link."""
    link = world.services.door.live.make_link(Peer("192.0.2.7", 50_000, "tcp", None, trusted=True))
    link.opened(Transport())
    username, password = token["mqtt_username"], token["mqtt_password"].encode()
    packets = [Connect(5, client_id, True, 60, username=username, password=password)]
    if filters:
        packets.append(Subscribe(1, tuple(Subscription(one, qos=0) for one in filters)))
    for packet in packets:
        link.received(codec.encode(packet, 5))
    assert not link.outbox.closed
    return link


@pytest.fixture
async def rooms(world: Any) -> Any:
    """Three connections of two users in the first organization, one of the other's; gone afterwards."""
    links = []
    for user_id, client_id, filters in (
        ("ann", "ann-phone", ("chat/a", "secret/ann", "$share/g/chat/b")),
        ("ann", "ann-desk", ("chat/a",)),
        ("bob", "bob-desk", ("chat/#", "#")),
    ):
        token = await world.token(user_id=user_id, topics=["#"], permissions=["subscribe"])
        links.append(connect(world, token, client_id, *filters))
    body = {"user_id": "zoe", "topics": ["#"], "permissions": ["subscribe"]}
    foreign = await world.ask("POST", "/v2/tokens", key=world.keys["other sk"], body=body)
    links.append(connect(world, foreign.json(), "zoe-desk", "chat/a"))
    yield world
    for link in links:
        link.lost()


async def ask(world: Any, credential: str, path: str = "", **params: str) -> Any:
    return await world.ask("GET", PATH + path, key=credential, params=params or None)


async def presence_token(world: Any, *topics: str, permissions: tuple[str, ...] = ("presence",)) -> str:
    made = await world.token(user_id="eve", permissions=list(permissions), topics=list(topics))
    return str(made["token"])


async def test_a_key_is_told_everything(rooms: Any) -> None:
    answer = await ask(rooms, rooms.keys["rk"], topic="chat/a")
    body = answer.json()
    assert answer.status_code == 200
    assert (body["online_count"], body["count"], body["next"]) == (2, 3, None)
    by_client = {user["client_id"]: user for user in body["users"]}
    assert by_client["ann-phone"] == {
        "username": f"ann@{rooms.org_id}",
        "display_name": None,
        "client_id": "ann-phone",
        "peer_host": "192.0.2.7",
        "connected_since": "2026-11-24T12:00:00Z",
        "subscribed_topics": ["chat/a", "secret/ann", "$share/g/chat/b"],
    }
    assert set(by_client) == {"ann-phone", "ann-desk", "bob-desk"}
    assert by_client["bob-desk"]["subscribed_topics"] == ["chat/#", "#"]


@pytest.mark.parametrize(
    ("topic", "clients"),
    [
        ("chat/b", {"ann-phone", "bob-desk"}),
        ("chat/+", {"ann-phone", "ann-desk", "bob-desk"}),
        ("secret/#", {"ann-phone"}),
        ("nobody", set()),
        ("$presence/chat/a", set()),
    ],
)
async def test_a_filter_is_fine(rooms: Any, topic: str, clients: set[str]) -> None:
    body = (await ask(rooms, rooms.keys["sk"], topic=topic)).json()
    assert {user["client_id"] for user in body["users"]} == clients
    assert body["count"] == len(clients)


async def test_without_a_topic_it_is_everybody(rooms: Any) -> None:
    assert (await ask(rooms, rooms.keys["sk"])).json()["count"] == 3


@pytest.mark.parametrize("topic", ["a/#/b", "a+", "$share/g/a", ""])
async def test_what_is_no_filter_is_400(rooms: Any, topic: str) -> None:
    body = rooms.refused(await ask(rooms, rooms.keys["sk"], topic=topic), 400, "invalid_request")
    assert body["errors"][0]["field"] == "topic"


async def test_pages_hold_everybody_once(rooms: Any) -> None:
    seen: list[str] = []
    params = {"topic": "chat/#", "limit": "1"}
    for _ in range(3):
        body = (await ask(rooms, rooms.keys["sk"], **params)).json()
        assert (body["online_count"], body["count"], len(body["users"])) == (2, 3, 1)
        seen.append(body["users"][0]["client_id"])
        params["cursor"] = body["next"]
    assert body["next"] is None
    assert sorted(seen) == ["ann-desk", "ann-phone", "bob-desk"]
    other = await ask(rooms, rooms.keys["sk"], topic="chat/a", cursor="AAAA")
    rooms.refused(other, 400, "invalid_request")


@pytest.mark.parametrize("name", ["ann", "ann@{org}"])
async def test_one_user(rooms: Any, name: str) -> None:
    body = (await ask(rooms, rooms.keys["rk"], "/" + name.format(org=rooms.org_id))).json()
    assert (json.dumps(body["online_count"]), body["count"]) == ("1", 2)  # a number, where true is equal to 1
    assert {user["client_id"] for user in body["users"]} == {"ann-phone", "ann-desk"}
    first = (await ask(rooms, rooms.keys["rk"], "/ann", limit="1")).json()
    rest = (await ask(rooms, rooms.keys["rk"], "/ann", limit="1", cursor=first["next"])).json()
    assert {one["users"][0]["client_id"] for one in (first, rest)} == {"ann-phone", "ann-desk"}
    assert (rest["count"], rest["next"]) == (2, None)


async def test_who_is_not_there_is_nobody(rooms: Any) -> None:
    for name in ("nobody", "zoe", f"ann@{rooms.other_org_id}"):
        answer = await ask(rooms, rooms.keys["sk"], f"/{name}")
        assert answer.json() == {"online_count": 0, "count": 0, "users": [], "next": None}
        assert "false" not in answer.text


async def test_a_proven_name_is_the_display_name(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    token = await world.token(user_id="nan", topics=["#"], permissions=["subscribe"])
    link = connect(world, token, "nan-1", "named")
    session = link.outbox.session
    for attrs, name in (({"name": "Nan Ö"}, "Nan Ö"), ({"name": 5}, None), ({}, None)):
        session.identity = type(session.identity)(
            **{f: getattr(session.identity, f) for f in session.identity.__struct_fields__ if f != "attrs"},
            attrs=attrs,
        )
        body = (await ask(world, world.keys["sk"], topic="named")).json()
        assert body["users"][0]["display_name"] == name
    link.lost()


# With a user's token


async def test_a_user_is_told_no_client_id_no_address_and_only_topics_of_its_grants(rooms: Any) -> None:
    token = await presence_token(rooms, "chat/#")
    answer = await ask(rooms, token, topic="chat/a")
    body = answer.json()
    assert (body["online_count"], body["count"]) == (2, 3)
    assert all(set(user) == KEYS for user in body["users"])
    topics = sorted((user["username"].split("@")[0], user["subscribed_topics"]) for user in body["users"])
    assert topics == [("ann", ["chat/a"]), ("ann", ["chat/a", "chat/b"]), ("bob", ["chat/#"])]
    narrow = await ask(rooms, await presence_token(rooms, "chat/a"), topic="chat/a")
    shown = sorted(user["subscribed_topics"] for user in narrow.json()["users"])
    assert shown == [[], ["chat/a"], ["chat/a"]]
    for hidden in ("phone", "desk", "192.0.2", "secret", "$share", "tok_"):
        assert hidden not in answer.text + narrow.text


async def test_a_cursor_of_a_user_tells_nothing(rooms: Any) -> None:
    token = await presence_token(rooms, "chat/#")
    body = (await ask(rooms, token, topic="chat/a", limit="1")).json()
    raw = base64.urlsafe_b64decode(body["next"] + "==")
    assert all(hidden not in raw for hidden in (b"ann", b"bob", b"phone", b"desk"))
    rest = (await ask(rooms, token, topic="chat/a", cursor=body["next"])).json()
    assert len(rest["users"]) == 2


@pytest.mark.parametrize("topic", ["chat/#", "#", "secret/ann", "chat", "$spaces/x"])
async def test_a_filter_that_the_grants_do_not_cover_is_403(rooms: Any, topic: str) -> None:
    answer = await ask(rooms, await presence_token(rooms, "chat/+"), topic=topic)
    rooms.refused(answer, 403, "forbidden")
    assert all(hidden not in answer.text for hidden in ("ann-", "bob", "192.0.2"))


async def test_a_token_without_presence_is_403_everywhere(rooms: Any) -> None:
    token = await presence_token(rooms, "#", permissions=("publish", "subscribe", "history"))
    for path in ("", "/ann", "/nobody"):
        rooms.refused(await ask(rooms, token, path), 403, "forbidden")


async def test_a_user_sees_of_another_what_its_grants_cover_and_else_nobody(rooms: Any) -> None:
    token = await presence_token(rooms, "chat/b")
    body = (await ask(rooms, token, "/ann")).json()
    assert (body["online_count"], body["count"]) == (1, 1)
    assert [set(user) for user in body["users"]] == [KEYS]
    assert body["users"][0]["subscribed_topics"] == ["chat/b"]
    unseen = (await ask(rooms, await presence_token(rooms, "news/#"), "/ann")).json()
    absent = (await ask(rooms, await presence_token(rooms, "news/#"), "/nobody")).json()
    assert unseen == absent == {"online_count": 0, "count": 0, "users": [], "next": None}


async def test_another_organization_is_not_seen(rooms: Any) -> None:
    body = {"user_id": "max", "topics": ["#"], "permissions": ["presence"]}
    made = await rooms.ask("POST", "/v2/tokens", key=rooms.keys["other sk"], body=body)
    foreign = made.json()["token"]
    body = (await ask(rooms, foreign, topic="chat/a")).json()
    assert [user["username"] for user in body["users"]] == [f"zoe@{rooms.other_org_id}"]
    assert (await ask(rooms, foreign, "/ann")).json()["count"] == 0
    named = await ask(rooms, foreign, topic="chat/a", organization_id=rooms.org_id)
    rooms.refused(named, 400, "invalid_request")


async def test_the_policy_of_now_decides_and_a_deny_of_a_part_refuses(rooms: Any) -> None:
    token = await presence_token(rooms, "chat/#")

    async def put(*rules: dict[str, Any]) -> None:
        body = {"version": "1", "rules": list(rules)}
        assert (await rooms.ask("PUT", "/v2/acl", key=rooms.keys["sk"], body=body)).status_code == 200

    permissions = ["publish", "subscribe", "presence", "history"]
    everything = {"user": "*", "permissions": permissions, "topics": ["#", "$spaces/#"]}
    deny = {"user": "*", "permissions": ["presence"], "topics": ["chat/a"], "effect": "deny"}
    await put(deny, everything)
    for topic in ("chat/#", "chat/+", "chat/a"):
        rooms.refused(await ask(rooms, token, topic=topic), 403, "forbidden")
    body = (await ask(rooms, token, topic="chat/b")).json()
    assert {tuple(user["subscribed_topics"]) for user in body["users"]} == {("chat/b",), ()}
    await put(everything)
    assert (await ask(rooms, token, topic="chat/a")).json()["count"] == 3


async def test_a_revoked_token_and_a_foreign_page_see_nothing(rooms: Any) -> None:
    made = await rooms.token(user_id="eve", permissions=["presence"], topics=["chat/#"])
    page = {"Origin": "https://evil.example", "Authorization": f"Bearer {made['token']}"}
    rooms.refused(await rooms.ask("GET", PATH, headers=page), 403, "forbidden")
    await rooms.ask("DELETE", f"/v2/tokens/{made['token_id']}", key=rooms.keys["sk"])
    rooms.refused(await ask(rooms, made["token"], topic="chat/a"), 401, "unauthorized")


async def test_events_come_by_themselves(world: Any) -> None:
    """The hub's timer runs on the loop, not only in tests that turn it by hand."""
    token = await world.token(user_id="eve", permissions=["presence"], topics=["#"])
    watching = connect(world, token, "eve-1", "$presence/timed")
    came = asyncio.Event()
    watching._transport.write = lambda data: came.set() if b'"join"' in data else None
    token = await world.token(user_id="ann", topics=["#"], permissions=["subscribe"])
    joining = connect(world, token, "a1", "timed")
    async with asyncio.timeout(5):
        await came.wait()
    watching.lost()
    joining.lost()
