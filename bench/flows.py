"""What the publish load keeps of one publisher, of one connection, and of the time that messages take."""

from dataclasses import dataclass, field

from bench import ring
from bench.links import Channel
from bench.streams import Stream


@dataclass(slots=True)
class Flow:
    """One publisher: what it has sent, and how far its receivers and acknowledgements are."""

    ring: ring.Ring
    channel: Channel
    window: int
    unacknowledged: int
    least: int
    counts: list[int]
    acknowledged: Stream | None
    receivers: list[Stream] = field(default_factory=list)
    sent: int = 0
    moved: bool = False

    def allowance(self) -> int:
        allowed = self.window - self.sent + min(self.counts)
        if self.acknowledged is not None:
            allowed = min(allowed, self.unacknowledged - self.sent + self.acknowledged.count)
        return allowed

    def arrived(self) -> bool:
        """Whether everything sent has come everywhere, and nothing about it is still open."""
        settled = self.acknowledged is None or self.acknowledged.count == self.sent
        return (
            settled
            and all(count == self.sent for count in self.counts)
            and all(one.settled for one in self.receivers)
        )


@dataclass(slots=True)
class Link:
    """A connection, what counts its bytes, and which of its flow's receivers it is (-1: the publisher)."""

    channel: Channel
    stream: Stream
    flow: Flow
    index: int


@dataclass(slots=True)
class Latencies:
    """Arrivals (moment, flow's first message, one past the last) to be held against the schedule."""

    start: float = 0.0
    arrivals: list[tuple[float, int, int]] = field(default_factory=list)

    def percentiles(self, interval: float, *, since: float) -> dict[str, float]:
        """Microseconds from the tick at which a message was due to its arrival."""
        values = []
        for moment, first, stop in self.arrivals:
            for message in range(first, stop):
                due = self.start + message * interval
                if due >= since:
                    values.append(moment - due)
        values.sort()
        if not values:
            return {}
        return {
            name: round(values[int((len(values) - 1) * share)] * 1e6, 1)
            for name, share in (("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999), ("max_us", 1.0))
        }
