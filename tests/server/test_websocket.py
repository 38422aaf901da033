"""MQTT over WebSocket: a client of raw sockets, so that it can do everything wrong."""

import asyncio
import base64
import dataclasses
import hashlib
import logging
import os
import random
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest

from tokenmq.config import BrokerSettings, WebsocketSettings
from tokenmq.errors import InvalidSettings
from tokenmq.server import endpoint
from tokenmq.server.admission import Admission
from tokenmq.server.listeners import Listener
from tokenmq.server.peer import Peer
from tokenmq.server.websocket import MAX_UPGRADE_BYTES, listen_websocket

Listen = Callable[..., Awaitable[Listener]]

KEY = base64.b64encode(b"0123456789abcdef").decode()
ACCEPT = base64.b64encode(
    hashlib.sha1((KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
).decode()
HEADERS = {
    "Host": "localhost",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Protocol": "mqtt",
}
BINARY, TEXT, CONT, CLOSE, PING, PONG = 0x2, 0x1, 0x0, 0x8, 0x9, 0xA
FIN = 0x80
MASK = b"\x11\x22\x33\x44"


def make_request(*, line: str = "GET /mqtt HTTP/1.1", drop: str = "", **changes: str) -> bytes:
    headers = {**HEADERS, **{name.replace("_", "-"): value for name, value in changes.items()}}
    headers.pop(drop, None)
    return "\r\n".join([line, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode(
        "latin-1"
    )


def make_frame(opcode: int, payload: bytes = b"", *, first: int = FIN, mask: bytes | None = MASK) -> bytes:
    size = len(payload)
    masked = 0x80 if mask is not None else 0
    if size < 126:
        head = struct.pack("!BB", first | opcode, masked | size)
    elif size < 65_536:
        head = struct.pack("!BBH", first | opcode, masked | 126, size)
    else:
        head = struct.pack("!BBQ", first | opcode, masked | 127, size)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one frame of the server: its first byte and its payload."""
    with anyio.fail_after(10):
        first, size = await reader.readexactly(2)
        assert size < 128, "a server masks nothing"
        if size == 126:
            (size,) = struct.unpack("!H", await reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await reader.readexactly(8))
        return first, await reader.readexactly(size)


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    with anyio.fail_after(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    return int(head[0].split()[1]), dict(line.split(": ", 1) for line in head[1:] if line)


@pytest.fixture
async def listen(links: Any) -> AsyncIterator[Listen]:
    opened: list[Listener] = []

    async def listen(**limits: object) -> Listener:
        broker = dataclasses.replace(BrokerSettings(), **limits)
        opened.append(
            await listen_websocket(
                WebsocketSettings(port=0),
                links,
                Admission(broker),
                limits=broker,
                origin_allowed=lambda origin: origin == "http://localhost:3000",
            )
        )
        return opened[-1]

    yield listen
    for listener in opened:
        listener.close()


@pytest.fixture
async def upgrade(links: Any, connect: Any) -> Callable[..., Awaitable[tuple[Any, Any, Any]]]:
    """Connect and upgrade: reader, writer, link."""

    async def upgrade(listener: Listener, **changes: str) -> tuple[Any, Any, Any]:
        reader, writer = await connect(listener)
        writer.write(make_request(**changes))
        status, _ = await read_head(reader)
        assert status == 101
        return reader, writer, await links.next()

    return upgrade


# The upgrade.


# [MQTT-6.0.0-4] [MQTT311-6.0.0-4]
async def test_upgrade_is_answered_and_makes_a_link(listen: Listen, links: Any, connect: Any) -> None:
    listener = await listen()
    reader, writer = await connect(listener)
    writer.write(make_request(Origin="http://localhost:3000"))
    status, headers = await read_head(reader)
    link = await links.next()

    assert status == 101
    assert headers["Sec-WebSocket-Accept"] == ACCEPT
    assert headers["Sec-WebSocket-Protocol"] == "mqtt"
    assert "Server" not in headers
    host, port = writer.get_extra_info("sockname")
    assert link.peer == Peer(host, port, "websocket", "http://localhost:3000", trusted=True)


@pytest.mark.parametrize(
    "request_bytes",
    [
        make_request(),
        make_request(Connection="keep-alive, Upgrade"),
        make_request(Sec_WebSocket_Protocol="mqttv3.1, mqtt"),
        make_request(line="GET /mqtt?client=a HTTP/1.1"),
        make_request(Upgrade="WebSocket"),
    ],
    ids=["no origin", "as Firefox sends it", "several subprotocols", "query", "case"],
)
async def test_upgrade_within_the_rules_is_accepted(
    listen: Listen, links: Any, connect: Any, request_bytes: bytes
) -> None:
    listener = await listen()
    reader, writer = await connect(listener)
    for byte in request_bytes:
        writer.write(bytes([byte]))
        await writer.drain()

    assert (await read_head(reader))[0] == 101
    assert (await links.next()).peer.origin is None


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (make_request(drop="Sec-WebSocket-Protocol"), 400),
        (make_request(Sec_WebSocket_Protocol="mqttv3.1"), 400),
        (make_request(Sec_WebSocket_Protocol="MQTT"), 400),
        (make_request(Sec_WebSocket_Protocol=""), 400),
        (make_request(Origin="http://attacker.example"), 403),
        (make_request(Origin="null"), 403),
        (make_request(Origin=""), 403),
        (make_request(Origin="http://localhost:3000\r\nOrigin: http://attacker.example"), 400),
        (make_request(line="GET / HTTP/1.1"), 404),
        (make_request(line="GET /mqtt/ HTTP/1.1"), 404),
        (make_request(line="GET /%6dqtt HTTP/1.1"), 404),
        (make_request(line="GET http://localhost/mqtt HTTP/1.1"), 404),
        (make_request(line="POST /mqtt HTTP/1.1"), 405),
        (make_request(line="GET /mqtt HTTP/1.0"), 505),
        (make_request(line=f"GET /mqtt?{'x' * 5_000} HTTP/1.1"), 414),
        (make_request(line=f"GET /mqtt?{'x' * 10_000} HTTP/1.1"), 414),
        (make_request(drop="Upgrade"), 426),
        (make_request(Connection="close"), 426),
        (make_request(Sec_WebSocket_Version="8"), 400),
        (make_request(Sec_WebSocket_Key="short"), 400),
        (make_request(drop="Sec-WebSocket-Key"), 400),
        (make_request(X_Long="x" * 10_000), 431),
        (make_request(**{f"X_{number}": "x" * 100 for number in range(130)}), 431),
        (make_request() + make_frame(BINARY, b"too early"), 400),
    ],
)
async def test_upgrade_against_the_rules_is_refused(
    listen: Listen, links: Any, connect: Any, read_all: Any, request_bytes: bytes, status: int
) -> None:
    listener = await listen()
    reader, writer = await connect(listener)
    writer.write(request_bytes)
    answered, headers = await read_head(reader)

    assert answered == status
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert len(await read_all(reader)) == int(headers["Content-Length"])
    assert links.all == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00\r\n",
        b"GET /mqtt\r\n\r\n",
        b"\r\n\r\n",
        make_request(Transfer_Encoding="chunked"),
        make_request(Content_Length="5"),
        make_request(X="a\x00b"),
        make_request().replace(b"Host:", b"Ho st:"),
    ],
)
async def test_what_is_not_a_request_is_closed(
    listen: Listen, links: Any, connect: Any, read_all: Any, request_bytes: bytes
) -> None:
    listener = await listen()
    reader, writer = await connect(listener)
    writer.write(request_bytes)

    assert not (await read_all(reader)).startswith(b"HTTP/1.1 101")
    assert links.all == []


async def test_v42_endless_request_is_refused_at_its_limit(
    listen: Listen, links: Any, connect: Any, read_all: Any
) -> None:
    listener = await listen()
    reader, writer = await connect(listener)
    writer.write(b"GET /mqtt HTTP/1.1\r\n" + b"X: y\r\n" * (MAX_UPGRADE_BYTES // 6 + 1))

    assert (await read_all(reader)).startswith(b"HTTP/1.1 431 ")
    assert links.all == []


async def test_v41_upgrade_that_never_ends_is_refused_in_time(
    listen: Listen, links: Any, connect: Any, read_all: Any
) -> None:
    listener = await listen(connect_timeout_seconds=0.05)
    reader, writer = await connect(listener)
    writer.write(make_request()[:-2])

    assert (await read_all(reader)).startswith(b"HTTP/1.1 408 ")
    assert links.all == []


async def test_v41_refused_upgrade_that_lingers_past_its_time_is_not_refused_again(
    listen: Listen, links: Any, connect: Any, read_all: Any
) -> None:
    listener = await listen(connect_timeout_seconds=0.05)
    reader, writer = await connect(listener)
    writer.write(make_request(line="GET /elsewhere HTTP/1.1"))
    refused = await read_all(reader)
    # It does not close. Another one, opened later, runs into its time: so the first has, too.
    later, second = await connect(listener)
    second.write(make_request()[:-2])

    assert (await read_all(later)).startswith(b"HTTP/1.1 408 ")
    assert refused.startswith(b"HTTP/1.1 404 ") and refused.count(b"HTTP/1.1") == 1


async def test_v41_connection_whose_link_never_answers_is_closed_in_time(
    listen: Listen, upgrade: Any
) -> None:
    listener = await listen(connect_timeout_seconds=0.05)
    reader, writer, link = await upgrade(listener)
    writer.write(make_frame(BINARY, b"\x10"))

    assert (await read_frame(reader))[0] == FIN | CLOSE
    writer.write_eof()
    await link.until_lost()


async def test_connection_whose_link_answered_is_not_timed(listen: Listen, upgrade: Any) -> None:
    listener = await listen(connect_timeout_seconds=0.05)
    reader, _, link = await upgrade(listener)
    link.transport.write(b"connack")
    assert await read_frame(reader) == (FIN | BINARY, b"connack")
    # Another one, opened later, runs into its time: so ours had it, too.
    later, _, _ = await upgrade(listener)
    assert (await read_frame(later))[0] == FIN | CLOSE

    link.transport.write(b"more")
    assert await read_frame(reader) == (FIN | BINARY, b"more")


async def test_closing_the_listener_cuts_upgrades_under_way(
    listen: Listen, connect: Any, links: Any, read_all: Any
) -> None:
    listener = await listen()
    reader, writer = await connect(listener)
    writer.write(make_request()[:20])
    # Until another upgrade has gone through: the first is accepted by then.
    other, second = await connect(listener)
    second.write(make_request())
    await read_head(other)
    await links.next()
    listener.close()

    assert await read_all(reader) == b""


async def test_connection_over_the_total_is_told_so_in_http(
    listen: Listen, upgrade: Any, connect: Any, read_all: Any, links: Any
) -> None:
    listener = await listen(max_connections=1)
    await upgrade(listener)
    reader, writer = await connect(listener)
    writer.write(make_request())

    assert (await read_all(reader)).startswith(b"HTTP/1.1 503 ")
    assert len(links.all) == 1


async def test_connects_that_are_too_fast_are_told_so_in_http(
    listen: Listen, upgrade: Any, connect: Any, read_all: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "plain_address", lambda _: "192.0.2.7")
    listener = await listen(connect_rate_per_address=1, connect_burst_per_address=1)
    await upgrade(listener)
    reader, _ = await connect(listener)

    answer = await read_all(reader)
    assert answer.startswith(b"HTTP/1.1 429 ") and b"\r\nRetry-After: 1\r\n" in answer


async def test_v46_nothing_of_a_request_is_logged(
    listen: Listen, connect: Any, read_all: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("tokenmq").setLevel(logging.DEBUG)
    logging.getLogger("websockets.server").setLevel(logging.DEBUG)
    listener = await listen()
    for path in ("/mqtt", "/elsewhere"):
        reader, writer = await connect(listener)
        writer.write(make_request(line=f"GET {path}?token=canary HTTP/1.1", Authorization="Bearer canary"))
        await read_head(reader)

    assert "canary" not in caplog.text


# Proxies.


async def test_client_is_whom_a_trusted_proxy_names(listen: Listen, upgrade: Any) -> None:
    listener = await listen(trusted_proxies=("127.0.0.1",))
    _, writer, link = await upgrade(listener, X_Forwarded_For="198.51.100.9, 192.0.2.7")

    port = writer.get_extra_info("sockname")[1]
    assert link.peer == Peer("192.0.2.7", port, "websocket", None, trusted=False)


@pytest.mark.parametrize(("proto", "trusted"), [("https", True), ("http", False)])
async def test_client_of_a_proxy_is_trusted_if_it_speaks_tls(
    listen: Listen, upgrade: Any, proto: str, trusted: bool
) -> None:
    listener = await listen(trusted_proxies=("127.0.0.1",))
    headers = {"X_Forwarded_For": "192.0.2.7", "X_Forwarded_Proto": proto}
    _, _, link = await upgrade(listener, **headers)

    assert link.peer.trusted is trusted


async def test_proxy_that_names_only_proxies_has_its_own_address_and_no_trust(
    listen: Listen, upgrade: Any
) -> None:
    listener = await listen(trusted_proxies=("127.0.0.1", "10.0.0.0/8"))
    _, _, link = await upgrade(listener, X_Forwarded_For="10.0.0.2")

    assert (link.peer.address, link.peer.trusted) == ("127.0.0.1", False)


async def test_whoever_is_no_trusted_proxy_speaks_for_himself(listen: Listen, upgrade: Any) -> None:
    listener = await listen(trusted_proxies=("10.0.0.0/8",))
    _, _, link = await upgrade(listener, X_Forwarded_For="192.0.2.7", X_Forwarded_Proto="http")

    assert (link.peer.address, link.peer.trusted) == ("127.0.0.1", True)


async def test_forwarding_that_names_no_address_is_refused(listen: Listen, connect: Any, links: Any) -> None:
    listener = await listen(trusted_proxies=("127.0.0.1",))
    reader, writer = await connect(listener)
    writer.write(make_request(X_Forwarded_For="unknown"))

    assert (await read_head(reader))[0] == 400
    assert links.all == []


async def test_limits_count_the_client_of_a_proxy(
    listen: Listen, connect: Any, links: Any, upgrade: Any
) -> None:
    listener = await listen(trusted_proxies=("127.0.0.1",), max_connections_per_address=1)
    _, first, link = await upgrade(listener, X_Forwarded_For="192.0.2.7")
    reader, writer = await connect(listener)
    writer.write(make_request(X_Forwarded_For="192.0.2.7"))
    status, headers = await read_head(reader)
    assert (status, headers["Retry-After"]) == (503, "1")
    await upgrade(listener, X_Forwarded_For="192.0.2.8")

    first.close()
    await link.until_lost()
    await upgrade(listener, X_Forwarded_For="192.0.2.7")


# Frames.


# [MQTT-6.0.0-2] [MQTT311-6.0.0-2]
async def test_frames_are_fed_on_whatever_their_borders(listen: Listen, upgrade: Any) -> None:
    listener = await listen()
    _, writer, link = await upgrade(listener)
    writer.write(make_frame(BINARY, b"ab") + make_frame(BINARY, b"c", first=0))
    await link.until(lambda link: link.data == b"abc")
    writer.write(make_frame(CONT, b"d", first=0) + make_frame(PING, b"!") + make_frame(CONT, b""))
    writer.write(make_frame(BINARY, b"e" * 300) + make_frame(BINARY, b"f" * 65_536)[:9_000])
    writer.write(make_frame(BINARY, b"f" * 65_536)[9_000:])

    await link.until(lambda link: link.data == b"abcd" + b"e" * 300 + b"f" * 65_536)


async def test_frames_that_come_byte_by_byte_all_arrive(listen: Listen, upgrade: Any) -> None:
    listener = await listen()
    _, writer, link = await upgrade(listener)
    for byte in make_frame(BINARY, b"abc") + make_frame(PING) + make_frame(BINARY, b"d" * 130):
        writer.write(bytes([byte]))
        await writer.drain()

    await link.until(lambda link: link.data == b"abc" + b"d" * 130)


async def test_frames_of_one_chunk_are_one_piece_for_the_link(listen: Listen, upgrade: Any) -> None:
    listener = await listen()
    _, writer, link = await upgrade(listener)
    writer.write(make_frame(BINARY, b"ab") * 100)

    await link.until(lambda link: link.data == b"ab" * 100)
    assert link.calls == ["opened", "received"]


# [MQTT-6.0.0-1] [MQTT311-6.0.0-1]
@pytest.mark.parametrize("size", [1, 125, 126, 65_535, 65_536, 3_000_000])
async def test_write_is_one_binary_frame(listen: Listen, upgrade: Any, size: int) -> None:
    listener = await listen()
    reader, _, link = await upgrade(listener)
    link.transport.write(b"x" * size)
    link.transport.write(b"y")

    assert await read_frame(reader) == (FIN | BINARY, b"x" * size)
    assert await read_frame(reader) == (FIN | BINARY, b"y")


async def test_ping_is_answered_and_pong_ignored(listen: Listen, upgrade: Any) -> None:
    listener = await listen()
    reader, writer, link = await upgrade(listener)
    writer.write(make_frame(PONG, b"unasked") + make_frame(PING, b"hello"))

    assert await read_frame(reader) == (FIN | PONG, b"hello")
    assert link.calls == ["opened"]


async def test_close_of_the_peer_is_echoed_and_is_the_end(
    listen: Listen, upgrade: Any, read_all: Any
) -> None:
    listener = await listen()
    reader, writer, link = await upgrade(listener)
    writer.write(make_frame(BINARY, b"last") + make_frame(CLOSE, b"\x03\xe8") + make_frame(BINARY, b"late"))

    assert await read_frame(reader) == (FIN | CLOSE, b"\x03\xe8")
    await link.until_lost()
    assert link.calls == ["opened", "received", "lost"]
    assert link.data == b"last"
    assert await read_all(reader) == b""


async def test_close_of_the_link_is_a_close_frame_after_what_was_written(
    listen: Listen, upgrade: Any, read_all: Any, links: Any
) -> None:
    links.on_received = lambda link: (link.transport.write(b"disconnect"), link.transport.close())
    listener = await listen()
    reader, writer, link = await upgrade(listener)
    writer.write(make_frame(BINARY, b"x"))

    assert await read_frame(reader) == (FIN | BINARY, b"disconnect")
    assert await read_frame(reader) == (FIN | CLOSE, b"\x03\xe8")
    assert await read_all(reader) == b""
    writer.write_eof()
    await link.until_lost()
    assert link.calls.count("received") == 1 and link.calls.count("lost") == 1


async def test_what_was_written_before_close_arrives_though_the_peer_still_sends(
    listen: Listen, upgrade: Any, links: Any
) -> None:
    links.on_received = lambda link: (link.transport.write(b"bye" * 10_000), link.transport.close())
    listener = await listen()
    reader, writer, _ = await upgrade(listener)
    writer.write(make_frame(BINARY, b"x") + make_frame(BINARY, b"y" * 60_000) * 10)

    assert await read_frame(reader) == (FIN | BINARY, b"bye" * 10_000)
    assert (await read_frame(reader))[0] == FIN | CLOSE


async def test_write_after_a_close_frame_in_the_same_chunk_does_nothing(
    listen: Listen, upgrade: Any, links: Any
) -> None:
    links.on_received = lambda link: (link.transport.write(b"answer"), link.transport.close())
    listener = await listen()
    reader, writer, link = await upgrade(listener)
    writer.write(make_frame(BINARY, b"question") + make_frame(CLOSE))

    assert (await read_frame(reader))[0] == FIN | CLOSE
    writer.write_eof()
    await link.until_lost()


# [MQTT-6.0.0-1] [MQTT311-6.0.0-1]
@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (make_frame(TEXT, b"text"), 1003),
        (make_frame(TEXT, b"te", first=0) + make_frame(CONT, b"xt"), 1003),
        (make_frame(BINARY, b"x", mask=None), 1002),
        (make_frame(PING, mask=None), 1002),
        (make_frame(CONT, b"x"), 1002),
        (make_frame(BINARY, b"x", first=0) + make_frame(BINARY, b"y"), 1002),
        (make_frame(0x3, b"x"), 1002),
        (make_frame(0xB), 1002),
        (make_frame(BINARY, b"x", first=FIN | 0x40), 1002),
        (make_frame(BINARY, b"x", first=FIN | 0x20), 1002),
        (make_frame(BINARY, b"x", first=FIN | 0x10), 1002),
        (make_frame(PING, b"x" * 126), 1002),
        (make_frame(PING, b"x", first=0), 1002),
        (make_frame(CLOSE, b"\x03"), 1002),
        (make_frame(CLOSE, b"\x03\xed"), 1002),
        (make_frame(CLOSE, b"\x03\xe8\xff"), 1007),
        (b"\x82\xff" + b"\xff" * 8 + MASK, 1009),
        (b"\x82\xff" + struct.pack("!Q", 1 << 40) + MASK, 1009),
    ],
)
async def test_v42_bad_frame_ends_the_connection_with_its_code(
    listen: Listen, upgrade: Any, read_all: Any, bad: bytes, code: int
) -> None:
    listener = await listen()
    reader, writer, link = await upgrade(listener)
    writer.write(make_frame(BINARY, b"good") + bad + make_frame(BINARY, b"after"))

    first, payload = await read_frame(reader)
    assert (first, struct.unpack("!H", payload[:2])[0]) == (FIN | CLOSE, code)
    assert await read_all(reader) == b""
    await link.until_lost()
    assert link.calls.count("lost") == 1
    assert b"after" not in link.data


async def test_v42_compression_is_not_agreed_to_and_a_bomb_is_refused(
    listen: Listen, connect: Any, links: Any
) -> None:
    listener = await listen()
    reader, writer = await connect(listener)
    writer.write(make_request(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"))
    status, headers = await read_head(reader)
    assert status == 101 and "Sec-WebSocket-Extensions" not in headers
    link = await links.next()
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(b"\0" * 50_000_000) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert len(bomb) * 900 < 50_000_000
    writer.write(make_frame(BINARY, bomb, first=FIN | 0x40))

    assert (await read_frame(reader))[1][:2] == struct.pack("!H", 1002)
    await link.until_lost()
    assert link.data == b""


async def test_v02_message_before_connack_is_limited(listen: Listen, upgrade: Any) -> None:
    listener = await listen(max_connect_bytes=1_024)
    reader, writer, link = await upgrade(listener)
    writer.write(make_frame(BINARY, b"x" * 1_000, first=0) + make_frame(CONT, b"x" * 25)[:6])

    assert (await read_frame(reader))[1][:2] == struct.pack("!H", 1009)
    await link.until_lost()
    assert len(link.data) == 1_000


async def test_message_after_connack_may_be_as_long_as_a_packet(listen: Listen, upgrade: Any) -> None:
    listener = await listen(max_connect_bytes=1_024, max_packet_bytes=100_000)
    reader, writer, link = await upgrade(listener)
    link.transport.write(b"connack")
    await read_frame(reader)
    writer.write(make_frame(BINARY, b"x" * 100_016))
    await link.until(lambda link: len(link.data) == 100_016)
    writer.write(make_frame(BINARY, b"x" * 100_017))

    assert (await read_frame(reader))[1][:2] == struct.pack("!H", 1009)


async def test_pings_of_a_peer_that_reads_nothing_do_not_fill_memory(listen: Listen, upgrade: Any) -> None:
    listener = await listen()
    _, writer, link = await upgrade(listener)
    while "writing_paused" not in link.calls:
        link.transport.write(b"x" * 65_536)
        await asyncio.sleep(0)
    waiting = link.transport._transport.get_write_buffer_size()
    writer.write(make_frame(PING, b"p" * 125) * 10_000 + make_frame(BINARY, b"end"))
    await link.until(lambda link: link.data == b"end")

    assert link.transport._transport.get_write_buffer_size() <= waiting


async def test_paused_link_receives_nothing_until_it_resumes(
    listen: Listen, upgrade: Any, links: Any
) -> None:
    links.on_received = lambda link: link.transport.pause_reading()
    listener = await listen()
    _, writer, link = await upgrade(listener)
    writer.write(make_frame(BINARY, b"one"))
    await link.until(lambda link: link.data == b"one")
    writer.write(make_frame(BINARY, b"two"))
    await writer.drain()
    _, other, second = await upgrade(listener)
    other.write(make_frame(BINARY, b"x"))
    await second.until(lambda link: link.data == b"x")
    assert link.data == b"one"

    link.transport.resume_reading()
    await link.until(lambda link: link.data == b"onetwo")


@pytest.mark.parametrize("seed", range(25))
async def test_v42_no_bytes_after_the_upgrade_break_the_listener(
    listen: Listen, upgrade: Any, seed: int
) -> None:
    draw = random.Random(seed)
    good = make_frame(BINARY, b"ok")
    listener = await listen()
    for _ in range(8):
        chunks = [good if draw.random() < 0.5 else draw.randbytes(draw.randrange(1, 40)) for _ in range(8)]
        _, writer, link = await upgrade(listener)
        for chunk in chunks:
            writer.write(chunk)
        writer.write_eof()
        await link.until_lost()
        assert link.calls.count("lost") == 1

    _, writer, link = await upgrade(listener)
    writer.write(good)
    await link.until(lambda link: link.data == b"ok")


async def test_v42_random_bytes_instead_of_a_request_do_no_harm(
    listen: Listen, connect: Any, links: Any, read_all: Any, upgrade: Any
) -> None:
    listener = await listen()
    for size in (1, 10, 1_000, 20_000):
        reader, writer = await connect(listener)
        writer.write(os.urandom(size))
        writer.write_eof()
        assert not (await read_all(reader)).startswith(b"HTTP/1.1 101")
    assert links.all == []
    await upgrade(listener)


# Binding.


async def test_taken_port_and_public_address_name_the_settings(listen: Listen, links: Any) -> None:
    async def bind(**changes: object) -> None:
        place = WebsocketSettings(**changes)
        await listen_websocket(
            place, links, Admission(BrokerSettings()), limits=BrokerSettings(), origin_allowed=bool
        )

    taken = (await listen()).port
    with pytest.raises(InvalidSettings, match=rf"port {taken} on 127\.0\.0\.1 .*TOKENMQ_WEBSOCKET_PORT"):
        await bind(port=taken)
    with pytest.raises(InvalidSettings, match="TOKENMQ_WEBSOCKET_ALLOW_PLAINTEXT"):
        await bind(port=0, host="0.0.0.0")
