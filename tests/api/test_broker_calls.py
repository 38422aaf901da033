"""Sessions, retained messages and publishing, as HTTP has them."""

from __future__ import annotations

from typing import Any

import pytest

from tokenmq import clock
from tokenmq.errors import NotKept
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Connect, Publish, Subscribe
from tokenmq.mqtt.packets.subscribe import Subscription
from tokenmq.server.peer import Peer
from tokenmq.services.live import NothingLive


@pytest.fixture(autouse=True)
def one_clock(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the broker live in the application's time."""
    monkeypatch.setattr(clock, "now", lambda: world.now)


class Transport:
    """Remembers what was written and whether it was closed."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        """Nothing is read here but what is handed in."""

    def resume_reading(self) -> None:
        """See above."""


class Client:
    """An MQTT 5 client that is connected to the world's broker, and subscribed to everything."""

    def __init__(self, hub: Any, token: dict[str, Any], client_id: str) -> None:
        self.transport = Transport()
        self.link = hub.make_link(Peer("192.0.2.7", 50_000, "websocket", None, trusted=True))
        self.link.opened(self.transport)
        password = token["mqtt_password"].encode()
        self.send(Connect(5, client_id, True, 60, username=token["mqtt_username"], password=password))
        self.send(Subscribe(1, (Subscription("#", qos=1),)))
        self.packets()

    def send(self, packet: Any) -> None:
        self.link.received(codec.encode(packet, 5))

    def packets(self) -> list[Any]:
        data, packets, pos = bytes(self.transport.written), [], 0
        self.transport.written.clear()
        while pos < len(data):
            found = codec.frame(data, pos, 1 << 28)
            assert found is not None
            first, start, stop = found
            packets.append(codec.decode(first, data, start, stop, 5, from_client=False))
            pos = stop
        return packets


async def connected(world: Any, client_id: str = "c1", user_id: str = "ann") -> Client:
    token = await world.token(user_id=user_id, topics=["#"], permissions=["publish", "subscribe"])
    client = Client(world.services.door.live, token, client_id)
    assert not client.transport.closed
    return client


OBJECT = '{"a":[1,2.5,null,true,"ü"],"b":{"c":9223372036854775808}}'.encode()


async def publish(world: Any, **body: object) -> Any:
    return await world.ask("POST", "/v1/publish", key=world.keys["sk"], body=body)


@pytest.mark.parametrize(
    ("payload", "received"),
    [
        ("hello", b"hello"),
        ("", b""),
        ("é😀", "é😀".encode()),
        ({}, b"{}"),
        ({"a": [1, 2.5, None, True, "ü"], "b": {"c": 2**63}}, OBJECT),
    ],
    ids=["text", "empty", "unicode", "empty object", "object"],
)
async def test_a_text_or_an_object_is_published(world: Any, payload: object, received: bytes) -> None:
    client = await connected(world)
    answer = await publish(world, topic="chat/a", payload=payload)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["success"], set(body)) == (True, {"success", "message_id"})
    (message,) = [packet for packet in client.packets() if type(packet) is Publish]
    assert (message.payload, message.qos, message.retain) == (received, 1, False)


@pytest.mark.parametrize("payload", [None, 5, True, [], ["a"]], ids=repr)
async def test_any_other_payload_is_400(world: Any, payload: object) -> None:
    body = world.refused(await publish(world, topic="a", payload=payload), 400, "invalid_request")
    assert body["errors"][0]["field"] == "payload"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("topic", "a/#"),
        ("topic", ""),
        ("topic", 5),
        ("qos", 3),
        ("qos", "1"),
        ("retain", 1),
        ("retian", True),
    ],
)
async def test_a_wrong_field_is_named(world: Any, field: str, value: object) -> None:
    answer = await publish(world, **{"topic": "a", "payload": "x", field: value})
    assert world.refused(answer, 400, "invalid_request")["errors"][0]["field"] == field


async def test_what_the_key_may_not_publish_is_403(world: Any) -> None:
    key = await world.restricted_key(only="publish", permissions=["publish"], topics=["chat/#"])
    body = {"topic": "other", "payload": "x"}
    answer = await world.ask("POST", "/v1/publish", key=key, body=body)
    assert "other" in world.refused(answer, 403, "forbidden")["detail"]
    world.refused(await publish(world, topic="$SYS/x", payload="x"), 403, "forbidden")


async def test_what_is_over_the_quota_is_409(world: Any) -> None:
    for quota, retained in ((0, 409), (10_000, 200)):
        settings = {"settings": {"max_retained_messages": quota}}
        await world.ask("PATCH", f"/v2/organizations/{world.org_id}", key=world.keys["ik"], body=settings)
        answer = await publish(world, topic="over/quota", payload="x", retain=True)
        assert answer.status_code == retained
        if retained == 409:
            world.refused(answer, 409, "conflict")


async def test_without_a_broker_nothing_is_published(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.services.door, "live", NothingLive())
    world.refused(await publish(world, topic="a", payload="x"), 503, "unavailable")


