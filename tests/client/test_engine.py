"""What the broker tells a connection of itself, and addresses that are tried in turn."""

import asyncio
import contextlib
import json
from typing import Any

import pytest

from tokenmq.client import Client, Status, Will
from tokenmq.client.addresses import parse_url
from tokenmq.client.engine import Engine
from tokenmq.client.events import Events
from tokenmq.client.logins import FixedLogin
from tokenmq.client.messages import Message
from tokenmq.client.options import Options
from tokenmq.client.wire import LinkOptions, Received
from tokenmq.errors import ConnectError, Denied, InvalidRequest, InvalidTopicName

CONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE = 1, 3, 8, 10
ACCEPTED = b"\x20\x03\x00\x00\x00"


@pytest.fixture
def told() -> Any:
    """An engine without a connection; call it with an event of the broker, and see what is told."""
    events = Events()
    heard: list[Any] = []
    for event in ("narrowed", "denied", "dropped"):
        events.add(event, lambda what, event=event: heard.append((event, what)))
    engine = Engine(
        [parse_url("mqtt://127.0.0.1:1")],
        LinkOptions(client_id="c1"),
        FixedLogin("u", "p"),
        options=Options(),
        events=events,
    )

    def tell(payload: bytes) -> list[Any]:
        heard.clear()
        engine.received(Received(Message("$auth/events", payload), 0))
        return heard

    return tell


def test_events_of_the_broker_are_told(told: Any) -> None:
    event = {"event": "narrowed", "suspended": ["chat/#"]}
    assert told(json.dumps(event).encode()) == [("narrowed", ["chat/#"])]
    event = {"event": "denied", "action": "publish", "topic": "a", "reason": "no grant"}
    ((name, denied),) = told(json.dumps(event).encode())
    assert name == "denied" and isinstance(denied, Denied)
    assert (denied.action, denied.topic, denied.reason) == ("publish", "a", "no grant")
    assert told(b'{"event": "dropped", "count": 7}') == [("dropped", 7)]
    assert told(b'{"event": "refreshed"}') == []


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xff", b"[]", b"null", b"5", b'{"event": "narrowed"}', b'{"event": "dropped", "count": "x"}'],
)
def test_events_that_cannot_be_read_harm_nobody(told: Any, payload: bytes) -> None:
    assert told(payload) == []


async def test_a_broker_without_these_events_is_a_broker_too(broker: Any) -> None:
    """It refuses `$auth/events`, and that is all; its CONNACK names what is suspended."""
    suspended = b"\x26" + b"\x00\x11tokenmq-suspended" + b"\x00\x06chat/#"
    connack = bytes([0x20, 3 + len(suspended), 0, 0, len(suspended)]) + suspended
    fake = broker(
        (CONNECT, connack),
        (SUBSCRIBE, b"\x90\x04\x00\x01\x00\x87"),
        (SUBSCRIBE, b"\x90\x04\x00\x02\x00\x01"),
        (PUBLISH, b"\x40\x02\x00\x03"),
        (UNSUBSCRIBE, b"\xb0\x04\x00\x04\x00\x00"),
    )
    async with Client() as client:
        narrowed: list[Any] = []
        status: list[Any] = []
        client.on_narrowed(narrowed.append)
        client.set_connection_status_callback(lambda is_connected, word: status.append((is_connected, word)))
        await client.connect(fake.url, username="u", password="p")
        assert narrowed == [["chat/#"]] and status == [(True, "connected")]
        assert (await client.subscribe("a")).qos == 1
        assert (await client.publish("a", b"")).status is Status.ACKNOWLEDGED
        await client.unsubscribe("a")
    fake.finish()
    # A client id that was made up here takes its session with it.
    assert fake.received[-1] == (0xE0, b"\x00\x05\x11\x00\x00\x00\x00")


async def test_a_named_session_outlives_its_client(broker: Any) -> None:
    fake = broker((CONNECT, ACCEPTED), (SUBSCRIBE, b"\x90\x04\x00\x01\x00\x00"))
    async with Client() as client:
        await client.connect(fake.url, username="u", password="p", client_id="mine")
        assert client.client_id == "mine"
    fake.finish()
    assert fake.received[-1] == (0xE0, b"")


