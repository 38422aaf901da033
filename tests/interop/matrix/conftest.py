"""The clients of matrix.json behind one face, so that a scenario is written once.

Libraries are driven in processes of their own (`drivers/`), mosquitto's are programs anyway.
A connection is made by `Client.connect`, and every call ends when the broker has answered.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

DRIVERS = Path(__file__).with_name("drivers")
PATIENCE_SECONDS = 20
SESSION_EXPIRY_SECONDS = 300


class Refused(Exception):
    """CONNECT was refused, with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"refused with {code:#x}")
        self.code = code


@dataclass(frozen=True)
class Message:
    """What was received."""

    topic: str
    payload: bytes
    qos: int
    is_retained: bool = False


@dataclass(frozen=True)
class Wanted:
    """A connection as a scenario asks for it, and as drivers are told.

    Attributes:
        version: 4 is 3.1.1, 5 is 5.0.
        authority: file of the certificate authority; None is without TLS.
        expiry: seconds that the session outlives its connection, in 5.0.
        subscribe: filter and QoS.
        will: topic and payload.
    """

    host: str
    port: int
    version: int
    is_websocket: bool
    authority: str | None
    username: str
    password: str
    client_id: str
    clean: bool
    expiry: int
    subscribe: tuple[str, int] | None
    will: tuple[str, str] | None


class Connection(Protocol):
    """A connection by one of the clients.

    Attributes:
        session_present: as CONNACK says, None where the client does not tell.
        granted: the code of SUBACK, None if it has not subscribed.
    """

    session_present: bool | None
    granted: int | None

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None: ...

    def received(self) -> Iterator[Message]:
        """Yield what has come and comes."""

    def close(self) -> None: ...


class Maker(Protocol):
    """Makes connections by one of the clients; all raise Refused."""

    def connect(self, wanted: Wanted) -> Connection: ...

    def visit(self, wanted: Wanted) -> None:
        """Connect, subscribe if that is wanted, and disconnect by DISCONNECT with 0x00."""

    def connect_and_kill(self, wanted: Wanted) -> None:
        """Connect in a process of its own, and end that with SIGKILL."""


# Libraries


class Driver:
    """A process that holds connections by one library."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._names = map(str, itertools.count())
        self._answers: dict[str, queue.Queue[dict[str, Any] | None]] = {}
        self._messages: dict[str, queue.Queue[Message | None]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                told = json.loads(line)
                if (message := told.get("message")) is None:
                    self._answers[told["as"]].put(told)
                else:
                    payload = base64.b64decode(message["payload"])
                    got = Message(message["topic"], payload, message["qos"], message["retain"])
                    self._messages[told["as"]].put(got)
        for waiting in (*self._answers.values(), *self._messages.values()):
            waiting.put(None)

    def connect(self, wanted: Wanted) -> LibraryConnection:
        """Connect, and subscribe if that is wanted."""
        name = next(self._names)
        self._answers[name] = queue.Queue()
        self._messages[name] = queue.Queue()
        return LibraryConnection(self, name, wanted, self._messages[name])

    def ask(self, name: str, verb: str, **what: Any) -> Any:
        """Let a connection do something; returns its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"as": name, "do": verb, **what}) + "\n")
        self._process.stdin.flush()
        told = self._answers[name].get(timeout=PATIENCE_SECONDS)
        assert told is not None, "the driver has ended"
        assert "failed" not in told, told["failed"]
        return told["answer"]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()


class LibraryConnection:
    """A connection by a library."""

    def __init__(
        self, driver: Driver, name: str, wanted: Wanted, messages: queue.Queue[Message | None]
    ) -> None:
        self._driver = driver
        self._name = name
        self._messages = messages
        connack = driver.ask(name, "connect", **asdict(wanted))
        if connack["code"]:
            raise Refused(connack["code"])
        self.session_present: bool | None = connack["session_present"]
        self.granted: int | None = connack["granted"]

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        text = base64.b64encode(payload).decode()
        self._driver.ask(self._name, "publish", topic=topic, payload=text, qos=qos, retain=retain)

    def received(self) -> Iterator[Message]:
        while (message := self._messages.get(timeout=PATIENCE_SECONDS)) is not None:
            yield message

    def close(self) -> None:
        self._driver.ask(self._name, "disconnect")


class Drivers:
    """Starts drivers, one that all tests share or one for oneself."""

    def __init__(self, node: Callable[[], tuple[str, dict[str, str]]]) -> None:
        self._node = node
        self._shared: dict[str, Driver] = {}
        self._started: list[Driver] = []

    def start(self, name: str) -> Driver:
        if name == "mqtt.js":
            program, environment = self._node()
            command = [program, str(DRIVERS / "drive_mqttjs.cjs")]
        else:
            command = [sys.executable, str(DRIVERS / f"drive_{name.removesuffix('-mqtt')}.py")]
            environment = dict(os.environ)
        self._started.append(Driver(command, environment))
        return self._started[-1]

    def shared(self, name: str) -> Driver:
        if name not in self._shared:
            self._shared[name] = self.start(name)
        return self._shared[name]

    def kill(self) -> None:
        for driver in self._started:
            driver.kill()


class Library:
    """Makes connections by a library."""

    def __init__(self, name: str, drivers: Drivers) -> None:
        self._name = name
        self._drivers = drivers

    def connect(self, wanted: Wanted) -> LibraryConnection:
        return self._drivers.shared(self._name).connect(wanted)

    def visit(self, wanted: Wanted) -> None:
        self.connect(wanted).close()

    def connect_and_kill(self, wanted: Wanted) -> None:
        driver = self._drivers.start(self._name)
        driver.connect(wanted)
        driver.kill()


# mosquitto


