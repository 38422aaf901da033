"""What a run must show, and how its outcome is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fuzz.good import Report
from fuzz.traffic import Fault, Tally

_MIB = 1024 * 1024
# Of a connection's packets, those that are printed, and bytes of each.
_LAST_PACKETS = 12
_SHOWN_BYTES = 400
_SHOWN_LOG = 4_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a run is held to.

    Attributes:
        p99_ms: 99 % of the good client's messages took no longer.
        wait_ms: nor did any message or connect of it take longer than this.
        growth_bytes: memory at the end against memory after the first fifth, both at rest.
            Sessions, retained messages and queues that the run may leave behind are bounded
            by what it uses: 144 client ids, 100 topics, 64 KiB of queue each.
    """

    p99_ms: float = 250.0
    wait_ms: float = 2_000.0
    growth_bytes: int = 24 * _MIB


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run showed."""

    seed: int
    transport: str
    tally: Tally
    seconds: float
    alive: bool
    warm_bytes: int
    end_bytes: int
    files_left: int
    good: Report
    defects: list[str] = field(default_factory=list)
    suspects: Mapping[int, tuple[bytes, ...]] = field(default_factory=dict)


def problems(outcome: Outcome, bounds: Bounds) -> list[str]:
    """Say what was not as it must be; nothing if all was."""
    wrong = []
    if not outcome.alive:
        wrong.append("the service has ended")
    if outcome.defects:
        wrong.append("the log says:\n" + "\n".join(outcome.defects)[:_SHOWN_LOG])
    wrong += [_suspicion(outcome, number, packets) for number, packets in outcome.suspects.items()]
    wrong += [_told(outcome, fault) for fault in outcome.tally.faults]
    grown = outcome.end_bytes - outcome.warm_bytes
    if grown > bounds.growth_bytes:
        wrong.append(f"memory grew by {grown / _MIB:.1f} MiB, {bounds.growth_bytes / _MIB:.0f} are allowed")
    if outcome.files_left > 0:
        wrong.append(f"{outcome.files_left} descriptors are still open")
    good = outcome.good
    if good.lost:
        wrong.append(f"the good client lost {good.lost} of {good.sent} messages")
    wrong += [f"the good client says: {problem}" for problem in good.problems]
    if good.p99_ms > bounds.p99_ms:
        wrong.append(f"the good client's p99 is {good.p99_ms} ms, {bounds.p99_ms} are allowed")
    slowest = max(good.max_ms, good.connect_max_ms)
    if slowest > bounds.wait_ms:
        wrong.append(f"the good client waited {slowest} ms, {bounds.wait_ms} are allowed")
    return wrong


def text(outcome: Outcome) -> str:
    """Tell an outcome in a few lines."""
    tally, good = outcome.tally, outcome.good
    return (
        f"{tally.packets:,} packets on {tally.connections:,} connections ({outcome.transport}), "
        f"{outcome.seconds:.0f} s, {tally.packets / outcome.seconds:,.0f} a second\n"
        f"asked at the end: {tally.answered:,} answered, {tally.closed:,} were closed, "
        f"{len(tally.faults)} faults, {len(outcome.defects)} defects\n"
        f"memory at rest: {outcome.warm_bytes / _MIB:.1f} MiB after a fifth, "
        f"{outcome.end_bytes / _MIB:.1f} MiB at the end; {outcome.files_left} descriptors left\n"
        f"good client: {good.sent:,} messages, {good.lost} lost; p50 {good.p50_ms} ms, p99 {good.p99_ms} ms, "
        f"max {good.max_ms} ms; {good.connects} connects, max {good.connect_max_ms} ms"
    )


def _suspicion(outcome: Outcome, number: int, packets: tuple[bytes, ...]) -> str:
    return f"connection {number} may have met it; {_how(outcome, number)}\n{_hex(packets)}"


def _told(outcome: Outcome, fault: Fault) -> str:
    script = fault.script
    where = f"connection {script.number} ({script.transport}, version {script.version})"
    return f"{fault.what}: {where}; {_how(outcome, script.number)}\n{_hex(script.packets)}"


def _how(outcome: Outcome, number: int) -> str:
    return (
        f"repeat it: python -m fuzz --seed {outcome.seed} --transport {outcome.transport} "
        f"--first {number} --connections 1"
    )


def _hex(packets: tuple[bytes, ...]) -> str:
    return "\n".join(f"    {packet[:_SHOWN_BYTES].hex()}" for packet in packets[-_LAST_PACKETS:])
