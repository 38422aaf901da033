"""Clients that others wrote: mosquitto's, mqtt.js, paho.

A test whose client is missing is skipped and names it; with TOKENMQ_REQUIRE_INTEROP=1
it fails. `scripts/install-interop.sh` installs what is missing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 20


def missing(what: str) -> NoReturn:
    reason = f"{what} is missing; scripts/install-interop.sh installs it"
    if os.environ.get("TOKENMQ_REQUIRE_INTEROP") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def find(name: str) -> str:
    return shutil.which(name) or missing(name)


# paho


class Paho:
    """A paho client whose calls return what the broker answered.

    Attributes:
        messages: what arrived.
    """

    def __init__(self, where: tuple[str, int], **options: Any) -> None:
        self.version: int = options.pop("version", 5)
        username, password = options.pop("username"), options.pop("password")
        self._connect_options = options.pop("connect", {})
        tls = options.pop("tls", None)
        self._where = where
        protocol = MQTTProtocolVersion.MQTTv5 if self.version == 5 else MQTTProtocolVersion.MQTTv311
        options.setdefault("client_id", "")
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, protocol=protocol, reconnect_on_failure=False, **options
        )
        self._client.username_pw_set(username, password)
        if tls is not None:
            self._client.tls_set_context(tls)
        self._answers: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.messages: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        self._ended: queue.Queue[tuple[float, int | None]] = queue.Queue()
        self._client.on_connect = lambda *args: self._answers.put(("connack", args[3]))
        self._client.on_subscribe = lambda *args: self._answers.put(("suback", args[3]))
        self._client.on_publish = lambda *args: self._answers.put(("puback", args[3]))
        self._client.on_message = lambda *args: self.messages.put(args[2])
        self._client.on_disconnect = self._note_end

    def connect(self) -> int:
        """Connect; return the reason code of CONNACK, in MQTT 5's words."""
        self._client.connect(*self._where, **self._connect_options)
        self._client.loop_start()
        return int(self._answer("connack").value)

    def subscribe(self, *filters: str, qos: int = 0) -> list[int]:
        """Subscribe; return the codes of SUBACK."""
        self._client.subscribe([(text, qos) for text in filters])
        return [int(code.value) for code in self._answer("suback")]

    def publish(self, topic: str, payload: str | bytes, *, qos: int = 1, **options: Any) -> int:
        """Publish; return the code of PUBACK (0 for QoS 0 and for 3.1.1)."""
        self._client.publish(topic, payload, qos, **options)
        return int(self._answer("puback").value)

    def receive(self) -> tuple[str, bytes]:
        """Wait for the next message: its topic and payload."""
        message = self.messages.get(timeout=PATIENCE_SECONDS)
        return message.topic, message.payload

    def wait_ended(self, timeout: float = PATIENCE_SECONDS) -> tuple[float, int | None]:
        """Wait until the broker ends the connection: when (unix seconds), and the code of DISCONNECT."""
        return self._ended.get(timeout=timeout)

    @property
    def is_connected(self) -> bool:
        return self._ended.empty() and self._client.is_connected()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        for name in ("on_connect", "on_subscribe", "on_publish", "on_message", "on_disconnect"):
            setattr(self._client, name, None)  # no circle is left, so that its sockets are closed with it

    def _answer(self, kind: str) -> Any:
        got, value = self._answers.get(timeout=PATIENCE_SECONDS)
        assert got == kind
        return value

    def _note_end(self, _client: Any, _data: Any, flags: Any, code: Any, _properties: Any) -> None:
        self._ended.put((time.time(), code.value if flags.is_disconnect_packet_from_server else None))


