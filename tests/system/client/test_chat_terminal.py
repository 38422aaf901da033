"""The chat of examples/chat in two terminals."""

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
PATIENCE_SECONDS = 30


class Terminal:
    """`chat_terminal.py` in a process of its own, as somebody."""

    def __init__(self, name: str, backend: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(PROGRAM), name, backend],
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
        """Wait for a line that has this in it."""
        while text not in self._lines.get(timeout=PATIENCE_SECONDS):
            pass

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
def join(service: Any, chat_backend: Callable[..., Any]) -> Iterator[Callable[[str], Terminal]]:
    """Join the chat by a name."""
    backend = chat_backend(service)
    joined: list[Terminal] = []

    def join(name: str) -> Terminal:
        joined.append(Terminal(name, backend.url))
        return joined[-1]

    yield join
    for terminal in joined:
        terminal.close()


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
