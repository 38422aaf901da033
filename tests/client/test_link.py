"""MQTT connections under asyncio, against a broker that plays a script."""

import asyncio
import contextlib
import gc
import socket
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from paho.mqtt.subscribeoptions import SubscribeOptions

from tokenmq.client.addresses import parse_url
from tokenmq.client.link import Link
from tokenmq.client.messages import Message, Will
from tokenmq.client.wire import LinkOptions, Outcome, Received
from tokenmq.errors import ConnectError, InvalidRequest, InvalidTopicName, NotDelivered

CONNECT, PUBLISH, PUBREC, PUBREL, SUBSCRIBE, DISCONNECT = 1, 3, 5, 6, 8, 14

ACCEPTED = b"\x20\x03\x00\x00\x00"
ACCEPTED_311 = b"\x20\x02\x00\x00"
RESUMED = b"\x20\x03\x01\x00\x00"
PUBLISHED = b"\x40\x02\x00\x01"

Start = Callable[..., Any]
PATIENCE_SECONDS = 10


def text(value: str) -> bytes:
    return len(value.encode()).to_bytes(2, "big") + value.encode()


def reason_string(value: str) -> bytes:
    property_ = b"\x1f" + text(value)
    return bytes([len(property_)]) + property_


def packet(first: int, body: bytes) -> bytes:
    return bytes([first, len(body)]) + body


class Heard:
    """What a link tells, awaitable by kind."""

    def __init__(self) -> None:
        self._queues: dict[str, asyncio.Queue[Any]] = {
            kind: asyncio.Queue() for kind in ("received", "acknowledged", "written", "lost")
        }

    def received(self, one: Received) -> None:
        self._queues["received"].put_nowait(one)

    def acknowledged(self, packet_id: int, outcome: Outcome) -> None:
        self._queues["acknowledged"].put_nowait((packet_id, outcome))

    def written(self) -> None:
        self._queues["written"].put_nowait(None)

    def lost(self, outcome: Outcome | None) -> None:
        self._queues["lost"].put_nowait(outcome)

    async def next(self, kind: str) -> Any:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._queues[kind].get()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def link(heard: Heard) -> AsyncIterator[Callable[..., Link]]:
    made: list[Link] = []

    def make(url: str, **options: Any) -> Link:
        made.append(Link(parse_url(url), LinkOptions(**{"client_id": "c1", **options}), heard))
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def opened(link: Link) -> Any:
    return await link.open("alice@org_x", "a.b.c")


@pytest.mark.parametrize("websocket", [False, True], ids=["tcp", "websocket"])
async def test_connect_publish_and_disconnect_are_what_the_standard_says(
    broker: Start, link: Any, heard: Heard, websocket: bool
) -> None:
    fake = broker((CONNECT, ACCEPTED), (PUBLISH, PUBLISHED), websocket=websocket)
    one = link(fake.url)
    connack = await opened(one)
    assert (connack.outcome.reason_code, connack.session_present, connack.receive_maximum) == (
        0,
        False,
        65535,
    )
    packet_id = one.publish("chat/room1", b"hello", qos=1, retain=False, properties={})
    assert await heard.next("acknowledged") == (packet_id, Outcome(0, "Success"))
    await one.close(session_expiry_seconds=0)
    fake.finish()
    (_, connect), publish, disconnect = fake.received
    # Clean Start 0, a session of an hour, a receive maximum of 1,000.
    properties = b"\x11\x00\x00\x0e\x10\x21\x03\xe8"
    assert connect == (
        text("MQTT")
        + b"\x05\xc0\x00\x3c"
        + bytes([len(properties)])
        + properties
        + text("c1")
        + text("alice@org_x")
        + text("a.b.c")
    )
    assert publish == (0x32, text("chat/room1") + b"\x00\x01\x00hello")
    assert disconnect == (0xE0, b"\x00\x05\x11\x00\x00\x00\x00")


async def test_a_websocket_upgrade_names_path_and_subprotocol_and_no_origin(broker: Start, link: Any) -> None:
    fake = broker((CONNECT, ACCEPTED), websocket=True)
    one = link(fake.url)
    await opened(one)
    await one.close()
    fake.finish()
    assert fake.request.startswith("GET /mqtt HTTP/1.1\r\n")
    assert "Protocol: mqtt" in fake.request
    assert "origin" not in fake.request.lower()


