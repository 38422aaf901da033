"""Take the samples of a row: pairs of ours and the peer's, and in between the other brokers'."""

import statistics
import sys
import time
from collections.abc import Iterator

from bench.harness import OTHERS, TITLES, Bench, Side
from bench.outcomes import Outcome
from bench.rows import Row
from bench.servers import NotMeasurable
from bench.wire import BadStream


def measure(bench: Bench, row: Row) -> Outcome:
    """Take the pairs of a row; what a side cannot do, or does wrongly, stands in the outcome."""
    outcome = Outcome(row)
    begun = time.monotonic()
    if row.prepare is not None:
        try:
            row.prepare(bench)
        except (NotMeasurable, BadStream, OSError) as error:
            outcome.problems["ours"] = str(error)
    for pair, side in _turns(bench, row):
        if side in outcome.problems:
            continue
        try:
            sample = row.measure(bench, side)
        except (NotMeasurable, BadStream, OSError) as error:
            outcome.problems[side] = str(error)
            outcome.samples.pop(side, None)
            continue
        if pair >= 0:
            outcome.samples.setdefault(side, []).append(sample)
    print(f"{row.key}: {_said(outcome)}, {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return outcome


def _turns(bench: Bench, row: Row) -> Iterator[tuple[int, Side]]:
    """Who is next: ours first in one pair and the peer first in the next; pair -1 is not counted."""
    order: tuple[Side, Side] = ("ours", "peer")
    others = row.others_of(bench)
    for pair in range(-1 if row.warm else 0, row.pairs_of(bench)):
        for side in order if pair % 2 == 0 else order[::-1]:
            yield pair, side
        if 0 <= pair < others:
            for side in OTHERS:
                yield pair, side


def _said(outcome: Outcome) -> str:
    names = TITLES if outcome.row.others else {"ours": "ours", "peer": "peer"}
    found = [
        f"{names[side]} {statistics.median(one.value for one in samples):,.0f}"
        for side, samples in outcome.samples.items()
    ]
    found += [f"{names[side]} not measured ({reason})" for side, reason in outcome.problems.items()]
    if outcome.ratios:
        found.append(f"median ratio {statistics.median(outcome.ratios):.2f}")
    return "; ".join(found)
