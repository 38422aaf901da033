"""MQTT over TCP: real sockets on loopback, a link that only writes down what it hears."""

import asyncio
import dataclasses
import errno
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tokenmq.config import AdminSettings, BrokerSettings, MqttSettings, MqttsSettings, TlsSettings
from tokenmq.errors import InvalidSettings
from tokenmq.server import binding, endpoint
from tokenmq.server.admission import Admission
from tokenmq.server.binding import resolve
from tokenmq.server.endpoint import plain_address
from tokenmq.server.listeners import Listener, connect_version, listen_tcp
from tokenmq.server.peer import Peer
from tokenmq.server.tls import Certificates

CONNECT_5 = b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00"
CONNECT_311 = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"
BRIDGE_311 = CONNECT_311.replace(b"MQTT\x04", b"MQTT\x84")


Listen = Callable[..., Awaitable[Listener]]


@pytest.fixture
async def listen(links: Any) -> AsyncIterator[Listen]:
    opened: list[Listener] = []

    async def listen(**limits: object) -> Listener:
        admission = Admission(dataclasses.replace(BrokerSettings(), **limits))
        opened.append(await listen_tcp(MqttSettings(port=0), links, admission))
        return opened[-1]

    yield listen
    for listener in opened:
        listener.close()


# [MQTT-4.2.0-1] [MQTT311-7.1.1-1]
async def test_bytes_go_both_ways(listen: Listen, connect: Any, links: Any) -> None:
    listener = await listen()
    reader, writer = await connect(listener)
    link = await links.next()
    writer.write(b"ping")
    await link.until(lambda link: link.data == b"ping")
    link.transport.write(b"po")
    link.transport.write(b"ng")

    assert await reader.readexactly(4) == b"pong"
    host, port = writer.get_extra_info("sockname")
    assert link.peer == Peer(host, port, "tcp", None, trusted=True)
    writer.close()
    await link.until_lost()
    assert [link.calls[0], link.calls[-1], link.calls.count("lost")] == ["opened", "lost", 1]


async def test_bytes_that_come_one_by_one_all_arrive(listen: Listen, connect: Any, links: Any) -> None:
    listener = await listen()
    _, writer = await connect(listener)
    link = await links.next()
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in CONNECT_5:
        writer.write(bytes([byte]))
        await writer.drain()

    await link.until(lambda link: link.data == CONNECT_5)


async def test_nodelay_is_set(listen: Listen, connect: Any, links: Any) -> None:
    listener = await listen()
    _, _writer = await connect(listener)
    link = await links.next()

    accepted = link.transport._transport.get_extra_info("socket")
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


async def test_reset_by_the_peer_is_lost_once(listen: Listen, connect: Any, links: Any) -> None:
    listener = await listen()
    _, writer = await connect(listener)
    link = await links.next()
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()

    await link.until_lost()
    assert link.calls == ["opened", "lost"]


async def test_what_was_written_before_close_arrives_though_the_peer_still_sends(
    listen: Listen, connect: Any, links: Any, read_all: Any
) -> None:
    links.on_received = lambda link: (link.transport.write(b"bye" * 10_000), link.transport.close())
    listener = await listen()
    reader, writer = await connect(listener)
    link = await links.next()
    writer.write(b"x" * 1_000_000)

    assert await read_all(reader) == b"bye" * 10_000
    assert link.calls.count("received") == 1
    writer.close()
    await link.until_lost()
    assert link.calls.count("lost") == 1


async def test_peer_that_does_not_read_is_cut_after_close(
    listen: Listen, connect: Any, links: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "LINGER_SECONDS", 0.05)
    listener = await listen()
    _, _writer = await connect(listener)
    link = await links.next()
    link.transport.write(b"x" * 20_000_000)
    link.transport.close()

    await link.until_lost()


async def test_peer_that_keeps_its_side_open_is_cut_after_close(
    listen: Listen, links: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "LINGER_SECONDS", 0.05)
    listener = await listen()
    with socket.create_connection((listener.address, listener.port)):
        link = await links.next()
        link.transport.close()
        await link.until_lost()


async def test_abort_is_at_once_and_drops_what_was_written(listen: Listen, links: Any) -> None:
    listener = await listen()
    with socket.create_connection((listener.address, listener.port)):
        link = await links.next()
        link.transport.write(b"x" * 20_000_000)
        link.transport.abort()
        await link.until_lost()
    assert link.calls.count("lost") == 1


