"""TLS on real sockets: handshakes, both directions, ends, and changes while it runs."""

import asyncio
import dataclasses
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from tokenmq.config import BrokerSettings, MqttsSettings, TlsSettings
from tokenmq.server import endpoint, secured
from tokenmq.server.admission import Admission
from tokenmq.server.listeners import Listener, listen_tcp
from tokenmq.server.peer import Peer
from tokenmq.server.tls import Certificates

CONNECT_5 = b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00"

Listen = Callable[..., Awaitable[Listener]]
VERSIONS = pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"]
)


class Told:
    """The reports, and a way to wait for one."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self._came = asyncio.Event()

    def __call__(self, event: str, **fields: object) -> None:
        self.reports.append({"event": event, **fields})
        self._came.set()

    async def first(self) -> dict[str, Any]:
        with anyio.fail_after(10):
            await self._came.wait()
        return self.reports[0]


@pytest.fixture
async def told() -> Told:
    return Told()


@pytest.fixture
async def listen(links: Any, told: Told, server_certificate: Path) -> AsyncIterator[Listen]:
    opened: list[Listener] = []

    async def listen(
        certificates: Certificates | None = None, limits: dict[str, int] | None = None, **tls: Any
    ) -> Listener:
        certificates = certificates or Certificates(TlsSettings(certificate=server_certificate, **tls))
        admission = Admission(dataclasses.replace(BrokerSettings(), **(limits or {})))
        settings = MqttsSettings(host="127.0.0.1", port=0)
        opened.append(await listen_tcp(settings, links, admission, report=told, certificates=certificates))
        return opened[-1]

    yield listen
    for listener in opened:
        listener.close()


@pytest.fixture
def trust(authority: Any) -> Callable[..., ssl.SSLContext]:
    """Make the context of a client that trusts the authority of the tests."""

    def trust(
        version: ssl.TLSVersion | None = None, *, shows: Path | None = None, authority: Any = authority
    ) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=authority.path)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if shows is not None:
            context.load_cert_chain(shows)
        return context

    return trust


@pytest.fixture
async def connect() -> AsyncIterator[Any]:
    writers: list[asyncio.StreamWriter] = []

    async def connect(
        listener: Listener, context: ssl.SSLContext
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        with anyio.fail_after(10):
            reader, writer = await asyncio.open_connection(
                listener.address, listener.port, ssl=context, server_hostname="localhost"
            )
        writers.append(writer)
        return reader, writer

    yield connect
    for writer in writers:
        writer.transport.abort()


async def exactly(reader: asyncio.StreamReader, size: int) -> bytes:
    with anyio.fail_after(10):
        return await reader.readexactly(size)


async def shaken(link: Any, writer: asyncio.StreamWriter) -> None:
    """Wait until the server's side of the handshake is done, too: then it gets a first byte."""
    writer.write(b"x")
    await link.until(lambda link: link.data == b"x")


# The handshake.


@VERSIONS
async def test_bytes_go_both_ways(
    listen: Listen, connect: Any, links: Any, trust: Any, version: ssl.TLSVersion
) -> None:
    listener = await listen()
    reader, writer = await connect(listener, trust(version))
    link = await links.next()
    writer.write(b"ping")
    await link.until(lambda link: link.data == b"ping")
    link.transport.write(b"po")
    link.transport.write(b"ng")

    assert await exactly(reader, 4) == b"pong"
    assert writer.get_extra_info("ssl_object").version() == {772: "TLSv1.3", 771: "TLSv1.2"}[version]
    host, port = writer.get_extra_info("sockname")
    assert link.peer == Peer(host, port, "tcp", None, trusted=True)


async def test_whoever_comes_over_tls_is_trusted_wherever_he_comes_from(
    listen: Listen, connect: Any, links: Any, trust: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "plain_address", lambda _: "192.0.2.7")
    listener = await listen()
    await connect(listener, trust())

    assert (await links.next()).peer.trusted is True


@VERSIONS
async def test_large_amounts_arrive_whole_in_both_directions(
    listen: Listen, connect: Any, links: Any, trust: Any, version: ssl.TLSVersion
) -> None:
    listener = await listen()
    reader, writer = await connect(listener, trust(version))
    link = await links.next()
    data = bytes(range(256)) * 20_000
    writer.write(data)
    await link.until(lambda link: len(link.data) == len(data))
    link.transport.write(data)

    assert link.data == data
    assert await exactly(reader, len(data)) == data


