"""The history over HTTP: rules, reading page by page, erasing."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from tokenmq.broker.records import HistoryRecord, put
from tokenmq.errors import NotKept
from tokenmq.services import history as service
from tokenmq.services.live import NothingLive

RULE = {"topic": "chat/#", "max_age": 3_600, "max_messages": 100, "durable": False}
IDS = itertools.count(64, 64)


class Room:
    """The world's organization with rules, and short ways to record and read."""

    def __init__(self, world: Any) -> None:
        self.world = world

    async def rules(self, *rules: dict[str, Any], key: str = "sk") -> Any:
        return await self.world.ask(
            "PUT", "/v2/history/rules", key=self.world.keys[key], body={"rules": rules}
        )

    async def record(self, topic: str, payload: bytes = b"hello", *, ago: float = 0, **changes: Any) -> int:
        values = {
            "qos": 1,
            "retain": False,
            "forward": b"",
            "expires_at": None,
            "user_id": "ann",
            "most": 1_000,
        }
        values |= changes
        record = HistoryRecord(
            id=next(IDS),
            org_id=self.world.org_id,
            topic=topic,
            payload=payload,
            at=self.world.now - ago,
            **values,
        )
        settled = asyncio.get_running_loop().create_future()
        self.world.services.store.kept.save([put(record)], settled.set_result)
        assert await settled is None
        return record.id

    async def read(self, topic: str = "chat/#", *, key: str | None = None, **query: Any) -> Any:
        key = key or self.world.keys["sk"]
        return await self.world.ask("GET", "/v2/history", key=key, params={"topic": topic, **query})

    async def ids(self, topic: str = "chat/#", **query: Any) -> list[int]:
        answer = await self.read(topic, **query)
        assert answer.status_code == 200, answer.text
        return [message["id"] for message in answer.json()["messages"]]

    async def pages(self, topic: str = "chat/#", **query: Any) -> list[list[int]]:
        pages: list[list[int]] = []
        cursor: dict[str, str] = {}
        while True:
            body = (await self.read(topic, **query, **cursor)).json()
            pages.append([message["id"] for message in body["messages"]])
            if body["next"] is None:
                return pages
            cursor = {"cursor": body["next"]}

    async def erase(self, *, key: str = "sk", **query: str) -> Any:
        return await self.world.ask("DELETE", "/v2/history", key=self.world.keys[key], params=query)

    async def trail(self, action: str) -> list[dict[str, Any]]:
        answer = await self.world.ask(
            "GET", "/v2/audit", key=self.world.keys["sk"], params={"action": action}
        )
        return answer.json()["entries"]


@pytest.fixture
async def room(world: Any) -> Any:
    room = Room(world)
    assert (await room.rules(RULE)).status_code == 200
    assert (await room.erase(topic="#")).status_code == 200
    return room


async def test_rules_are_none_until_they_are_put_and_shown_as_they_were_put(world: Any) -> None:
    made = await world.ask("POST", "/v2/organizations", key=world.keys["ik"], body={"name": "of history"})
    query = {"organization_id": made.json()["id"]}
    asked = await world.ask("GET", "/v2/history/rules", key=world.keys["ik"], params=query)
    assert asked.json() == {"rules": []}
    rules = [RULE, {**RULE, "topic": "$spaces/#", "durable": True}]
    body = {"rules": rules}
    answer = await world.ask("PUT", "/v2/history/rules", key=world.keys["ik"], params=query, body=body)
    assert answer.json() == {"rules": rules}
    asked = await world.ask("GET", "/v2/history/rules", key=world.keys["ik"], params=query)
    assert asked.json() == {"rules": rules}
    assert (
        world.services.organizations.history_rules_of(query["organization_id"]).of_topic("chat/a").max_age
        == 3_600
    )


async def test_rules_survive_a_restart_and_are_in_the_trail(room: Room) -> None:
    await room.world.services.organizations.load()
    assert len(room.world.services.organizations.history_rules_of(room.world.org_id).rules) == 1
    told = (await room.trail("history_rules_change"))[0]
    assert told["details"] == {"rules": 1}
    assert told["actor"].startswith("key:")


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({**RULE, "topic": "a/#/b"}, "rules[1].topic"),
        ({**RULE, "topic": "$share/g/a"}, "rules[1].topic"),
        ({**RULE, "topic": "$SYS/#"}, "rules[1].topic"),
        (RULE, "rules[1].topic"),
        ({**RULE, "topic": "b", "max_age": 0}, "rules[1].max_age"),
        ({**RULE, "topic": "b", "max_age": service.MAX_AGE_SECONDS + 1}, "rules[1].max_age"),
        ({**RULE, "topic": "b", "max_messages": 0}, "rules[1].max_messages"),
        ({**RULE, "topic": "b", "max_messages": service.MAX_MESSAGES + 1}, "rules[1].max_messages"),
        ({**RULE, "topic": "b", "max_msgs": 1}, "rules[1].max_msgs"),
        ({"topic": "b", "max_age": 1}, "rules[1]"),
    ],
)
async def test_a_rule_that_is_none_is_refused_by_name_and_changes_nothing(
    room: Room, rule: dict[str, Any], field: str
) -> None:
    body = room.world.refused(await room.rules(RULE, rule), 400, "invalid_request")
    assert body["errors"][0]["field"].startswith(field)
    assert len(room.world.services.organizations.history_rules_of(room.world.org_id).rules) == 1


