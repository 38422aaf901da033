"""Processor time, of this process and of a server that it loads, between two moments; and memory."""

import os
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def seconds_of(pid: int) -> float:
    """Processor time that a process has used, user and system, to a hundredth of a second."""
    return sum(user_and_system_of(pid))


def user_and_system_of(pid: int) -> tuple[float, float]:
    """Processor time that a process has used by itself, and that the kernel has used for it, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) / _TICKS, int(fields[12]) / _TICKS


def memory_of(pid: int) -> int:
    """Resident set of a process in bytes, without what is only shared with files."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:"))


class Processor:
    """Shares of one core from `start` to `shares`; a server's too, if there is one (pid, or 0)."""

    def __init__(self, server_pid: int) -> None:
        self._server_pid = server_pid
        self.start()

    def start(self) -> None:
        self._begun = time.perf_counter()
        self._own = time.process_time()
        self._server = seconds_of(self._server_pid) if self._server_pid else 0.0

    def shares(self) -> dict[str, object]:
        elapsed = time.perf_counter() - self._begun
        found: dict[str, object] = {"generator_cpu": round((time.process_time() - self._own) / elapsed, 2)}
        if self._server_pid:
            found["server_cpu"] = round((seconds_of(self._server_pid) - self._server) / elapsed, 3)
        return found
