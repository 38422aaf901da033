"""The examples of README.md, docs/http-api.md and docs/policies.md, run as they are printed.

In a `console` block a line that begins with `$ ` is a command (it goes on while lines end in
a backslash or a quote is open), the lines after it are what it prints: `…` stands for
anything, white space does not count. A `text` block after a command that does not end is
what that one prints next.
"""

from __future__ import annotations

import os
import queue
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 30
BLOCK = re.compile(r"^```(console|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


class Example(NamedTuple):
    """A command and what it prints; a command of None goes on with the one that runs."""

    command: str | None
    expected: str


def examples(page: str) -> Iterator[Example]:
    """Yield what a page shows, in its order."""
    for kind, block in BLOCK.findall(page):
        if kind == "text":
            yield Example(None, block)
            continue
        for part in block.removeprefix("$ ").split("\n$ "):
            yield Example(*split(part))


def split(part: str) -> tuple[str, str]:
    """Split a command, of however many lines, from what it prints."""
    lines = part.split("\n")
    for count in range(1, len(lines) + 1):
        command = "\n".join(lines[:count])
        if not command.endswith("\\") and is_whole(command):
            return command, "\n".join(lines[count:])
    raise AssertionError(f"a quote is left open in {part!r}")


def is_whole(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:
        return False
    return True


def is_like(got: str, expected: str) -> bool:
    """Tell whether an output is the one that is shown."""
    parts = re.sub(r"\s+", "", expected).split("…")
    wanted = ".*".join(re.escape(part) for part in parts)
    return re.fullmatch(wanted, re.sub(r"\s+", "", got), re.DOTALL) is not None


class Shell:
    """One shell for all commands of a page, so that variables live from one to the next."""

    def __init__(self, cwd: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
            env=environment,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def start(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def run(self, command: str) -> str:
        """Run a command to its end, and return what it printed."""
        self.start(f"{command}\nprintf '\\n<end>\\n'")
        printed = []
        while (line := self.line()) != "<end>":
            printed.append(line)
        return "\n".join(printed)

    def line(self) -> str:
        line = self._lines.get(timeout=PATIENCE_SECONDS)
        assert line is not None, "the shell has ended"
        return line

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


@pytest.fixture
def service(start_service: Any) -> Any:
    """A service of its own: the examples change keys, organizations and settings."""
    if shutil.which("curl") is None:
        if os.environ.get("TOKENMQ_REQUIRE_INTEROP") == "1":
            pytest.fail("curl is missing")
        pytest.skip("curl is missing")
    return start_service()


@pytest.fixture
def shells(service: Any) -> Iterator[list[Shell]]:
    """Two terminals in a folder in which the data folder has the name that it has by default."""
    (service.folder.parent / "tokenmq-data").symlink_to(service.folder, target_is_directory=True)
    host, port = service.mqtt
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TOKENMQ_")}
    environment = {
        **inherited,
        "TOKENMQ_KEY": service.secret_key,
        "TOKENMQ_MQTT_HOST": host,
        "TOKENMQ_MQTT_PORT": str(port),
        "KEY": service.secret_key,
        "ADMIN_KEY": service.admin_key,
        "ORG": service.organization_id,
    }
    made = [Shell(service.folder.parent, environment) for _ in range(2)]
    yield made
    for shell in made:
        shell.close()


def as_here(command: str, service: Any) -> str:
    """Put this service and this program in the place of those that the page names."""
    program = f"{shlex.quote(sys.executable)} -m tokenmq"
    return command.replace("http://127.0.0.1:8080", service.http_url).replace(".venv/bin/tokenmq", program)


def test_tour_of_the_readme_does_what_it_shows(service: Any, shells: list[Shell]) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    tour = page.partition("## Five minutes")[2].partition("\n## ")[0]
    shown = [example for example in examples(tour) if example.command or "$ " not in example.expected]
    assert len(shown) >= 8
    second, third = shells
    for command, expected in shown:
        if command is None:
            got = third.line()
        elif " sub 'chat/+'" in command:
            third.start(as_here(command, service))
            got = third.line()
        else:
            got = second.run(as_here(command, service))
        assert is_like(got, expected), f"{command}\nprinted\n{got}\nand not\n{expected}"
    assert third.run("echo $?").strip() == "3"


def test_calls_of_the_http_page_are_answered_as_it_shows(service: Any, shells: list[Shell]) -> None:
    page = (ROOT / "docs" / "http-api.md").read_text(encoding="utf-8")
    shown = list(examples(page))
    assert len(shown) >= 14
    for command, expected in shown:
        assert command is not None
        got = shells[0].run(as_here(command, service))
        assert is_like(got, expected), f"{command}\nprinted\n{got}\nand not\n{expected}"


def test_commands_of_the_policies_page_do_what_it_shows(service: Any, shells: list[Shell]) -> None:
    page = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
    shown = list(examples(page))
    assert len(shown) >= 8
    (document,) = re.findall(r"^```json\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    folder = service.folder.parent
    (folder / "first.json").write_text(document, encoding="utf-8")
    assert "the policy is good" in shells[0].run(
        as_here(".venv/bin/tokenmq acl validate first.json", service)
    )
    for command, expected in shown:
        assert command is not None
        if command == "cat old.json":
            (folder / "old.json").write_text(expected, encoding="utf-8")
        got = shells[0].run(as_here(re.sub("^tokenmq", ".venv/bin/tokenmq", command), service))
        assert is_like(got, expected), f"{command}\nprinted\n{got}\nand not\n{expected}"