async def test_handshake_that_comes_byte_by_byte_is_done(listen: Listen, links: Any, trust: Any) -> None:
    listener = await listen()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trust().wrap_bio(incoming, outgoing, server_hostname="localhost")
    reader, writer = await asyncio.open_connection(listener.address, listener.port)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            for byte in outgoing.read():
                writer.write(bytes([byte]))
                await writer.drain()
            with anyio.fail_after(10):
                incoming.write(await reader.read(65_536))
    tls.write(b"ping")
    # The end of the handshake and what follows it in one piece.
    writer.write(outgoing.read())
    link = await links.next()
    await link.until(lambda link: link.data == b"ping")
    writer.close()
    await link.until_lost()


async def test_v51_versions_before_1_2_are_refused(listen: Listen, told: Told) -> None:
    listener = await listen()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.options &= ~(ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1)
    hello = bytearray(client_hello(context))
    # The version of the message; without the extension of supported versions it is the one that counts.
    hello[9:11] = b"\x03\x02"

    reader, writer = await asyncio.open_connection(listener.address, listener.port)
    writer.write(bytes(hello))
    with anyio.fail_after(10):
        answer = await reader.read()
    # RFC 5246 §7.2: alert, fatal, protocol_version.
    assert (answer[0], answer[5:7]) == (21, b"\x02\x46")
    assert (await told.first())["reason"] == "unsupported protocol"
    writer.close()


def client_hello(context: ssl.SSLContext) -> bytes:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()


async def test_version_1_2_is_refused_where_1_3_is_asked_for(
    listen: Listen, connect: Any, trust: Any, told: Told
) -> None:
    listener = await listen(minimum_version="1.3")
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        await connect(listener, trust(ssl.TLSVersion.TLSv1_2))
    assert (await told.first())["event"] == "tls_refused"


