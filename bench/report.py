"""From samples to a table, on the terminal and in Markdown."""

import platform
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.harness import Sample
from bench.rows import Row, Wanted

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
HEAD = ("row", "ours", "peer", "ratio (all pairs)", "by CPU", "wanted", "ok", "busy: generator, server")


@dataclass(slots=True)
class Outcome:
    """The pairs of one row; `problem` says why a side has none."""

    row: Row
    ours: list[Sample] = field(default_factory=list)
    peer: list[Sample] = field(default_factory=list)
    problem: str = ""

    @property
    def ratios(self) -> list[float]:
        """Pair by pair: ours to the peer's."""
        return [
            one.value / other.value for one, other in zip(self.ours, self.peer, strict=False) if other.value
        ]

    @property
    def by_processor(self) -> float | None:
        """The ratio of what both do with one second of processor time; None where that says nothing."""
        found = [
            (one.value / one.server_cpu) / (other.value / other.server_cpu)
            for one, other in zip(self.ours, self.peer, strict=False)
            if one.server_cpu and other.server_cpu and other.value
        ]
        return statistics.median(found) if found and self.row.per_second else None

    @property
    def holds(self) -> bool | None:
        """Whether the wanted bound is met; None if there is none, False if it could not be measured."""
        bounded = self.row.wanted.at_least is not None or self.row.wanted.at_most is not None
        if not self.ours:
            return False if bounded else None
        ratio = statistics.median(self.ratios) if self.ratios else None
        held = self.row.wanted.holds(ours=_median(self.ours), ratio=ratio)
        return False if bounded and held is None else held

    def cells(self) -> tuple[str, ...]:
        """The row of the table, as `HEAD` names them."""
        ratios = self.ratios
        ratio = "-"
        if ratios:
            ratio = f"{_short(statistics.median(ratios))} ({_short(min(ratios))} to {_short(max(ratios))})"
        return (
            self.row.title,
            self._figure(self.ours),
            self._figure(self.peer) if self.peer else (self.problem or "-"),
            ratio,
            _short(self.by_processor) if self.by_processor else "-",
            _bound(self.row.wanted, self.row.factor),
            {True: "yes", False: "NO" if self.ours else "not measured", None: "-"}[self.holds],
            _busy(self.ours),
        )

    def _figure(self, samples: Sequence[Sample]) -> str:
        if not samples:
            return self.problem or "-"
        return _number(_median(samples) / self.row.factor)


def text(outcomes: Sequence[Outcome]) -> str:
    """The table for a terminal."""
    lines = [HEAD, *(outcome.cells() for outcome in outcomes)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    shown = []
    for line in lines:
        cells = (
            cell.ljust(width) if column in (0, 5, 6, 7) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        shown.append("  ".join(cells).rstrip())
    return "\n".join(shown)


def markdown(outcomes: Sequence[Outcome], facts: Sequence[tuple[str, str]]) -> str:
    """The table and the facts of the run, as they stand between the markers."""
    lines = [f"{name}: {value}  " for name, value in facts]
    lines += ["", "| " + " | ".join(HEAD) + " |", "| --- | ---: | ---: | ---: | ---: | --- | --- | --- |"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in one.cells()) + " |" for one in outcomes]
    return "\n".join(lines)


def write(path: Path, block: str) -> None:
    """Put a block between the markers of a file; the rest of the file stays as it is."""
    old = path.read_text() if path.exists() else f"# Performance\n\n{BEGIN}\n{END}\n"
    if BEGIN not in old or END not in old:
        old = f"{old.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, _, rest = old.partition(BEGIN)
    after = rest.partition(END)[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{before}{BEGIN}\n{block}\n{END}{after}")


def machine() -> list[tuple[str, str]]:
    """What the figures depend on: date, commit, machine, kernel, Python."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    cores = sum(line.startswith("processor") for line in Path("/proc/cpuinfo").read_text().splitlines())
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    return [
        ("Date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())),
        ("Commit", _commit()),
        ("Machine", f"{model}, {cores} cores, {memory:,} MiB"),
        ("Kernel", f"{platform.system()} {platform.release()}"),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
    ]


def _commit() -> str:
    root = Path(__file__).parents[1]
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found.stdout.strip() or "none"


def _median(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.value for sample in samples)


def _busy(samples: Sequence[Sample]) -> str:
    generator = [one.generator_cpu for one in samples if one.generator_cpu is not None]
    server = [one.server_cpu for one in samples if one.server_cpu is not None]
    if not generator:
        return "-"
    told = f"{statistics.median(generator):.0%}"
    return f"{told}, {statistics.median(server):.0%}" if server else told


def _bound(wanted: Wanted, factor: float) -> str:
    unit = " x" if wanted.of == "ratio" else ""
    divisor = 1.0 if wanted.of == "ratio" else factor
    if wanted.at_least is not None:
        return f"≥ {_short(wanted.at_least / divisor)}{unit}"
    if wanted.at_most is not None:
        return f"≤ {_short(wanted.at_most / divisor)}{unit}"
    return "-"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
