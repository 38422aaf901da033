"""The service under test: started on free ports with tokens, watched, and measured from outside."""

from __future__ import annotations

import json
import time
from pathlib import Path

from bench.servers import Tokenmq

from fuzz.packets import Credential

# What a stalled connection may last: short, so that a run need not wait long for its end.
CONNECT_TIMEOUT_SECONDS = 2
_USERS = 12
_TTL_SECONDS = 43_200
# Lines of the log that say that something of ours is wrong, whatever it is.
_DEFECTS = frozenset({"defect", "request failed"})


class Watched(Tokenmq):
    """`tokenmq serve` with what this needs to know of it.

    Settings other than the defaults: the time to connect, unless they are asked for, and a queue
    that is small enough for all sessions' queues together to be a small part of the memory.
    """

    def __init__(self, folder: Path, *, defaults: bool = False) -> None:
        super().__init__(folder, cpu=None)
        self._read = 0
        self._defaults = defaults

    def command(self) -> list[str]:
        return [*super().command(), "--json"]

    def environment(self) -> dict[str, str]:
        if self._defaults:
            return super().environment()
        return super().environment() | {
            "TOKENMQ_BROKER_CONNECT_TIMEOUT_SECONDS": str(CONNECT_TIMEOUT_SECONDS),
            "TOKENMQ_BROKER_MAX_QUEUED_BYTES": str(64 * 1024),
        }

    def credentials_for(self, topics: str, *, users: int = _USERS) -> list[Credential]:
        """Make tokens for users who may publish to and subscribe to `topics`."""
        found = []
        for index in range(users):
            token = self._post(
                "/v2/tokens",
                self.key,
                {
                    "user_id": f"{topics.partition('/')[0]}-{index}",
                    "permissions": ["publish", "subscribe"],
                    "topics": [topics],
                    "ttl": _TTL_SECONDS,
                },
            )
            username, password = str(token["mqtt_username"]), str(token["mqtt_password"])
            found.append(Credential(username.encode(), password.encode()))
        return found

    def descriptors(self) -> int:
        """Count the files that it has open."""
        return sum(1 for _ in Path(f"/proc/{self.pid()}/fd").iterdir())

    def settle(self, descriptors: int, *, seconds: float) -> int:
        """Wait until it has no more than so many files open; return how many it has."""
        deadline = time.monotonic() + seconds
        while (now := self.descriptors()) > descriptors and time.monotonic() < deadline:
            time.sleep(0.1)
        return now

    def new_defects(self) -> list[str]:
        """Return the lines of its log, since the last call, that say that something of ours is wrong."""
        with (self.folder / f"{self.name}.log").open("rb") as log:
            log.seek(self._read)
            data = log.read()
        whole = data.rfind(b"\n") + 1
        self._read += whole
        return [line for line in data[:whole].decode("utf-8", "replace").splitlines() if _is_defect(line)]


def _is_defect(line: str) -> bool:
    """Tell whether a line is not what a service says that is well; what is no JSON never is."""
    if '"event":"defect"' not in line and '"event":"request failed"' not in line and line.startswith('{"'):
        return False
    try:
        return json.loads(line)["event"] in _DEFECTS
    except (ValueError, KeyError, TypeError):
        return bool(line.strip())
