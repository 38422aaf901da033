"""The server around the application: heads, slow readers, and one run over a socket."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from tokenmq.api import serving
from tokenmq.api.answer import ok, send_answer
from tokenmq.api.gate import Gate
from tokenmq.api.serving import make_server
from tokenmq.config import HttpSettings


async def fine(scope: Scope, receive: Receive, send: Send) -> None:
    await send_answer(ok({"path": scope["path"]}), scope, send)


class Transport(asyncio.Transport):
    """What a protocol writes, and whether it closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = asyncio.Event()
        self.aborted = asyncio.Event()

    def write(self, data: Any) -> None:
        assert not self.closed.is_set()
        self.written += data

    def close(self) -> None:
        self.closed.set()

    def abort(self) -> None:
        self.aborted.set()

    def is_closing(self) -> bool:
        return self.closed.is_set()

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def answers(self) -> list[tuple[int, dict[str, Any]]]:
        found, rest = [], self.written
        while rest:
            head, _, rest = rest.partition(b"\r\n\r\n")
            length = int(
                next(line for line in head.split(b"\r\n") if line.startswith(b"content-length")).split()[1]
            )
            found.append((int(head.split()[1]), json.loads(rest[:length])))
            rest = rest[length:]
        return found


@pytest.fixture
async def connected() -> Callable[..., Any]:
    """Return what opens a connection to a protocol without a socket."""

    def connect(**limits: int) -> tuple[Any, Transport]:
        settings = HttpSettings(**limits)
        config = make_server(Gate(fine, settings), settings).config
        config.load()
        protocol = config.http_protocol_class(config=config, server_state=ServerState(), app_state={})
        transport = Transport()
        protocol.connection_made(transport)
        return protocol, transport

    return connect


async def drain(protocol: Any) -> None:
    await asyncio.gather(*protocol.tasks)


async def test_requests_are_answered_one_after_the_other(connected: Any) -> None:
    protocol, transport = connected()
    protocol.data_received(b"GET /a HTTP/1.1\r\n")
    protocol.data_received(b"host: x\r\n\r\nGET /b HTTP/1.1\r\nhost: x\r\n\r\n")
    await drain(protocol)
    await drain(protocol)
    assert transport.answers() == [(200, {"path": "/a"}), (200, {"path": "/b"})]
    assert not transport.closed.is_set()
    protocol.connection_lost(None)


async def test_answer_in_one_write_reads_like_one_by_messages(connected: Any, monkeypatch: Any) -> None:
    found = []
    for at_once in (True, False):
        protocol, transport = connected()
        if not at_once:
            monkeypatch.setattr(serving, "_write_whole", lambda *_: False)
        protocol.data_received(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        await drain(protocol)
        assert not transport.closed.is_set()
        protocol.connection_lost(None)
        found.append(re.sub(rb"req_[0-9a-f]{16}", b"req_", transport.written))
    assert found[0] == found[1]


async def test_what_was_answered_is_not_left_to_the_collector(connected: Any, collected: Any) -> None:
    protocol, transport = connected()
    with collected() as found:
        for _ in range(2):  # the protocol holds the last one
            protocol.data_received(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
            await drain(protocol)
    assert transport.answers() == 2 * [(200, {"path": "/a"})]
    assert found == {}
    protocol.connection_lost(None)


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 200),
        (b"GET /a HTTP/1.0\r\n\r\n", 200),
        (b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999\r\n\r\n", 413),
    ],
    ids=["asked for", "1.0", "too large"],
)
async def test_last_answer_of_a_connection_closes_it(
    connected: Any, request_head: bytes, status: int
) -> None:
    protocol, transport = connected()
    protocol.data_received(request_head)
    await drain(protocol)
    assert [answer[0] for answer in transport.answers()] == [status]
    assert b"\r\nconnection: close\r\n" in transport.written
    assert transport.closed.is_set()
    protocol.connection_lost(None)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"HELLO\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET \xff HTTP/1.1\r\n\r\n",
        b"\x10\x0c\x00\x04MQTT",
    ],
    ids=["tls", "words", "version", "not ascii", "mqtt"],
)
async def test_what_is_no_http_is_refused_in_the_one_shape(connected: Any, data: bytes) -> None:
    protocol, transport = connected()
    protocol.data_received(data)
    ((status, body),) = transport.answers()
    assert (status, body["error"]) == (400, "invalid_request")
    assert body["detail"] == body["message"]
    assert transport.closed.is_set()
    protocol.data_received(b"more")
    protocol.connection_lost(None)


