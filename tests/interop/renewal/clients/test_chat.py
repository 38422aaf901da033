"""The chat of examples/chat: two windows of headless Chromium, a broker that is started again."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.interop

LIVES = 3
SPEED = 10
ROOM = "chat/room1"
PATIENCE_MS = 30_000
SIZE: Any = {"width": 640, "height": 668}
TALK = (
    "Hello Bob, are we alone here?",
    "Hello! The list on the right is live.",
    "And what was said before you came?",
    "The last 50 messages were here.",
    "My token has ended three times since I came, by the way. I did not notice.",
    "Nor did I.",
)
# The page's clocks go as fast as the service's.
FAST = f"""{{
  const now = performance.now.bind(performance), later = setTimeout;
  performance.now = () => now() * {SPEED};
  globalThis.setTimeout = (act, ms = 0, ...rest) => later(act, ms / {SPEED}, ...rest);
}}"""


class Window:
    """The chat's page, joined by a name.

    Attributes:
        websockets: how many it has opened.
        page: to look at.
    """

    def __init__(self, page: Page, url: str, name: str) -> None:
        self.page = page
        self.websockets = 0
        page.set_default_timeout(PATIENCE_MS)
        page.on("websocket", self._note)
        page.on("dialog", lambda dialog: pytest.fail(f"the page was made to say {dialog.message}"))
        page.add_init_script(FAST)
        page.goto(url)
        page.get_by_placeholder("Your name").fill(name)
        page.get_by_role("button", name="Join").click()

    def _note(self, _: object) -> None:
        self.websockets += 1

    def sees_people(self, *names: str) -> None:
        """Wait until these are here, and nobody else."""
        people = self.page.locator("#people li span:not(.face)")
        expect(people).to_have_text(list(names), timeout=PATIENCE_MS)
        expect(self.page.locator("#count")).to_have_text(str(len(names)))

    def sees_status(self, text: str) -> None:
        """Wait until this is what it says of its connection."""
        expect(self.page.locator("#status")).to_have_text(text, timeout=PATIENCE_MS)

    def sees_last(self, name: str, text: str) -> None:
        """Wait until the last message is this."""
        last = self.page.locator("#log li").last
        expect(last.locator(".said")).to_have_text(text, timeout=PATIENCE_MS)
        expect(last.locator(".who")).to_contain_text(name)

    def said(self) -> list[str]:
        """Return everything that it shows, in order."""
        return self.page.locator("#log .said").all_text_contents()

    def say(self, text: str) -> None:
        """Send a message."""
        self.page.get_by_placeholder("Message").fill(text)
        self.page.get_by_role("button", name="Send").click()

    def renew(self) -> None:
        """Wait until it asks its backend for the next token."""
        with self.page.expect_response(lambda answer: "/token?" in answer.url):
            pass

    def leave(self) -> None:
        """Close it."""
        self.page.context.close()


@pytest.fixture
def quick(start_fast: Callable[..., Any]) -> Any:
    """A service of its own where a minute lasts six seconds; the test starts it again."""
    return start_fast(SPEED)


@pytest.fixture
def join(
    chromium: Browser,
    quick: Any,
    network: Callable[[Any], Any],
    node: Callable[[], tuple[str, dict[str, str]]],
    chat_backend: Callable[..., Any],
) -> Iterator[Callable[[str], Window]]:
    """Open a window on the chat and join by a name; `join.way` is the network to the service."""
    way = network(quick.service)
    backend = chat_backend(
        quick.service,
        TOKENMQ_URL=way.token_service_url,
        CHAT_BROKER=way.host,
        MQTTJS=str(Path(node()[1]["NODE_PATH"]) / "mqtt" / "dist" / "mqtt.min.js"),
        CHAT_TTL="60",
    )
    contexts = []

    def join(name: str) -> Window:
        contexts.append(chromium.new_context(viewport=SIZE))
        return Window(contexts[-1].new_page(), backend.url, name)

    join.way = way  # type: ignore[attr-defined]
    yield join
    for context in contexts:
        context.close()


def publish(service: Any, text: str) -> None:
    answer = service.call("POST", "/v1/publish", json={"topic": ROOM, "payload": text})
    assert answer.status_code == 200, answer.text


def take(path: str, *windows: Window) -> None:
    """Take a picture of windows side by side."""
    shots = [base64.b64encode(window.page.screenshot()).decode() for window in windows]
    desk = windows[0].page.context.new_page()
    desk.set_viewport_size({"width": SIZE["width"] * len(shots), "height": SIZE["height"]})
    images = "".join(f'<img src="data:image/png;base64,{shot}">' for shot in shots)
    desk.set_content(f'<body style="margin: 0; display: flex">{images}')
    desk.screenshot(path=path)
    desk.close()


def test_chat_goes_on_through_three_tokens_and_a_broker_that_is_started_again(quick: Any, join: Any) -> None:
    lines = [*(f"line {number}" for number in range(1, 60)), "Good morning! The room is open."]
    for line in lines:
        publish(quick.service, line)
    alice, bob = join("alice"), join("bob")
    for window in (alice, bob):
        window.sees_status("connected")
        window.sees_people("alice", "bob")
        window.sees_last("server", lines[-1])
        assert window.said() == lines[-50:]

    for _ in range(LIVES):
        alice.renew()
    for number, text in enumerate(TALK):
        here, there = (alice, bob) if number % 2 == 0 else (bob, alice)
        here.say(text)
        there.sees_last("alice" if here is alice else "bob", text)
    assert (alice.websockets, bob.websockets) == (1, 1)
    if picture := os.environ.get("CHAT_PICTURE"):
        take(picture, alice, bob)

    markup = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    bob.say(markup)
    alice.sees_last("bob", markup)
    assert alice.page.locator("#log img, #log script").count() == 0

    before = alice.said()
    quick.service.restart()
    for window in (alice, bob):
        window.sees_status("reconnecting")
    publish(quick.service, "said while nobody was connected")
    join.way.lead_to(quick.service)
    for window in (alice, bob):
        window.sees_status("connected")
        window.sees_people("alice", "bob")
        window.sees_last("server", "said while nobody was connected")
    alice.say("and on")
    bob.sees_last("alice", "and on")
    assert alice.said() == bob.said() == [*before, "said while nobody was connected", "and on"]

    bob.leave()
    alice.sees_people("alice")


def test_who_may_not_know_sees_that_and_nothing_else(quick: Any, join: Any) -> None:
    denied = {"mallory": "presence", "trudy": "history"}
    every = ["publish", "subscribe", "presence", "history"]
    rules: list[dict[str, Any]] = [
        {"user": name, "permissions": [permission], "topics": [ROOM], "effect": "deny"}
        for name, permission in denied.items()
    ]
    rules.append({"user": "*", "permissions": every, "topics": ["chat/#"]})
    answer = quick.service.call("PUT", "/v2/acl", json={"version": "1", "rules": rules})
    assert answer.status_code == 200, answer.text
    publish(quick.service, "a secret")
    for name, permission in denied.items():
        window = join(name)
        reason = re.compile(f"not allowed: .*denies {permission} on {ROOM}")
        expect(window.page.locator("#status")).to_have_text(reason, timeout=PATIENCE_MS)
        assert window.said() == []
    join("alice").sees_last("server", "a secret")
    # No user has this name: the page says what the token service says.
    reason = "document.querySelector('input[name=name]').validationMessage"
    nobody = join("server").page
    nobody.wait_for_function(reason)
    assert "server" in nobody.evaluate(reason)
