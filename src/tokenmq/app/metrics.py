"""What Prometheus reads: figures that are there anyway, put together when somebody asks.

Nothing is done for a metric while messages pass: counters are plain numbers in the core, in
the store's writer and at the HTTP gate, and sessions are gone through at the scrape. No
label has a value that a tenant chooses, so the number of time series is bounded.
`docs/metrics.md` says what each metric means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

import tokenmq
from tokenmq import clock
from tokenmq.api.tally import Tally
from tokenmq.broker import operating
from tokenmq.broker.broker import Broker
from tokenmq.histogram import Histogram
from tokenmq.server.hub import Hub
from tokenmq.services.keys import Keys
from tokenmq.stores.base import Store

# Operations that make tokens, and what comes of them.
_MAKING = {
    "createToken": "issued",
    "createTokenReplacing": "issued",
    "createTokenV1": "issued",
    "refreshToken": "refreshed",
    "exchangeToken": "exchanged",
}


def make_metrics(hub: Hub, store: Store, keys: Keys, tally: Tally) -> Callable[[], bytes]:
    """Return what writes all metrics of this process, in the text format of Prometheus.

    Args:
        hub: the broker's owner.
        store: what is written to.
        keys: servers' keys, which may end soon.
        tally: how requests were answered.
    """
    registry = CollectorRegistry()
    registry.register(_Figures(hub, store, keys, tally))
    ProcessCollector(registry=registry)
    return lambda: generate_latest(registry)


class _Figures(Collector):
    """All metrics of ours."""

    def __init__(self, hub: Hub, store: Store, keys: Keys, tally: Tally) -> None:
        self._hub = hub
        self._store = store
        self._keys = keys
        self._tally = tally
        self._started = clock.now() - clock.mono()

    def describe(self) -> Iterable[Metric]:
        """Say nothing beforehand: everything is made when it is asked for."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, as of now."""
        build = GaugeMetricFamily("tokenmq_build_info", "The version that runs.", labels=("version",))
        build.add_metric((tokenmq.__version__,), 1)
        yield build
        yield from _of_broker(self._hub.broker)
        yield from _of_sessions(self._hub.broker)
        yield from self._of_tokens()
        yield from self._of_store()
        yield from self._of_time()

    def _of_tokens(self) -> Iterator[Metric]:
        counts = self._tally.counts
        requests = {
            (operation or "none", str(status)): count for (operation, status), count in counts.items()
        }
        yield _counted("tokenmq_http_requests", "Answers of HTTP.", ("operation", "status"), requests.items())
        outcomes = dict.fromkeys(("issued", "refreshed", "exchanged", "refused", "failed"), 0)
        for (operation, status), count in counts.items():
            made = _MAKING.get(operation)
            if made is not None:
                outcome = made if status < 400 else "refused" if status < 500 else "failed"
                outcomes[outcome] += count
        outcomes["revoked"] = self._hub.broker.counters.revoked
        yield _by_one("tokenmq_tokens", "Tokens, by what came of them.", "outcome", outcomes)
        yield GaugeMetricFamily(
            "tokenmq_keys_expiring",
            "Servers' keys that end within 14 days.",
            value=len(self._keys.expiring(clock.now())),
        )

    def _of_store(self) -> Iterator[Metric]:
        writer = self._store.writer
        yield _timed("tokenmq_commit_seconds", "How long commits of the store took.", writer.commit_seconds)
        yield CounterMetricFamily(
            "tokenmq_commits_failed", "Commits of the store that failed.", value=writer.failures
        )
        yield GaugeMetricFamily(
            "tokenmq_store_waiting", "Operations and rows that wait for a commit.", value=writer.waiting
        )

    def _of_time(self) -> Iterator[Metric]:
        text = "How late the timer of the event loop was, four times a second."
        yield _timed("tokenmq_event_loop_lag_seconds", text, self._hub.lag_seconds)
        now = clock.now()
        yield GaugeMetricFamily("tokenmq_clock_seconds", "The wall clock, unix time.", value=now)
        drift = now - clock.mono() - self._started
        text = "How far the wall clock was set since the start."
        yield GaugeMetricFamily("tokenmq_clock_drift_seconds", text, value=drift)


