"""The receiving half of a session: window, queue, and what goes out in which order.

Theory of operation. Messages come as *runs*: encoded PUBLISH packets of one size, one
after the other, as they go out (one packet is a run of one). While the receiver is
`ready` (its link takes bytes and its queue is empty) a run is appended to the link as
it is; as far as link or window do not allow that, it waits in the queue, and everything
after it waits behind it, so order is kept [MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT311-4.6.0-5]
[MQTT311-4.6.0-6]. A run is bytes and two
numbers, shared by all receivers, whether it waits or not.

At QoS 1 and 2 a packet keeps the packet identifier that its publisher gave it where that
is free here, else it gets the next free one [MQTT-2.2.1-4] [MQTT-4.3.2-1]
[MQTT-4.3.3-1] [MQTT311-2.3.1-4]. Most runs need no change then.

What must outlive the connection, or may have to go to somebody else, does not come as runs
but one by one: `backlog`. It shares window and packet identifiers with them.

A *barrier* in the queue holds up what is behind it, until what is to come before that (a
replay, `replaying`) has been sent and it is taken away.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tokenmq.broker import stamping
from tokenmq.broker.barrier import Barrier
from tokenmq.broker.counters import Counters
from tokenmq.broker.message import Expiry
from tokenmq.broker.moment import Moment
from tokenmq.broker.outbox import Outbox
from tokenmq.limits import MAX_PACKET_ID
from tokenmq.mqtt.aliases import OutboundAliases
from tokenmq.mqtt.codes import ReasonCode

_NOTHING_RESERVED: Mapping[int, object] = {}


def packet_ids_of(run: bytes, size: int, offset: int) -> tuple[int, ...]:
    """Return the packet identifiers of a run, in order; without a step of Python a packet."""
    count = len(run) // size
    if count == 1:
        return (run[offset] << 8 | run[offset + 1],)
    pairs = bytearray(2 * count)
    pairs[0::2] = run[offset::size]
    pairs[1::2] = run[offset + 1 :: size]
    return struct.unpack(f">{count}H", pairs)


# What tells of a topic, with whatever stands before it, whether a mark goes with its message.
Mark = Callable[[str], bool]


class Waiting:
    """A run in a queue; `start` is where the first packet begins that has not gone out."""

    __slots__ = ("expiry", "offset", "run", "size", "start")

    def __init__(self, run: bytes, size: int, offset: int, start: int, expiry: Expiry | None) -> None:
        self.run = run
        self.size = size
        self.offset = offset
        self.start = start
        self.expiry = expiry

    @property
    def topic(self) -> str:
        """The topic of its packets."""
        return _topic_of(self.run)

    def count_down(self, expiry: Expiry, now: float) -> None:
        """Write into the packets that have not gone out what is left of their life."""
        if not expiry.at:
            return
        rest = bytearray(self.run[self.start :])
        for index, byte in enumerate(expiry.seconds_left(now).to_bytes(4, "big")):
            rest[expiry.at + index :: self.size] = bytes((byte,)) * (len(rest) // self.size)
        self.run, self.start = bytes(rest), 0


def _topic_of(packet: bytes) -> str:
    at = 2
    while packet[at - 1] > 127:
        at += 1
    size = int.from_bytes(packet[at : at + 2])
    return packet[at + 2 : at + 2 + size].decode()


class Receiver:
    """Takes runs of messages for one connection at a time.

    Attributes:
        outbox: the connection; a closed one while there is none.
        chunks: `outbox.chunks`, one step nearer.
        connected: there is a connection.
        ready: the link takes bytes, nothing is queued, and the next message is not to be marked.
        inflight: packet identifiers sent and not acknowledged.
        reserved: those that `backlog` has given away, sent or not.
        window: how many of those there may be.
        queue: what waits, the oldest first; bounded, the oldest goes.
        marks: what tells of a topic whether the next message on it is to say that something is
            missing before it, by whose account that is.
        max_packet_bytes: the largest packet that the peer takes [MQTT-3.1.2-24].
        aliases: our topic aliases, None if the peer takes none.
        lost: messages that a full queue cost it and that it has not been told of.
        ended: nothing goes out any more, and never will.
    """

    __slots__ = (
        "_alias_maximum",
        "_counters",
        "_dirty",
        "_max_inflight",
        "_max_queued_bytes",
        "_max_queued_messages",
        "_moment",
        "_next_packet_id",
        "_overflowed",
        "_queued_bytes",
        "_queued_messages",
        "aliases",
        "chunks",
        "connected",
        "ended",
        "inflight",
        "lost",
        "marks",
        "max_packet_bytes",
        "outbox",
        "queue",
        "ready",
        "reserved",
        "version",
        "window",
    )

    def __init__(
        self,
        outbox: Outbox,
        *,
        max_inflight: int,
        topic_alias_maximum: int,
        max_queued_messages: int,
        max_queued_bytes: int,
        dirty: list[Outbox],
        overflowed: dict[Any, None],
        counters: Counters,
        moment: Moment,
    ) -> None:
        """Begin with nothing under way.

        Args:
            max_inflight: bounds the window, beside what the peer says.
            topic_alias_maximum: bounds our aliases, beside what the peer says.
            dirty: where an outbox is noted that has something to write.
            overflowed: where a receiver is noted that lost something.
            counters: where it is counted.
            moment: what time it is.
        """
        self.ended = False
        self.lost = 0
        self.queue: deque[Waiting | Barrier] = deque()
        self.marks: dict[object, Mark] = {}
        self._queued_messages = 0
        self._queued_bytes = 0
        self._max_inflight = max_inflight
        self._alias_maximum = topic_alias_maximum
        self._max_queued_messages = max_queued_messages
        self._max_queued_bytes = max_queued_bytes
        self._next_packet_id = 0
        self.reserved: Mapping[int, object] = _NOTHING_RESERVED
        self._dirty = dirty
        self._overflowed = overflowed
        self._counters = counters
        self._moment = moment
        self._take(outbox)

    def _take(self, outbox: Outbox) -> None:
        """Send over this connection from now on."""
        connection = outbox.connection
        self.outbox = outbox
        self.chunks = outbox.chunks
        self.version = connection.version
        self.max_packet_bytes = connection.peer_max_packet_bytes
        self.window = min(self._max_inflight, connection.peer_receive_maximum)
        aliases = min(self._alias_maximum, connection.peer_topic_alias_maximum)
        self.aliases = OutboundAliases(aliases) if aliases else None  # [MQTT-3.1.2-27]
        self.inflight: set[int] = set()
        self.connected = not outbox.closed
        self.ready = self.connected and not outbox.paused

    def deliver(self, run: bytes, size: int, offset: int, expiry: Expiry | None = None) -> None:
        """Send a run, and queue what link or window do not take.

        Args:
            run: encoded PUBLISH packets.
            size: bytes of each.
            offset: where its packet identifier stands in each; 0 at QoS 0.
            expiry: when they are over.
        """
        if size > self.max_packet_bytes or not self.connected:  # [MQTT-3.1.2-25]
            self._counters.dropped += len(run) // size
            return
        start = self._send(run, size, offset, 0) if self.ready else 0
        if start == len(run):
            return
        if self.marks:
            self._deliver_marked(run, size, offset, expiry)
            return
        self.ready = False
        self._enqueue(Waiting(run, size, offset, start, expiry))

    def _enqueue(self, waiting: Waiting) -> None:
        self.queue.append(waiting)
        left = len(waiting.run) - waiting.start
        self._queued_messages += left // waiting.size
        self._queued_bytes += left
        if self._overflows():
            self._trim()

    def acknowledged(self, packet_ids: Iterable[int]) -> None:
        """Free packet identifiers and send what waited for them [MQTT-4.3.2-3] [MQTT-4.3.3-6]."""
        self.inflight.difference_update(packet_ids)
        if self.queue:
            self._drain()

    @property
    def queued_messages(self) -> int:
        """How many messages wait."""
        return self._queued_messages

    def taken(self, packet_ids: Iterable[int]) -> None:
        """Answer PUBRECs: release what the peer has taken over [MQTT-4.3.3-4] [MQTT311-4.3.3-1]."""
        for packet_id in packet_ids:
            self.release(packet_id, known=packet_id in self.inflight)

    def release(self, packet_id: int, *, known: bool) -> None:
        """Send PUBREL; one for an identifier that means nothing here says so."""
        if not self.chunks:
            self._dirty.append(self.outbox)
        if known or self.version == 4:
            self.chunks.append(b"\x62\x02" + packet_id.to_bytes(2, "big"))
        else:
            code = ReasonCode.PACKET_IDENTIFIER_NOT_FOUND
            self.chunks.append(b"\x62\x03" + packet_id.to_bytes(2, "big") + bytes((code,)))

    def pause(self) -> None:
        """Queue what comes from now on: the link takes no more bytes."""
        self.outbox.paused = True
        self.ready = False

    def resume(self) -> None:
        """Send again: the link takes bytes."""
        self.outbox.paused = False
        self._drain()

    def end(self) -> None:
        """Let go of everything that was to go out."""
        self.ended = True
        self._leave()

    def _leave(self) -> None:
        """Be without a connection; what waits for it as runs is lost with it."""
        self.connected = False
        self.ready = False
        self.marks = {}
        self.queue.clear()
        self._queued_messages = self._queued_bytes = 0

    # Marks

    def mark_next(self, what: object, mark: Mark) -> None:
        """Have the next message on a topic of which this is true say that something is missing.

        Args:
            what: on whose account, for `unmark`.
        """
        if self.connected and self.version == 5:
            self.marks[what] = mark
            self.ready = False

    def unmark(self, what: object) -> None:
        """Have no message say so any more on an account."""
        if self.marks.pop(what, None) is not None:
            self._drain()

    def take_mark(self, topic: str) -> bytes:
        """Return what the message says that goes out next on a topic: encoded properties, mostly none."""
        left = self._marks_without(topic)
        if len(left) == len(self.marks):
            return b""
        self.marks = left
        self._drain()
        return stamping.GAP

    def mark_queued(self, mark: Mark) -> bool:
        """Have the first such message that is queued say so; tell whether there is one that can."""
        for at, one in enumerate(self.queue):
            if isinstance(one, Barrier) or not mark(one.topic) or self.version != 5:
                continue
            marked = self._marked(one.run[one.start : one.start + one.size], one.offset, one.expiry)
            if marked is None:
                return False
            one.start += one.size
            if one.start == len(one.run):
                del self.queue[at]
            self.queue.insert(at, marked)
            self._queued_bytes += marked.size - one.size
            return True
        return False

    def _marks_without(self, topic: str) -> dict[object, Mark]:
        return {what: mark for what, mark in self.marks.items() if not mark(topic)}

    def _deliver_marked(self, run: bytes, size: int, offset: int, expiry: Expiry | None) -> None:
        """Queue a run, its first message marked if one of the marks is for it, and send what may go."""
        left = self._marks_without(_topic_of(run))
        marked = self._marked(run[:size], offset, expiry) if len(left) < len(self.marks) else None
        if marked is not None:
            self.marks = left
            self._enqueue(marked)
            run = run[size:]
        if run:
            self._enqueue(Waiting(run, size, offset, 0, expiry))
        self._drain()

    def _marked(self, packet: bytes, offset: int, expiry: Expiry | None) -> Waiting | None:
        grown, head, block = stamping.with_property(packet, offset, stamping.GAP)
        if len(grown) > self.max_packet_bytes:
            return None
        if expiry is not None and expiry.at:
            expiry = expiry._replace(at=expiry.at + block)
        return Waiting(grown, len(grown), offset and offset + head, 0, expiry)

    # Barriers

    def hold_up(self, barrier: Barrier) -> None:
        """Have what comes from now on wait until the barrier is taken away."""
        self.queue.append(barrier)
        self.ready = False

    def stands_at(self, barrier: Barrier) -> bool:
        """Tell whether everything before a barrier has gone out, and the link takes more."""
        return self.connected and not self.outbox.paused and bool(self.queue) and self.queue[0] is barrier

    def let_through(self, barrier: Barrier, *, flows: bool = True) -> None:
        """Take a barrier away.

        Args:
            flows: send what it held up; else `flow` does.
        """
        if barrier in self.queue:
            self.queue.remove(barrier)
        if flows:
            self.flow()

    def flow(self) -> None:
        """Send what may go."""
        self._drain()

    def _drain(self) -> None:
        if self.outbox.paused or not self.connected:
            return
        while self.queue:
            waiting = self.queue[0]
            if isinstance(waiting, Barrier):
                return
            start = waiting.start
            if waiting.expiry is not None:
                now = self._moment.now
                if now >= waiting.expiry.moment:  # [MQTT-3.3.2-5]
                    self._give_up(waiting)
                    continue
                waiting.count_down(waiting.expiry, now)
                start = waiting.start
            stop = self._send(waiting.run, waiting.size, waiting.offset, start)
            self._queued_messages -= (stop - start) // waiting.size
            self._queued_bytes -= stop - start
            waiting.start = stop
            if stop < len(waiting.run):
                return
            self.queue.popleft()
        self.ready = not self.marks

    def withhold(self, may_have: Callable[[str], bool]) -> None:
        """Let go of what waits on topics that may not be had any more; it is counted."""
        if not self.queue:
            return
        waiting, self.queue = self.queue, deque()
        for one in waiting:
            if isinstance(one, Barrier) or may_have(one.topic):
                self.queue.append(one)
            else:
                self._counters.withheld += self._let_go(one)
        self._drain()

    def _give_up(self, waiting: Waiting) -> None:
        """Forget a run whose time is over."""
        self._counters.expired += self._let_go(waiting)
        self.queue.popleft()

    def _let_go(self, waiting: Waiting) -> int:
        """Have a run wait no longer; return how many of its messages did."""
        left = len(waiting.run) - waiting.start
        self._queued_messages -= left // waiting.size
        self._queued_bytes -= left
        return left // waiting.size

    def _send(self, run: bytes, size: int, offset: int, start: int) -> int:
        """Append what the window takes [MQTT-3.3.4-9] [MQTT-4.9.0-2]; return where the rest begins."""
        stop = len(run)
        if offset:
            stop = min(stop, start + (self.window - len(self.inflight)) * size)
            if stop <= start:
                return start
        if not self.chunks:
            self._dirty.append(self.outbox)
        part = run[start:stop]
        if offset:
            packet_ids = packet_ids_of(part, size, offset)
            unique = set(packet_ids)
            if len(unique) < len(packet_ids) or not self._are_free(unique):
                self._renumber(part, size, offset, packet_ids)
                return stop
            self.inflight |= unique
        if self.aliases is None:
            self.chunks.append(part)
        else:
            self.chunks += [self._shortened(part[at : at + size]) for at in range(0, len(part), size)]
        return stop

    def _renumber(self, run: bytes, size: int, offset: int, packet_ids: Iterable[int]) -> None:
        """Append packets some of whose identifiers are in use here."""
        start = 0
        for packet_id in packet_ids:
            packet = run[start : start + size]
            start += size
            if packet_id in self.inflight or packet_id in self.reserved:
                packet_id = self.free_packet_id()
                packet = packet[:offset] + packet_id.to_bytes(2, "big") + packet[offset + 2 :]
            self.inflight.add(packet_id)
            self.chunks.append(self._shortened(packet))

    def _shortened(self, packet: bytes) -> bytes:
        return packet if self.aliases is None else self.aliases.shorten(packet, self.max_packet_bytes)

    def free_packet_id(self) -> int:
        """Return a packet identifier that is neither in flight nor reserved, another one each time."""
        while True:
            self._next_packet_id = self._next_packet_id % MAX_PACKET_ID + 1
            if self._next_packet_id not in self.inflight and self._next_packet_id not in self.reserved:
                return self._next_packet_id

    def _are_free(self, packet_ids: set[int]) -> bool:
        return self.inflight.isdisjoint(packet_ids) and packet_ids.isdisjoint(self.reserved)

    def _overflows(self) -> bool:
        return (
            self._queued_messages > self._max_queued_messages or self._queued_bytes > self._max_queued_bytes
        )

    def _trim(self) -> None:
        """Drop the oldest messages until the queue is within its limits."""
        at = 0
        while self._overflows():
            oldest = self.queue[at]
            if isinstance(oldest, Barrier):
                at += 1
                continue
            too_many = self._queued_messages - self._max_queued_messages
            too_large = -(-(self._queued_bytes - self._max_queued_bytes) // oldest.size)
            there = (len(oldest.run) - oldest.start) // oldest.size
            dropped = min(there, max(too_many, too_large))
            oldest.start += dropped * oldest.size
            self._queued_messages -= dropped
            self._queued_bytes -= dropped * oldest.size
            self.note_lost(dropped)
            if dropped == there:
                del self.queue[at]

    def note_lost(self, count: int) -> None:
        """Count messages that a full queue cost; the connection is told if it listens."""
        self._counters.dropped += count
        self._counters.overflowed += count
        self.lost += count
        self._overflowed[self] = None