async def test_transport_does_nothing_after_the_end(listen: Listen, connect: Any, links: Any) -> None:
    listener = await listen()
    _, _writer = await connect(listener)
    link = await links.next()
    link.transport.abort()
    await link.until_lost()
    calls = list(link.calls)
    link.transport.write(b"x")
    link.transport.pause_reading()
    link.transport.resume_reading()
    link.transport.close()
    link.transport.abort()

    assert link.calls == calls


async def test_half_closed_peer_gets_the_answer_and_is_closed(
    listen: Listen, connect: Any, links: Any, read_all: Any
) -> None:
    links.on_received = lambda link: link.transport.write(b"answer")
    listener = await listen()
    reader, writer = await connect(listener)
    writer.write(b"question")
    writer.write_eof()

    assert await read_all(reader) == b"answer"


async def test_paused_link_receives_nothing_until_it_resumes(
    listen: Listen, connect: Any, links: Any
) -> None:
    links.on_received = lambda link: link.transport.pause_reading()
    listener = await listen()
    _, writer = await connect(listener)
    link = await links.next()
    writer.write(b"one")
    await link.until(lambda link: link.data == b"one")
    writer.write(b"two")
    await writer.drain()
    # A whole way through the loop with another connection: "two" had its chance.
    _reader, other = await connect(listener)
    second = await links.next()
    other.write(b"x")
    await second.until(lambda link: link.data == b"x")
    assert link.data == b"one"

    link.transport.resume_reading()
    await link.until(lambda link: link.data == b"onetwo")


async def test_slow_reader_pauses_its_link_and_resumes_it(listen: Listen, connect: Any, links: Any) -> None:
    listener = await listen()
    reader, _writer = await connect(listener)
    link = await links.next()
    size = 0
    while "writing_paused" not in link.calls:
        link.transport.write(b"x" * 65_536)
        size += 65_536
        await asyncio.sleep(0)
    assert "writing_resumed" not in link.calls
    await reader.readexactly(size)

    await link.until(lambda link: "writing_resumed" in link.calls)


async def test_close_accepts_nothing_more_and_leaves_links_alone(
    listen: Listen, connect: Any, links: Any
) -> None:
    listener = await listen()
    reader, _writer = await connect(listener)
    link = await links.next()
    listener.close()

    with pytest.raises(ConnectionRefusedError):
        await connect(listener)
    link.transport.write(b"still here")
    assert await reader.readexactly(10) == b"still here"


# Refusals.


@pytest.mark.parametrize(
    ("connect_bytes", "answer"),
    [
        (CONNECT_5, b"\x20\x03\x00\x97\x00"),
        (CONNECT_311, b"\x20\x02\x00\x03"),
        (BRIDGE_311, b"\x20\x02\x00\x03"),
        (b"GET / HTTP/1.1\r\n\r\n", b""),
    ],
    ids=["5", "3.1.1", "a bridge of 3.1.1", "not MQTT"],
)
async def test_connection_over_the_total_is_told_so_and_gets_no_link(
    listen: Listen, connect: Any, links: Any, read_all: Any, connect_bytes: bytes, answer: bytes
) -> None:
    listener = await listen(max_connections=1)
    _, first = await connect(listener)
    link = await links.next()
    reader, writer = await connect(listener)
    for byte in connect_bytes:
        writer.write(bytes([byte]))

    assert await read_all(reader) == answer
    assert len(links.all) == 1
    first.close()
    await link.until_lost()
    _, _third = await connect(listener)
    await links.next()