def _of_broker(broker: Broker) -> Iterator[Metric]:
    counters = broker.counters
    yield CounterMetricFamily("tokenmq_messages_received", "Messages that came in.", value=counters.received)
    yield CounterMetricFamily(
        "tokenmq_messages_delivered", "Messages that went out, each receiver's.", value=counters.delivered
    )
    yield CounterMetricFamily(
        "tokenmq_connects_accepted", "CONNECTs that were accepted.", value=counters.connected
    )
    yield _by_one("tokenmq_connects_refused", "CONNECTs that were refused.", "reason", counters.turned_away)
    yield _by_one("tokenmq_publishes_refused", "Messages that were not taken.", "reason", counters.refusals)
    dropped = {
        "queue_full": counters.overflowed - counters.crowded_out,
        "queues_full": counters.crowded_out,
        "not_taken": counters.dropped - counters.overflowed,
        "expired": counters.expired,
        "withheld": counters.withheld,
    }
    yield GaugeMetricFamily(
        "tokenmq_unstored_bytes", "Bytes that came in and wait for the store.", value=broker.unstored.bytes
    )
    yield _by_one("tokenmq_messages_dropped", "Messages that a receiver did not get.", "reason", dropped)
    text = "Recorded messages that went out to those who subscribed and asked for them."
    yield CounterMetricFamily("tokenmq_history_replayed", text, value=counters.replayed)
    text = "Messages that were to be recorded and are not."
    yield CounterMetricFamily("tokenmq_history_lost", text, value=counters.history_lost)
    decisions = {
        (action, "allowed" if allowed else "denied"): count
        for (action, allowed), count in counters.decisions.items()
    }
    text = "Decisions about rights that were not remembered from an earlier one."
    yield _counted("tokenmq_decisions", text, ("action", "outcome"), decisions.items())


def _of_sessions(broker: Broker) -> Iterator[Metric]:
    connected = away = subscriptions = queued = longest = retained = 0
    for tenant in broker.tenants.values():
        connected += tenant.connected
        away += len(tenant.sessions) - tenant.connected
        retained += len(tenant.retained)
        for session in tenant.sessions.values():
            subscriptions += len(session.subscriptions)
            waiting = operating.queue_of(session)
            queued += waiting
            longest = max(longest, waiting)
    yield GaugeMetricFamily("tokenmq_connections", "MQTT connections that were accepted.", value=connected)
    yield GaugeMetricFamily("tokenmq_sessions_away", "Sessions that wait for their clients.", value=away)
    yield GaugeMetricFamily("tokenmq_subscriptions", "Subscriptions of all sessions.", value=subscriptions)
    yield GaugeMetricFamily(
        "tokenmq_queued_messages", "Messages that wait to go out, or for a client.", value=queued
    )
    yield GaugeMetricFamily("tokenmq_queued_bytes", "Memory that these take.", value=broker.queues.bytes)
    yield GaugeMetricFamily(
        "tokenmq_longest_queue_messages", "The same of the session that has most of them.", value=longest
    )
    yield GaugeMetricFamily("tokenmq_retained_messages", "Messages that topics keep.", value=retained)
    yield GaugeMetricFamily(
        "tokenmq_organizations_active", "Organizations that the broker knows of.", value=len(broker.tenants)
    )


def _by_one(name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
    return _counted(name, text, (label,), [((value,), count) for value, count in counts.items()])


def _counted(
    name: str, text: str, labels: tuple[str, ...], counts: Iterable[tuple[tuple[str, ...], int]]
) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in sorted(counts):
        family.add_metric(values, count)
    return family


def _timed(name: str, text: str, histogram: Histogram) -> Metric:
    buckets = [
        ("+Inf" if bound == float("inf") else str(bound), count) for bound, count in histogram.cumulative()
    ]
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=histogram.total)