async def test_3_1_1_is_spoken_when_asked_for(broker: Start, link: Any, heard: Heard) -> None:
    fake = broker((CONNECT, ACCEPTED_311), (PUBLISH, PUBLISHED))
    one = link(fake.url, version=4)
    await opened(one)
    one.publish("a", b"", qos=1, retain=False, properties={"content_type": "x"})
    await heard.next("acknowledged")
    await one.close(session_expiry_seconds=0)
    fake.finish()
    assert fake.received[0][1].startswith(text("MQTT") + b"\x04\xc0")
    assert fake.received[1] == (0x32, text("a") + b"\x00\x01")


async def test_the_will_is_part_of_connect(broker: Start, link: Any) -> None:
    fake = broker((CONNECT, ACCEPTED))
    one = link(fake.url, will=Will("gone/c1", {"at": 1}, delay_seconds=5), clean_start=True)
    await opened(one)
    await one.close()
    fake.finish()
    connect = fake.received[0][1]
    assert connect.startswith(text("MQTT") + b"\x05\xce")
    assert b"\x05\x18\x00\x00\x00\x05" + text("gone/c1") + text('{"at":1}') in connect


async def test_a_refused_connection_tells_the_reason(broker: Start, link: Any) -> None:
    body = b"\x00\x87" + reason_string("token expired at 2026-11-24T13:00:00Z")
    fake = broker((CONNECT, packet(0x20, body)))
    one = link(fake.url)
    connack = await opened(one)
    assert str(connack.outcome) == "token expired at 2026-11-24T13:00:00Z (0x87)"
    assert not one.is_up


@pytest.mark.parametrize(("code", "reason"), [(4, 0x86), (5, 0x87), (2, 0x85), (3, 0x88)])
async def test_a_refusal_of_3_1_1_is_told_as_mqtt_5_does(
    broker: Start, link: Any, code: int, reason: int
) -> None:
    fake = broker((CONNECT, packet(0x20, bytes([0, code]))))
    assert (await opened(link(fake.url, version=4))).outcome.reason_code == reason


async def test_a_refused_message_tells_its_reason(broker: Start, link: Any, heard: Heard) -> None:
    body = b"\x00\x01\x87" + reason_string("no grant")
    fake = broker((CONNECT, ACCEPTED), (PUBLISH, packet(0x40, body)))
    one = link(fake.url)
    await opened(one)
    one.publish("other/x", b"", qos=1, retain=False, properties={})
    assert (await heard.next("acknowledged"))[1] == Outcome(0x87, "Not authorized", "no grant")


async def test_a_refused_pubrec_is_told_by_pubcomp(broker: Start, link: Any, heard: Heard) -> None:
    fake = broker(
        (CONNECT, ACCEPTED), (PUBLISH, packet(0x50, b"\x00\x01\x87")), (PUBREL, packet(0x70, b"\x00\x01\x92"))
    )
    one = link(fake.url)
    await opened(one)
    one.publish("other/x", b"", qos=2, retain=False, properties={})
    packet_id, outcome = await heard.next("acknowledged")
    assert (packet_id, outcome.reason_code) == (1, 0x92)


async def test_a_written_message_of_qos_0_acknowledges_no_other(
    broker: Start, link: Any, heard: Heard
) -> None:
    fake = broker((CONNECT, ACCEPTED), (PUBLISH, b""), (PUBLISH, packet(0x40, b"\x00\x02")))
    one = link(fake.url)
    await opened(one)
    assert one.publish("a", b"", qos=0, retain=False, properties={}) == 1
    assert one.publish("a", b"", qos=1, retain=False, properties={}) == 2
    assert (await heard.next("acknowledged"))[0] == 2


async def test_subscriptions_tell_an_outcome_for_each_filter(broker: Start, link: Any) -> None:
    fake = broker((CONNECT, ACCEPTED), (SUBSCRIBE, packet(0x90, b"\x00\x01\x00\x01\x87")))
    one = link(fake.url)
    await opened(one)
    options = SubscribeOptions(qos=1, noLocal=True)
    outcomes = await one.subscribe([("chat/#", options), ("#", options)], [("tokenmq-history", "5")])
    assert [outcome.reason_code for outcome in outcomes] == [1, 0x87]
    body = fake.received[1][1]
    assert body.endswith(text("chat/#") + b"\x05" + text("#") + b"\x05")
    assert b"\x26" + text("tokenmq-history") + text("5") in body