async def test_more_rules_than_there_may_be_are_refused(room: Room) -> None:
    rules = [{**RULE, "topic": f"t/{number}"} for number in range(service.MAX_RULES + 1)]
    room.world.refused(await room.rules(*rules), 400, "invalid_request")
    assert (await room.rules(*rules[1:])).status_code == 200


async def test_messages_are_shown_newest_first_as_the_contract_has_them(room: Room) -> None:
    first = await room.record("chat/a", "grüß".encode(), ago=61.5, retain=True, qos=2, user_id="bob")
    second = await room.record("chat/b", b"\xff\x00")
    body = (await room.read()).json()
    assert body == {
        "recorded": True,
        "messages": [
            {
                "id": second, "topic": "chat/b", "payload_base64": "/wA=", "qos": 1, "retain": False,
                "user_id": "ann", "at": "2026-11-24T12:00:00Z",
            },
            {
                "id": first, "topic": "chat/a", "payload": "grüß", "qos": 2, "retain": True,
                "user_id": "bob", "at": "2026-11-24T11:58:58Z",
            },
        ],
        "next": None,
    }  # fmt: skip


async def test_time_id_order_and_limit_choose_what_is_shown(room: Room) -> None:
    ids = [await room.record("chat/a", ago=ago) for ago in (50, 40, 30, 20, 10)]
    assert await room.ids(order="asc") == ids
    assert await room.ids(limit=2) == [ids[4], ids[3]]
    assert await room.ids(after=ids[1], order="asc", limit=2) == ids[2:4]
    assert (
        await room.ids(since="2026-11-24T11:59:20Z", until=str(room.world.now - 20), order="asc") == ids[1:4]
    )
    assert await room.ids(since=str(room.world.now)) == []
    assert await room.ids("chat/b") == []


async def test_pages_give_every_message_once(room: Room) -> None:
    ids = [await room.record(f"chat/{number % 3}") for number in range(7)]
    assert await room.pages(limit=3) == [ids[:3:-1], ids[3:0:-1], ids[:1]]
    assert await room.pages(limit=3, order="asc", after=ids[0]) == [ids[1:4], ids[4:]]
    cursor = (await room.read(limit=3)).json()["next"]
    room.world.refused(await room.read(limit=3, order="asc", cursor=cursor), 400, "invalid_request")