async def test_connects_that_are_too_fast_are_told_so(
    listen: Listen, connect: Any, links: Any, read_all: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Loopback has no limit of its own: these seem to come from elsewhere.
    monkeypatch.setattr(endpoint, "plain_address", lambda _: "192.0.2.7")
    listener = await listen(connect_rate_per_address=1, connect_burst_per_address=1)
    _, _first = await connect(listener)
    link = await links.next()
    reader, writer = await connect(listener)
    writer.write(CONNECT_5)

    assert await read_all(reader) == b"\x20\x03\x00\x9f\x00"
    assert link.peer.trusted is False
    assert len(links.all) == 1


async def test_v41_refused_connection_that_says_nothing_is_cut(
    listen: Listen, connect: Any, links: Any, read_all: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "LINGER_SECONDS", 0.05)
    listener = await listen(max_connections=1)
    _, _first = await connect(listener)
    await links.next()
    reader, writer = await connect(listener)
    writer.write(CONNECT_5[:3])

    assert await read_all(reader) == b""


async def test_refused_connections_beyond_what_is_answered_are_cut_at_once(
    listen: Listen, connect: Any, links: Any, read_all: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "MAX_REFUSING", 0)
    listener = await listen(max_connections=1)
    _, _first = await connect(listener)
    await links.next()
    reader, _writer = await connect(listener)

    assert await read_all(reader) == b""


@pytest.mark.parametrize(
    ("head", "version"),
    [
        (CONNECT_5, 5),
        (CONNECT_311, 4),
        (b"\x10\xff\xff\xff\x7f\x00\x04MQTT\x05", 5),
        (CONNECT_5[:8], None),
        (b"", None),
        (b"\x10", None),
        (b"\x20" + CONNECT_5[1:], None),
        (b"\x10\x0c\x00\x06MQIsdp\x03", None),
        (b"\x10\xff\xff\xff\xff\x7f\x00\x04MQTT\x05", None),
    ],
)
def test_version_is_read_from_the_head_of_connect(head: bytes, version: int | None) -> None:
    assert connect_version(head) == version


# Binding.


async def test_taken_port_is_named_with_the_setting_that_moves_it(listen: Listen, links: Any) -> None:
    listener = await listen()
    settings = MqttSettings(port=listener.port)

    with pytest.raises(InvalidSettings) as refused:
        await listen_tcp(settings, links, Admission(BrokerSettings()))
    assert str(refused.value) == (
        f"port {listener.port} on 127.0.0.1 is taken by another program; "
        "mqtt.port (TOKENMQ_MQTT_PORT) moves it"
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
async def test_plaintext_on_an_address_that_is_not_loopback_needs_permission(host: str, links: Any) -> None:
    with pytest.raises(InvalidSettings, match=r"mqtt\.allow_plaintext \(TOKENMQ_MQTT_ALLOW_PLAINTEXT\)"):
        await listen_tcp(MqttSettings(host=host, port=0), links, Admission(BrokerSettings()))


async def test_refusal_of_plaintext_names_the_way_with_tls(links: Any) -> None:
    with pytest.raises(InvalidSettings) as refused:
        await listen_tcp(MqttSettings(host="0.0.0.0", port=0), links, Admission(BrokerSettings()))
    assert "tls.certificate (TOKENMQ_TLS_CERTIFICATE)" in str(refused.value)
    assert "mqtts.host (TOKENMQ_MQTTS_HOST)" in str(refused.value)


async def test_tls_on_all_addresses_needs_no_permission(links: Any, server_certificate: Path) -> None:
    certificates = Certificates(TlsSettings(certificate=server_certificate))
    listener = await listen_tcp(
        MqttsSettings(port=0), links, Admission(BrokerSettings()), certificates=certificates
    )

    assert (listener.address, listener.port > 0) == ("0.0.0.0", True)
    listener.close()


async def test_plaintext_on_all_addresses_is_served_with_permission(links: Any) -> None:
    settings = MqttSettings(host="0.0.0.0", port=0, allow_plaintext=True)
    listener = await listen_tcp(settings, links, Admission(BrokerSettings()))

    assert (listener.address, listener.port > 0) == ("0.0.0.0", True)
    listener.close()


@pytest.mark.parametrize("host", ["no such host", "192.0.2.1"])
async def test_host_that_is_not_of_this_machine_is_named(host: str, links: Any) -> None:
    settings = MqttSettings(host=host, port=0, allow_plaintext=True)

    with pytest.raises(InvalidSettings, match=rf"mqtt\.host \(TOKENMQ_MQTT_HOST\) is '{host}'"):
        await listen_tcp(settings, links, Admission(BrokerSettings()))


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EACCES, "needs rights"), (errno.ENOBUFS, "cannot be used")],
    ids=["rights", "other"],
)
def test_other_failures_to_bind_name_port_and_setting(number: int, words: str) -> None:
    text = binding.why_not_bound("mqtt", MqttSettings(port=80), OSError(number, "text"))

    assert text.startswith("port 80 on 127.0.0.1") and words in text and "TOKENMQ_MQTT_PORT" in text


@pytest.mark.parametrize(
    ("given", "plain"),
    [("::ffff:192.0.2.1", "192.0.2.1"), ("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::1")],
)
def test_ipv4_over_ipv6_is_written_as_ipv4(given: str, plain: str) -> None:
    assert plain_address(given) == plain


async def test_refusal_of_a_public_address_for_the_administrator_names_no_listener_with_tls() -> None:
    with pytest.raises(InvalidSettings) as refused:
        await resolve("admin", AdminSettings(host="0.0.0.0"))
    assert "admin.allow_plaintext (TOKENMQ_ADMIN_ALLOW_PLAINTEXT)" in str(refused.value)
    assert "TLS, with" not in str(refused.value)
