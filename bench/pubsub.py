"""The publish load: pairs of one publisher and its receivers, in a closed loop or at a given rate.

Theory of operation. One epoll loop, no callbacks. Each publisher is a `Flow` with a window: a message may go
out only while fewer than `window` are outstanding at its slowest receiver and unacknowledged by the broker.
A turn of the loop reads every readable connection once (counting and checking, `streams`), then lets the
flows that moved write: in one `send` what the window allows, once that is a quarter of it (a client that
batches), or one `send` a message as soon as it may (a client that does not). Acknowledgements go out in one
`send` for what one read brought, in both cases. Measured is the time between two instants under full load;
afterwards the loop runs dry, and every message sent must have arrived at every receiver exactly once.
"""

import contextlib
import gc
import os
import select
import time
from dataclasses import dataclass, field

from bench import links, ring
from bench.links import Channel, Target, write_all
from bench.processor import Processor
from bench.streams import Acknowledgements, Receiver
from bench.wire import DISCONNECT_PACKET, BadStream, common_properties

BUFFER_BYTES = 1 << 18
TICK_SECONDS = 0.001
QUIET_SECONDS = 5.0
LEAST_SHARE = 4  # a client that batches writes when it may send this part of its window


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do; `rate` is messages a second over all publishers, 0 for as fast as the window allows."""

    target: Target
    pairs: int = 10
    fanout: int = 1
    qos: int = 0
    payload_bytes: int = 64
    window: int = 100
    seconds: float = 2.0
    warmup_seconds: float = 0.5
    batch: bool = True
    properties: bool = False
    fresh_properties: bool = False
    vary: bool = False
    verify: bool = False
    rate: float = 0.0
    prefix: str = "bench"


@dataclass(slots=True)
class Flow:
    """One publisher: what it has sent, and how far its receivers and acknowledgements are."""

    ring: ring.Ring
    channel: Channel
    window: int
    unacknowledged: int
    least: int
    counts: list[int]
    acknowledged: Acknowledgements | None
    sent: int = 0
    moved: bool = False

    def allowance(self) -> int:
        allowed = self.window - self.sent + min(self.counts)
        if self.acknowledged is not None:
            allowed = min(allowed, self.unacknowledged - self.sent + self.acknowledged.count)
        return allowed

    def arrived(self) -> bool:
        settled = self.acknowledged is None or self.acknowledged.count == self.sent
        return settled and all(count == self.sent for count in self.counts)


@dataclass(slots=True)
class Link:
    """A connection, what counts its bytes, and which of its flow's receivers it is (-1: the publisher)."""

    channel: Channel
    stream: Receiver | Acknowledgements
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


