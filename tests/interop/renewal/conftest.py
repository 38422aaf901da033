"""What clients whose tokens are renewed are run with: a fast clock, a network that fails, Node.

The stand-in for the official client is `client.cjs`: `drive.cjs` holds it in Node, and pages
of `clients` hold it in Chromium.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

HERE = Path(__file__).parent
PATIENCE_SECONDS = 30


# Time


class Fast:
    """A service whose wall clock is fast, and what that clock shows.

    Attributes:
        service: `tokenmq serve --demo` under that clock.
        speed: seconds of its in one of ours.
        clock: the same clock as stand-ins are told of it, in milliseconds.
    """

    def __init__(self, start_service: Callable[..., Any], speed: float, **changes: str) -> None:
        origin = float(int(time.time()))
        command = [sys.executable, str(HERE / "fast_clock.py"), str(speed), str(origin)]
        self.service = start_service(command=command, **changes)
        self.speed = speed
        self.clock = {"origin": origin * 1000, "speed": speed}
        self._origin = origin

    def now(self) -> float:
        """Return what its clock shows, unix seconds."""
        return self._origin + (time.time() - self._origin) * self.speed

    def wait_until(self, now: float) -> None:
        """Wait until its clock shows this."""
        time.sleep(max(0.0, now - self.now()) / self.speed)


# The network


class Proxy:
    """Carries TCP connections to a port on loopback, until it is told to drop them.

    Attributes:
        port: where it listens.
        target: that port.
        is_down: whether it drops whoever comes.
        is_mute: whether it drops a connection when the server says something.
    """

    def __init__(self) -> None:
        self.target = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.is_down = False
        self.is_mute = False
        self._open: set[socket.socket] = set()
        self._sent = bytearray()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def sent(self, what: bytes) -> int:
        """Return how often clients have sent this."""
        return self._sent.count(what)

    def cut(self) -> None:
        """Drop all connections."""
        for one in list(self._open):
            _end(one)

    def close(self) -> None:
        """Drop all connections, and take none."""
        _end(self._listening)
        self._threads[0].join()
        self.cut()
        for thread in self._threads:
            thread.join()
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                carry = self._drop if self.is_down else self._carry
                self._threads.append(threading.Thread(target=carry, args=(client,)))
                self._threads[-1].start()

    def _drop(self, client: socket.socket) -> None:
        # Node's fetch connects anew, again and again, when it could not send anything.
        with client, contextlib.suppress(OSError):
            self._open.add(client)
            client.recv(1)
            self._open.remove(client)

    def _carry(self, client: socket.socket) -> None:
        with client, contextlib.suppress(ConnectionRefusedError):
            self._carry_to(socket.create_connection(("127.0.0.1", self.target)), client)

    def _carry_to(self, server: socket.socket, client: socket.socket) -> None:
        with server:
            ends = {client, server}
            self._open |= ends
            back = threading.Thread(target=self._pump, args=(server, client))
            back.start()
            self._pump(client, server, self._sent)
            back.join()
            self._open -= ends

    def _pump(self, source: socket.socket, sink: socket.socket, note: bytearray | None = None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if note is not None:
                    note += data
                elif self.is_mute:
                    break
                sink.sendall(data)
        _end(source)
        _end(sink)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


class Network:
    """The way to a service.

    Attributes:
        http, websocket: its two parts.
        token_service_url, host: what a client on it is set up with.
    """

    def __init__(self, service: Any) -> None:
        self.http = Proxy()
        self.websocket = Proxy()
        self.token_service_url = f"http://127.0.0.1:{self.http.port}"
        self.host = f"ws://127.0.0.1:{self.websocket.port}/mqtt"
        self.lead_to(service)

    def lead_to(self, service: Any) -> None:
        """Lead there from now on."""
        self.http.target = urlsplit(service.http_url).port or 0
        self.websocket.target = urlsplit(service.websocket_url).port or 0

    @property
    def refreshes(self) -> int:
        """How many refreshes went over it."""
        return self.http.sent(b"POST /v2/tokens/refresh ")

    def close(self) -> None:
        """Drop everything."""
        self.http.close()
        self.websocket.close()


@pytest.fixture(scope="module")
def network() -> Iterator[Callable[[Any], Network]]:
    """Lay a way to a service."""
    laid: list[Network] = []

    def lay(service: Any) -> Network:
        laid.append(Network(service))
        return laid[-1]

    yield lay
    for one in laid:
        one.close()


# Node


class Failed(Exception):
    """A call of a client threw.

    Attributes:
        type, status: of the error, as the official client has them.
    """

    def __init__(self, *, message: str, **about: Any) -> None:
        super().__init__(message)
        self.type: str | None = about["type"]
        self.status: int | None = about["status"]


class Driver:
    """A process of Node that holds clients over mqtt.js."""

    def __init__(self, program: str, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [program, str(HERE / "drive.cjs")],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._names = map(str, itertools.count())
        self._driven: dict[str, Driven] = {}
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def open(self, clock: dict[str, float], **options: Any) -> Driven:
        """Make a stand-in with the options of the official client."""
        return self._open(options=options, **clock)

    def open_auth(self) -> Driven:
        """Make a client that renews by AUTH."""
        return self._open(kind="auth")

    def _open(self, **what: Any) -> Driven:
        name = next(self._names)
        self._driven[name] = made = Driven(lambda **request: self._write({"as": name, **request}))
        made.ask("open", **what)
        return made

    def sleep(self) -> None:
        """Stop it, as the lid of a laptop does."""
        self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _write(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                told = json.loads(line)
                self._driven[told.pop("as")].take(told)


class Driven:
    """A client in that process.

    Attributes:
        events: what it told so far, in order.
    """

    def __init__(self, write: Callable[..., None]) -> None:
        self._write = write
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._told = threading.Condition()
        self.events: list[dict[str, Any]] = []

    def take(self, told: dict[str, Any]) -> None:
        """Take a line of the driver."""
        if "event" not in told:
            self._answers.put(told)
            return
        with self._told:
            self.events.append(told)
            self._told.notify_all()

    def ask(self, verb: str, *words: Any, **more: Any) -> Any:
        """Call a method and return its answer.

        Raises: Failed.
        """
        self._write(do=verb, **{"with": words}, **more)
        told = self._answers.get(timeout=PATIENCE_SECONDS)
        if "failed" in told:
            raise Failed(**told["failed"])
        return told["answer"]

    def told(self, event: str) -> list[dict[str, Any]]:
        """Return all events of a name so far."""
        return [told for told in list(self.events) if told["event"] == event]

    def wait_for(self, event: str, count: int = 1, patience: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Wait until so many events of a name were told, and return the last of them."""
        with self._told:
            assert self._told.wait_for(lambda: len(self.told(event)) >= count, patience), self.events
        return self.told(event)[count - 1]


