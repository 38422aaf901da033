"""The rows of the benchmark: what is measured, how both sides take their sample, what is wanted.

A row's figure for a pair is ours divided by the peer's. What the peer is stands in the row: Mosquitto, the
bare operation, or our own server without the burden.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.harness import Bench, Sample, Side
from bench.servers import NotMeasurable, Server


@dataclass(frozen=True, slots=True)
class Wanted:
    """The bound of a row: on the ratio, or on our own figure."""

    of: Literal["ratio", "ours"] = "ratio"
    at_least: float | None = None
    at_most: float | None = None

    def holds(self, *, ours: float, ratio: float | None) -> bool | None:
        """Whether it is met; None if nothing is wanted or the figure is missing."""
        value = ours if self.of == "ours" else ratio
        if value is None or (self.at_least is None and self.at_most is None):
            return None
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )


Measure = Callable[[Bench, Side], Sample]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        key: what `--rows` takes.
        title: what is measured, with its unit where that is not messages a second.
        measure: takes one sample of one side.
        wanted: the bound.
        prepare: done once before the first sample.
        pairs: at most so many pairs; 0 for as many as asked.
        warm: whether an uncounted sample of each side comes first.
        factor: figures are printed divided by this.
        per_second: whether the figure is so many a second, so that a ratio by processor time says something.
        extra: not run by --quick.
    """

    key: str
    title: str
    measure: Measure
    wanted: Wanted = Wanted()
    prepare: Callable[[Bench], None] | None = None
    pairs: int = 0
    warm: bool = True
    factor: float = 1.0
    per_second: bool = True
    extra: bool = False


def pubsub(
    *options: str,
    version: int = 4,
    clients: int = 20,
    max_inflight: int | None = None,
    websocket: bool = False,
) -> Measure:
    """A row of the publish load with these options of the generator."""

    def measure(bench: Bench, side: Side) -> Sample:
        server = bench.server(side, max_inflight=max_inflight)
        top = ["--version", str(version)] + (["--websocket"] if websocket else [])
        sample = bench.load(
            server, *top, "pubsub", "--seconds", str(bench.seconds),
            "--warmup-seconds", str(bench.warmup_seconds), *options,
            port=server.websocket_port if websocket else 0, credentials=server.credentials(clients),
        )  # fmt: skip
        if options == QOS1:
            bench.capacity[side] = max(bench.capacity.get(side, 0.0), sample.value)
        return sample

    return measure


def connects_prepare(bench: Bench) -> None:
    """Make all tokens of the row, then let another process of the server verify them."""
    server = bench.tokenmq()
    bench.fresh = server.mint(_connections(bench) * (bench.pairs + 1))
    server.restart()


def connects_verified(bench: Bench, side: Side) -> Sample:
    if side == "peer":
        return _connect(bench, bench.server(side), None)
    server, count = bench.tokenmq(), _connections(bench)
    if len(bench.fresh) < count:
        raise NotMeasurable("there are not enough fresh tokens")
    chosen, bench.fresh = bench.fresh[:count], bench.fresh[count:]
    return _connect(bench, server, server.write(chosen, "fresh.tsv"))


def connects_known(bench: Bench, side: Side) -> Sample:
    if side == "peer":
        return _connect(bench, bench.server(side), None)
    server = bench.tokenmq()
    return _connect(bench, server, server.write(server.mint(_connections(bench)), "known.tsv"))


def tokens(bench: Bench, side: Side) -> Sample:
    if side == "peer":
        raise NotMeasurable("an absolute figure")
    server = bench.tokenmq()
    options = ("--key-file", str(server.key_file()), "--seconds", str(bench.seconds))
    return bench.load(server, "tokens", *options, figure="per_s", port=server.http_port)


def tokens_to_bare(bench: Bench, side: Side) -> Sample:
    """Our token requests to the same requests answered at once: 4,000 to 21,000 is 0.19."""
    if side == "ours":
        return tokens(bench, side)
    options = ("--key-file", str(bench.tokenmq().key_file()), "--seconds", str(bench.seconds))
    return bench.load(bench.bare(), "tokens", *options, figure="per_s")