class Load:
    """The connections of a plan and the loop over them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._links: dict[int, Link] = {}
        self._flows: list[Flow] = []
        self._epoll = select.epoll()
        self._latencies = Latencies()

    def open(self) -> None:
        """Connect and subscribe everybody, receivers first."""
        plan = self._plan
        slots = 1 << max(8, (2 * plan.window).bit_length())
        block = common_properties() if plan.properties else b""
        version = plan.target.version
        client = 0
        for pair in range(plan.pairs):
            topic = f"{plan.prefix}/{pair}"
            if plan.vary:
                messages = ring.varied(topic, slots=slots, qos=plan.qos, version=version, properties=block)
            else:
                messages = ring.fixed(
                    topic, slots=slots, payload_bytes=plan.payload_bytes, qos=plan.qos, version=version,
                    properties=block, numbered=plan.fresh_properties,
                )  # fmt: skip
            channels = []
            for _ in range(plan.fanout):
                channel, _connack = links.open_connection(plan.target, f"b{os.getpid()}-{client}", client)
                client += 1
                topic_filter = f"{topic}/#" if plan.vary else topic
                links.subscribe(channel, topic_filter, qos=plan.qos, version=version)
                channels.append(channel)
            channel, connack = links.open_connection(plan.target, f"b{os.getpid()}-{client}", client)
            client += 1
            if connack.maximum_qos < plan.qos:
                raise BadStream(f"the broker's maximum QoS is {connack.maximum_qos}")
            unacknowledged = min(plan.window, connack.receive_maximum)
            least = max(1, unacknowledged // LEAST_SHARE) if plan.batch else 1
            flow = Flow(
                messages, channel, plan.window, unacknowledged, least, [0] * plan.fanout,
                Acknowledgements(slots, qos=plan.qos) if plan.qos else None,
            )  # fmt: skip
            self._flows.append(flow)
            self._add(Link(channel, flow.acknowledged or Acknowledgements(slots, qos=0), flow, -1))
            for index, one in enumerate(channels):
                receiver = Receiver(messages, qos=plan.qos, version=version, strict=plan.verify)
                self._add(Link(one, receiver, flow, index))

    def run(self) -> dict[str, object]:
        """Load, measure, run dry; the result as one JSON object. BadStream if a message is lost."""
        plan = self._plan
        gc.collect()
        gc.disable()
        start = time.perf_counter()
        self._latencies.start = start
        self._pump(self._flows)
        self._until(start + plan.warmup_seconds)
        begun, received, sent = time.perf_counter(), self._received(), self._sent()
        processor = Processor(plan.target.server_pid)
        self._until(begun + plan.seconds)
        elapsed = time.perf_counter() - begun
        shares = processor.shares()
        received, sent = self._received() - received, self._sent() - sent
        self._drain()
        parsed = sum(one.stream.parsed for one in self._links.values() if isinstance(one.stream, Receiver))
        result: dict[str, object] = {
            "mode": "pubsub", "version": plan.target.version, "qos": plan.qos, "pairs": plan.pairs,
            "fanout": plan.fanout, "batch": plan.batch, "properties": plan.properties,
            "fresh_properties": plan.fresh_properties, "vary": plan.vary,
            "websocket": plan.target.websocket, "window": plan.window,
            "sent": self._sent(), "received": self._received(), "want": self._sent() * plan.fanout,
            "parsed": parsed, "seconds": round(elapsed, 3),
            "in_per_s": round(sent / elapsed), "out_per_s": round(received / elapsed),
            **shares,
        }  # fmt: skip
        if plan.rate:
            result |= self._latencies.percentiles(plan.pairs / plan.rate, since=begun)
        return result

    def close(self) -> None:
        for link in self._links.values():
            with contextlib.suppress(OSError):
                link.channel.send(DISCONNECT_PACKET)
            link.channel.close()
        self._epoll.close()

    def _add(self, link: Link) -> None:
        link.channel.setblocking(False)
        self._links[link.channel.fileno()] = link
        self._epoll.register(link.channel.fileno(), select.EPOLLIN)

    def _received(self) -> int:
        return sum(sum(flow.counts) for flow in self._flows)

    def _sent(self) -> int:
        return sum(flow.sent for flow in self._flows)

    def _until(self, deadline: float) -> None:
        if self._plan.rate:
            self._until_paced(deadline)
            return
        clock = time.perf_counter
        last = clock()
        while (now := clock()) < deadline:
            moved = self._turn(QUIET_SECONDS / 10)
            if moved:
                self._pump(moved)
                last = now
            elif now - last > QUIET_SECONDS:
                raise BadStream(self._missing("stalled"))

    def _until_paced(self, deadline: float) -> None:
        clock = time.perf_counter
        start = self._latencies.start
        tick = clock()
        while (now := clock()) < deadline:
            if now >= tick:
                due = int((now - start) * self._plan.rate / self._plan.pairs) + 1
                for flow in self._flows:
                    self._send(flow, min(due - flow.sent, flow.allowance()))
                tick += TICK_SECONDS * (int((now - tick) / TICK_SECONDS) + 1)
            self._turn(0)

    def _drain(self) -> None:
        """Receive until everything sent has arrived, then a moment longer for what nobody sent."""
        last = time.perf_counter()
        while not all(flow.arrived() for flow in self._flows):
            if self._turn(0.5):
                last = time.perf_counter()
            elif time.perf_counter() - last > QUIET_SECONDS:
                raise BadStream(self._missing("lost"))
        self._turn(0.05)
        if not all(flow.arrived() for flow in self._flows):
            raise BadStream(self._missing("more than was sent"))

    def _missing(self, what: str) -> str:
        acknowledged = sum(flow.acknowledged.count for flow in self._flows if flow.acknowledged)
        return (
            f"{what}: sent {self._sent()}, received {self._received()} of {self._sent() * self._plan.fanout}"
            + (f", acknowledged {acknowledged}" if self._plan.qos else "")
        )

    def _turn(self, timeout: float) -> list[Flow]:
        """Read once from everything readable; return the flows that moved."""
        buffer, view, all_links = self._buffer, self._view, self._links
        paced = self._plan.rate
        moved: list[Flow] = []
        for fd, _ in self._epoll.poll(timeout):
            link = all_links[fd]
            stream, flow = link.stream, link.flow
            kept = len(stream.tail)
            if kept:
                buffer[:kept] = stream.tail
            try:
                got = link.channel.recv_into(view[kept:] if kept else view)
            except BlockingIOError:
                continue
            if not got:
                raise BadStream(f"the broker closed a connection, last bytes {stream.tail[:4].hex()!r}")
            stream.answer = b""
            amount = stream.take(buffer, view, kept + got)
            if stream.answer:
                write_all(link.channel, stream.answer)
            if amount:
                if link.index >= 0:
                    before = flow.counts[link.index]
                    flow.counts[link.index] = before + amount
                    if paced:
                        arrival = (time.perf_counter(), before, before + amount)
                        self._latencies.arrivals.append(arrival)
                if not flow.moved:
                    flow.moved = True
                    moved.append(flow)
        for flow in moved:
            flow.moved = False
        return moved

    def _pump(self, flows: list[Flow]) -> None:
        if self._plan.rate:
            return
        for flow in flows:
            allowed = flow.allowance()
            if allowed >= flow.least:
                self._send(flow, allowed)

    def _send(self, flow: Flow, amount: int) -> None:
        if amount <= 0:
            return
        if self._plan.batch:
            write_all(flow.channel, flow.ring.run(flow.sent, amount))
        else:
            send, slot = flow.channel.send, flow.sent % flow.ring.slots
            for message in flow.ring.packets[slot : slot + amount]:
                try:
                    short = send(message) != len(message)
                except BlockingIOError:
                    short = True
                if short:
                    raise BadStream("the socket buffer is full; use a smaller window")
        flow.sent += amount


def run(plan: Plan) -> dict[str, object]:
    """Carry out a plan on fresh connections."""
    load = Load(plan)
    try:
        load.open()
        return load.run()
    finally:
        load.close()
