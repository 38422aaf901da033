"""Web pages in headless Chromium: served from origins of their own, holding the stand-in."""

from __future__ import annotations

import http.server
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
PATIENCE_MS = 30_000
# Names of loopback, as far as this browser is told.
NAMES = "MAP *.example 127.0.0.1"


class Site(http.server.BaseHTTPRequestHandler):
    """Serves the page and its scripts under every name of loopback."""

    files: dict[str, bytes]

    def do_GET(self) -> None:
        body = self.files.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Type", "text/html" if self.path == "/" else "text/javascript")
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *words: object) -> None:
        """Say nothing."""


class Window:
    """A page, open at one origin."""

    def __init__(self, page: Page, failed: type[Exception]) -> None:
        self._page = page
        self._failed = failed

    def make(self, clock: dict[str, float], **options: Any) -> None:
        """Make the stand-in with the options of the official client."""
        self._page.evaluate("([options, clock]) => make(options, clock)", [options, clock])

    def ask(self, verb: str, *words: Any) -> Any:
        """Call a method of the stand-in and return its answer.

        Raises: `Failed` of the conftest above.
        """
        script = """async ([verb, words]) => {
            try { return { answer: await client[verb](...words) }; }
            catch ({ type, status, message }) { return { failed: { type, status, message } }; }
        }"""
        told = self._page.evaluate(script, [verb, words])
        if "failed" in told:
            raise self._failed(**told["failed"])
        return told["answer"]

    def upgrade(self, url: str) -> str:
        """Tell how an attempt to open a WebSocket ends: `open` or `refused`."""
        ended: str = self._page.evaluate("upgrade", url)
        return ended

    def told(self, event: str) -> list[dict[str, Any]]:
        """Return all events of a name so far."""
        return [told for told in self._page.evaluate("events") if told["event"] == event]

    def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        """Wait until so many events of a name were told, and return the last of them."""
        self._page.wait_for_function(
            "([event, count]) => events.filter((told) => told.event === event).length >= count",
            arg=[event, count],
            timeout=PATIENCE_MS,
        )
        return self.told(event)[count - 1]


@pytest.fixture(scope="session")
def site(node: Callable[[], tuple[str, dict[str, str]]]) -> Iterator[int]:
    """Serve the page; returns the port."""
    modules = Path(node()[1]["NODE_PATH"])
    files = {
        "/": HERE / "page.html",
        "/client.cjs": HERE.with_name("client.cjs"),
        "/mqtt.min.js": modules / "mqtt" / "dist" / "mqtt.min.js",
    }
    handler = type("Filled", (Site,), {"files": {name: path.read_bytes() for name, path in files.items()}})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Run Chromium, for a module: its loop must be gone when other tests run theirs."""
    program = shutil.which("chromium") or missing()
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=[f"--host-resolver-rules={NAMES}", *as_root]
        )
        yield browser
        browser.close()


def missing() -> NoReturn:
    reason = "Chromium is missing; scripts/install-interop.sh installs it"
    if os.environ.get("TOKENMQ_REQUIRE_INTEROP") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def visit(chromium: Browser, site: int, failed: type[Exception]) -> Iterator[Callable[[str], Window]]:
    """Open the page at a host name of loopback; its origin has the site's port."""
    context = chromium.new_context()

    def visit(host: str) -> Window:
        page = context.new_page()
        page.goto(f"http://{host}:{site}/")
        return Window(page, failed)

    yield visit
    context.close()


@pytest.fixture(scope="session")
def origin_of(site: int) -> Callable[[str], str]:
    """Return the origin of the page at a host name."""
    return lambda host: f"http://{host}:{site}"


@pytest.fixture(scope="session")
def slower(start_fast: Callable[[float], Any]) -> Any:
    """A service where a minute lasts six seconds: a page that stalls for half a second loses nothing."""
    return start_fast(10)
