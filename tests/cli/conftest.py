"""The command line in this process, a service that answers from a table, and a broker that is none."""

import json
import os
import sys
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

import tokenmq
from tokenmq.cli import main
from tokenmq.client import Message, PublishResult, Status


@dataclass
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, with no variable of ours set."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TOKENMQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "argv", [".venv/bin/tokenmq"])


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command and return its exit code and what it printed."""

    def run_(*words: str) -> Ran:
        capsys.readouterr()
        code = main(words)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run_


class FakeService:
    """A token service that answers from a table.

    Attributes:
        answers: (method, path) to (status, body).
        asked: (method, path with query, body, authorization) of every request.
    """

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
        self.asked: list[tuple[str, str, Any, str | None]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("content-length", 0))
                body = json.loads(self.rfile.read(length)) if length else None
                service.asked.append((self.command, self.path, body, self.headers.get("authorization")))
                missing = (404, {"error": "not_found", "detail": "no such object"})
                status, told = service.answers.get((self.command, self.path.partition("?")[0]), missing)
                content = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815
            do_GET = do_PATCH = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def bodies(self) -> list[Any]:
        return [body for _, _, body, _ in self.asked]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    """Serve on loopback, and name the service and an `sk_` key in the environment."""
    fake = FakeService()
    monkeypatch.setenv("TOKENMQ_URL", fake.url)
    monkeypatch.setenv("TOKENMQ_KEY", "sk_abc")
    yield fake
    fake.close()


@dataclass
class FakeBroker:
    """Stands in for the client, and keeps what was asked of it."""

    made: dict[str, Any] = field(default_factory=dict)
    did: list[tuple[Any, ...]] = field(default_factory=list)
    inbox: list[Message | BaseException] = field(default_factory=list)
    outcome: int | Exception = 0

    def __call__(self, **settings: Any) -> "FakeBroker":
        self.settings = settings
        return self

    def connect(self, url: str, **login: Any) -> None:
        self.made = {"url": url, **login, "version": self.settings["protocol_version"]}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.did.append(("close",))

    def subscribe(self, topic_filter: str, *, qos: int) -> None:
        self.did.append(("subscribe", topic_filter, qos))

    def publish(self, topic: str, payload: bytes, *, qos: int, timeout_seconds: float) -> PublishResult:
        self.did.append(("publish", topic, payload, qos))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return PublishResult(topic, qos, Status.ACKNOWLEDGED if qos else Status.SENT, self.outcome)

    @property
    def messages(self) -> Iterator[Message]:
        for message in self.inbox:
            if isinstance(message, BaseException):
                raise message
            yield message


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> FakeBroker:
    """Put a broker that is none in the place of the MQTT client."""
    fake = FakeBroker()
    monkeypatch.setattr("tokenmq.cli.broker.Client", fake)
    return fake


@dataclass
class Ready:
    http_url: str = "http://127.0.0.1:8080"
    mqtt_url: str = "mqtt://127.0.0.1:1883"
    websocket_url: str = "ws://127.0.0.1:8083/mqtt"
    tls: dict[str, str] = field(default_factory=dict)

    @property
    def urls(self) -> dict[str, str]:
        return {"http": self.http_url, "mqtt": self.mqtt_url, "websocket": self.websocket_url, **self.tls}


@dataclass
class FakeWiring:
    """Stands in for tokenmq.app.

    Attributes:
        keys: what is in its database.
        made: how many keys it has made.
    """

    ready: Ready = field(default_factory=Ready)
    keys: set[str] = field(default_factory=set)
    made: int = 0
    fails: Exception | None = None

    def initialise(
        self, settings: Any, *, demo: bool, rotate: bool, admin_key: str | None, secret_key: str | None
    ) -> Any:
        admin_key = self._kept_or_new("ik", None if rotate else admin_key)
        if not demo:
            return types.SimpleNamespace(admin_key=admin_key, organization=None, secret_key=None)
        return types.SimpleNamespace(
            admin_key=admin_key,
            organization=types.SimpleNamespace(id="org_k7xm4pqr2n5t", name="demo"),
            secret_key=self._kept_or_new("sk", secret_key),
        )

    def _kept_or_new(self, kind: str, kept: str | None) -> str:
        if kept in self.keys:
            return kept
        self.made += 1
        self.keys.add(f"{kind}_{self.made}")
        return f"{kind}_{self.made}"

    def serve(self, settings: Any, on_ready: Callable[[Any], None]) -> int:
        if self.fails:
            raise self.fails
        on_ready(self.ready)
        return 0


@pytest.fixture
def wiring(monkeypatch: pytest.MonkeyPatch) -> FakeWiring:
    """Put a server that serves nothing in the place of the wiring."""
    fake = FakeWiring()
    monkeypatch.setattr(tokenmq, "app", fake, raising=False)
    monkeypatch.setitem(sys.modules, "tokenmq.app", fake)
    return fake