async def test_a_subscription_without_an_answer_in_time_is_a_connect_error(broker: Any) -> None:
    fake = broker((CONNECT, ACCEPTED), (SUBSCRIBE, b"\x90\x04\x00\x01\x00\x00"), (SUBSCRIBE, b""))
    async with Client(request_timeout_seconds=0.05) as client:
        await client.connect(fake.url, username="u", password="p")
        with pytest.raises(ConnectError, match="does not answer to the subscription to a"):
            await client.subscribe("a")
        with pytest.raises(TimeoutError):
            await client.publish("a", b"", timeout_seconds=0.05)


async def test_a_broker_that_never_answers_to_subscribe_is_a_connect_error(broker: Any) -> None:
    fake = broker((CONNECT, ACCEPTED))
    before = asyncio.all_tasks()
    async with Client(connect_timeout_seconds=0.1) as client:
        with pytest.raises(ConnectError, match="does not answer to SUBSCRIBE in time"):
            await client.connect(fake.url, username="u", password="p")
        assert asyncio.all_tasks() <= before


async def test_an_unsubscribing_without_an_answer_in_time_is_a_connect_error(broker: Any) -> None:
    fake = broker((CONNECT, ACCEPTED), (SUBSCRIBE, b"\x90\x04\x00\x01\x00\x00"))
    async with Client(request_timeout_seconds=0.05) as client:
        await client.connect(fake.url, username="u", password="p")
        with pytest.raises(ConnectError, match="does not answer to the end of a"):
            await client.unsubscribe("a")


async def test_a_closed_client_says_so_at_once(broker: Any) -> None:
    fake = broker((CONNECT, ACCEPTED), (SUBSCRIBE, b"\x90\x04\x00\x01\x00\x00"))
    client = Client()
    await client.connect(fake.url, username="u", password="p")
    subscribing = asyncio.create_task(client.subscribe("a"))
    await asyncio.sleep(0)
    await client.close()
    for late in (subscribing, client.publish("a", b""), client.subscribe("a"), client.unsubscribe("a")):
        with pytest.raises(ConnectError, match="closed"):
            await late
    assert [message async for message in client.messages] == []


async def test_what_is_no_message_is_refused_before_it_is_queued(broker: Any) -> None:
    fake = broker((CONNECT, ACCEPTED), (SUBSCRIBE, b"\x90\x04\x00\x01\x00\x00"))
    async with Client() as client:
        await client.connect(fake.url, username="u", password="p")
        bad: list[dict[str, Any]] = [{"qos": 3}, {"message_expiry_seconds": -1}, {"color": "red"}]
        for told in bad:
            with pytest.raises(InvalidRequest):
                await client.publish("a", b"", **told)
        for told in ({"qos": 5}, {"retain_handling": 3}, {"user_properties": [(1, 2)]}):
            with pytest.raises(InvalidRequest):
                await client.subscribe("a", **told)
        with pytest.raises(InvalidTopicName):
            await Client().connect(fake.url, username="u", password="p", will=Will("a/#"))