async def test_v107_line_breaks_in_a_header_are_refused(connected: Any) -> None:
    protocol, transport = connected()
    protocol.data_received(b"GET / HTTP/1.1\r\nx: a\rb: c\r\n\r\n")
    assert transport.answers()[0][0] == 400
    protocol.connection_lost(None)


@pytest.mark.parametrize("piece", [b"a" * 1000, b"x: y\r\n" * 100], ids=["one header", "many headers"])
async def test_v108_endless_head_is_refused(connected: Any, piece: bytes) -> None:
    protocol, transport = connected()
    protocol.data_received(b"GET / HTTP/1.1\r\nx: ")
    sent = 0
    while not transport.closed.is_set():
        protocol.data_received(piece)
        sent += len(piece)
        assert sent < 32_768
    ((status, body),) = transport.answers()
    assert (status, body["error"]) == (431, "invalid_request")
    protocol.connection_lost(None)


async def test_head_that_does_not_arrive_in_time_is_408(connected: Any) -> None:
    protocol, transport = connected(request_timeout_seconds=0)
    protocol.data_received(b"GET / HTTP/1.1\r\n")
    await transport.closed.wait()
    assert transport.answers()[0][0] == 408
    protocol.connection_lost(None)


async def test_connection_that_says_nothing_is_closed_without_a_word(connected: Any) -> None:
    protocol, transport = connected(request_timeout_seconds=0)
    await transport.closed.wait()
    assert transport.written == b""
    protocol.connection_lost(None)


async def test_bad_bytes_after_a_request_under_way_only_close(connected: Any) -> None:
    protocol, transport = connected()
    protocol.data_received(
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\nGET / HTTP/1.1\r\nx: a\x00\r\n\r\n"
    )
    assert transport.closed.is_set()
    assert transport.written == b""
    await drain(protocol)
    protocol.connection_lost(None)


async def test_reader_that_never_reads_is_cut_off(connected: Any) -> None:
    protocol, transport = connected(request_timeout_seconds=0)
    protocol.pause_writing()
    await transport.aborted.wait()
    protocol.connection_lost(None)


async def test_reader_that_reads_again_in_time_stays(connected: Any) -> None:
    protocol, transport = connected()
    protocol.pause_writing()
    protocol.resume_writing()
    assert not transport.aborted.is_set()
    protocol.connection_lost(None)


async def test_a_token_over_a_real_socket(world: Any) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    server = make_server(world.app, HttpSettings())
    task = asyncio.ensure_future(server.serve(sockets=[sock]))
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{sock.getsockname()[1]}") as client:
            headers = {"Authorization": f"Bearer {world.keys['sk']}"}
            made = await client.post("/v2/tokens", json={"user_id": "ann"}, headers=headers)
            refused = await client.post("/v2/tokens", json={"user_id": "ann"})
            head = await client.head("/healthz")
            preflight = await client.options("/v2/tokens")
            upgrade = await client.get("/healthz", headers={"Connection": "Upgrade", "Upgrade": "websocket"})
    finally:
        server.should_exit = True
        await task
    assert made.status_code == 200 and made.json()["mqtt_password"]
    world.refused(refused, 401, "unauthorized")
    assert (head.status_code, head.content, preflight.status_code, upgrade.status_code) == (
        200,
        b"",
        204,
        200,
    )
    assert "server" not in made.headers


async def test_server_with_tls_stands_behind_what_makes_it_and_shares_the_limit(
    connected: Any,
) -> None:
    stood_behind: list[asyncio.Protocol] = []

    def secure(protocol: asyncio.Protocol) -> asyncio.Protocol:
        stood_behind.append(protocol)
        return protocol

    settings = HttpSettings()
    plain = make_server(Gate(fine, settings), settings, max_connections=1)
    secured = make_server(Gate(fine, settings), settings, secure=secure, beside=plain, max_connections=1)
    transports = [Transport(), Transport()]
    for server, transport in zip((plain, secured), transports, strict=True):
        server.config.load()
        protocol: Any = server.config.http_protocol_class(  # type: ignore[call-arg]
            config=server.config, server_state=server.server_state, app_state={}
        )
        protocol.connection_made(transport)

    assert stood_behind == [protocol]
    assert [transport.aborted.is_set() for transport in transports] == [False, True]
