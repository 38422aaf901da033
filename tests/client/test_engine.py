"""What the broker tells a connection of itself, and addresses that are tried in turn."""

import json
from typing import Any

import pytest

from tokenmq.client import Client, Status
from tokenmq.client.addresses import parse_url
from tokenmq.client.engine import Engine
from tokenmq.client.events import Events
from tokenmq.client.logins import FixedLogin
from tokenmq.client.messages import Message
from tokenmq.client.options import Options
from tokenmq.client.wire import LinkOptions, Received
from tokenmq.errors import ConnectError, Denied

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


async def test_in_3_1_1_a_made_up_session_is_ended_by_a_clean_one(broker: Any) -> None:
    fake = broker((CONNECT, b"\x20\x02\x00\x00"), (SUBSCRIBE, b"\x90\x03\x00\x01\x00"), again=True)
    async with Client(protocol_version=4) as client:
        await client.connect(fake.url, username="u", password="p")
        fake.script[:] = [(CONNECT, b"\x20\x02\x00\x00")]
    fake.finish()
    connects = [body for first, body in fake.received if first == 0x10]
    assert [body[7] & 2 for body in connects] == [0, 2]
