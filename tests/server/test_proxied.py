"""PROXY protocol v2 on real sockets: who is believed, and what follows from it."""

import asyncio
import dataclasses
import ipaddress
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from tokenmq.config import BrokerSettings, MqttSettings, MqttsSettings, TlsSettings, WebsocketSettings
from tokenmq.server import endpoint, proxied
from tokenmq.server.admission import Admission
from tokenmq.server.listeners import Listener, listen_tcp
from tokenmq.server.peer import Peer
from tokenmq.server.tls import Certificates
from tokenmq.server.websocket import listen_websocket

CONNECT_5 = b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
TLS = b"\x20\x00\x05\x01\x00\x00\x00\x00"
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
UNIX = SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216)

Listen = Callable[..., Awaitable[Listener]]


def header(address: str, port: int = 50_000, *, tlvs: bytes = b"") -> bytes:
    ip = ipaddress.ip_address(address)
    body = ip.packed * 2 + struct.pack("!HH", port, 1883) + tlvs
    return SIGNATURE + struct.pack("!BBH", 0x21, 0x11 if ip.version == 4 else 0x21, len(body)) + body


@pytest.fixture
async def reports() -> list[dict[str, Any]]:
    return []


@pytest.fixture
async def listen(links: Any, reports: Any, server_certificate: Path) -> AsyncIterator[Listen]:
    opened: list[Listener] = []

    async def listen(
        *, tls: bool = False, proxies: tuple[str, ...] = ("127.0.0.0/8",), **limits: Any
    ) -> Listener:
        admission = Admission(dataclasses.replace(BrokerSettings(), trusted_proxies=proxies, **limits))
        settings = MqttsSettings(host="127.0.0.1", port=0, proxy_protocol=True)
        opened.append(
            await listen_tcp(
                settings if tls else MqttSettings(port=0, proxy_protocol=True),
                links,
                admission,
                report=lambda event, **fields: reports.append({"event": event, **fields}),
                certificates=Certificates(TlsSettings(certificate=server_certificate)) if tls else None,
            )
        )
        return opened[-1]

    yield listen
    for listener in opened:
        listener.close()


@pytest.mark.parametrize(
    ("sent", "address", "port", "trusted"),
    [
        (header("192.0.2.7"), "192.0.2.7", 50_000, False),
        (header("2001:db8::7"), "2001:db8::7", 50_000, False),
        (header("::ffff:192.0.2.7"), "192.0.2.7", 50_000, False),
        (header("192.0.2.7", tlvs=TLS), "192.0.2.7", 50_000, True),
        (header("127.0.0.1"), "127.0.0.1", 50_000, True),
    ],
    ids=["IPv4", "IPv6", "IPv4 as IPv6", "TLS", "loopback"],
)
async def test_client_of_a_proxy_on_loopback_is_who_the_header_says(
    listen: Listen, connect: Any, links: Any, sent: bytes, address: str, port: int, trusted: bool
) -> None:
    listener = await listen()
    _, writer = await connect(listener)
    writer.write(sent + CONNECT_5)
    link = await links.next()
    await link.until(lambda link: link.data == CONNECT_5)

    assert link.peer == Peer(address, port, "tcp", None, trusted=trusted)


@pytest.mark.parametrize(("sent", "trusted"), [(LOCAL, True), (UNIX, False)], ids=["LOCAL", "UNIX"])
async def test_proxy_that_names_no_address_has_its_own(
    listen: Listen, connect: Any, links: Any, sent: bytes, trusted: bool
) -> None:
    listener = await listen()
    _, writer = await connect(listener)
    writer.write(sent)
    link = await links.next()

    assert link.peer == Peer(*writer.get_extra_info("sockname"), "tcp", None, trusted=trusted)


async def test_loopback_of_a_proxys_machine_is_not_ours(
    listen: Listen, connect: Any, links: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxied, "plain_address", lambda text: "10.0.0.1" if text == "127.0.0.1" else text)
    listener = await listen(proxies=("10.0.0.1",))
    _, writer = await connect(listener)
    writer.write(header("127.0.0.2"))

    assert (await links.next()).peer.trusted is False


async def test_header_that_comes_byte_by_byte_is_read(listen: Listen, connect: Any, links: Any) -> None:
    listener = await listen()
    reader, writer = await connect(listener)
    for byte in header("192.0.2.7") + CONNECT_5:
        writer.write(bytes([byte]))
        await writer.drain()
    link = await links.next()
    await link.until(lambda link: link.data == CONNECT_5)
    link.transport.write(b"pong")

    assert await reader.readexactly(4) == b"pong"
    writer.close()
    await link.until_lost()


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (CONNECT_5, "does not begin with a PROXY protocol v2 header"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 50000 1883\r\n", "does not begin with"),
        (SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12), "is no stream"),
    ],
    ids=["none", "version 1", "UDP"],
)
async def test_connection_without_a_good_header_is_cut(
    listen: Listen, connect: Any, links: Any, read_all: Any, reports: Any, sent: bytes, reason: str
) -> None:
    listener = await listen()
    reader, writer = await connect(listener)
    writer.write(sent)

    assert await read_all(reader) == b""
    assert links.all == []
    assert [report["event"] for report in reports] == ["proxy_refused"]
    assert reason in reports[0]["reason"]


