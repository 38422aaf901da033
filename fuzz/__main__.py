"""`make fuzz`: hostile packets on live sockets; exit status 1 if anything was not as it must be.

`python -m fuzz --help` lists the options, README.md says what is judged.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import resource
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvloop

from fuzz import judging
from fuzz.good import GoodClient
from fuzz.judging import Bounds, Outcome
from fuzz.packets import Credential
from fuzz.probe import MARKER
from fuzz.scripts import Transport, script
from fuzz.server import Watched
from fuzz.traffic import Tally, Traffic

_DEFAULTS = Bounds()
_TRANSPORTS: dict[str, tuple[Transport, ...]] = {
    "tcp": ("tcp",),
    "websocket": ("websocket",),
    "both": ("tcp", "websocket"),
}
# Faults after which a run ends: one defect shows itself again and again.
_ENOUGH_FAULTS = 10
_LOOK_SECONDS = 1.0
# In which a defect that a packet meets stands in the log.
_LOG_SECONDS = 0.05
# Of those connections that may have met a defect.
_SHOWN_SUSPECTS = 3
_TELL_SECONDS = 30
# Share of the packets after which memory is measured for the first time: pools, caches and
# tables that are filled once are full by then.
_WARM_SHARE = 0.2


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Hostile packets on live sockets.")
    parser.add_argument("--packets", type=int, default=1_000_000, help="packets in all (%(default)s)")
    parser.add_argument("--seed", type=int, help="of a run that is to be repeated; one is chosen otherwise")
    parser.add_argument("--transport", choices=tuple(_TRANSPORTS), default="both")
    parser.add_argument("--concurrency", type=int, default=100, help="connections at a time (%(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first connection")
    parser.add_argument("--connections", type=int, help="end after so many, whatever their packets")
    parser.add_argument(
        "--max-p99-ms", type=float, default=_DEFAULTS.p99_ms, help="of the good client (%(default)s)"
    )
    parser.add_argument("--max-wait-ms", type=float, default=_DEFAULTS.wait_ms, help="likewise (%(default)s)")
    chosen = parser.parse_args(arguments)
    if chosen.seed is None:
        chosen.seed = secrets.randbelow(1_000_000_000)
    return chosen


class Run:
    """One run against one service."""

    def __init__(self, chosen: argparse.Namespace, server: Watched, credentials: list[Credential]) -> None:
        self._chosen = chosen
        self._server = server
        self._credentials = credentials
        self._numbers = iter(range(chosen.first, sys.maxsize))
        self._traffic = Traffic("127.0.0.1", {"tcp": server.port, "websocket": server.websocket_port}, MARKER)
        self.defects: list[str] = []
        self.suspects: list[int] = []

    @property
    def tally(self) -> Tally:
        """What was done so far."""
        return self._traffic.tally

    async def until(self, packets: int) -> None:
        """Perform scripts until so many packets were sent, or something is wrong."""
        workers = [asyncio.create_task(self._work(packets)) for _ in range(self._chosen.concurrency)]
        looking = asyncio.create_task(self._look())
        await asyncio.gather(*workers)
        looking.cancel()
        self._note_defects()

    async def find(self) -> None:
        """Repeat those connections that may have met a defect, one by one, and keep those that do."""
        met = []
        for number in self.suspects:
            if not self._server.runs():
                break
            await self._perform(number)
            await asyncio.sleep(_LOG_SECONDS)
            if self._server.new_defects():
                met.append(number)
        self.suspects = (met or self.suspects[-_SHOWN_SUSPECTS:])[:_SHOWN_SUSPECTS]

    def repeat(self, number: int) -> tuple[bytes, ...]:
        """Return the packets of a connection."""
        return script(self._chosen.seed, number, self._transports, self._credentials).packets

    @property
    def _transports(self) -> tuple[Transport, ...]:
        return _TRANSPORTS[self._chosen.transport]

    async def _work(self, packets: int) -> None:
        for number in self._numbers:
            enough = self._chosen.connections
            if enough is not None and number >= self._chosen.first + enough:
                return
            await self._perform(number)
            if self.tally.packets >= packets or self._is_bad():
                return

    async def _perform(self, number: int) -> None:
        await self._traffic.perform(script(self._chosen.seed, number, self._transports, self._credentials))

    async def _look(self) -> None:
        for look in itertools.count(1):
            await asyncio.sleep(_LOOK_SECONDS)
            self._note_defects()
            if look % _TELL_SECONDS == 0:
                print(f"{self.tally.packets:,} packets", file=sys.stderr, flush=True)

    def _note_defects(self) -> None:
        found = self._server.new_defects()
        if found:
            self.defects += found
            since = time.time() - 3 * _LOOK_SECONDS
            self.suspects += [number for ended, number in self.tally.recent if ended > since]

    def _is_bad(self) -> bool:
        return bool(self.defects) or len(self.tally.faults) >= _ENOUGH_FAULTS or not self._server.runs()


async def _run(chosen: argparse.Namespace, server: Watched, good: GoodClient) -> Outcome:
    idle_files = server.descriptors()
    run = Run(chosen, server, server.credentials_for("fuzz/#"))
    began = time.monotonic()
    await run.until(int(chosen.packets * _WARM_SHARE))
    warm_bytes, _ = await _at_rest(server, idle_files)
    await run.until(chosen.packets)
    seconds = time.monotonic() - began
    if run.suspects:
        await run.find()
    end_bytes, files = await _at_rest(server, idle_files)
    return Outcome(
        seed=chosen.seed,
        transport=chosen.transport,
        tally=run.tally,
        seconds=seconds,
        alive=server.runs(),
        defects=run.defects,
        suspects={number: run.repeat(number) for number in run.suspects},
        warm_bytes=warm_bytes,
        end_bytes=end_bytes,
        files_left=files - idle_files,
        good=await asyncio.to_thread(good.end),
    )


async def _at_rest(server: Watched, idle_files: int) -> tuple[int, int]:
    """Wait until no connection of ours is left; return the service's memory and open files."""
    if not server.runs():
        return 0, 0
    files = await asyncio.to_thread(server.settle, idle_files, seconds=10)
    return server.memory_bytes(), files


def outcomes(chosen: argparse.Namespace) -> Iterator[Outcome]:
    """Start a service and a good client, and run."""
    with tempfile.TemporaryDirectory(prefix="tokenmq-fuzz-") as name:
        server = Watched(Path(name))
        server.start()
        try:
            (credential,) = server.credentials_for("probe/#", users=1)
            with GoodClient(server.port, credential) as good:
                yield uvloop.run(_run(chosen, server, good))
        finally:
            server.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and judge."""
    chosen = options(arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    print(f"seed {chosen.seed}", flush=True)
    bounds = Bounds(p99_ms=chosen.max_p99_ms, wait_ms=chosen.max_wait_ms)
    (outcome,) = outcomes(chosen)
    print(judging.text(outcome))
    wrong = judging.problems(outcome, bounds)
    for problem in wrong:
        print(f"WRONG: {problem}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
