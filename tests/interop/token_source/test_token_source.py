"""clients/js/token-source.mjs under plain mqtt.js, in Node and in headless Chromium."""

import json
import queue
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tokenmq.client.sync import Client

pytestmark = pytest.mark.interop

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SOURCE = ROOT / "clients" / "js" / "token-source.mjs"
PATIENCE_SECONDS = 20
PAGE = """<!doctype html><script src="/mqtt.js"></script><script type="module">
import { TokenSource } from "/token-source.mjs";
import { run } from "/page.mjs";
let told = Promise.resolve();  // one after the other: what is told first arrives first
const post = (what) => fetch("/tell", { method: "POST", body: JSON.stringify(what) });
const tell = (what) => (told = told.then(() => post(what)));
run(globalThis.mqtt, TokenSource, PLAN, tell).catch((error) => tell({ event: "failed", what: `${error}` }));
</script>"""


class Running:
    """A program that uses the source, and what it tells."""

    def __init__(self) -> None:
        self.told: queue.Queue[dict[str, Any]] = queue.Queue()
        self.before: list[dict[str, Any]] = []

    def wait_for(self, event: str) -> Any:
        """Return what it tells by the next event of this name."""
        while (told := self.told.get(timeout=PATIENCE_SECONDS))["event"] != event:
            assert told["event"] != "failed", told
            self.before.append(told)
        self.before.append(told)
        return told.get("what")


class Backend:
    """The application's own server: its page, what the page tells, and tokens for it."""

    def __init__(self, running: Running, plan: dict[str, Any], service: Any, mqttjs: Path) -> None:
        files = {
            "/": ("text/html", PAGE.replace("PLAN", json.dumps(plan)).encode()),
            "/mqtt.js": ("text/javascript", mqttjs.read_bytes()),
            "/token-source.mjs": ("text/javascript", SOURCE.read_bytes()),
            "/page.mjs": ("text/javascript", (HERE / "page.mjs").read_bytes()),
        }
        backend = self
        self.refuses = False

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, content = files.get(self.path, ("text/plain", b""))
                self.answer(200 if content else 404, kind, content)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if self.path == "/tell":
                    running.told.put(json.loads(body))
                    self.answer(200, "text/plain", b"")
                elif backend.refuses:
                    self.answer(503, "application/json", b"{}")
                else:
                    token = service.create_token("carol", topics=["chat/#"])
                    self.answer(200, "application/json", json.dumps(token).encode())

            def answer(self, status: int, kind: str, content: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(content)))
                self.send_header("access-control-allow-origin", "*")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        if "getTokenUrl" in plan:
            plan["getTokenUrl"] = f"{self.url}/token"
            files["/"] = ("text/html", PAGE.replace("PLAN", json.dumps(plan)).encode())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(params=["node", "chromium"])
