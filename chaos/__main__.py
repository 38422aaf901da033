"""`make chaos`: play the rounds, judge the ledger; exit status 1 if anything is not as it must be."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from chaos.judging import Fault
from chaos.ledger import FOREVER
from chaos.rounds import Run
from chaos.start import measure

# Of what is wrong, so much is told whole.
MOST_FAULTS = 20
MOST_STEPS = 60


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m chaos", description="Kill the server under load, and see what it has lost."
    )
    parser.add_argument("--rounds", type=int, default=200, help="ends and starts (%(default)s)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of what is left to chance")
    parser.add_argument("--start", type=int, metavar="TIMES", help="measure starts with much to read instead")
    parser.add_argument("--keep", type=Path, help="a folder for data and log, which stays")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = options(arguments)
    with tempfile.TemporaryDirectory(prefix="tokenmq-chaos-") as name:
        folder = chosen.keep or Path(name)
        return _start(folder, chosen.start) if chosen.start else _play(folder, chosen.rounds, chosen.seed)


def _start(folder: Path, times: int) -> int:
    measured = asyncio.run(measure(folder, times=times))
    print(f"with nothing to read {measured.empty_cpu_seconds:.2f} s of processor time")
    for started in measured.started:
        print(
            f"first CONNACK {started.connack_seconds:.2f} s after exec, {started.cpu_seconds:.2f} s of them "
            f"processor time; everything that waited after {started.drained_seconds:.2f} s"
        )
    return 0


def _play(folder: Path, rounds: int, seed: int) -> int:
    run = Run(folder, rounds=rounds, seed=seed, tell=lambda line: print(line, file=sys.stderr, flush=True))
    faults = asyncio.run(run.play())
    ledger = run.ledger
    acknowledged = sum(message.acknowledged < FOREVER for message in ledger.messages.values())
    deliveries = sum(len(life.deliveries) for life in ledger.lives)
    print(
        f"seed {seed}: {rounds} rounds, {len(ledger.messages)} messages published, "
        f"{acknowledged} acknowledged, {deliveries} handed up, {len(faults)} faults"
    )
    for fault in faults[:MOST_FAULTS]:
        print(_told(fault, ledger.ups[0].ready if ledger.ups else 0.0))
    return 1 if faults else 0


def _told(fault: Fault, start: float) -> str:
    """Write a fault with the history of its message on the wire."""
    lines = [f"* {fault.text}"]
    if fault.message is not None:
        message = fault.message
        lines.append(
            f"  message {message.number} of {message.publisher} to {message.topic}, QoS {message.qos}, "
            f"at {message.invoked - start:.3f} s, acknowledged at {message.acknowledged - start:.3f} s"
        )
        lines += [
            f"  {step.at - start:10.3f} s  {step.client:<14} {step.what}, packet {step.packet_id}"
            for step in message.history[:MOST_STEPS]
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
