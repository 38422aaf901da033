"""`make bench`: run the rows, print the table; exit status 1 if a wanted bound does not hold.

`python -m bench --help` lists the options, README.md says how to read the table.
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import report
from bench.harness import Bench, Side
from bench.report import Outcome
from bench.rows import ROWS, Row
from bench.servers import NotMeasurable

PERFORMANCE = Path(__file__).parents[1] / "docs" / "performance.md"


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="tokenmq against Mosquitto.")
    known = [row.key for row in ROWS]
    parser.add_argument("--rows", metavar="KEY,…", help=f"only these of {', '.join(known)}")
    parser.add_argument("--pairs", type=int, default=5, help="interleaved pairs of a row (%(default)s)")
    parser.add_argument("--seconds", type=float, default=1.5, help="measured of each sample (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="the main rows, two short pairs: a smoke test")
    parser.add_argument(
        "--ceiling", action="store_true", help="a reflector in our place: the generator's most"
    )
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--no-pin", action="store_true", help="do not give server and generator a core each")
    chosen = parser.parse_args(arguments)
    wanted = chosen.rows.split(",") if chosen.rows else []
    unknown = sorted(set(wanted) - set(known))
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
        seconds=min(chosen.seconds, 0.6) if chosen.quick else chosen.seconds,
        warmup_seconds=0.2 if chosen.quick else 0.5,
        pairs=min(chosen.pairs, 2) if chosen.quick else chosen.pairs,
        scale=0.2 if chosen.quick else 1.0,
        server_cpu=cpus[0] if pinned else None,
        generator_cpu=cpus[1] if pinned else None,
        ceiling=chosen.ceiling,
    )


def measure(bench: Bench, row: Row) -> Outcome:
    """Take the pairs of a row, ours first in one and the peer first in the next."""
    outcome = Outcome(row)
    lost: dict[Side, str] = {}
    samples = {"ours": outcome.ours, "peer": outcome.peer}
    if row.prepare is not None:
        try:
            row.prepare(bench)
        except NotMeasurable as error:
            lost["ours"] = str(error)
    order: tuple[Side, Side] = ("ours", "peer")
    for pair in range(-1 if row.warm else 0, min(row.pairs or bench.pairs, bench.pairs)):
        for side in order if pair % 2 == 0 else order[::-1]:
            if side in lost:
                continue
            try:
                sample = row.measure(bench, side)
            except NotMeasurable as error:
                lost[side] = str(error)
                samples[side].clear()
                continue
            if pair >= 0:
                samples[side].append(sample)
        print(f"{row.key} {pair + 1}: {_pair(outcome)}", file=sys.stderr)
    outcome.problem = "; ".join(dict.fromkeys(lost.values()))
    return outcome


def _pair(outcome: Outcome) -> str:
    found = [f"{samples[-1].value:,.0f}" if samples else "-" for samples in (outcome.ours, outcome.peer)]
    ratios = outcome.ratios
    return f"{found[0]} to {found[1]}" + (f", median ratio {statistics.median(ratios):.2f}" if ratios else "")


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = options(arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))  # the servers inherit it
    with tempfile.TemporaryDirectory(prefix="tokenmq-bench-") as name:
        bench = prepare(Path(name), chosen)
        try:
            outcomes = [measure(bench, row) for row in chosen.rows]
            facts = report.machine()
            facts += [(kind, server.version()) for kind, server in bench.servers.items()]
            facts.append(("Pairs", f"{bench.pairs} a row, {bench.seconds} s a sample"))
        finally:
            bench.stop()
    print(report.text(outcomes))
    if chosen.write:
        report.write(PERFORMANCE, report.markdown(outcomes, facts))
    return 1 if any(outcome.holds is False for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