def run(
    request: pytest.FixtureRequest, service: Any, node: Any, find_program: Any, tmp_path: Path
) -> Iterator[Callable[..., Running]]:
    """Run the source, in Node or in Chromium."""
    ended: list[Callable[[], Any]] = []
    program, environment = node()

    def start(**plan: Any) -> Running:
        plan = {"url": service.websocket_url, "topic": "chat/js", "clientId": f"js-{uuid4().hex}", **plan}
        running = Running()
        modules = Path(environment["NODE_PATH"])
        backend = Backend(running, plan, service, modules / "mqtt" / "dist" / "mqtt.min.js")
        running.backend = backend  # type: ignore[attr-defined]
        ended.append(backend.close)
        if request.param == "node":
            process = subprocess.Popen(
                [program, str(HERE / "node.mjs")],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdin and process.stdout
            process.stdin.write(json.dumps({**plan, "source": SOURCE.as_uri()}))
            process.stdin.close()
            lines = process.stdout
            reading = threading.Thread(
                target=lambda: [running.told.put(json.loads(line)) for line in lines], daemon=True
            )
            reading.start()
        else:
            flags = [
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-dev-shm-usage",
            ]
            process = subprocess.Popen(
                [find_program("chromium"), *flags, f"--user-data-dir={tmp_path / 'profile'}", backend.url],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )

        def end() -> None:
            process.kill()
            process.wait(PATIENCE_SECONDS)
            if process.stdout:
                process.stdout.close()

        ended.append(end)
        return running

    yield start
    for end in reversed(ended):
        end()


def test_answers_that_are_none_sleep_and_stopping(node: Any) -> None:
    program, environment = node()
    ran = subprocess.run(
        [program, str(HERE / "alone.mjs"), SOURCE.as_uri()],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (ran.stdout, ran.returncode) == ("good\n", 0), ran.stderr


def test_the_program_of_the_clients_page_prints_what_it_shows(
    service: Any, node: Any, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
    ((shown, printed),) = re.findall(
        r"^```js\n(.*?)^```\n\n```text\n(.*?)^```", page, re.DOTALL | re.MULTILINE
    )
    program, environment = node()
    modules = Path(environment["NODE_PATH"])
    backend = Backend(Running(), {}, service, modules / "mqtt" / "dist" / "mqtt.min.js")
    here = shown.replace("/my-backend/token", f"{backend.url}/token").replace(
        "ws://127.0.0.1:8083/mqtt", service.websocket_url
    )
    (tmp_path / "node_modules").symlink_to(modules, target_is_directory=True)
    shutil.copy(SOURCE, tmp_path)
    (tmp_path / "program.mjs").write_text(here, encoding="utf-8")
    lines: queue.Queue[str] = queue.Queue()
    process = subprocess.Popen([program, str(tmp_path / "program.mjs")], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        out = process.stdout
        reading = threading.Thread(target=lambda: [lines.put(line) for line in out], daemon=True)
        reading.start()
        assert lines.get(timeout=PATIENCE_SECONDS) == printed
    finally:
        process.kill()
        process.wait(PATIENCE_SECONDS)
        reading.join(PATIENCE_SECONDS)
        out.close()
        backend.close()


def test_it_is_one_file_of_under_100_lines_that_needs_nothing() -> None:
    text = SOURCE.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 100 and "import" not in text and "require" not in text


def test_it_exchanges_refreshes_in_place_and_stays_connected(service: Any, run: Any, paho: Any) -> None:
    given = service.create_token("bob", topics=["chat/#"])
    running = run(
        tokenServiceUrl=service.http_url,
        organizationId=service.organization_id,
        externalToken=given["token"],
        end=2,
    )
    child = running.wait_for("token")
    assert child != given["token_id"]
    running.wait_for("subscribed")
    publisher = paho(service.create_token("writer"))
    publisher.connect()
    publisher.publish("chat/js", "renew")
    assert running.wait_for("refreshed") == child
    publisher.publish("chat/js", "after")
    assert running.wait_for("message") == "after"
    running.wait_for("done")
    assert [told["event"] for told in running.before].count("connected") == 1


def test_a_token_of_a_new_family_is_shown_to_the_broker(service: Any, run: Any, paho: Any) -> None:
    running = run(getTokenUrl="", end=2)
    first = running.wait_for("token")
    running.wait_for("subscribed")
    publisher = paho(service.create_token("writer"))
    publisher.connect()
    publisher.publish("chat/js", "renew")
    second = running.wait_for("refreshed")
    assert second != first
    # The connection has left the first family.
    service.revoke(token_id=first)
    publisher.publish("chat/js", "after")
    assert running.wait_for("message") == "after"
    running.wait_for("done")
    assert [told["event"] for told in running.before].count("connected") == 1


def test_revoked_it_asks_once_and_goes_on_with_what_it_is_given(service: Any, run: Any, paho: Any) -> None:
    running = run(getTokenUrl="", end=1)
    first = running.wait_for("token")
    running.wait_for("subscribed")
    service.revoke(token_id=first)
    assert running.wait_for("refreshed") != first
    running.wait_for("subscribed")
    publisher = paho(service.create_token("writer"))
    publisher.connect()
    publisher.publish("chat/js", "again")
    assert running.wait_for("message") == "again"
    running.wait_for("done")


def test_refused_for_good_it_ends_and_says_so(service: Any, run: Any) -> None:
    given = service.create_token("dora", topics=["chat/#"])
    running = run(
        tokenServiceUrl=service.http_url,
        organizationId=service.organization_id,
        externalToken=given["token"],
        end=1,
    )
    running.wait_for("subscribed")
    service.revoke(user_id="dora")
    assert running.wait_for("ended")
    running.wait_for("done")


def test_this_client_mqtt_js_and_mosquitto_chat(service: Any, run: Any, mosquitto: Any) -> None:
    room = f"chat/room-{uuid4().hex}"
    running = run(getTokenUrl="", topic=f"{room}/python", replyTopic=f"{room}/js", end=1)
    running.wait_for("subscribed")
    listening = mosquitto.subscribe(service.create_token("listener"), "mqttv5", f"{room}/#")
    assert listening.wait_for("Subscribed (mid: 1): ") == "1"
    with Client(token_service_url=service.http_url) as client:
        client.connect_with_token(
            service.ready["mqtt_url"], get_token=lambda: service.create_token("python", topics=["chat/#"])
        )
        client.subscribe(f"{room}/js")
        client.publish(f"{room}/python", "hello")
        assert next(iter(client.messages)).text == "got hello"
    assert running.wait_for("message") == "hello"
    assert [listening.wait_for("got ") for _ in range(2)] == [f"{room}/python hello", f"{room}/js got hello"]