def decision(ours: str, peer: str) -> Measure:
    """A row out of `bench.decisions`: these two of its figures, in nanoseconds; a pair is one run."""

    def measure(bench: Bench, side: Side) -> Sample:
        found = bench.decisions or bench.finish(bench.start([sys.executable, "-m", "bench.decisions"]))
        bench.decisions = {} if bench.decisions else found
        return Sample(found[ours if side == "ours" else peer])

    return measure


def half_load(share_of: Side | None) -> Measure:
    """p99 in microseconds at half of each side's own capacity, or of one side's for both."""

    def measure(bench: Bench, side: Side) -> Sample:
        whose = share_of or side
        if whose not in bench.capacity:
            pubsub(*QOS1)(bench, whose)
        server = bench.server(side)
        return bench.load(
            server, "pubsub", *QOS1, "--rate", str(round(bench.capacity[whose] / 2)),
            "--seconds", str(bench.seconds), "--warmup-seconds", str(bench.warmup_seconds),
            figure="p99_us", credentials=server.credentials(20),
        )  # fmt: skip

    return measure


def churned(bench: Bench, side: Side) -> Sample:
    """The first row with (ours) and without (peer) clients that come, subscribe and go."""
    server = bench.tokenmq()
    if side == "peer":
        return pubsub(*QOS0)(bench, "ours")
    credentials = server.credentials(1000)
    process = bench.start(
        [
            sys.executable, "-m", "bench.load", "--port", str(server.port), "--credentials", str(credentials),
            "churn", "--per-second", "200", "--seconds", str(bench.seconds + bench.warmup_seconds + 0.5),
        ]
    )  # fmt: skip
    sample = pubsub(*QOS0)(bench, "ours")
    done = bench.finish(process)
    if done["per_s"] < 180:
        raise NotMeasurable(f"only {done['per_s']} clients a second came and went")
    return sample


def idle_memory(bench: Bench, side: Side) -> Sample:
    """Bytes of memory that one idle, subscribed connection costs."""
    count = max(1000, int(10_000 * bench.scale))
    server = bench.server(side)
    credentials = server.credentials(count)
    server.restart()
    before = server.memory_bytes()
    command = [sys.executable, "-m", "bench.load", "--port", str(server.port)]
    command += ["--credentials", str(credentials)] if credentials else []
    process = bench.start([*command, "idle", "--count", str(count)])
    assert process.stdout is not None
    told = process.stdout.readline()
    if "held" not in told:
        process.kill()
        process.communicate()
        raise NotMeasurable(told.strip() or "no output")
    after = server.memory_bytes()
    process.communicate()
    return Sample((after - before) / count)


def _connections(bench: Bench) -> int:
    return max(500, int(3000 * bench.scale))


def _connect(bench: Bench, server: Server, credentials: Path | None) -> Sample:
    return bench.load(
        server, "connect", "--count", str(_connections(bench)), figure="per_s", credentials=credentials
    )


QOS0 = ("--qos", "0")
# A message may overtake the PUBACKs of its receiver, which go another way: with half of our in-flight window
# of 100 outstanding, that window is never exceeded. (Mosquitto's figures are the same with 50, 100 and 200.)
QOS1 = ("--qos", "1", "--window", "50")
_QOS2 = ("--qos", "2", "--window", "50")
_DEEP = ("--qos", "1", "--window", "200")
_EACH = "--write-each"
_FAN20 = ("--qos", "0", "--pairs", "1", "--fanout", "20")
_FAN1000 = ("--qos", "0", "--pairs", "1", "--fanout", "1000")