@pytest.fixture(scope="module")
def official(node: Callable[[], tuple[str, dict[str, str]]]) -> Iterator[Callable[[], Driver]]:
    """Start processes that hold clients."""
    started: list[Driver] = []

    def start() -> Driver:
        started.append(Driver(*node()))
        return started[-1]

    yield start
    for driver in started:
        driver.close()


class Tenant:
    """An organization of its own, whose sessions outlive a cut.

    Attributes:
        id, key: its id and a secret key of it.
    """

    def __init__(self, service: Any, name: str) -> None:
        self._service = service
        self.id, self.key = service.create_organization(name)
        self.set(default_session_expiry_seconds=300)

    def set(self, **settings: Any) -> None:
        """Change its settings."""
        self.call("PATCH", f"/v2/organizations/{self.id}", key=self._service.admin_key, settings=settings)

    def create_token(self, user_id: str, *, key: str = "", **fields: Any) -> dict[str, Any]:
        """Make a token, as a backend does, that may do whatever the policy grants."""
        return self.call("POST", "/v2/tokens", key=key, user_id=user_id, **fields)

    def create_key(self, name: str) -> tuple[str, str]:
        """Make another secret key: its id and itself."""
        made = self.call("POST", "/v2/keys", kind="sk", name=name)
        return made["id"], made["key"]

    def call(self, method: str, path: str, *, key: str = "", **fields: Any) -> dict[str, Any]:
        """Send a request that must be answered with success."""
        answer = self._service.call(method, path, key=key or self.key, json=fields)
        assert answer.status_code < 300, answer.text
        told: dict[str, Any] = answer.json()
        return told


@pytest.fixture(scope="session")
def tenant() -> Callable[..., Tenant]:
    """Make organizations of a service, with tokens that live for a minute or as long as is said."""
    numbers = itertools.count()

    def tenant(service: Any, ttl: int = 60) -> Tenant:
        made = Tenant(service, f"tenant-{next(numbers)}")
        made.set(default_ttl_seconds=ttl)
        return made

    return tenant


@pytest.fixture(scope="session")
def failed() -> type[Failed]:
    """Return the class of what stand-ins raise."""
    return Failed


@pytest.fixture(scope="session")
def start_fast(start_service: Callable[..., Any]) -> Callable[..., Fast]:
    """Start a service whose clock is so many times as fast, with more variables if any are given."""
    return lambda speed, **changes: Fast(start_service, speed, **changes)


@pytest.fixture(scope="session")
def fast(start_fast: Callable[..., Fast]) -> Fast:
    """A service where a minute lasts three seconds."""
    return start_fast(20)