@pytest.mark.parametrize(
    ("path", "topic"),
    [
        ("a/b", "a/b"),
        ("a%2Fb", "a/b"),
        ("/a/", "/a/"),
        ("%2Fa", "/a"),
        ("a%20b/%C3%A9%25", "a b/é%"),
        ("$spaces/x", "$spaces/x"),
        ("a//b", "a//b"),
    ],
)
async def test_a_topic_stands_in_the_path_with_slashes_or_encoded(world: Any, path: str, topic: str) -> None:
    assert (await publish(world, topic=topic, payload="1234", retain=True)).status_code == 200
    listed = await world.ask("GET", "/v2/utilities/retained", key=world.keys["sk"], params={"topic": topic})
    (message,) = listed.json()["messages"]
    assert (message["topic"], message["payload_size"]) == (topic, 4)
    assert listed.json()["count"] == 1 and listed.json()["next"] is None
    assert message["timestamp"].endswith("Z")
    answer = await world.ask("DELETE", f"/v2/utilities/retained/{path}", key=world.keys["sk"])
    assert (answer.status_code, answer.json()) == (200, {"deleted": True, "topic": topic})
    again = await world.ask("DELETE", f"/v2/utilities/retained/{path}", key=world.keys["sk"])
    world.refused(again, 404, "not_found")


async def test_a_filter_that_is_none_is_400(world: Any) -> None:
    answer = await world.ask("GET", "/v2/utilities/retained", key=world.keys["sk"], params={"topic": "a#"})
    assert world.refused(answer, 400, "invalid_request")["errors"][0]["field"] == "topic"


@pytest.mark.parametrize("client_id", ["c1", "a/b", "a b", "é", "100%", "terminate"])
async def test_a_session_is_listed_and_ended(world: Any, client_id: str) -> None:
    client = await connected(world, client_id)
    answer = await world.ask("GET", "/v2/sessions", key=world.keys["sk"], params={"user_id": "ann"})
    (session,) = answer.json()["sessions"]
    assert session["client_id"] == client_id
    assert (session["connected"], session["address"]) == (True, "192.0.2.7")
    assert (session["transport"], session["protocol"]) == ("websocket", "5.0")
    assert session["subscriptions"] == [{"topic": "#", "qos": 1}]
    assert (session["queue"], session["ends_at"], session["key_id"]) == (0, None, None)
    path = "".join(f"%{byte:02X}" for byte in client_id.encode())
    ended = await world.ask("DELETE", f"/v2/sessions/{path}", key=world.keys["sk"])
    assert (ended.status_code, ended.json()) == (200, {"client_id": client_id, "deleted": True})
    assert client.transport.closed
    assert client.packets()[-1].reason_code == 0x98
    world.refused(await world.ask("DELETE", f"/v2/sessions/{path}", key=world.keys["sk"]), 404, "not_found")


@pytest.mark.parametrize("user_id", ["ann", "ann/b", "ann@home", "é"])
@pytest.mark.parametrize("whole", [True, False], ids=["username", "user id"])
async def test_a_users_sessions_are_ended(world: Any, user_id: str, whole: bool) -> None:
    token = await world.token(user_id=user_id, topics=["#"], permissions=["subscribe"])
    clients = [Client(world.services.door.live, token, name) for name in ("c1", "c2")]
    name = token["mqtt_username"] if whole else user_id
    path = "".join(f"%{byte:02X}" for byte in name.encode())
    answer = await world.ask("POST", f"/v2/utilities/users/{path}/terminate", key=world.keys["sk"])
    assert answer.json() == {"username": token["mqtt_username"], "sessions_terminated": 2}
    assert all(client.transport.closed for client in clients)


async def test_what_is_done_and_not_stored_says_so(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def not_kept(*_: object, **__: object) -> bool:
        raise NotKept("it is done, but not stored yet")

    monkeypatch.setattr(world.services.door.live, "end_session", not_kept)
    answer = await world.ask("DELETE", "/v2/sessions/c1", key=world.keys["sk"])
    assert "it is done" in world.refused(answer, 503, "unavailable")["detail"]
    assert answer.headers["retry-after"] == "1"


async def test_a_foreign_session_is_as_one_that_is_not_there(world: Any) -> None:
    client = await connected(world, "theirs")
    answers = [
        await world.ask("DELETE", f"/v2/sessions/{name}", key=world.keys["other sk"])
        for name in ("theirs", "missing")
    ]
    first, second = (world.refused(answer, 404, "not_found") for answer in answers)
    assert first == second and not client.transport.closed
    client.link.lost()


async def audited(world: Any, **query: str) -> list[dict[str, Any]]:
    answer = await world.ask("GET", "/v2/audit", key=world.keys["sk"], params=query)
    return list(answer.json()["entries"])


async def test_n6_what_an_operator_ends_leaves_its_row(world: Any) -> None:
    """Removed messages, ended sessions, terminated users; what was not there leaves none."""
    key = world.keys["sk"]
    await publish(world, topic="n6/a", payload="x", retain=True)
    await connected(world, "n6")
    await world.ask("DELETE", "/v2/sessions/n6", key=key)
    await connected(world, "n6")
    await world.ask("POST", "/v2/utilities/users/ann/terminate", key=key)
    for _ in range(2):
        await world.ask("DELETE", "/v2/utilities/retained/n6/a", key=key)
        await world.ask("DELETE", "/v2/sessions/n6", key=key)
        await world.ask("POST", "/v2/utilities/users/nobody/terminate", key=key)
    await world.token(user_id="later")  # rows are written behind, by whatever commits next
    (removed,) = await audited(world, object="topic:n6/a")
    (ended,) = await audited(world, object="session:n6")
    terminated = (await audited(world, action="user_terminated"))[0]
    assert [row["action"] for row in (removed, ended)] == ["retained_deleted", "session_deleted"]
    assert (terminated["user_id"], terminated["details"]) == ("ann", {"sessions": 1})
    assert all(row["actor"].startswith("key:") for row in (removed, ended, terminated))
