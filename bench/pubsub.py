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
from dataclasses import dataclass

from bench import links, ring
from bench.exact import ExactAcknowledgements, ExactReceiver
from bench.flows import Flow, Latencies, Link
from bench.links import Target, write_all
from bench.processor import Processor
from bench.streams import Acknowledgements, Receiver, Stream
from bench.wire import DISCONNECT_PACKET, BadStream, common_properties

BUFFER_BYTES = 1 << 18
TICK_SECONDS = 0.001
QUIET_SECONDS = 5.0
LEAST_SHARE = 4  # a client that batches writes when it may send this part of its window
SCATTERED_SLOTS = 4096  # topics of a publisher that puts each message on another one


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do.

    Attributes:
        rate: messages a second over all publishers, 0 for as fast as the window allows.
        vary: topics and sizes differ from message to message, a few dozen of each.
        scatter: each message of a publisher goes to another of `SCATTERED_SLOTS` topics.
        no_local: receivers say No Local: no broker can give them what their own client has published.
        persistent: receivers have sessions that outlive their connections (3.1.1: clean session 0).
        verify: parse every message instead of comparing runs.
    """

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
    scatter: bool = False
    no_local: bool = False
    persistent: bool = False
    verify: bool = False
    rate: float = 0.0
    prefix: str = "bench"


class Load:
    """The connections of a plan and the loop over them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._links: dict[int, Link] = {}
        self._flows: list[Flow] = []
        self._receivers: list[ExactReceiver | Receiver] = []
        self._clients: list[tuple[str, int]] = []
        self._opened = 0
        self._epoll = select.epoll()
        self._latencies = Latencies()

    def open(self) -> None:
        """Connect and subscribe everybody, receivers first."""
        for pair in range(self._plan.pairs):
            self._open_pair(f"{self._plan.prefix}/{pair}")

    def _open_pair(self, topic: str) -> None:
        plan, version = self._plan, self._plan.target.version
        slots = SCATTERED_SLOTS if plan.scatter else 1 << max(8, (2 * plan.window).bit_length())
        messages = self._ring(topic, slots)
        receivers = []
        for _ in range(plan.fanout):
            client_id, index = self._client()
            channel, connack = links.open_connection(plan.target, client_id, index, clean=not plan.persistent)
            if connack.session_present:
                raise BadStream(f"a session of {client_id} was there before")
            self._clients.append((client_id, index))
            topic_filter = f"{topic}/#" if plan.vary or plan.scatter else topic
            links.subscribe(channel, topic_filter, qos=plan.qos, version=version, no_local=plan.no_local)
            receivers.append(channel)
        channel, connack = links.open_connection(plan.target, *self._client())
        if connack.maximum_qos < plan.qos:
            raise BadStream(f"the broker serves QoS {connack.maximum_qos} at most")
        unacknowledged = min(plan.window, connack.receive_maximum)
        least = max(1, unacknowledged // LEAST_SHARE) if plan.batch else 1
        acknowledged: Stream = (
            ExactAcknowledgements(slots) if plan.qos == 2 else Acknowledgements(slots if plan.qos else 0)
        )
        flow = Flow(
            messages, channel, plan.window, unacknowledged, least, [0] * plan.fanout,
            acknowledged if plan.qos else None,
        )  # fmt: skip
        self._flows.append(flow)
        self._add(Link(channel, acknowledged, flow, -1))
        for index, one in enumerate(receivers):
            stream: ExactReceiver | Receiver = (
                ExactReceiver(messages, version=version, strict=plan.verify)
                if plan.qos == 2
                else Receiver(messages, qos=plan.qos, version=version, strict=plan.verify)
            )
            flow.receivers.append(stream)
            self._receivers.append(stream)
            self._add(Link(one, stream, flow, index))

    def _client(self) -> tuple[str, int]:
        """The client id of the next connection, and which credential it uses."""
        index = self._opened
        self._opened += 1
        return f"b{os.getpid()}-{index}", index

    def _ring(self, topic: str, slots: int) -> ring.Ring:
        plan, version = self._plan, self._plan.target.version
        block = common_properties() if plan.properties else b""
        if plan.vary:
            return ring.varied(topic, slots=slots, qos=plan.qos, version=version, properties=block)
        return ring.fixed(
            topic, slots=slots, payload_bytes=plan.payload_bytes, qos=plan.qos, version=version,
            properties=block, numbered=plan.fresh_properties, scattered=plan.scatter,
        )  # fmt: skip

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
        parsed = sum(one.parsed for one in self._receivers)
        result: dict[str, object] = {
            "mode": "pubsub", "version": plan.target.version, "qos": plan.qos, "pairs": plan.pairs,
            "fanout": plan.fanout, "batch": plan.batch, "properties": plan.properties,
            "fresh_properties": plan.fresh_properties, "vary": plan.vary, "scatter": plan.scatter,
            "no_local": plan.no_local, "persistent": plan.persistent,
            "websocket": plan.target.websocket, "window": plan.window,
            "sent": self._sent(), "received": self._received(), "want": self._sent() * plan.fanout,
            "parsed": parsed, "seconds": round(elapsed, 3),
            "in_per_s": round(sent / elapsed), "out_per_s": round(received / elapsed),
            **shares,
        }  # fmt: skip
        if plan.rate:
            result |= self._latencies.percentiles(plan.pairs / plan.rate, since=begun)
        if plan.persistent:
            self._come_back()
        return result

    def close(self) -> None:
        for link in self._links.values():
            with contextlib.suppress(OSError):
                link.channel.send(DISCONNECT_PACKET)
            link.channel.close()
        self._links.clear()
        self._epoll.close()

    def _come_back(self) -> None:
        """See that the sessions of the receivers outlive their connections, then end them."""
        self.close()
        target = self._plan.target
        for client_id, index in self._clients:
            channel, connack = links.open_connection(target, client_id, index, clean=False)
            channel.close()
            if not connack.session_present:
                raise BadStream("the broker kept no session")
            channel, _ = links.open_connection(target, client_id, index)
            channel.send(DISCONNECT_PACKET)
            channel.close()

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
