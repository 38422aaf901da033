"""The good client (`fuzz.probe`) as the run sees it: a process that is started and ended."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from fuzz.packets import Credential

_ROOT = Path(__file__).parents[1]
# The probe itself waits 15 s for what is missing.
_END_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Report:
    """What the good client says at its end; times in milliseconds."""

    sent: int
    lost: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    connects: int
    connect_max_ms: float
    problems: list[str]


class GoodClient:
    """A running probe; used as a context, it is ended whatever happens."""

    def __init__(self, port: int, credential: Credential) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fuzz.probe", "--port", str(port)],
            cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{credential.username.decode()}\t{credential.password.decode()}\n")
        self._process.stdin.flush()
        self._process.stdout.readline()

    def end(self) -> Report:
        """Let it finish, and return what it has seen."""
        said, _ = self._process.communicate(timeout=_END_SECONDS)
        return Report(**json.loads(said))

    def __enter__(self) -> Self:
        """Hold it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