@pytest.mark.parametrize(
    "suite", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"]
)
async def test_v51_suites_without_ecdhe_or_aead_are_refused(
    listen: Listen, connect: Any, trust: Any, told: Told, suite: str
) -> None:
    listener = await listen()
    context = trust(ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(suite)
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        await connect(listener, context)
    assert (await told.first())["reason"] == "no shared cipher"


async def test_what_is_no_tls_is_refused(listen: Listen, links: Any, told: Told) -> None:
    listener = await listen()
    reader, writer = await asyncio.open_connection(listener.address, listener.port)
    writer.write(CONNECT_5 * 10)
    with anyio.fail_after(10):
        await reader.read()

    report = await told.first()
    host, port = writer.get_extra_info("sockname")
    assert (report["event"], report["address"], report["port"]) == ("tls_refused", host, port)
    await (await links.next()).until_lost()
    assert links.all[0].data == b""
    writer.close()


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02"], ids=["nothing", "half a record"])
async def test_handshake_that_is_not_done_in_time_is_cut(
    listen: Listen, links: Any, told: Told, read_all: Any, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setitem(secured.Secured.__init__.__kwdefaults__, "seconds", 0.05)
    listener = await listen()
    reader, writer = await asyncio.open_connection(listener.address, listener.port)
    writer.write(sent)

    assert await read_all(reader) == b""
    assert (await told.first())["reason"] == "the handshake took too long"
    assert (await links.next()).data == b""
    writer.close()


def test_a_handshake_has_half_the_time_that_connect_has() -> None:
    assert secured.HANDSHAKE_SECONDS == 5
    assert BrokerSettings().connect_timeout_seconds == 10


async def test_connections_beyond_the_limit_are_cut_before_the_handshake(
    listen: Listen, connect: Any, links: Any, trust: Any
) -> None:
    listener = await listen(limits={"max_connections": 1})
    await connect(listener, trust())
    await links.next()
    with pytest.raises(ConnectionResetError):
        await connect(listener, trust())
    assert len(links.all) == 1


async def test_connection_whose_handshake_is_under_way_is_counted(
    listen: Listen, connect: Any, links: Any, trust: Any
) -> None:
    listener = await listen(limits={"max_connections": 1})
    with socket.create_connection((listener.address, listener.port)):
        await links.next()
        with pytest.raises(ConnectionResetError):
            await connect(listener, trust())
    await links.all[0].until_lost()
    await connect(listener, trust())


async def test_close_before_the_handshake_is_done_cuts(listen: Listen, links: Any, read_all: Any) -> None:
    listener = await listen()
    reader, writer = await asyncio.open_connection(listener.address, listener.port)
    link = await links.next()
    link.transport.write(b"nobody reads this")
    link.transport.close()

    assert await read_all(reader) == b""
    await link.until_lost()
    writer.close()


# Ends.


@VERSIONS
async def test_what_was_written_before_close_arrives_though_the_peer_still_sends(
    listen: Listen, connect: Any, links: Any, trust: Any, version: ssl.TLSVersion
) -> None:
    links.on_received = lambda link: (link.transport.write(b"bye" * 10_000), link.transport.close())
    listener = await listen()
    reader, writer = await connect(listener, trust(version))
    link = await links.next()
    writer.write(b"x" * 1_000_000)

    with anyio.fail_after(10):
        assert await reader.read() == b"bye" * 10_000
    await link.until_lost()
    assert (link.calls.count("received"), link.calls.count("lost")) == (1, 1)


async def test_end_is_told_by_close_notify(listen: Listen, links: Any, trust: Any) -> None:
    links.on_received = lambda link: (link.transport.write(b"bye"), link.transport.close())
    listener = await listen()

    def talk() -> list[bytes]:
        raw = socket.create_connection((listener.address, listener.port))
        # Without it a bare FIN would be an error here.
        with trust().wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False) as sock:
            sock.settimeout(10)
            sock.sendall(b"x")
            return [sock.recv(100), sock.recv(100)]

    assert await asyncio.to_thread(talk) == [b"bye", b""]


async def test_end_by_the_peer_is_heard_once(listen: Listen, connect: Any, links: Any, trust: Any) -> None:
    listener = await listen()
    _, writer = await connect(listener, trust())
    link = await links.next()
    writer.write(b"last words")
    writer.close()

    await link.until_lost()
    assert (link.data, link.calls.count("lost")) == (b"last words", 1)


async def test_peer_that_goes_without_close_notify_is_lost(listen: Listen, links: Any, trust: Any) -> None:
    links.on_received = lambda link: link.transport.write(b"y")
    listener = await listen()

    def talk() -> None:
        raw = socket.create_connection((listener.address, listener.port))
        sock = trust().wrap_socket(raw, server_hostname="localhost")
        sock.sendall(b"x")
        assert sock.recv(1) == b"y"
        sock.sendall(b"last words")
        with socket.socket(fileno=sock.detach()) as bare:
            bare.shutdown(socket.SHUT_WR)

    await asyncio.to_thread(talk)
    link = await links.next()
    await link.until_lost()
    assert (link.data, link.calls.count("lost")) == (b"xlast words", 1)


async def test_peer_that_does_not_read_is_cut_after_close(
    listen: Listen, connect: Any, links: Any, trust: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "LINGER_SECONDS", 0.05)
    listener = await listen()
    _, writer = await connect(listener, trust())
    writer.transport.pause_reading()
    link = await links.next()
    await shaken(link, writer)
    link.transport.write(b"x" * 20_000_000)
    link.transport.close()

    await link.until_lost()


async def test_peer_that_breaks_the_protocol_later_is_cut(listen: Listen, links: Any, trust: Any) -> None:
    links.on_received = lambda link: link.transport.write(b"y")
    listener = await listen()

    def talk() -> bytes:
        raw = socket.create_connection((listener.address, listener.port))
        sock = trust().wrap_socket(raw, server_hostname="localhost")
        sock.sendall(b"x")
        assert sock.recv(1) == b"y"
        with socket.socket(fileno=sock.detach()) as bare:
            bare.settimeout(10)
            bare.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            try:
                while bare.recv(100):
                    pass
            except ConnectionResetError:
                pass
        return b"cut"

    assert await asyncio.to_thread(talk) == b"cut"
    link = await links.next()
    await link.until_lost()
    assert link.data == b"x"


# Pauses.


async def test_pause_of_reading_holds_everything_back_and_loses_nothing(
    listen: Listen, connect: Any, links: Any, trust: Any
) -> None:
    listener = await listen()
    _, writer = await connect(listener, trust())
    link = await links.next()
    link.on_received = lambda link: link.transport.pause_reading() if len(link.data) < 100 else None
    writer.write(b"x" * 50)
    await link.until(lambda link: link.data == b"x" * 50)
    writer.write(b"y" * 300_000)
    link.transport.resume_reading()

    await link.until(lambda link: len(link.data) == 300_050)


async def test_link_hears_that_the_peer_does_not_read_and_that_it_reads_again(
    listen: Listen, connect: Any, links: Any, trust: Any
) -> None:
    listener = await listen()
    reader, writer = await connect(listener, trust())
    link = await links.next()
    await shaken(link, writer)
    size = 0
    while "writing_paused" not in link.calls:
        link.transport.write(b"x" * 65_536)
        size += 65_536
        await asyncio.sleep(0)
    await exactly(reader, size)

    await link.until(lambda link: "writing_resumed" in link.calls)


# Changes.


async def test_changed_certificate_is_for_new_connections_and_old_ones_live_on(
    listen: Listen, connect: Any, links: Any, trust: Any, authority: Any, make_authority: Any, tmp_path: Path
) -> None:
    path = tmp_path / "server.pem"
    path.write_bytes(authority.issue("first").read_bytes())
    certificates = Certificates(TlsSettings(certificate=path))
    listener = await listen(certificates)
    reader, old = await connect(listener, trust())
    link = await links.next()
    await shaken(link, old)
    successor = make_authority("successor")
    path.write_bytes(successor.issue("second").read_bytes())
    certificates.reload()
    _, new = await connect(listener, trust(authority=successor))

    names = [dict(writer.get_extra_info("peercert")["subject"][0])["commonName"] for writer in (old, new)]
    assert names == ["first", "second"]
    link.transport.write(b"still here")
    assert await exactly(reader, 10) == b"still here"


# Clients' certificates.


async def refusal(reader: asyncio.StreamReader) -> str:
    """Wait for what a client hears whose certificate is refused: in TLS 1.3 after its handshake."""
    with anyio.fail_after(10):
        try:
            assert await reader.read() == b""
        except ssl.SSLError as error:
            return str(error.reason)
        except ConnectionError:
            pass
    return ""


async def test_certificate_of_a_client_is_told_and_is_nobody(
    listen: Listen, connect: Any, links: Any, trust: Any, told: Told, authority: Any
) -> None:
    listener = await listen(client_ca=authority.path)
    _, writer = await connect(listener, trust(shows=authority.issue("device-7")))
    link = await links.next()
    writer.write(b"x")
    await link.until(lambda link: link.data == b"x")

    report = await told.first()
    host, port = writer.get_extra_info("sockname")
    assert {**report, "serial": ""} == {
        "event": "client_certificate",
        "address": host,
        "port": port,
        "subject": "commonName=device-7",
        "serial": "",
    }
    assert int(report["serial"], 16) > 0
    assert link.peer == Peer(host, port, "tcp", None, trusted=True)


@VERSIONS
async def test_client_without_a_certificate_is_let_in_unless_one_is_required(
    listen: Listen, connect: Any, links: Any, trust: Any, authority: Any, told: Told, version: ssl.TLSVersion
) -> None:
    listener = await listen(client_ca=authority.path)
    _, writer = await connect(listener, trust(version))
    writer.write(b"x")
    await (await links.next()).until(lambda link: link.data == b"x")
    listener = await listen(client_ca=authority.path, require_client_certificate=True)
    if version == ssl.TLSVersion.TLSv1_2:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect(listener, trust(version))
    else:
        reader, writer = await connect(listener, trust(version))
        writer.write(b"x")
        await refusal(reader)

    assert (await told.first())["reason"] == "peer did not return a certificate"
    await links.all[1].until_lost()
    assert links.all[1].data == b""


async def test_certificate_that_has_expired_or_is_anothers_is_refused(
    listen: Listen, connect: Any, links: Any, trust: Any, authority: Any, make_authority: Any, told: Told
) -> None:
    listener = await listen(client_ca=authority.path)
    stranger = make_authority("stranger").issue("device-8")
    for shown, reason in (
        (authority.issue("late", days=-1), "client certificate: certificate has expired"),
        (stranger, "client certificate: unable to get local issuer certificate"),
    ):
        told.reports.clear()
        reader, writer = await connect(listener, trust(shows=shown))
        writer.write(b"x")
        await refusal(reader)
        link = await links.next()
        await link.until_lost()
        assert (link.data, [report.get("reason") for report in told.reports]) == (b"", [reason])


async def test_revoked_certificate_is_refused_from_the_reload_on(
    listen: Listen, connect: Any, links: Any, trust: Any, authority: Any, told: Told, tmp_path: Path,
    server_certificate: Path,
) -> None:  # fmt: skip
    crl = tmp_path / "crl.pem"
    crl.write_bytes(authority.revocations())
    device, other = authority.issue("device-9"), authority.issue("device-10")
    certificates = Certificates(
        TlsSettings(certificate=server_certificate, client_ca=authority.path, client_crl=crl)
    )
    listener = await listen(certificates)
    context = trust(shows=device)
    _, writer = await connect(listener, context)
    writer.write(b"x")
    live = await links.next()
    await live.until(lambda link: link.data == b"x")

    crl.write_bytes(authority.revocations(device))
    certificates.reload()
    told.reports.clear()
    reader, writer = await connect(listener, context)
    writer.write(b"x")
    await refusal(reader)
    await (await links.next()).until_lost()
    assert [report["reason"] for report in told.reports] == ["client certificate: certificate revoked"]
    _, writer = await connect(listener, trust(shows=other))
    writer.write(b"x")
    await (await links.next()).until(lambda link: link.data == b"x")
    assert "lost" not in live.calls


# What is left of it.


class Inner(asyncio.Protocol):
    """Holds its transport, as all do."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport


async def test_what_is_over_is_not_left_to_the_collector(
    server_certificate: Path, told: Told, collected: Any
) -> None:
    certificates = Certificates(TlsSettings(certificate=server_certificate))
    with collected() as found:
        connection = secured.Secured(Inner(), certificates, told)
        connection.connection_made(asyncio.Transport())
        connection.connection_lost(None)
        del connection
    assert found == {}
