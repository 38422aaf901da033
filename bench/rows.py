"""The rows of the benchmark: what is measured, how both sides take their sample, what is wanted.

A row's figure for a pair is ours divided by the peer's. What the peer is stands in the row: Mosquitto, the
bare operation, or our own server without the burden.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench.harness import OTHERS, Bench
from bench.measures import (
    DEEP,
    EACH,
    FAN20,
    FAN1000,
    FRESH,
    NO_LANE,
    PERSISTENT,
    QOS0,
    QOS1,
    QOS2,
    SCATTERED,
    Measure,
    beside,
    churned,
    connects_known,
    connects_prepare,
    connects_verified,
    decision,
    half_load,
    idle_memory,
    presence_heard,
    presence_unheard,
    pubsub,
    recorded,
    revoked,
    tokens,
    tokens_to_bare,
    under_history,
)

OTHER_PAIRS = 3  # samples of each broker beside Mosquitto


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
        warm: whether an uncounted pair comes first.
        factor: figures are printed divided by this.
        per_second: whether the figure is so many a second, so that a ratio by processor time says something.
        extra: not run by --quick.
        others: whether NATS, aedes and aMQTT take samples, too.
        overhead_seconds: what a sample takes besides warm-up and measured time, about.
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
    others: bool = False
    overhead_seconds: float = 0.4

    def pairs_of(self, bench: Bench) -> int:
        """How many pairs are taken."""
        return min(self.pairs or bench.pairs, bench.pairs)

    def others_of(self, bench: Bench) -> int:
        """How many samples each broker beside Mosquitto takes."""
        return min(self.pairs_of(bench), OTHER_PAIRS) if self.others and not bench.alone else 0

    def seconds_of(self, bench: Bench) -> float:
        """About how long the row takes."""
        samples = 2 * (self.pairs_of(bench) + self.warm)
        samples += len(OTHERS) * self.others_of(bench)
        return samples * (bench.seconds + bench.warmup_seconds + self.overhead_seconds)


ROWS = (
    Row(
        "qos0", "QoS 0, 10 pairs, 64 B, batched writes",
        pubsub(*QOS0), Wanted(at_least=5), others=True,
    ),
    Row(
        "qos0-each", "QoS 0, 10 pairs, 64 B, one write a message",
        pubsub(*QOS0, EACH), Wanted(at_least=1.5), others=True,
    ),
    Row(
        "qos1", "QoS 1, 10 pairs, 64 B, batched writes",
        pubsub(*QOS1), Wanted(at_least=5), others=True,
    ),
    Row(
        "qos1-each", "QoS 1, 10 pairs, 64 B, one write a message",
        pubsub(*QOS1, EACH), Wanted(at_least=2.5), others=True,
    ),
    Row("qos1-deep", "QoS 1, 10 pairs, 64 B, 200 outstanding", pubsub(*DEEP)),
    Row(
        "qos2", "QoS 2, 10 pairs, 64 B, batched writes",
        pubsub(*QOS2, variant="inflight"), Wanted(at_least=2.5), others=True,
    ),
    Row(
        "fan20", "fan-out 1 → 20, QoS 0, deliveries/s",
        pubsub(*FAN20, clients=21), Wanted(at_least=12), others=True,
    ),
    Row(
        "fan1000", "fan-out 1 → 1000, QoS 0, deliveries/s",
        pubsub(*FAN1000, clients=1001), Wanted(at_least=12), others=True, overhead_seconds=3.0,
    ),
    Row(
        "qos0-props", "QoS 0, 10 pairs, MQTT 5, properties on every message",
        pubsub(*QOS0, "--properties", version=5), Wanted(at_least=1.5), others=True,
    ),
    Row(
        "qos1-props", "QoS 1, 10 pairs, MQTT 5, properties on every message",
        pubsub(*QOS1, "--properties", version=5), Wanted(at_least=1.5),
    ),
    Row(
        "qos0-fresh", "QoS 0, 10 pairs, MQTT 5, properties that differ on every message",
        pubsub(*QOS0, *FRESH, version=5), Wanted(at_least=1.5),
    ),
    Row(
        "qos1-fresh", "QoS 1, 10 pairs, MQTT 5, properties that differ on every message",
        pubsub(*QOS1, *FRESH, version=5), Wanted(at_least=1.5),
    ),
    Row(
        "fan20-props", "fan-out 1 → 20, QoS 0, MQTT 5, properties on every message, deliveries/s",
        pubsub(*FAN20, "--properties", version=5, clients=21), Wanted(at_least=1.5),
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
        Wanted(at_least=1.5), extra=True, others=True,
    ),
    Row(
        "durable", "QoS 1, 10 pairs, sessions outlive connections; flushed before PUBACK (not Mosquitto)",
        pubsub(*PERSISTENT, variant="durable"), Wanted("ours", at_least=10_000), others=True,
    ),
    Row(
        "held", "QoS 0, 10 pairs, beside 10,000 idle connections, 100,000 subscriptions; to the same without",
        beside(pubsub(*QOS0), connections=10_000, subscriptions=10), Wanted(at_least=0.9),
        extra=True, warm=False, overhead_seconds=8.0,
    ),
    Row(
        "scatter", "QoS 0, 40,960 topics, beside 100,000 subscriptions that match nothing; to none",
        beside(pubsub(*SCATTERED), connections=1_000, subscriptions=100), Wanted(at_least=0.9),
        extra=True, overhead_seconds=2.5,
    ),
    Row(
        "churn", "QoS 0, 10 pairs, while 200 clients/s connect, subscribe, leave; to the same without",
        churned, Wanted(at_least=0.8), extra=True,
    ),
    Row(
        "connect", "connects/s, a fresh token each, signature verified; to anonymous",
        connects_verified, Wanted(at_least=0.35), prepare=connects_prepare, others=True, overhead_seconds=0.0,
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
        "decision-rules", "one decision, not cached, 1,000 policy rules to the starting policy, ns",
        decision("uncached_rules_ns", "uncached_64_ns"), Wanted(at_most=1.5), warm=False, per_second=False,
    ),
    Row(
        "history-qos0", "QoS 0, MQTT 5, no lane, all of it recorded, 100 a topic; to nothing recorded",
        under_history(pubsub(*QOS0, NO_LANE, version=5)), Wanted(at_least=0.7), pairs=3, extra=True,
        overhead_seconds=1.4,
    ),
    Row(
        "history-qos1", "QoS 1, MQTT 5, no lane, all of it recorded, 100 a topic; to nothing recorded",
        under_history(pubsub(*QOS1, NO_LANE, version=5)), Wanted(at_least=0.7), pairs=3, extra=True,
        overhead_seconds=1.4,
    ),
    Row(
        "history-lane", "QoS 1, batched writes, all of it recorded, 100 a topic; to nothing recorded",
        under_history(pubsub(*QOS1)), Wanted(at_least=0.5), pairs=3, extra=True, overhead_seconds=1.4,
    ),
    Row(
        "history-last", "the last 50 of one topic among a million messages, ms; to their p95",
        recorded("last_ms", "last_p95_ms"), Wanted("ours", at_most=5), pairs=1, warm=False,
        per_second=False, extra=True, overhead_seconds=20.0,
    ),
    Row(
        "history-trim", "longest commit, 2,000 messages/s recorded and as many dropped, ms; to none dropped",
        recorded("trimmed_longest_ms", "plain_longest_ms"), Wanted(at_most=4), pairs=1, warm=False,
        per_second=False, extra=True, overhead_seconds=0.0,
    ),
    Row(
        "history-sweep", "longest commit, the same while a sweep drops half of all, ms; to none dropped",
        recorded("swept_longest_ms", "plain_longest_ms"), Wanted(at_most=4), pairs=1, warm=False,
        per_second=False, extra=True, overhead_seconds=0.0,
    ),
    Row(
        "p99", "p99 latency, QoS 1, each at half of its own most, µs",
        half_load(None), Wanted(at_most=1.5), per_second=False, extra=True, others=True,
    ),
    Row(
        "p99-same", "p99 latency, QoS 1, both at half of the peer's most, µs", half_load("peer"),
        per_second=False, extra=True,
    ),
    Row(
        "idle", "memory of an idle connection, subscribed, KiB", idle_memory,
        Wanted("ours", at_most=12 * 1024), pairs=1, warm=False, per_second=False, factor=1024, extra=True,
        others=True, overhead_seconds=12.0,
    ),
    Row(
        "presence", "p99 from a join or leave to its event; 9,000 members, 100 watchers, 1,000/s, ms",
        presence_heard, Wanted("ours", at_most=250_000), pairs=2, warm=False, per_second=False, factor=1000,
        extra=True, overhead_seconds=12.0,
    ),
    Row(
        "presence-none", "joins and leaves/s that nobody watches, while others watch elsewhere; to none",
        presence_unheard, Wanted(at_least=0.8), extra=True,
    ),
    Row(
        "revoke", "revocation answered to last byte, p99 of 500 connections, each by itself, ms; to asked",
        revoked(connections=500, at_once=False), Wanted("ours", at_most=20_000), pairs=2, warm=False,
        per_second=False, factor=1000, extra=True, overhead_seconds=2.0,
    ),
    Row(
        "revoke-all", "revocation answered to last byte of 10,000 connections, in one call, ms; to asked",
        revoked(connections=10_000, at_once=True), Wanted("ours", at_most=1_000_000), pairs=1, warm=False,
        per_second=False, factor=1000, extra=True, overhead_seconds=15.0,
    ),
)  # fmt: skip
