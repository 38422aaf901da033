"""`make bench`: run the rows, print the tables; exit status 1 if a wanted bound does not hold.

`python -m bench --help` lists the options, README.md says how to read the tables.
"""

import argparse
import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import plot, profiling, report
from bench.harness import Bench
from bench.measuring import measure
from bench.rows import ROWS, Row
from bench.servers import NotMeasurable

ROOT = Path(__file__).parents[1]
PERFORMANCE = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "performance.svg"


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="tokenmq against other brokers.")
    parser.add_argument("--only", metavar="ROW,…", help="only these rows")
    parser.add_argument("--list", action="store_true", help="name the rows, with the time that each takes")
    parser.add_argument("--pairs", type=int, default=5, help="interleaved pairs of a row (%(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="measured of each sample (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="the main rows, two short pairs: a smoke test")
    parser.add_argument("--alone", action="store_true", help="beside Mosquitto no other broker")
    parser.add_argument(
        "--ceiling", action="store_true", help="a reflector in our place: the generator's most"
    )
    parser.add_argument("--profile", metavar="ROW", help="do not measure: say where our server's time goes")
    parser.add_argument("--write", action="store_true", help="put tables and plot into docs/performance.md")
    parser.add_argument("--no-pin", action="store_true", help="do not give server and generator a core each")
    chosen = parser.parse_args(arguments)
    known = [row.key for row in ROWS]
    wanted = chosen.only.split(",") if chosen.only else []
    unknown = sorted({*wanted, *([chosen.profile] if chosen.profile else [])} - set(known))
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(known)}")
    if chosen.pairs < 1:
        parser.error("--pairs must be at least 1")
    chosen.rows = [
        row for row in ROWS if row.key in wanted or (not wanted and not (chosen.quick and row.extra))
    ]
    return chosen


def prepare(folder: Path, chosen: argparse.Namespace) -> Bench:
    cpus = sorted(os.sched_getaffinity(0))
    pinned = len(cpus) > 1 and not chosen.no_pin
    return Bench(
        folder,
        seconds=min(chosen.seconds, 0.5) if chosen.quick else chosen.seconds,
        warmup_seconds=0.2 if chosen.quick else 0.4,
        pairs=min(chosen.pairs, 2) if chosen.quick else chosen.pairs,
        scale=0.2 if chosen.quick else 1.0,
        server_cpu=cpus[0] if pinned else None,
        generator_cpu=cpus[1] if pinned else None,
        ceiling=chosen.ceiling,
        alone=chosen.alone or chosen.quick,
    )


def timetable(bench: Bench, rows: Sequence[Row]) -> str:
    """The rows, and about how many seconds each takes."""
    lines = [f"{row.key:18} {row.seconds_of(bench):5.0f} s  {row.title}" for row in rows]
    return "\n".join([*lines, f"{'all':18} {sum(row.seconds_of(bench) for row in rows):5.0f} s"])


def run(bench: Bench, chosen: argparse.Namespace) -> int:
    """Measure the chosen rows and report them; the exit status."""
    minutes = sum(row.seconds_of(bench) for row in chosen.rows) / 60
    print(f"{len(chosen.rows)} rows, about {minutes:.0f} min", file=sys.stderr)
    outcomes = [measure(bench, row) for row in chosen.rows]
    facts = report.machine()
    facts.append(("Disk", report.disk(bench.folder)))
    for kind, server in bench.servers.items():
        kept = f"; kept on disk: {server.durable}" if server.variant == "durable" else ""
        facts.append((kind, server.version() + kept))
    facts.append(("Samples", report.samples(bench)))
    print(report.text(outcomes))
    if chosen.write:
        report.write(PERFORMANCE, report.markdown(outcomes, facts, plot=PLOT.name))
        PLOT.write_text(plot.draw(outcomes, facts))
    return 1 if any(outcome.holds is False for outcome in outcomes) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = options(arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))  # the servers inherit it
    runs = ROOT / ".bench"  # on a disk, which a folder for temporary files often is not
    runs.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=runs) as name:
        bench = prepare(Path(name), chosen)
        try:
            if chosen.list:
                print(timetable(bench, chosen.rows))
                return 0
            if chosen.profile:
                row = next(row for row in ROWS if row.key == chosen.profile)
                print(profiling.profile(bench, row))
                return 0
            return run(bench, chosen)
        except NotMeasurable as error:
            print(f"Not measurable: {error}", file=sys.stderr)
            return 1
        finally:
            bench.stop()


if __name__ == "__main__":
    sys.exit(main())
