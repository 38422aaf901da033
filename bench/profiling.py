"""Where our server's time goes during a row: `python -m bench --profile ROW`, or `make profile ROW=qos1`.

py-spy looks at the stacks of the running server from outside while one sample of the row is taken, its
connections included. It sees Python functions; C code counts for the function that called it, and the event
loop, which is C from end to end, for the one that runs it, its reading and waiting included. So beside the
shares stands what the kernel used. The right to look into another process is needed (root, or
`kernel.yama.ptrace_scope` 0).
"""

import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.harness import Bench
from bench.processor import user_and_system_of
from bench.rows import Row
from bench.servers import NotMeasurable, Tokenmq

PROFILED_SECONDS = 8.0
SAMPLES_A_SECOND = 500
FUNCTIONS = 25
STOP_SECONDS = 60
# What a stack of a thread that waits for work ends with; py-spy does not take all of them for idle.
WAITING = ("_worker (concurrent/futures/thread.py)", "wait (threading.py)", "get (queue.py)")
LOOP = "Runner.run (asyncio/runners.py)"
_FRAME = re.compile(r"(?P<function>.*) \((?P<file>[^()]*)\)")


def profile(bench: Bench, row: Row) -> str:
    """Take one sample of a row and tell in which functions and modules of ours the time went."""
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if spy is None:
        raise NotMeasurable("py-spy is not installed (it comes with tokenmq[dev])")
    if row.prepare is not None:
        row.prepare(bench)
    server = bench.tokenmq()
    server.credentials(20)
    stacks = bench.folder / "stacks"
    before = user_and_system_of(server.pid())
    with _watched(server, spy, stacks):
        sample = row.measure(replace(bench, seconds=PROFILED_SECONDS), "ours")
    user, system = (now - then for now, then in zip(user_and_system_of(server.pid()), before, strict=True))
    shares = Shares.of(stacks.read_text().splitlines())
    return "\n".join(
        [
            f"{row.title}: {sample.value / row.factor:,.0f} while watched, which slows it",
            f"Processor time of the server: {system / (user + system):.0%} in the kernel",
            "\nBy module:",
            *shares.told(shares.modules),
            "\nBy function:",
            *shares.told(shares.functions),
        ]
    )


class Shares:
    """How often each function, and each module, was what ran.

    Attributes:
        total: stacks in all.
        functions: stacks by the function that ran, as `function (file)`.
        modules: stacks by its file.
    """

    def __init__(self) -> None:
        self.total = 0
        self.functions: Counter[str] = Counter()
        self.modules: Counter[str] = Counter()

    @classmethod
    def of(cls, lines: Iterable[str]) -> "Shares":
        """Read py-spy's raw format: frames from the outermost on, joined by `;`, and how often it saw them.

        Raises: NotMeasurable if there is nothing in it.
        """
        shares = cls()
        for line in lines:
            stack, _, seen = line.rpartition(" ")
            last = stack.rpartition(";")[2]
            frame = _FRAME.fullmatch(last)
            if last in WAITING or frame is None:
                continue
            shares.total += int(seen)
            shares.functions[last] += int(seen)
            shares.modules["event loop, in C" if last == LOOP else frame["file"]] += int(seen)
        if not shares.total:
            raise NotMeasurable("py-spy saw nothing of the server")
        return shares

    def told(self, counted: Counter[str]) -> list[str]:
        """The greatest shares, one a line."""
        return [f"{seen / self.total:7.1%}  {name}" for name, seen in counted.most_common(FUNCTIONS)]


@contextmanager
def _watched(server: Tokenmq, spy: str, stacks: Path) -> Iterator[None]:
    """Meanwhile py-spy looks at the server; afterwards `stacks` holds what it saw."""
    command = [
        spy, "record", "--pid", str(server.pid()), "--format", "raw", "--output", str(stacks),
        "--rate", str(SAMPLES_A_SECOND), "--nolineno", "--nonblocking",
    ]  # fmt: skip
    watcher = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        watcher.send_signal(signal.SIGINT)  # it writes what it has
        try:
            _, said = watcher.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            watcher.kill()
            _, said = watcher.communicate()
    if watcher.returncode or not stacks.exists():
        raise NotMeasurable(f"py-spy could not look into the server: {said.strip()[-300:]}")