@pytest.fixture
def paho(service: Any) -> Iterator[Callable[..., Paho]]:
    """Make paho clients: of a token's answer, or of `username` and `password`."""
    made: list[Paho] = []

    def make(
        token: dict[str, Any] | None = None, *, where: tuple[str, int] | None = None, **options: Any
    ) -> Paho:
        if token is not None:
            options = {"username": token["mqtt_username"], "password": token["token"], **options}
        made.append(Paho(where or service.mqtt, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


# mosquitto


class Mosquitto:
    """mosquitto_sub and mosquitto_pub with the credentials of a token."""

    def __init__(self, where: tuple[str, int], programs: dict[str, str], *options: str) -> None:
        self._where = where
        self._options = options
        self._programs = programs
        self.running: list[subprocess.Popen[str]] = []

    def command(self, name: str, token: dict[str, Any], version: str, *words: str) -> list[str]:
        host, port = self._where
        return [
            *(self._programs["stdbuf"], "-oL", self._programs[name], "-d", "-V", version),
            *self._options,
            *("-h", host, "-p", str(port), "-u", token["mqtt_username"], "-P", token["token"], *words),
        ]

    def publish(
        self, token: dict[str, Any], version: str, topic: str, text: str
    ) -> subprocess.CompletedProcess[str]:
        """Publish one message at QoS 1 and return how the program ended."""
        return self.run(token, version, "-q", "1", "-t", topic, "-m", text)

    def run(
        self, token: dict[str, Any], version: str, *words: str, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[str]:
        """Run mosquitto_pub to its end, and return how it ended."""
        command = self.command("mosquitto_pub", token, version, *words)
        ended = subprocess.run(
            command, input=stdin, capture_output=True, timeout=PATIENCE_SECONDS, check=False
        )
        out, err = ended.stdout.decode(), ended.stderr.decode()
        return subprocess.CompletedProcess(command, ended.returncode, out, err)

    def subscribe(self, token: dict[str, Any], version: str, topic_filter: str) -> Subscriber:
        """Subscribe at QoS 1; returns when SUBACK is there, or the program ended."""
        return self.start(token, version, "-q", "1", "-t", topic_filter, "-F", "got %t %p")

    def start(self, token: dict[str, Any], version: str, *words: str) -> Subscriber:
        """Start mosquitto_sub."""
        subscriber = Subscriber(self.command("mosquitto_sub", token, version, *words))
        self.running.append(subscriber.process)
        return subscriber


class Subscriber:
    """A running mosquitto_sub."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL
        )
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def wait_for(self, start: str) -> str:
        """Wait for a line that begins so, and return the rest of it."""
        while True:
            line = self._queue.get(timeout=PATIENCE_SECONDS)
            assert line is not None, f"it ended without {start!r}: {self.lines}"
            self.lines.append(line)
            if line.startswith(start):
                return line.removeprefix(start)

    def wait_ended(self) -> int:
        """Wait for the end of the program, and return its exit code."""
        return self.process.wait(PATIENCE_SECONDS)


@pytest.fixture
def make_mosquitto() -> Iterator[Callable[..., Mosquitto]]:
    """Make Mosquitto's command line clients against a broker, with options that both take."""
    programs = {name: find(name) for name in ("mosquitto_sub", "mosquitto_pub", "stdbuf")}
    made: list[Mosquitto] = []

    def make(where: tuple[str, int], *options: str) -> Mosquitto:
        made.append(Mosquitto(where, programs, *options))
        return made[-1]

    yield make
    for process in (process for clients in made for process in clients.running):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


@pytest.fixture
def mosquitto(service: Any, make_mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    """Mosquitto's command line clients against the shared service."""
    return make_mosquitto(service.mqtt)


# mqtt.js


@pytest.fixture(scope="session")
def find_program() -> Callable[[str], str]:
    """Return `find`: where a program is, or the test is skipped."""
    return find


@pytest.fixture(scope="session")
def node() -> Callable[[], tuple[str, dict[str, str]]]:
    """Return the program of Node, and an environment in which it finds mqtt.js."""

    def node() -> tuple[str, dict[str, str]]:
        program = find("node")
        modules = ROOT / ".interop" / "node_modules"
        if not (modules / "mqtt").is_dir():
            missing("mqtt.js")
        return program, {**os.environ, "NODE_PATH": str(modules)}

    return node


@pytest.fixture
def mqttjs(node: Callable[[], tuple[str, dict[str, str]]]) -> Callable[..., list[dict[str, Any]]]:
    """Run client.cjs with a plan, and return the events that it told."""
    program, environment = node()

    def run(
        url: str,
        token: dict[str, Any],
        steps: list[dict[str, Any]],
        *,
        authority: Path | None = None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        plan = {
            "url": url,
            "options": {"username": token["mqtt_username"], "password": token["token"], **options},
            "steps": steps,
        }
        ended = subprocess.run(
            [program, str(Path(__file__).with_name("client.cjs"))],
            input=json.dumps(plan),
            env={**environment, **({"NODE_EXTRA_CA_CERTS": str(authority)} if authority else {})},
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_SECONDS,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return [json.loads(line) for line in ended.stdout.splitlines()]

    return run


@pytest.fixture(scope="session")
def loopback_origins(secure_service: Any) -> None:
    """Allow the `Origin` that paho sends over WebSocket and TLS, as if it were a page."""
    settings = {"allowed_origins": ["http://127.0.0.1:*", "https://127.0.0.1:*"]}
    path = f"/v2/organizations/{secure_service.organization_id}"
    answer = secure_service.call("PATCH", path, key=secure_service.admin_key, json={"settings": settings})
    assert answer.status_code == 200, answer.text


# A token of 60 seconds, the shortest there is: its minute runs beside the other tests.


@dataclasses.dataclass(frozen=True)
class Expiring:
    """Connections whose token ends while other tests run.

    Attributes:
        token: the answer that made it.
        exp: its end, unix seconds.
        clients: by MQTT version; connected and subscribed to chat/room1.
        renewed: likewise, but moved to a token that lasts longer.
    """

    token: dict[str, Any]
    exp: float
    clients: dict[int, Paho]
    renewed: dict[int, Paho]


@pytest.fixture(scope="session")
def expiring(service: Any) -> Iterator[Expiring]:
    """Connect with a token of 60 seconds."""
    token = service.create_token("short-lived", ttl=60)
    clients: dict[int, Paho] = {}
    renewed: dict[int, Paho] = {}
    for into in (clients, renewed):
        for version in (4, 5):
            client = Paho(
                service.mqtt, username=token["mqtt_username"], password=token["token"], version=version
            )
            assert client.connect() == 0
            assert client.subscribe("chat/room1") == [0]
            into[version] = client
    for client in renewed.values():
        assert client.publish("$auth/token", service.create_token("short-lived")["token"]) == 0
    yield Expiring(token, datetime.fromisoformat(token["expires_at"]).timestamp(), clients, renewed)
    for client in (*clients.values(), *renewed.values()):
        client.close()


@pytest.fixture(scope="session", autouse=True)
def _minute_begins(request: pytest.FixtureRequest) -> None:
    """Begin the minute with the first test here, if the test that waits for its end is among them."""
    if any(item.path.name == "test_expiry.py" for item in request.session.items):
        request.getfixturevalue("expiring")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the test that waits for the end of that minute last."""
    items.sort(key=lambda item: item.path.name == "test_expiry.py")