class MosquittoConnection:
    """A running mosquitto_sub; it publishes by mosquitto_pub."""

    session_present = None
    granted: int | None = None

    def __init__(self, mosquitto: Any, wanted: Wanted, *options: str) -> None:
        self._mosquitto = mosquitto
        self._token = {"mqtt_username": wanted.username, "token": wanted.password}
        self._version = "mqttv5" if wanted.version == 5 else "mqttv311"
        words = ["-i", wanted.client_id, "-F", "got %t %q %r %x", *options]
        if not wanted.clean:
            words += ["-c", *(("-x", str(wanted.expiry)) if wanted.version == 5 else ())]
        if wanted.will is not None:
            topic, payload = wanted.will
            words += ["--will-topic", topic, "--will-payload", payload, "--will-qos", "1"]
        # It does not run without a subscription; there is nothing on this topic.
        topic_filter, qos = wanted.subscribe or ("chat/nothing", 0)
        words += ["-t", topic_filter, "-q", str(qos)]
        self._running = mosquitto.start(self._token, self._version, *words)
        code = int(self._running.wait_for(f"Client {wanted.client_id} received CONNACK (").removesuffix(")"))
        if code:
            raise Refused(code)
        if wanted.subscribe is not None:
            self.granted = int(self._running.wait_for("Subscribed (mid: 1): "))

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        # -s takes the payload from stdin and refuses an empty one, which is -n.
        words = ("-t", topic, "-q", str(qos), "-s" if payload else "-n", *(("-r",) if retain else ()))
        ended = self._mosquitto.run(self._token, self._version, *words, stdin=payload)
        assert ended.returncode == 0, ended.stderr

    def received(self) -> Iterator[Message]:
        while True:
            topic, qos, is_retained, payload = self._running.wait_for("got ").split(" ")
            yield Message(topic, bytes.fromhex(payload), int(qos), is_retained == "1")

    def wait_ended(self) -> None:
        assert self._running.wait_ended() == 0

    def close(self) -> None:
        """Kill it: a signal that lets it disconnect may find it in the midst of something, and it hangs."""
        self._running.process.kill()
        self._running.wait_ended()


class Mosquitto:
    """Makes connections by mosquitto_sub and mosquitto_pub."""

    def __init__(self, make_mosquitto: Callable[..., Any]) -> None:
        self._make_mosquitto = make_mosquitto

    def connect(self, wanted: Wanted, *options: str) -> MosquittoConnection:
        trust = ("--cafile", wanted.authority) if wanted.authority else ()
        return MosquittoConnection(self._make_mosquitto((wanted.host, wanted.port), *trust), wanted, *options)

    def visit(self, wanted: Wanted) -> None:
        # -E: disconnect at SUBACK.
        self.connect(wanted, "-E").wait_ended()

    def connect_and_kill(self, wanted: Wanted) -> None:
        self.connect(wanted).close()


# Both


class Client:
    """One of the clients, in one version of MQTT, against one service.

    Attributes:
        version: 4 is 3.1.1, 5 is 5.0.
        create_token: makes a token for chat/#.
    """

    def __init__(self, version: int, service: Any, authority: Path, maker: Maker) -> None:
        self.version = version
        self.create_token: Callable[[], dict[str, Any]] = service.create_token
        self._service = service
        self._authority = authority
        self._maker = maker
        self._token = self.create_token()
        self._connections: list[Connection] = []

    def connect(self, **options: Any) -> Connection:
        """Connect as `_wanted` says, until the test is over."""
        self._connections.append(self._maker.connect(self._wanted(**options)))
        return self._connections[-1]

    def visit(self, **options: Any) -> int:
        """Connect as `_wanted` says, and disconnect; return the code of CONNACK."""
        try:
            self._maker.visit(self._wanted(**options))
        except Refused as refused:
            return refused.code
        return 0

    def connect_and_kill(self, **options: Any) -> None:
        """Connect as `_wanted` says in a process of its own, and kill that."""
        self._maker.connect_and_kill(self._wanted(**options))

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def _wanted(
        self,
        *,
        over: str = "mqtt",
        token: dict[str, Any] | None = None,
        client_id: str = "",
        keeps_session: bool = False,
        subscribe: tuple[str, int] | None = None,
        will: tuple[str, str] | None = None,
    ) -> Wanted:
        """Return a connection over a listener: mqtt, mqtts, websocket or wss."""
        token = token or self._token
        url = urlsplit(self._service.ready[f"{over}_url"])
        return Wanted(
            host=str(url.hostname),
            port=url.port or 0,
            version=self.version,
            is_websocket=over in ("websocket", "wss"),
            authority=str(self._authority) if over in ("mqtts", "wss") else None,
            username=token["mqtt_username"],
            password=token["token"],
            client_id=client_id or f"matrix-{uuid4().hex}",
            clean=not keeps_session,
            expiry=SESSION_EXPIRY_SECONDS if keeps_session else 0,
            subscribe=subscribe,
            will=will,
        )


@pytest.fixture(scope="session")
def drivers(node: Callable[[], tuple[str, dict[str, str]]]) -> Iterator[Drivers]:
    """Start drivers of libraries; all are killed with the session."""
    drivers = Drivers(node)
    yield drivers
    drivers.kill()


@pytest.fixture
def client(request: pytest.FixtureRequest, secure_service: Any, authority: Any) -> Iterator[Client]:
    """The client of this case of the matrix: its parameter is name and version."""
    name, version = request.param
    maker: Maker
    if name.startswith("mosquitto"):
        maker = Mosquitto(request.getfixturevalue("make_mosquitto"))
    else:
        maker = Library(name, request.getfixturevalue("drivers"))
    client = Client(version, secure_service, authority.path, maker)
    yield client
    client.close()
