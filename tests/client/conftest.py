"""A broker that plays a script of bytes: enough of MQTT to see what the client does."""

import base64
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

Step = tuple[int, bytes]

UPGRADED = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
)


class ScriptedBroker:
    """Serves one connection: for each step, waits for a packet of a type and answers bytes.

    Attributes:
        received: (first byte, body) of every packet, in order.
        request: the head of the WebSocket upgrade, if there was one.
    """

    def __init__(self, script: list[Step], *, websocket: bool) -> None:
        self.script = script
        self.websocket = websocket
        self.received: list[tuple[int, bytes]] = []
        self.request = ""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def url(self) -> str:
        port = self._listener.getsockname()[1]
        return f"ws://127.0.0.1:{port}/mqtt" if self.websocket else f"mqtt://127.0.0.1:{port}"

    def finish(self) -> None:
        """Wait until the script is played and the client is gone."""
        self._thread.join(timeout=10)
        assert not self._thread.is_alive()

    def abandon(self) -> None:
        self._listener.close()
        self._thread.join(timeout=10)

    def _serve(self) -> None:
        try:
            self._listener.settimeout(10)
            connection, _ = self._listener.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(10)
            self._connection, self._buffer = connection, b""
            try:
                self._play()
            except (OSError, EOFError):
                return

    def _play(self) -> None:
        if self.websocket:
            self._upgrade()
        for wanted, reply in self.script:
            while self._packet()[0] >> 4 != wanted:
                pass
            if reply:
                self._connection.sendall(bytes([0x82, len(reply)]) + reply if self.websocket else reply)
        while True:
            self._packet()

    def _upgrade(self) -> None:
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += self._some()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        self.request = head.decode()
        key = next(line.split(": ")[1] for line in self.request.split("\r\n") if "WebSocket-Key" in line)
        digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        self._connection.sendall(UPGRADED.format(base64.b64encode(digest).decode()).encode())

    def _packet(self) -> tuple[int, bytes]:
        first = self._read(1)[0]
        length = shift = 0
        while True:
            byte = self._read(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        packet = (first, self._read(length))
        self.received.append(packet)
        return packet

    def _read(self, count: int) -> bytes:
        """Return bytes of the stream of packets, frames taken off."""
        while len(self._plain if self.websocket else self._buffer) < count:
            if self.websocket:
                self._frame()
            else:
                self._buffer += self._some()
        if self.websocket:
            data, self._plain = self._plain[:count], self._plain[count:]
        else:
            data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    _plain = b""

    def _frame(self) -> None:
        while len(self._buffer) < 2:
            self._buffer += self._some()
        length = self._buffer[1] & 0x7F
        head = 2
        if length == 126:
            while len(self._buffer) < 4:
                self._buffer += self._some()
            length = int.from_bytes(self._buffer[2:4], "big")
            head = 4
        while len(self._buffer) < head + 4 + length:
            self._buffer += self._some()
        mask = self._buffer[head : head + 4]
        body = self._buffer[head + 4 : head + 4 + length]
        self._buffer = self._buffer[head + 4 + length :]
        self._plain += bytes(byte ^ mask[index % 4] for index, byte in enumerate(body))

    def _some(self) -> bytes:
        data = self._connection.recv(4096)
        if not data:
            raise EOFError
        return data


@pytest.fixture
def broker() -> Iterator[Callable[..., ScriptedBroker]]:
    """Start a broker with a script of (packet type to wait for, bytes to answer)."""
    started: list[ScriptedBroker] = []

    def start(*script: Step, websocket: bool = False) -> ScriptedBroker:
        started.append(ScriptedBroker(list(script), websocket=websocket))
        return started[-1]

    yield start
    for one in started:
        one.abandon()
