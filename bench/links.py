"""Network connections of the load generator: open a socket, a WebSocket, an MQTT connection.

Opening is done one after the other with blocking sockets; the load itself then runs on non-blocking ones. A
WebSocket looks like a socket to the rest: `send`, `recv_into`, `fileno`, `close`.
"""

import os
import select
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench import wire
from bench.wire import BadStream

PATIENCE_SECONDS = 10.0
_OPCODE_BINARY, _OPCODE_CLOSE, _OPCODE_PING = 2, 8, 9


@dataclass(frozen=True, slots=True)
class Target:
    """Where the broker is and how to talk to it; credentials are used in turn, none means anonymous.

    `server_pid` is the process whose use of the processor is reported; 0 for none.
    """

    host: str
    port: int
    version: int = 4
    websocket: bool = False
    credentials: Sequence[tuple[str, str]] = ()
    server_pid: int = 0

    def credential(self, index: int) -> tuple[str, str] | tuple[None, None]:
        return self.credentials[index % len(self.credentials)] if self.credentials else (None, None)


class Channel(Protocol):
    """What a socket and a WebSocket have in common here."""

    def send(self, data: bytes | bytearray | memoryview, /) -> int: ...
    def recv_into(self, buffer: memoryview, /) -> int: ...
    def fileno(self) -> int: ...
    def setblocking(self, flag: bool, /) -> None: ...
    def close(self) -> None: ...


class WebSocket:
    """MQTT over WebSocket, client side (RFC 6455): one masked binary frame for each `send`."""

    def __init__(self, sock: socket.socket, host: str, port: int) -> None:
        self._socket = sock
        self._raw = bytearray()
        self._ready = b""
        self._mask = os.urandom(4)
        sock.sendall(
            f"GET /mqtt HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: mqtt\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._raw:
            chunk = sock.recv(4096)
            if not chunk:
                raise BadStream("the connection was closed during the WebSocket handshake")
            self._raw += chunk
        head, _, rest = bytes(self._raw).partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            raise BadStream(f"the WebSocket handshake was answered with {head[:60]!r}")
        self._raw = bytearray(rest)

    def send(self, data: bytes | bytearray | memoryview, /) -> int:
        size = len(data)
        head = b"\x82" + (bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big"))
        if size > 65535:
            head = b"\x82\xff" + size.to_bytes(8, "big")
        key = int.from_bytes((self._mask * (size // 4 + 1))[:size], "big")
        masked = (int.from_bytes(data, "big") ^ key).to_bytes(size, "big")
        write_all(self._socket, head + self._mask + masked)
        return size

    def recv_into(self, buffer: memoryview, /) -> int:
        """Put payload into `buffer`; BlockingIOError when there is none yet, 0 at the end."""
        if not self._ready:
            chunk = self._socket.recv(65536)
            if not chunk:
                return 0
            self._raw += chunk
            self._ready = self._unframe()
            if not self._ready:
                raise BlockingIOError
        taken = min(len(buffer), len(self._ready))
        buffer[:taken] = self._ready[:taken]
        self._ready = self._ready[taken:]
        return taken

    def _unframe(self) -> bytes:
        raw, at, out = self._raw, 0, []
        while len(raw) - at >= 2:
            opcode, size, start = raw[at] & 15, raw[at + 1], at + 2
            if size > 125:
                start += 2 if size == 126 else 8
                size = int.from_bytes(raw[at + 2 : start], "big")
            if len(raw) < start + size:
                break
            if opcode in (0, _OPCODE_BINARY):
                out.append(raw[start : start + size])
            elif opcode == _OPCODE_CLOSE:
                raise BadStream(f"WebSocket closed by the broker: {bytes(raw[start : start + size])!r}")
            at = start + size
        del raw[:at]
        return b"".join(out)

    def fileno(self) -> int:
        return self._socket.fileno()

    def setblocking(self, flag: bool, /) -> None:
        self._socket.setblocking(flag)

    def close(self) -> None:
        self._socket.close()


def write_all(channel: Channel, data: bytes | bytearray | memoryview) -> None:
    """Send everything, waiting for room if there is none.

    The window bounds what is under way to less than a socket buffer, so the wait is the rare case.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[channel.send(rest) :]
        except BlockingIOError:
            if not select.select([], [channel], [], PATIENCE_SECONDS)[1]:
                raise BadStream("the broker has stopped reading") from None


def read_credentials(path: str | None) -> list[tuple[str, str]]:
    """Read lines of username, TAB, password."""
    if path is None:
        return []
    found = []
    for line in Path(path).read_text().splitlines():
        username, _, password = line.partition("\t")
        found.append((username, password))
    return found


def dial(target: Target) -> Channel:
    sock = socket.create_connection((target.host, target.port), PATIENCE_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return WebSocket(sock, target.host, target.port) if target.websocket else sock


def open_connection(
    target: Target, client_id: str, index: int, *, clean: bool = True
) -> tuple[Channel, wire.Connack]:
    """Connect with MQTT and wait for the CONNACK; BadStream if it refuses."""
    channel = dial(target)
    username, password = target.credential(index)
    channel.send(
        wire.connect(client_id, version=target.version, username=username, password=password, clean=clean)
    )
    data, start, stop = _answer(channel, wire.CONNACK)
    connack = wire.connack(data, start, stop, target.version)
    if connack.reason_code:
        raise BadStream(f"CONNECT was refused with {connack.reason_code:#04x}")
    return channel, connack


def subscribe(channel: Channel, *topic_filters: str, qos: int, version: int, no_local: bool = False) -> None:
    """Subscribe and wait for the SUBACK; BadStream if less than `qos` is granted for one of the filters."""
    channel.send(wire.subscribe(*topic_filters, qos=qos, version=version, no_local=no_local))
    data, start, stop = _answer(channel, wire.SUBACK)
    granted = wire.suback(data, start, stop, version)
    if len(granted) != len(topic_filters):
        raise BadStream(f"{len(topic_filters)} filters were answered with {len(granted)} reason codes")
    for topic_filter, code in zip(topic_filters, granted, strict=True):
        if code < qos:
            raise BadStream(f"the broker grants at most QoS {code} where {qos} was asked for")
        if code > qos:
            raise BadStream(f"SUBSCRIBE {topic_filter} at QoS {qos} was answered with {code:#04x}")


def _answer(channel: Channel, kind: int) -> tuple[bytearray, int, int]:
    """Read one packet, which must be of this kind: (buffer, start of body, end of body)."""
    buffer = bytearray(4096)
    view = memoryview(buffer)
    filled = 0
    while (frame := wire.read_frame(buffer, 0, filled)) is None:
        try:
            got = channel.recv_into(view[filled:])
        except BlockingIOError:  # a WebSocket frame in two pieces
            continue
        if not got:
            raise BadStream("the broker closed the connection")
        filled += got
    if frame[0] >> 4 != kind:
        raise BadStream(f"wanted a packet of type {kind}, got one that begins {frame[0]:#04x}")
    return buffer, frame[1], frame[2]