@pytest.mark.parametrize("websocket", [False, True], ids=["tcp", "websocket"])
async def test_messages_come_with_their_properties_until_the_broker_ends_it(
    broker: Start, link: Any, heard: Heard, websocket: bool
) -> None:
    told = b"\x01\x01\x03" + text("text/plain") + b"\x08" + text("r") + b"\x09" + text("c")
    told += b"\x02\x00\x00\x00\x07\x26" + text("k") + text("1") + b"\x26" + text("k") + text("2")
    messages = packet(0x30, text("a") + b"\x00one") + packet(
        0x3B, text("b") + b"\x00\x05" + bytes([len(told)]) + told + b"two"
    )
    over = packet(0xE0, b"\xa0" + reason_string("token expired at noon"))
    fake = broker(
        (CONNECT, ACCEPTED),
        (SUBSCRIBE, packet(0x90, b"\x00\x01\x00\x01") + messages + over),
        websocket=websocket,
    )
    one = link(fake.url)
    await opened(one)
    await one.subscribe([("#", SubscribeOptions(qos=1))])
    assert (await heard.next("received")).message == Message("a", b"one")
    assert await heard.next("received") == Received(
        Message(
            "b",
            b"two",
            qos=1,
            retain=True,
            dup=True,
            content_type="text/plain",
            response_topic="r",
            correlation_data=b"c",
            message_expiry_seconds=7,
            is_text=True,
            user_properties=(("k", "1"), ("k", "2")),
        ),
        5,
    )
    assert str(await heard.next("lost")) == "token expired at noon (0xA0)"
    with pytest.raises(ConnectError):
        await one.subscribe([("#", SubscribeOptions(qos=1))])


async def test_qos_1_is_acknowledged_when_it_is_taken_and_qos_2_when_it_has_come(
    broker: Start, link: Any, heard: Heard
) -> None:
    first = packet(0x32, text("a") + b"\x00\x05\x00") + packet(0x34, text("b") + b"\x00\x06\x00")
    # PUBREL comes twice, the second time after a PUBCOMP that was lost.
    release = packet(0x62, b"\x00\x06")
    fake = broker((CONNECT, ACCEPTED), (PUBREC, release * 2), (DISCONNECT, b""))
    fake.script[0] = (CONNECT, ACCEPTED + first)
    one = link(fake.url)
    await opened(one)
    taken = await heard.next("received")
    assert (await heard.next("received")).message.qos == 2
    one.acknowledge(taken)
    await one.close()
    fake.finish()
    sent = [first for first, _ in fake.received]
    assert sent.count(0x70) == 2
    assert fake.received[-2] == (0x40, b"\x00\x05")


async def test_an_end_without_a_word_is_told_as_such(broker: Start, link: Any, heard: Heard) -> None:
    fake = broker((CONNECT, ACCEPTED))
    one = link(fake.url)
    await opened(one)
    fake.hang_up()
    assert await heard.next("lost") is None
    assert not one.is_up


async def test_bytes_that_are_no_mqtt_end_the_connection(broker: Start, link: Any, heard: Heard) -> None:
    fake = broker((CONNECT, ACCEPTED + b"\x32\x03\x00\xff\x00" + b"\xf0\x00"))
    await opened(link(fake.url))
    assert await heard.next("lost") is None


async def test_an_answer_that_does_not_come_ends_with_the_connection(
    broker: Start, link: Any, heard: Heard
) -> None:
    fake = broker((CONNECT, ACCEPTED), (SUBSCRIBE, b"\xe0\x00"))
    one = link(fake.url)
    await opened(one)
    with pytest.raises(ConnectError, match="has closed"):
        await one.subscribe([("a", SubscribeOptions(qos=1))])


async def test_an_upgrade_that_fails_leaves_no_socket_open(link: Any) -> None:
    """A warning of one that is open is an error in these tests."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 404 Not Found\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConnectError, match="WebSocket handshake error"):
        await opened(link(f"ws://127.0.0.1:{port}"))
    gc.collect()
    server.close()


async def test_nobody_listening_is_a_connect_error(link: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectError, match=f"no broker answers at mqtt://127.0.0.1:{port}") as caught:
        await opened(link(f"mqtt://127.0.0.1:{port}"))
    assert caught.value.reason_code is None


async def test_no_answer_in_time_is_a_connect_error(broker: Start, link: Any) -> None:
    fake = broker((CONNECT, b""), (PUBLISH, b""))
    before = asyncio.all_tasks()
    with pytest.raises(ConnectError, match=r"does not answer in 0\.05 s"):
        await opened(link(fake.url, timeout_seconds=0.05))
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before


async def test_a_whole_opening_has_one_timeout_however_slowly_it_goes_on(link: Any) -> None:
    """A server that sends an upgrade a byte at a time keeps every single wait short."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as connection:
            while not ended.wait(0.01):
                connection.sendall(b"x")

    serving = threading.Thread(target=serve)
    serving.start()
    one = link(f"ws://127.0.0.1:{listener.getsockname()[1]}", timeout_seconds=0.1)
    try:
        for _ in range(2):
            with pytest.raises(ConnectError, match=r"does not answer in 0\.1 s"):
                await opened(one)
    finally:
        ended.set()
        serving.join()
        listener.close()