ROWS = (
    Row(
        "qos0", "QoS 0, 10 pairs, 64 B, batched writes",
        pubsub(*QOS0), Wanted(at_least=5),
    ),
    Row(
        "qos0-each", "QoS 0, 10 pairs, 64 B, one write a message",
        pubsub(*QOS0, _EACH), Wanted(at_least=1.5),
    ),
    Row(
        "qos1", "QoS 1, 10 pairs, 64 B, batched writes",
        pubsub(*QOS1), Wanted(at_least=5),
    ),
    Row(
        "qos1-each", "QoS 1, 10 pairs, 64 B, one write a message",
        pubsub(*QOS1, _EACH), Wanted(at_least=2.5),
    ),
    Row("qos1-deep", "QoS 1, 10 pairs, 64 B, 200 outstanding", pubsub(*_DEEP)),
    Row("qos2", "QoS 2, 10 pairs, 64 B, batched writes", pubsub(*_QOS2, max_inflight=100), extra=True),
    Row(
        "fan20", "fan-out 1 → 20, QoS 0, deliveries/s",
        pubsub(*_FAN20, clients=21), Wanted(at_least=12),
    ),
    Row(
        "fan1000", "fan-out 1 → 1000, QoS 0, deliveries/s",
        pubsub(*_FAN1000, clients=1001), Wanted(at_least=12),
    ),
    Row(
        "qos0-props", "QoS 0, 10 pairs, MQTT 5, properties on every message",
        pubsub(*QOS0, "--properties", version=5), Wanted(at_least=1.5),
    ),
    Row(
        "qos1-props", "QoS 1, 10 pairs, MQTT 5, properties on every message",
        pubsub(*QOS1, "--properties", version=5), Wanted(at_least=1.5),
    ),
    Row(
        "qos0-fresh", "QoS 0, 10 pairs, MQTT 5, properties that differ on every message",
        pubsub(*QOS0, "--properties", "--fresh-properties", version=5), Wanted(at_least=1.5),
    ),
    Row(
        "qos1-fresh", "QoS 1, 10 pairs, MQTT 5, properties that differ on every message",
        pubsub(*QOS1, "--properties", "--fresh-properties", version=5), Wanted(at_least=1.5),
    ),
    Row(
        "fan20-props", "fan-out 1 → 20, QoS 0, MQTT 5, properties on every message, deliveries/s",
        pubsub(*_FAN20, "--properties", version=5, clients=21), Wanted(at_least=1.5),
    ),
    Row(
        "qos0-vary", "QoS 0, 10 pairs, topics and sizes differ",
        pubsub(*QOS0, "--vary"), Wanted(at_least=1.5),
    ),
    Row(
        "qos1-vary", "QoS 1, 10 pairs, topics and sizes differ",
        pubsub(*QOS1, "--vary"), Wanted(at_least=1.5),
    ),
    Row("qos0-v5", "QoS 0, 10 pairs, MQTT 5", pubsub(*QOS0, version=5), extra=True),
    Row(
        "qos0-ws", "QoS 0, 10 pairs, WebSocket on both sides", pubsub(*QOS0, websocket=True),
        Wanted(at_least=1.5), extra=True,
    ),
    Row(
        "churn", "QoS 0, 10 pairs, while 200 clients/s connect, subscribe, leave; to the same without",
        churned, Wanted(at_least=0.8), extra=True,
    ),
    Row(
        "connect", "connects/s, a fresh token each, signature verified; to anonymous",
        connects_verified, Wanted(at_least=0.35), prepare=connects_prepare,
    ),
    Row(
        "connect-known", "connects/s, a fresh token each, minted by this process; to anonymous",
        connects_known, Wanted(at_least=0.5),
    ),
    Row("tokens", "token requests/s, stored before the answer", tokens, Wanted("ours", at_least=4000)),
    Row(
        "tokens-bare", "token requests/s, stored before the answer; to bare Starlette, as many bytes",
        tokens_to_bare, Wanted(at_least=0.19),
    ),
    Row(
        "decision-cached", "one decision, cached, ns; to a bare dict look-up",
        decision("cached_ns", "bare_ns"), Wanted("ours", at_most=300), warm=False, per_second=False,
    ),
    Row(
        "decision-uncached", "one decision, not cached, 64 grants, ns; to the same with 1 grant",
        decision("uncached_64_ns", "uncached_1_ns"), Wanted("ours", at_most=5000),
        warm=False, per_second=False,
    ),
    Row(
        "decision-grants", "one decision, not cached, 64 grants to 1 grant, ns",
        decision("uncached_64_ns", "uncached_1_ns"), Wanted(at_most=1.25), warm=False, per_second=False,
    ),
    Row(
        "p99", "p99 latency, QoS 1, each at half of its own most, µs",
        half_load(None), Wanted(at_most=1.5), per_second=False, extra=True,
    ),
    Row(
        "p99-same", "p99 latency, QoS 1, both at half of the peer's most, µs", half_load("peer"),
        per_second=False, extra=True,
    ),
    Row(
        "idle", "memory of an idle connection, subscribed, KiB", idle_memory,
        Wanted("ours", at_most=12 * 1024), pairs=1, warm=False, per_second=False, factor=1024, extra=True,
    ),
)  # fmt: skip