class SlowBroker:
    """Answers CONNECT when it is told to, everything else at once.

    Attributes:
        published: topic and payload of what came.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()
        self.ended = asyncio.Event()
        self.published: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                kind, length = await reader.readexactly(2)
                body = await reader.readexactly(length)
                if kind == 0x10:
                    self.asked.set()
                    await self.answers.wait()
                    writer.write(ACCEPTED)
                elif kind == 0x82:
                    writer.write(b"\x90\x04" + body[:2] + b"\x00\x00")
                elif kind == 0x32:
                    self.published.put_nowait(body)
                    name_ends = 2 + int.from_bytes(body[:2], "big")
                    writer.write(b"\x40\x02" + body[name_ends : name_ends + 2])
        writer.close()
        self.ended.set()


async def test_a_new_family_that_comes_while_a_connection_is_opened_is_shown_to_the_broker(
    token_server: Any,
) -> None:
    slow = SlowBroker()
    server = await asyncio.start_server(slow.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    families = iter(("tok_1", "tok_2"))
    async with Client() as client, asyncio.timeout(10):
        connecting = asyncio.create_task(
            client.connect_with_token(
                f"mqtt://127.0.0.1:{port}", get_token=lambda: token_server.token(token_id=next(families))
            )
        )
        await slow.asked.wait()
        await client.refresh_token()
        slow.answers.set()
        await connecting
        shown = await slow.published.get()
        assert b"$auth/token" in shown and shown.endswith(b"password-2")
    await slow.ended.wait()
    server.close()


async def test_a_connection_that_is_taken_and_ended_in_one_breath_is_a_lost_one(broker: Any) -> None:
    subscribed = (SUBSCRIBE, b"\x90\x04\x00\x01\x00\x00")
    fake = broker((CONNECT, ACCEPTED + b"\xe0\x01\x8b"), again=True)
    async with Client() as client:
        with pytest.raises(ConnectError, match="Server shutting down"):
            await client.connect(fake.url, username="u", password="p")
        fake.script[:] = [(CONNECT, ACCEPTED), subscribed]
        await client.connect(fake.url, username="u", password="p")
    fake.finish()
    fake = broker((CONNECT, ACCEPTED), subscribed, (PUBLISH, ACCEPTED), again=True)
    async with Client(chance=lambda: 0.0, max_reconnect_attempts=1) as client:
        lost = asyncio.Queue[Any]()
        client.on_disconnected(lost.put_nowait)
        await client.connect(fake.url, username="u", password="p")
        fake.script[:] = [(CONNECT, ACCEPTED + b"\xe0\x01\x8b")]
        fake.hang_up()
        async with asyncio.timeout(10):
            assert [await lost.get(), await lost.get()] == [None, "Server shutting down (0x8B)"]
    fake.finish()


async def test_a_watch_that_is_left_while_a_connection_begins_is_not_left_with_the_broker(
    broker: Any,
) -> None:
    """Its snapshot on the second connection comes before the answer to the last SUBSCRIBE that begins it."""
    topic, told = b"$presence/a", b'{"event":"snapshot","members":[]}'
    snapshot = bytes([0x30, 2 + len(topic) + 1 + len(told), 0, len(topic)]) + topic + b"\0" + told
    fake = broker(
        (CONNECT, ACCEPTED),
        (SUBSCRIBE, b"\x90\x04\x00\x01\x00\x00"),
        (SUBSCRIBE, b"\x90\x04\x00\x02\x00\x00" + snapshot),
        again=True,
    )
    async with Client(chance=lambda: 0.0, request_timeout_seconds=10) as client, asyncio.timeout(10):
        await client.connect(fake.url, username="u", password="p")
        connected = asyncio.Event()
        client.on_connected(lambda _: connected.set())
        async with contextlib.aclosing(client.presence_events("a")) as events:
            await anext(events)
            going_on = b"\x20\x03\x01\x00\x00"
            fake.script[:] = [(CONNECT, going_on), (SUBSCRIBE, snapshot), (UNSUBSCRIBE, b"")]
            fake.hang_up()
            await anext(events)
        assert not client.is_connected
        fake._connection.sendall(b"\x90\x04" + fake.received[-1][1][:2] + b"\x00\x00")
        await connected.wait()
    fake.finish()
    assert [body[3:] for first, body in fake.received if first >> 4 == UNSUBSCRIBE] == [b"\x00\x0b" + topic]


async def test_in_3_1_1_a_made_up_session_is_ended_by_a_clean_one(broker: Any) -> None:
    fake = broker((CONNECT, b"\x20\x02\x00\x00"), (SUBSCRIBE, b"\x90\x03\x00\x01\x00"), again=True)
    async with Client(protocol_version=4) as client:
        await client.connect(fake.url, username="u", password="p")
        fake.script[:] = [(CONNECT, b"\x20\x02\x00\x00")]
    fake.finish()
    connects = [body for first, body in fake.received if first == 0x10]
    assert [body[7] & 2 for body in connects] == [0, 2]
