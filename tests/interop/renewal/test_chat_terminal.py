"""The chat of examples/chat in two terminals, a broker that is started again, and who is refused."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.system

PROGRAM = Path(__file__).parents[3] / "examples" / "chat_terminal.py"
FAST_CLIENT = Path(__file__).with_name("fast_client.py")
PATIENCE_SECONDS = 30
ROOM = "chat/room1"
LIVES = 3
LIFE_SECONDS = 60
SPEED = 10


class Terminal:
    """`chat_terminal.py` in a process of its own, as somebody.

    Attributes:
        shown: the lines that were waited for, and those before them.
    """

    def __init__(self, name: str, backend: str, speed: int) -> None:
        self.shown: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(FAST_CLIENT), str(speed), str(PROGRAM), name, backend],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))

    def wait_for(self, text: str) -> None:
        """Wait until it has shown a line that has this in it."""
        while not any(text in line for line in self.shown):
            self.shown.append(self._lines.get(timeout=PATIENCE_SECONDS))

    def messages(self) -> list[str]:
        """Return all messages that it has shown, each as `who: what`."""
        return [line.partition(" ")[2] for line in self.shown if not line.startswith("*")]

    def wait_until_it_ends(self) -> int:
        """Return its exit code."""
        return self._process.wait(PATIENCE_SECONDS)

    def say(self, text: str) -> None:
        assert self._process.stdin is not None
        print(text, file=self._process.stdin, flush=True)

    def leave(self) -> int:
        """End its input, and return its exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(PATIENCE_SECONDS)
        self._reading.join()
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()


@pytest.fixture
def quick(start_fast: Callable[..., Any]) -> Any:
    """A service of its own where a minute lasts six seconds; the test starts it again."""
    return start_fast(SPEED)


@pytest.fixture
def way(quick: Any, network: Callable[[Any], Any]) -> Any:
    """The network to the service."""
    return network(quick.service)


@pytest.fixture
def join(quick: Any, way: Any, chat_backend: Callable[..., Any]) -> Iterator[Callable[[str], Terminal]]:
    """Join the chat by a name."""
    places = {"TOKENMQ_URL": way.token_service_url, "CHAT_BROKER": way.host}
    backend = chat_backend(quick.service, **places, CHAT_TTL=str(LIFE_SECONDS))
    joined: list[Terminal] = []

    def join(name: str) -> Terminal:
        joined.append(Terminal(name, backend.url, SPEED))
        return joined[-1]

    yield join
    for terminal in joined:
        terminal.close()


def publish(service: Any, text: str) -> None:
    answer = service.call("POST", "/v1/publish", json={"topic": ROOM, "payload": text})
    assert answer.status_code == 200, answer.text


def test_two_terminals_chat_and_see_each_other_come_and_go(join: Callable[[str], Terminal]) -> None:
    alice = join("alice")
    alice.wait_for("* here now: ")
    alice.say("is anybody here?")
    alice.wait_for("alice: is anybody here?")
    bob = join("bob")
    bob.wait_for("alice: is anybody here?")
    alice.wait_for("* bob has come")
    bob.say("yes \x1b[31m")
    alice.wait_for("bob: yes \N{REPLACEMENT CHARACTER}[31m")
    assert bob.leave() == 0
    alice.wait_for("* bob has gone (disconnected)")
    assert alice.leave() == 0


def test_it_goes_on_through_three_tokens_and_a_broker_that_is_started_again(
    quick: Any, way: Any, join: Callable[[str], Terminal]
) -> None:
    for number in range(1, 61):
        publish(quick.service, f"line {number}")
    alice, bob = join("alice"), join("bob")
    expected = [f"server: line {number}" for number in range(11, 61)]
    for terminal in (alice, bob):
        terminal.wait_for("server: line 60")
        assert terminal.messages() == expected
    bob.wait_for("* here now: ")
    asked = way.http.sent(b"POST /v2/tokens ")
    quick.wait_until(quick.now() + LIVES * LIFE_SECONDS)
    assert way.http.sent(b"POST /v2/tokens ") - asked >= 2 * LIVES
    bob.say("in the fourth life")
    for terminal in (alice, bob):
        terminal.wait_for("bob: in the fourth life")

    quick.service.restart()
    publish(quick.service, "said while nobody was connected")
    way.lead_to(quick.service)
    for terminal in (alice, bob):
        terminal.wait_for("server: said while nobody was connected")
    alice.say("and on")
    expected += ["bob: in the fourth life", "server: said while nobody was connected", "alice: and on"]
    for terminal in (alice, bob):
        terminal.wait_for("alice: and on")
        assert terminal.messages() == expected


@pytest.mark.parametrize(("name", "permission"), [("mallory", "presence"), ("trudy", "history")])
def test_who_may_not_know_is_told_so_and_nothing_else(
    quick: Any, join: Callable[[str], Terminal], name: str, permission: str
) -> None:
    every = ["publish", "subscribe", "presence", "history"]
    rules = [
        {"user": name, "permissions": [permission], "topics": [ROOM], "effect": "deny"},
        {"user": "*", "permissions": every, "topics": ["chat/#"]},
    ]
    answer = quick.service.call("PUT", "/v2/acl", json={"version": "1", "rules": rules})
    assert answer.status_code == 200, answer.text
    publish(quick.service, "a secret")
    terminal = join(name)
    terminal.wait_for(f"denies {permission} on {ROOM}")
    assert terminal.shown[-1].startswith("* refused: ")
    assert terminal.wait_until_it_ends() == 1
    if permission == "history":
        assert len(terminal.shown) == 1
    else:
        assert not any("here now" in line for line in terminal.shown)


def test_name_that_is_no_users_is_refused(join: Callable[[str], Terminal]) -> None:
    terminal = join("server")
    terminal.wait_for("is reserved for the servers' own connections")
    assert terminal.shown[-1].startswith("* refused: ")
    assert terminal.wait_until_it_ends() == 1
