"""From outcomes to tables, on the terminal and in Markdown."""

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench.harness import OTHERS, TITLES, Bench, Sample
from bench.outcomes import Outcome
from bench.rows import OTHER_PAIRS, Wanted

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
HEAD = ("row", "ours", "peer", "ratio (all pairs)", "by CPU", "wanted", "ok", "busy: generator, server")
LEFT = (0, 5, 6, 7)  # columns of words


def cells(outcome: Outcome) -> tuple[str, ...]:
    """The row of the table, as `HEAD` names them."""
    ratios = outcome.ratios
    ratio = "-"
    if ratios:
        ratio = f"{_short(statistics.median(ratios))} ({_short(min(ratios))} to {_short(max(ratios))})"
    return (
        outcome.row.title,
        outcome.cell("ours"),
        outcome.cell("peer"),
        ratio,
        _short(outcome.by_processor) if outcome.by_processor else "-",
        _bound(outcome.row.wanted, outcome.row.factor),
        {True: "yes", False: "NO" if outcome.ours else "not measured", None: "-"}[outcome.holds],
        _busy(outcome.ours),
    )


def text(outcomes: Sequence[Outcome]) -> str:
    """The tables for a terminal."""
    tables = [_aligned([HEAD, *(cells(one) for one in outcomes)], left=LEFT)]
    if beside := beside_rows(outcomes):
        tables.append(_aligned([beside_head(), *beside], left=(0,)))
    return "\n\n".join(tables)


def beside_head() -> tuple[str, ...]:
    return ("row", *(TITLES[side] for side in ("ours", "peer", *OTHERS)))


def beside_rows(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """The rows that the other brokers took part in: a figure each, or why there is none."""
    return [
        (one.row.title, *(one.cell(side) for side in ("ours", "peer", *OTHERS)))
        for one in outcomes
        if any(side in one.samples or side in one.problems for side in OTHERS)
    ]


def markdown(outcomes: Sequence[Outcome], facts: Sequence[tuple[str, str]], *, plot: str = "") -> str:
    """Facts of the run, tables and the plot (the name of its file), as they stand between the markers."""
    blocks = ["\n".join(f"{name}: {value}  " for name, value in facts)]
    if plot:
        blocks.append(
            f"![Messages a second of each broker, row by row; the table below has the figures]({plot})"
        )
    blocks.append(_piped([HEAD, *(cells(one) for one in outcomes)], left=LEFT))
    if beside := beside_rows(outcomes):
        blocks += ["### Beside other brokers", _piped([beside_head(), *beside], left=(0,))]
    return "\n\n".join(blocks)


def _aligned(lines: Sequence[Sequence[str]], *, left: Sequence[int]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    shown = []
    for line in lines:
        padded = (
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        shown.append("  ".join(padded).rstrip())
    return "\n".join(shown)


def _piped(lines: Sequence[Sequence[str]], *, left: Sequence[int]) -> str:
    rule = "| " + " | ".join("---" if column in left else "---:" for column in range(len(lines[0]))) + " |"
    shown = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([shown[0], rule, *shown[1:]])


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


def samples(bench: Bench) -> str:
    """How many samples of each broker a figure is the median of, and how long one is."""
    pairs = f"pairs with Mosquitto: {bench.pairs}"
    others = "" if bench.alone else f", of each other broker: {min(bench.pairs, OTHER_PAIRS)}"
    return f"{pairs}{others}; {bench.seconds} s each after {bench.warmup_seconds} s of warm-up"


def disk(folder: Path) -> str:
    """What the durable row depends on: how long 4 KiB take to get to the disk below a folder."""
    path = folder / "flushed"
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(bytes(4096))
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    path.unlink()
    return f"4 KiB written and flushed in {statistics.median(times) * 1e3:.2f} ms"


def _commit() -> str:
    root = Path(__file__).parents[1]
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found.stdout.strip() or "none"


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


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
