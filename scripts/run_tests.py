"""Run the whole test suite in several processes side by side.

Usage: python scripts/run_tests.py [option of pytest ...]
    Exit code 0 when every part passed; else that of the first part that did not.

The parts are folders, and all that is in none of those, so that no test can be left out. Tests of one
part run one after the other, as with pytest alone. Half of the time of those that start other
programs is waiting, which is when others compute.

Each part's output comes whole when the part ends, so that it can be read; the slowest tests stand in it.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

ROOT: Final = Path(__file__).parents[1]
# Each takes about a quarter of the time; what is in none of these folders is "others".
FOLDERS: Final = {
    "servers": ("tests/system", "tests/chaos"),
    "clients": ("tests/interop", "tests/meta", "tests/system/client"),
    "stores": ("tests/conformance", "tests/security", "tests/services", "tests/stores"),
}
LOOK_SECONDS: Final = 0.2
# What pytest returns when no test was selected: of one part alone that is no failure.
NOTHING_SELECTED: Final = 5


def parts() -> dict[str, list[str]]:
    """Return what pytest is told for each part, by its name; together that is every test, once."""
    told = {**FOLDERS, "others": ("tests",)}
    known = [folder for folders in FOLDERS.values() for folder in folders]
    return {name: [*folders, *_not_theirs(folders, known)] for name, folders in told.items()}


def _not_theirs(folders: tuple[str, ...], known: list[str]) -> list[str]:
    """Return the options that leave out what lies in these folders and is of another part."""
    within = tuple(f"{folder}/" for folder in folders)
    return [f"--ignore={one}" for one in known if one.startswith(within) and one not in folders]


@dataclass
class Part:
    """A process of pytest.

    Attributes:
        output: what it writes to; a file, so that nothing waits for a reader.
        seconds: how long it took, once it has ended.
    """

    name: str
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def has_ended(self) -> bool:
        """Tell whether it has, and note when."""
        if self.process.poll() is None:
            return False
        self.seconds = time.monotonic() - self.began
        return True

    def show(self) -> None:
        """Print its output."""
        self.output.seek(0)
        print(f"\n##### {self.name}, {self.seconds:.0f} s\n", flush=True)
        sys.stdout.buffer.write(self.output.read())
        sys.stdout.flush()

    def end(self) -> None:
        """End it, if it has not ended, in the way in which pytest ends what its tests have started."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()


def start(name: str, arguments: list[str], output: IO[bytes]) -> Part:
    """Start pytest on one part, with a folder of its own for what it remembers from run to run."""
    remembered = ["-o", f"cache_dir=.pytest_cache/{name}"]
    command = [sys.executable, "-m", "pytest", *remembered, *arguments]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
    )
    return Part(name, process, output)


def run(options: list[str]) -> int:
    """Run all parts with the same options, print their outputs, and return the exit code."""
    with ExitStack() as held:
        running = []
        for name, arguments in parts().items():
            output = held.enter_context(tempfile.TemporaryFile())
            running.append(start(name, [*arguments, *options], output))
            held.callback(running[-1].end)
        try:
            ended = list(as_they_end(running))
        except KeyboardInterrupt:
            # A terminal tells all of its processes; to be told twice cuts pytest's own ending short.
            for part in running:
                part.process.wait()
            raise
        print()
        for part in ended:
            print(f"{part.name}: exit code {part.process.returncode} after {part.seconds:.0f} s")
        return exit_code([part.process.returncode for part in ended])


def as_they_end(parts: list[Part]) -> Iterator[Part]:
    """Show each part when it has ended, and yield it."""
    running = list(parts)
    while running:
        time.sleep(LOOK_SECONDS)
        for part in [part for part in running if part.has_ended()]:
            running.remove(part)
            part.show()
            yield part


def exit_code(codes: list[int]) -> int:
    """Return the first that is a failure, 0 if none is."""
    failures = [code for code in codes if code not in (0, NOTHING_SELECTED)]
    if failures:
        return failures[0] if failures[0] > 0 else 1
    return 0 if 0 in codes else NOTHING_SELECTED


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(run(sys.argv[1:]))