def test_it_opens_while_all_threads_of_the_loop_are_busy(broker: Start, heard: Heard) -> None:
    """Callbacks that block may be waiting for this very connection."""
    fake = broker((CONNECT, ACCEPTED))
    busy = threading.Event()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        waiting = asyncio.ensure_future(asyncio.to_thread(busy.wait, PATIENCE_SECONDS))
        one = Link(parse_url(fake.url), LinkOptions(client_id="c1", timeout_seconds=5), heard)
        try:
            assert not (await opened(one)).outcome.is_failure
        finally:
            busy.set()
            await one.close()
            await waiting

    asyncio.run(run())


async def test_what_the_broker_does_not_take_is_not_sent(broker: Start, link: Any, heard: Heard) -> None:
    fake = broker((CONNECT, b"\x20\x08\x00\x00\x05\x27\x00\x00\x00\x1e"), (PUBLISH, PUBLISHED))
    one = link(fake.url)
    await opened(one)
    told: dict[str, Any] = {"qos": 1, "retain": False, "properties": {}}
    with pytest.raises(NotDelivered, match="it has 31 bytes, and the broker takes 30"):
        one.publish("a", b"x" * 23, **told)
    with pytest.raises(NotDelivered, match="it has 36 bytes"):
        one.publish("a", b"x" * 21, **{**told, "properties": {"content_type": "abcd"}})
    one.publish("a", b"x" * 22, **told)
    assert (await heard.next("acknowledged"))[0] == 1
    assert len(fake.received[1][1]) == 28


async def test_a_defect_of_ours_ends_the_connection_and_is_logged(
    broker: Start, link: Any, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise KeyError("oops")

    heard.written = broken  # type: ignore[method-assign]
    fake = broker((CONNECT, ACCEPTED))
    one = link(fake.url)
    await opened(one)
    one.publish("a", b"", qos=0, retain=False, properties={})
    assert await heard.next("lost") is None
    assert "has failed" in caplog.text and "oops" in caplog.text


def test_a_will_that_cannot_be_is_refused(heard: Heard) -> None:
    with pytest.raises(InvalidTopicName):
        Link(parse_url("mqtt://x"), LinkOptions("c1", will=Will("a/#")), heard)
    with pytest.raises(InvalidRequest, match="qos"):
        Link(parse_url("mqtt://x"), LinkOptions("c1", will=Will("a", qos=3)), heard)


async def test_a_topic_that_cannot_be_sent_is_refused(broker: Start, link: Any) -> None:
    fake = broker((CONNECT, ACCEPTED))
    one = link(fake.url)
    await opened(one)
    with pytest.raises(InvalidTopicName):
        one.publish("a/#", b"", qos=1, retain=False, properties={})


async def test_the_next_connection_goes_on_with_the_session(broker: Start, link: Any, heard: Heard) -> None:
    """What was not acknowledged is sent again, with DUP and under its packet identifier."""
    fake = broker((CONNECT, ACCEPTED), (PUBLISH, packet(0xE0, b"\x8b")), again=True)
    one = link(fake.url, clean_start=True)
    await opened(one)
    one.publish("a", b"x", qos=1, retain=False, properties={})
    assert (await heard.next("lost")).reason_code == 0x8B
    fake.script[:] = [(CONNECT, RESUMED), (PUBLISH, PUBLISHED)]
    connack = await one.open("alice@org_x", "newer")
    assert connack.session_present
    assert (await heard.next("acknowledged"))[0] == 1
    await one.close()
    fake.finish()
    connects = [body for first, body in fake.received if first == 0x10]
    # Clean Start only once; the second connection brings the newer password.
    assert [body[7] & 2 for body in connects] == [2, 0]
    assert connects[1].endswith(text("newer"))
    assert [first for first, _ in fake.received if first >> 4 == 3] == [0x32, 0x3A]


def test_tls_checks_certificates(heard: Heard) -> None:
    one = Link(parse_url("mqtts://127.0.0.1:1"), LinkOptions(client_id="c1"), heard)
    context = one._client._ssl_context
    assert context is not None and context.check_hostname and context.verify_mode.name == "CERT_REQUIRED"
