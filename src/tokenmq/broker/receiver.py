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
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tokenmq.broker.counters import Counters
from tokenmq.broker.message import Expiry
from tokenmq.broker.moment import Moment
from tokenmq.broker.outbox import Outbox
from tokenmq.broker.runs import Waiting
from tokenmq.broker.waiting import Share
from tokenmq.limits import MAX_PACKET_ID
from tokenmq.mqtt.aliases import OutboundAliases
from tokenmq.mqtt.codes import ReasonCode

# What an entry of a queue takes beside its run, measured: its object, its place, and the run's count.
_ENTRY_BYTES = 176
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


class Receiver:
    """Takes runs of messages for one connection at a time.

    Attributes:
        outbox: the connection; a closed one while there is none.
        chunks: `outbox.chunks`, one step nearer.
        connected: there is a connection.
        ready: the link takes bytes and nothing is queued.
        inflight: packet identifiers sent and not acknowledged.
        reserved: those that `backlog` has given away, sent or not.
        window: how many of those there may be.
        queue: what waits, the oldest first; bounded, the oldest goes.
        max_packet_bytes: the largest packet that the peer takes [MQTT-3.1.2-24].
        aliases: our topic aliases, None if the peer takes none.
        weight: bytes that what waits holds, see `waiting`.
        size_class: likewise.
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
        "_share",
        "aliases",
        "chunks",
        "connected",
        "ended",
        "inflight",
        "lost",
        "max_packet_bytes",
        "outbox",
        "queue",
        "ready",
        "reserved",
        "size_class",
        "version",
        "weight",
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
        share: Share,
        counters: Counters,
        moment: Moment,
    ) -> None:
        """Begin with nothing under way.

        Args:
            max_inflight: bounds the window, beside what the peer says.
            topic_alias_maximum: bounds our aliases, beside what the peer says.
            dirty: where an outbox is noted that has something to write.
            overflowed: where a receiver is noted that lost something.
            share: counts what waits for all receivers of the organization.
            counters: where it is counted.
            moment: what time it is.
        """
        self.ended = False
        self.lost = 0
        self.queue: deque[Waiting] = deque()
        self._queued_messages = 0
        self._queued_bytes = 0
        self.weight = self.size_class = 0
        self._share = share
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
        self.ready = False
        self.queue.append(Waiting(run, size, offset, start, expiry))
        self._queued_messages += (len(run) - start) // size
        self._queued_bytes += len(run) - start
        self._share.enter(self, run, len(run), _ENTRY_BYTES)
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
        while self.queue:
            self._take_oldest()
        self._queued_messages = self._queued_bytes = 0

    def _drain(self) -> None:
        if self.outbox.paused or not self.connected:
            return
        while self.queue:
            waiting = self.queue[0]
            start = waiting.start
            if waiting.expiry is not None:
                now = self._moment.now
                if now >= waiting.expiry.moment:  # [MQTT-3.3.2-5]
                    self._give_up(waiting)
                    continue
                run = waiting.run
                waiting.count_down(waiting.expiry, now)
                if waiting.run is not run:
                    self._share.exchange(self, run, len(run), waiting.run, len(waiting.run))
                start = waiting.start
            stop = self._send(waiting.run, waiting.size, waiting.offset, start)
            self._queued_messages -= (stop - start) // waiting.size
            self._queued_bytes -= stop - start
            waiting.start = stop
            if stop < len(waiting.run):
                return
            self._take_oldest()
        self.ready = True

    def withhold(self, may_have: Callable[[str], bool]) -> None:
        """Let go of what waits on topics that may not be had any more; it is counted."""
        if not self.queue:
            return
        waiting, self.queue = self.queue, deque()
        for one in waiting:
            if may_have(one.topic):
                self.queue.append(one)
            else:
                self._counters.withheld += self._let_go(one)
                self._share.leave(self, one.run, len(one.run), _ENTRY_BYTES)
        self._drain()

    def _give_up(self, waiting: Waiting) -> None:
        """Forget a run whose time is over."""
        self._counters.expired += self._let_go(waiting)
        self._take_oldest()

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
        while self._overflows():
            oldest = self.queue[0]
            too_many = self._queued_messages - self._max_queued_messages
            too_large = -(-(self._queued_bytes - self._max_queued_bytes) // oldest.size)
            there = (len(oldest.run) - oldest.start) // oldest.size
            dropped = min(there, max(too_many, too_large))
            oldest.start += dropped * oldest.size
            self._queued_messages -= dropped
            self._queued_bytes -= dropped * oldest.size
            self.note_lost(dropped)
            if dropped == there:
                self._take_oldest()
        if not self.queue:  # all of it was too large: what comes next has nothing to wait behind
            self._drain()

    def give_oldest(self) -> int:
        """Drop the oldest run that waits, for the sake of all queues; return how many messages that cost."""
        count = self._let_go(self.queue[0])
        self._take_oldest()
        self.note_lost(count)
        if not self.queue:
            self._drain()
        return count

    def _take_oldest(self) -> None:
        run = self.queue.popleft().run
        self._share.leave(self, run, len(run), _ENTRY_BYTES)

    def note_lost(self, count: int) -> None:
        """Count messages that a full queue cost; the connection is told if it listens."""
        self._counters.dropped += count
        self._counters.overflowed += count
        self.lost += count
        self._overflowed[self] = None
