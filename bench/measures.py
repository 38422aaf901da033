"""How a side takes its sample of a row: which load, against which server, with which credentials."""

import sys
from collections.abc import Callable
from pathlib import Path

from bench.harness import BROKERS, PATIENCE_SECONDS, Bench, Sample, Side
from bench.servers import NotMeasurable, Server, Variant

Measure = Callable[[Bench, Side], Sample]

QOS0 = ("--qos", "0")
# A message may overtake the PUBACKs of its receiver, which go another way: with half of our in-flight window
# of 100 outstanding, that window is never exceeded. (Mosquitto's figures are the same with 50, 100 and 200.)
QOS1 = ("--qos", "1", "--window", "50")
QOS2 = ("--qos", "2", "--window", "50")
DEEP = ("--qos", "1", "--window", "200")
EACH = "--write-each"
FRESH = ("--properties", "--fresh-properties")
NO_LANE = "--no-local"
FAN20 = ("--qos", "0", "--pairs", "1", "--fanout", "20")
FAN1000 = ("--qos", "0", "--pairs", "1", "--fanout", "1000")
SCATTERED = ("--qos", "0", "--scatter")
PERSISTENT = (*QOS1, "--persistent")


def pubsub(
    *options: str,
    version: int = 4,
    clients: int = 20,
    variant: Variant = "",
    websocket: bool = False,
) -> Measure:
    """A row of the publish load with these options of the generator."""

    def measure(bench: Bench, side: Side) -> Sample:
        broker = BROKERS[side]
        if version not in broker.versions:
            raise NotMeasurable("MQTT 3.1.1 only")
        if variant == "durable" and not broker.durable:
            raise NotMeasurable("keeps nothing on disk")
        server = bench.server(side, variant=variant)
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
    bench.fresh = server.mint(_connections(bench, "ours") * (bench.pairs + 1))
    server.restart()


def connects_verified(bench: Bench, side: Side) -> Sample:
    if side != "ours":
        return _connect(bench, side, bench.server(side))
    server, count = bench.tokenmq(), _connections(bench, side)
    if len(bench.fresh) < count:
        raise NotMeasurable("there are not enough fresh tokens")
    chosen, bench.fresh = bench.fresh[:count], bench.fresh[count:]
    return _connect(bench, side, server, server.write(chosen, "fresh.tsv"))


def connects_known(bench: Bench, side: Side) -> Sample:
    if side != "ours":
        return _connect(bench, side, bench.server(side))
    server = bench.tokenmq()
    minted = server.mint(_connections(bench, side))
    return _connect(bench, side, server, server.write(minted, "known.tsv"))


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


def recorded(ours: str, peer: str) -> Measure:
    """A row out of `bench.recorded`: these two of its figures, in milliseconds; one run serves all rows."""

    def measure(bench: Bench, side: Side) -> Sample:
        if not bench.recorded:
            command = [sys.executable, "-m", "bench.recorded", "--folder", str(bench.folder)]
            messages = str(max(round(1_000_000 * bench.scale), 10_000))
            process = bench.start([*command, "--messages", messages])
            bench.recorded = bench.finish(process, patience_seconds=600)
        return Sample(bench.recorded[ours if side == "ours" else peer])

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
    process = bench.generate(
        server, "churn", "--per-second", "200",
        "--seconds", str(bench.seconds + bench.warmup_seconds + 0.5), credentials=server.credentials(1000),
    )  # fmt: skip
    try:
        sample = pubsub(*QOS0)(bench, "ours")
    finally:
        process.wait(PATIENCE_SECONDS)
    done = bench.finish(process)
    if done["per_s"] < 180:
        raise NotMeasurable(f"only {done['per_s']} clients a second came and went")
    return sample


def beside(measure: Measure, *, connections: int, subscriptions: int) -> Measure:
    """A row of ours with idle connections that hold subscriptions which match nothing, and without (peer)."""

    def with_and_without(bench: Bench, side: Side) -> Sample:
        if side == "peer":
            return measure(bench, "ours")
        count = max(10, int(connections * bench.scale))
        with bench.held(bench.tokenmq(), count=count, subscriptions=subscriptions):
            return measure(bench, "ours")

    return with_and_without


def idle_memory(bench: Bench, side: Side) -> Sample:
    """Bytes of memory that one idle, subscribed connection costs."""
    count = max(1000, int((10_000 if side in ("ours", "peer") else 2_000) * bench.scale))
    server = bench.server(side)
    server.credentials(count)
    server.restart()
    before = server.memory_bytes()
    with bench.held(server, count=count):
        return Sample((server.memory_bytes() - before) / count)


def revoked(*, connections: int, at_once: bool) -> Measure:
    """Microseconds from the answer of a revocation to the last byte, and from its request on (peer)."""

    def measure(bench: Bench, side: Side) -> Sample:
        server = bench.tokenmq()
        count = max(50, int(connections * bench.scale))
        credentials, key_id = server.expendable(count)
        options = ["--http-port", str(server.http_port), "--key-file", str(server.key_file())]
        options += ["--count", str(count)] + (["--key-id", key_id] if at_once else [])
        figure = "answered_us" if side == "ours" else "asked_us"
        return bench.load(
            server, "--version", "5", "revoke", *options, figure=figure, credentials=credentials
        )

    return measure


def under_history(measure: Measure) -> Measure:
    """A row of ours with everything recorded, 24 hours, 100 messages a topic, and without (peer)."""

    def with_and_without(bench: Bench, side: Side) -> Sample:
        server = bench.tokenmq()
        if side == "peer":
            return measure(bench, "ours")
        server.record({"topic": "#", "max_age": 86_400, "max_messages": 100})
        try:
            return measure(bench, "ours")
        finally:
            server.record()

    return with_and_without


def presence_heard(bench: Bench, side: Side) -> Sample:
    """p99 in microseconds from a join or leave to its event."""
    if side == "peer":
        raise NotMeasurable("an absolute figure")
    count = max(100, int(9000 * bench.scale))
    return _presence(bench, "--count", str(count), "--watchers", "100", figure="p99_us", clients=4000)


def presence_unheard(bench: Bench, side: Side) -> Sample:
    """Joins and leaves a second that nobody watches: while others watch elsewhere, and while nobody does."""
    watchers = "10" if side == "ours" else "0"
    return _presence(bench, "--unwatched", "--watchers", watchers, figure="per_s", clients=20)


def _presence(bench: Bench, *options: str, figure: str, clients: int) -> Sample:
    server = bench.tokenmq()
    return bench.load(
        server, "presence", "--key-file", str(server.key_file()), "--seconds", str(bench.seconds),
        "--warmup-seconds", str(bench.warmup_seconds), *options,
        figure=figure, credentials=server.credentials(clients),
    )  # fmt: skip


def _connections(bench: Bench, side: Side) -> int:
    return max(500, int((3000 if side in ("ours", "peer") else 1000) * bench.scale))


def _connect(bench: Bench, side: Side, server: Server, credentials: Path | None = None) -> Sample:
    count = str(_connections(bench, side))
    return bench.load(server, "connect", "--count", count, figure="per_s", credentials=credentials)