@pytest.mark.parametrize("proxies", [(), ("10.0.0.0/8", "::1")])
async def test_header_from_somebody_else_is_not_believed(
    listen: Listen, connect: Any, links: Any, read_all: Any, reports: Any, proxies: tuple[str, ...]
) -> None:
    listener = await listen(proxies=proxies)
    reader, writer = await connect(listener)
    writer.write(header("192.0.2.7") + CONNECT_5)

    assert await read_all(reader) == b""
    assert links.all == []
    host, port = writer.get_extra_info("sockname")
    reason = "the address is not in trusted_proxies"
    assert reports == [{"event": "proxy_refused", "address": host, "port": port, "reason": reason}]


@pytest.mark.parametrize("sent", [b"", SIGNATURE], ids=["nothing", "half"])
async def test_header_that_does_not_come_in_time_is_not_waited_for(
    listen: Listen, connect: Any, links: Any, read_all: Any, reports: Any, monkeypatch: Any, sent: bytes
) -> None:
    monkeypatch.setattr(proxied, "HANDSHAKE_SECONDS", 0.05)
    listener = await listen()
    reader, writer = await connect(listener)
    writer.write(sent)

    assert await read_all(reader) == b""
    assert reports[0]["reason"] == "no header came in time"


async def test_limits_count_the_client_and_not_its_proxy(
    listen: Listen, connect: Any, links: Any, read_all: Any
) -> None:
    listener = await listen(max_connections_per_address=1)
    _, first = await connect(listener)
    first.write(header("192.0.2.7"))
    link = await links.next()
    reader, second = await connect(listener)
    second.write(header("192.0.2.7") + CONNECT_5)
    assert await read_all(reader) == b"\x20\x03\x00\x97\x00"
    _, third = await connect(listener)
    third.write(header("192.0.2.8"))
    await links.next()

    first.close()
    await link.until_lost()
    _, fourth = await connect(listener)
    fourth.write(header("192.0.2.7"))
    await links.next()


async def test_connection_that_waits_for_its_header_is_counted(
    listen: Listen, connect: Any, links: Any, read_all: Any
) -> None:
    listener = await listen(max_connections=1)
    _, first = await connect(listener)
    reader, _second = await connect(listener)
    assert await read_all(reader) == b""
    first.write(header("192.0.2.7"))
    link = await links.next()
    first.close()
    await link.until_lost()
    _, third = await connect(listener)
    third.write(header("192.0.2.7"))
    await links.next()


async def test_refused_client_that_is_cut_gets_none_of_what_it_sent_through(
    listen: Listen, connect: Any, links: Any, read_all: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "MAX_REFUSING", 0)
    listener = await listen(max_connections_per_address=1)
    _, first = await connect(listener)
    first.write(header("192.0.2.7"))
    await links.next()
    reader, second = await connect(listener)
    second.write(header("192.0.2.7") + CONNECT_5)

    assert await read_all(reader) == b""


async def test_closed_listener_cuts_those_that_wait(listen: Listen, connect: Any, read_all: Any) -> None:
    listener = await listen()
    reader, writer = await connect(listener)
    writer.write(SIGNATURE)
    _, other = await connect(listener)
    other.write(CONNECT_5)
    await read_all(_)  # both are accepted
    listener.close()

    assert await read_all(reader) == b""


async def test_header_comes_before_tls(listen: Listen, links: Any, authority: Any, reports: Any) -> None:
    listener = await listen(tls=True)
    context = ssl.create_default_context(cafile=authority.path)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    reader, writer = await asyncio.open_connection(listener.address, listener.port)
    # The header and the ClientHello in one piece.
    writer.write(header("192.0.2.7") + outgoing.read())
    with anyio.fail_after(10):
        while True:
            incoming.write(await reader.read(65_536))
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
    tls.write(CONNECT_5)
    writer.write(outgoing.read())
    link = await links.next()
    await link.until(lambda link: link.data == CONNECT_5)

    assert link.peer == Peer("192.0.2.7", 50_000, "tcp", None, trusted=True)
    writer.close()
    await link.until_lost()
    assert reports == []


async def test_tls_that_is_refused_names_the_client(
    listen: Listen, connect: Any, read_all: Any, reports: Any
) -> None:
    listener = await listen(tls=True)
    reader, writer = await connect(listener)
    writer.write(header("192.0.2.7") + CONNECT_5 * 10)
    await read_all(reader)

    assert [(report["event"], report["address"]) for report in reports] == [("tls_refused", "192.0.2.7")]


async def test_header_and_handshake_share_their_time(
    listen: Listen, connect: Any, links: Any, read_all: Any, reports: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxied, "HANDSHAKE_SECONDS", 0.1)
    listener = await listen(tls=True)
    reader, writer = await connect(listener)
    writer.write(header("192.0.2.7"))

    assert await read_all(reader) == b""
    assert [report["reason"] for report in reports] == ["the handshake took too long"]


async def test_header_comes_before_an_upgrade(connect: Any, links: Any) -> None:
    limits = dataclasses.replace(BrokerSettings(), trusted_proxies=("127.0.0.1",))
    listener = await listen_websocket(
        WebsocketSettings(port=0, proxy_protocol=True),
        links,
        Admission(limits),
        limits=limits,
        origin_allowed=lambda origin: False,
    )
    reader, writer = await connect(listener)
    writer.write(
        header("192.0.2.7", tlvs=TLS)
        + b"GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
        + b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    assert (await links.next()).peer == Peer("192.0.2.7", 50_000, "websocket", None, trusted=True)
    listener.close()
