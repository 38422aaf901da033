"""`make slow`: sockets that send next to nothing and never leave, and one good client among them.

A third of the sockets send a byte of a CONNECT a second, a third announce a packet of 256 MiB
and then do the same, a third begin a WebSocket upgrade and never finish it. One that is closed
comes back a second later, so that there are always as many. SECURITY V-02, V-03, V-41, V-42.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from bench.servers import NotMeasurable

from fuzz.good import GoodClient, Report
from fuzz.server import Watched

MIB = 1024 * 1024
SOCKETS = 5_000
# What all sockets may cost together at their full number, and a smaller number at least.
MAX_BYTES = 100 * MIB
LEAST_BYTES = 32 * MIB
MAX_WAIT_MS = 2_000.0
# Of this process and the service, beside the sockets.
_OTHER_FILES = 1_200
_OPENING_AT_ONCE = 100
_BYTE_SECONDS = 1.0
_LOOK_SECONDS = 0.25
_GONE_SECONDS = 20.0

# What each kind begins with: MQTT, and HTTP.
_KINDS: tuple[tuple[str, bytes], ...] = (
    ("tcp", b"\x10\xff\x7f\x00\x04MQTT"),
    ("tcp", b"\x10\xff\xff\xff\x7f"),
    ("tcp", b"\x30\xff\xff\xff\x7f"),
    ("websocket", b"GET /mqtt HTTP/1.1\r\nHost: a\r\nX-Long: "),
    ("tcp", b"\x10"),
    ("websocket", b"G"),
)


@dataclass(slots=True)
class Outcome:
    """What the sockets cost; memory in bytes, of the service."""

    sockets: int
    good: Report
    before_bytes: int
    most_bytes: int
    opened: int
    files_left: int
    defects: list[str] = field(default_factory=list)

    @property
    def allowed_bytes(self) -> int:
        """What this number of sockets may cost."""
        return max(LEAST_BYTES, MAX_BYTES * self.sockets // SOCKETS)

    def problems(self) -> list[str]:
        """Say what was not as it must be."""
        wrong = ["the log says:\n" + "\n".join(self.defects)[:4_000]] if self.defects else []
        cost = self.most_bytes - self.before_bytes
        if cost > self.allowed_bytes:
            wrong.append(f"the sockets cost {cost / MIB:.1f} MiB, {self.allowed_bytes / MIB:.0f} are allowed")
        waited = max(self.good.max_ms, self.good.connect_max_ms)
        if waited > MAX_WAIT_MS:
            wrong.append(f"the good client waited {waited} ms, {MAX_WAIT_MS} are allowed")
        if self.good.lost:
            wrong.append(f"the good client lost {self.good.lost} of {self.good.sent} messages")
        wrong += [f"the good client says: {problem}" for problem in self.good.problems]
        if self.files_left > 0:
            wrong.append(f"{self.files_left} descriptors are still open")
        return wrong

    def text(self) -> str:
        """Tell it in two lines."""
        return (
            f"{self.sockets:,} sockets, opened {self.opened:,} times: "
            f"{(self.most_bytes - self.before_bytes) / MIB:.1f} MiB more at most; "
            f"{self.files_left} descriptors left\n"
            f"good client: {self.good.sent:,} messages, {self.good.lost} lost, p99 {self.good.p99_ms} ms, "
            f"max {self.good.max_ms} ms; {self.good.connects} connects, max {self.good.connect_max_ms} ms"
        )


class _Crowd:
    """The sockets of one attack."""

    def __init__(self, server: Watched) -> None:
        self._ports = {"tcp": server.port, "websocket": server.websocket_port}
        self._opening = asyncio.Semaphore(_OPENING_AT_ONCE)
        self.opened = 0
        self.held = 0

    async def stay(self, index: int) -> None:
        """Hold one socket for ever: open it, send a byte a second, and open it again when it is closed."""
        transport, begin = _KINDS[index % len(_KINDS)]
        while True:
            async with self._opening:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._ports[transport])
            self.opened += 1
            self.held += 1
            try:
                writer.write(begin)
                with suppress(ConnectionError):
                    await self._drip(reader, writer)
            finally:
                self.held -= 1
                writer.transport.abort()
            await asyncio.sleep(_BYTE_SECONDS)

    async def _drip(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_BYTE_SECONDS):
                    if not await reader.read(1_024):
                        return
                    continue
            writer.write(b"x")


async def _attack(server: Watched, good: GoodClient, *, sockets: int, seconds: float) -> Outcome:
    await asyncio.sleep(_BYTE_SECONDS)
    files, before = server.descriptors(), server.memory_bytes()
    crowd = _Crowd(server)
    tasks = [asyncio.create_task(crowd.stay(index)) for index in range(sockets)]
    loop = asyncio.get_running_loop()
    most = before
    end = None
    while end is None or loop.time() < end:
        await asyncio.sleep(_LOOK_SECONDS)
        most = max(most, server.memory_bytes())
        if end is None and crowd.opened >= sockets:
            end = loop.time() + seconds
        if failed := [task for task in tasks if task.done()]:
            await failed[0]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    report = await asyncio.to_thread(good.end)
    # The good client's connection was one of those that were counted.
    left = await asyncio.to_thread(server.settle, files - 1, seconds=_GONE_SECONDS)
    return Outcome(
        sockets=sockets,
        good=report,
        before_bytes=before,
        most_bytes=most,
        opened=crowd.opened,
        files_left=left - files + 1,
        defects=server.new_defects(),
    )


def run(sockets: int, seconds: float, folder: Path) -> Outcome:
    """Start a service with its defaults and attack it.

    Args:
        sockets: how many there are at any time.
        seconds: how long, after all were opened once.
        folder: where the service may keep its data.

    Raises: NotMeasurable, where so many files may not be open.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < sockets + _OTHER_FILES:
        raise NotMeasurable(f"only {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = Watched(folder, defaults=True)
    server.start()
    try:
        (credential,) = server.credentials_for("probe/#", users=1)
        with GoodClient(server.port, credential) as good:
            return uvloop.run(_attack(server, good, sockets=sockets, seconds=seconds))
    finally:
        server.stop()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def main(arguments: Sequence[str] | None = None) -> int:
    """Attack and judge."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.slow", description="Sockets that never leave.")
    parser.add_argument("--sockets", type=int, default=SOCKETS, help="at any time (%(default)s)")
    parser.add_argument("--seconds", type=float, default=25.0, help="with all of them (%(default)s)")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="tokenmq-slow-") as name:
        outcome = run(chosen.sockets, chosen.seconds, Path(name))
    print(outcome.text())
    wrong = outcome.problems()
    for problem in wrong:
        print(f"WRONG: {problem}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
