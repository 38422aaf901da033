"""A broker that plays a script of bytes: enough of MQTT to see what the client does."""

import asyncio
import base64
import email.utils
import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from tokenmq.timestamps import rfc3339

Step = tuple[int, bytes]

UPGRADED = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
)


class ScriptedBroker:
    """Serves one connection: for each step, waits for a packet of a type and answers bytes.

    With `again` it serves a second one after that, by what `script` says then.

    Attributes:
        received: (first byte, body) of every packet, in order.
        request: the head of the WebSocket upgrade, if there was one.
    """

    def __init__(self, script: list[Step], *, websocket: bool, again: bool) -> None:
        self.script = script
        self.again = again
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

    def hang_up(self) -> None:
        """End the connection, without a word."""
        self._connection.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> None:
        self._listener.close()
        self._thread.join(timeout=10)

    def _serve(self) -> None:
        for _ in range(2 if self.again else 1):
            self._serve_one()

    def _serve_one(self) -> None:
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

    def start(*script: Step, websocket: bool = False, again: bool = False) -> ScriptedBroker:
        started.append(ScriptedBroker(list(script), websocket=websocket, again=again))
        return started[-1]

    yield start
    for one in started:
        one.abandon()


class FakeClock:
    """Clocks that go on only when a test says so."""

    def __init__(self) -> None:
        self.unix = 1_800_000_000.0
        self.seconds = 100.0
        self.slept: list[float] = []
        self._sleeping: list[tuple[float, asyncio.Future[None]]] = []

    def wall(self) -> float:
        return self.unix

    def mono(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        self._sleeping.append((self.seconds + seconds, woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that waits for it."""
        await settle()
        end = self.seconds + seconds
        while True:
            self._sleeping = [one for one in self._sleeping if not one[1].done()]
            due = min((at for at, _ in self._sleeping), default=end)
            self._go_to(min(due, end))
            for at, woken in self._sleeping:
                if at <= self.seconds and not woken.done():
                    woken.set_result(None)
            await settle()
            if due > end or (due == end == self.seconds and not self._is_due()):
                break
        self._go_to(end)

    def _is_due(self) -> bool:
        return any(at <= self.seconds and not woken.done() for at, woken in self._sleeping)

    def _go_to(self, seconds: float) -> None:
        self.unix += max(seconds - self.seconds, 0)
        self.seconds = max(seconds, self.seconds)


async def settle() -> None:
    """Let everything run that can, without time passing."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> FakeClock:
    """Clocks that stand still."""
    return FakeClock()


class TokenServer:
    """A token service that answers in this process.

    Attributes:
        asked: path and body of every request, in order.
        now: its own time, unix seconds; None takes the clock of the test.
        life: seconds that its tokens live.
        refuses: (status, body) or an exception for the next requests, in order.
        skew: how far its clock is ahead of ours.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.keys: list[str | None] = []
        self.life = 60.0
        self.skew = 0.0
        self.refuses: list[tuple[int, Any] | tuple[int, Any, dict[str, str]] | Exception] = []
        self.changes: dict[str, Any] = {}
        self.families = 0
        self.generations = 0
        self.transport = httpx2.MockTransport(self._answer)

    @property
    def now(self) -> float:
        return self.clock.unix + self.skew

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def token(self, *, token_id: str, life: float | None = None) -> dict[str, Any]:
        """Return an answer as the service gives it."""
        life = self.life if life is None else life
        self.generations += 1
        at = int(self.now)
        text = f"password-{self.generations}"
        return {
            "access_token": text,
            "token_id": token_id,
            "expires_in": int(life),
            "expires_at": rfc3339(at + life),
            "refresh_recommended_at": rfc3339(at + 0.9 * life),
            "mqtt_credentials": {"username": "alice@org_x", "password": text},
            "organization_id": "org_x",
            "user_id": "alice",
            **self.changes,
        }

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        self.asked.append((request.url.path, body))
        self.keys.append(request.headers.get("authorization"))
        headers = {"date": email.utils.formatdate(self.now, usegmt=True)}
        if self.refuses:
            refusal = self.refuses.pop(0)
            if isinstance(refusal, Exception):
                raise refusal
            status, told, *more = refusal
            for extra in more:
                headers.update(extra)
            if isinstance(told, bytes):
                return httpx2.Response(status, content=told, headers=headers)
            return httpx2.Response(status, json=told, headers=headers)
        token_id = body.get("token_id")
        if token_id is None:
            self.families += 1
            token_id = f"tok_{self.families}"
        return httpx2.Response(200, json=self.token(token_id=token_id), headers=headers)


@pytest.fixture
def token_server(clock: FakeClock) -> TokenServer:
    """A token service in this process, whose clock is that of the test."""
    return TokenServer(clock)