async def test_a_page_has_only_so_many_bytes(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PAGE_BYTES", 10)
    ids = [await room.record("chat/a", bytes(size)) for size in (4, 20, 4, 4)]
    assert await room.pages(order="asc") == [[ids[0]], [ids[1]], [ids[2], ids[3]]]


async def test_what_is_expired_too_old_or_under_no_rule_is_not_shown(room: Room) -> None:
    kept = await room.record("chat/a", ago=3_600)
    await room.record("chat/a", ago=3_601)
    await room.record("chat/a", expires_at=room.world.now)
    lasting = await room.record("chat/a", expires_at=room.world.now + 1)
    other = await room.record("other/a")
    assert await room.ids("+/a", order="asc") == [kept, lasting]
    body = (await room.read("other/#")).json()
    assert body == {"recorded": False, "messages": [], "next": None}
    await room.rules({**RULE, "topic": "other/#"})
    assert await room.ids("+/a") == [other]


async def test_a_user_sees_what_history_opens_now_and_nothing_else(room: Room) -> None:
    world = room.world
    ids = {topic: await room.record(topic) for topic in ("chat/a", "chat/own/ann", "chat/own/bob", "chat/b")}
    grants = [
        {"permissions": ["history"], "topics": ["chat/own/{user_id}", "chat/a"]},
        {"permissions": ["subscribe"], "topics": ["chat/#"]},
    ]
    token = (await world.token(user_id="ann", grants=grants))["token"]
    assert await room.ids("chat/a", key=token) == [ids["chat/a"]]
    assert await room.ids("chat/own/ann", key=token) == [ids["chat/own/ann"]]
    for topic in ("chat/#", "chat/own/bob", "chat/b", "chat/own/+"):
        body = world.refused(await room.read(topic, key=token), 403, "forbidden")
        assert topic in body["detail"]
    world.refused(await room.read("chat/a", key=token + "x"), 401, "unauthorized")
    world.refused(await world.ask("DELETE", "/v2/history", key=token, params={"topic": "#"}), 401)
    world.refused(await world.ask("GET", "/v2/history/rules", key=token), 401)


async def test_a_rule_of_the_policy_hides_what_was_readable_before(room: Room) -> None:
    world = room.world
    shown, hidden = await room.record("chat/a"), await room.record("chat/secret")
    token = (await world.token(user_id="ann", permissions=["history"], topics=["chat/#"]))["token"]
    assert await room.ids(key=token) == [hidden, shown]
    before = (await world.ask("GET", "/v2/acl", key=world.keys["sk"])).json()
    every = ["publish", "subscribe", "presence", "history"]
    deny = {"user": "*", "permissions": ["history"], "topics": ["chat/secret"], "effect": "deny"}
    allow = {"user": "*", "permissions": every, "topics": ["#"]}
    changed = {"version": "1", "rules": [deny, allow]}
    try:
        answer = await world.ask("PUT", "/v2/acl", key=world.keys["sk"], body=changed)
        assert answer.status_code == 200, answer.text
        assert await room.ids(key=token) == [shown]
        world.refused(await room.read("chat/secret", key=token), 403, "forbidden")
    finally:
        await world.ask("PUT", "/v2/acl", key=world.keys["sk"], body=before)


async def test_a_call_does_bounded_work_where_nearly_nothing_may_be_read(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LOOKS", 2)
    monkeypatch.setattr(service, "_HEADS", 3)
    readable = await room.record("chat/a")
    for _ in range(15):
        await room.record("chat/a", ago=4_000)
    pages = await room.pages()
    assert pages == [[], [], [readable]]


@pytest.mark.parametrize("scope", ["history:read", "history:erase", "policy"])
async def test_each_scope_opens_its_calls_alone(room: Room, scope: str) -> None:
    key = await room.world.restricted_key(only=scope)
    answers = {
        "read": await room.read(key=key),
        "rules": await room.world.ask("GET", "/v2/history/rules", key=key),
        "erase": await room.world.ask("DELETE", "/v2/history", key=key, params={"topic": "#"}),
        "put": await room.world.ask("PUT", "/v2/history/rules", key=key, body={"rules": [RULE]}),
    }
    opened = {"history:read": {"read", "rules"}, "history:erase": {"erase"}, "policy": {"put"}}[scope]
    assert {name for name, answer in answers.items() if answer.status_code == 200} == opened
    assert {answer.status_code for answer in answers.values()} == {200, 403}


async def test_erasing_by_topic_or_user_is_told_in_the_trail(room: Room) -> None:
    await room.record("chat/a")
    kept = await room.record("chat/b")
    answer = await room.erase(topic="chat/a")
    assert answer.json() == {"erased": 1}
    told = (await room.trail("history_erased"))[0]
    assert (told["object"], told["details"]) == ("topic:chat/a", {"erased": 1})
    await room.record("chat/b", user_id="carl")
    assert (await room.erase(user_id="carl")).json() == {"erased": 1}
    told = (await room.trail("history_erased"))[0]
    assert told["object"].startswith("user")
    assert "carl" not in str(told["details"])
    assert await room.ids() == [kept]


@pytest.mark.parametrize("query", [{}, {"topic": "a", "user_id": "b"}, {"topic": "a/#/b"}])
async def test_an_erasure_that_is_not_one_is_refused(room: Room, query: dict[str, str]) -> None:
    room.world.refused(await room.erase(**query), 400, "invalid_request")


@pytest.mark.parametrize("topic", ["a/#/b", "$share/g/chat/a", ""])
async def test_a_filter_that_is_none_is_refused(room: Room, topic: str) -> None:
    room.world.refused(await room.read(topic), 400, "invalid_request")


async def test_what_waits_in_the_broker_is_read_and_erased(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Waiting(NothingLive):
        """A broker that has a message which is not recorded yet."""

        async def history_flushed(self, org_id: str) -> None:
            assert org_id == room.world.org_id
            found.append(await room.record("chat/late"))

    found: list[int] = []
    monkeypatch.setattr(room.world.services.door, "live", Waiting())
    assert await room.ids() == found
    assert (await room.erase(topic="chat/#")).json() == {"erased": 2}


async def test_what_could_not_be_recorded_fails_the_call(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(NothingLive):
        """A broker whose store fails."""

        async def history_flushed(self, org_id: str) -> None:
            raise NotKept("the store failed to take the messages in")

    monkeypatch.setattr(room.world.services.door, "live", Failing())
    room.world.refused(await room.read(), 503, "unavailable")
    room.world.refused(await room.erase(topic="#"), 503, "unavailable")
