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

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tokenmq.broker.barrier import Barrier
from tokenmq.broker.counters import Counters
from tokenmq.broker.marking import Marking
from tokenmq.broker.message import Expiry
from tokenmq.broker.moment import Moment
from tokenmq.broker.outbox import Outbox
from tokenmq.broker.runs import Waiting, packet_ids_of
from tokenmq.broker.waiting import Share
from tokenmq.limits import MAX_PACKET_ID
from tokenmq.mqtt.aliases import OutboundAliases
from tokenmq.mqtt.codes import ReasonCode

_NOTHING_RESERVED: Mapping[int, object] = {}


class Receiver(Marking):
    """Takes runs of messages for one connection at a time.

    Attributes:
        outbox: the connection; a closed one while there is none.
        chunks: `outbox.chunks`, one step nearer.
        ready: the link takes bytes, nothing is queued, and the next message is not to be marked.
        inflight: packet identifiers sent and not acknowledged.
        reserved: those that `backlog` has given away, sent or not.
        window: how many of those there may be.
        aliases: our topic aliases, None if the peer takes none.
        lost: messages that a full queue cost it and that it has not been told of.
        ended: nothing goes out any more, and never will.
    """

    __slots__ = (
        "_alias_maximum",
        "_counters",
        "_dirty",
        "_max_inflight",
        "_moment",
        "_next_packet_id",
        "_overflowed",
        "aliases",
        "chunks",
        "ended",
        "inflight",
        "lost",
        "outbox",
        "reserved",
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
        super().__init__(
            max_queued_messages=max_queued_messages, max_queued_bytes=max_queued_bytes, share=share
        )
        self.ended = False
        self.lost = 0
        self._max_inflight = max_inflight
        self._alias_maximum = topic_alias_maximum
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
        waiting = Waiting(run, size, offset, start, expiry)
        self.ready = False
        is_marked = bool(self.marks)
        if is_marked:
            self.enqueue_marked(waiting)
        else:
            self.enqueue(waiting)
        if dropped := self.take_excess():
            self.note_lost(dropped)
        if is_marked or not self.queue:  # all of it was too large: what comes next waits behind nothing
            self._drain()

    def acknowledged(self, packet_ids: Iterable[int]) -> None:
        """Free packet identifiers and send what waited for them [MQTT-4.3.2-3] [MQTT-4.3.3-6]."""
        self.inflight.difference_update(packet_ids)
        if self.queue:
            self._drain()

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
        self.clear_queue()

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
            if waiting.expiry is not None:
                now = self._moment.now
                if now >= waiting.expiry.moment:  # [MQTT-3.3.2-5]
                    self._counters.expired += self.take_out(waiting)
                    continue
                self.count_down(waiting, now)
            self.pass_on(waiting, self._send(waiting.run, waiting.size, waiting.offset, waiting.start))
            if waiting.bytes_left:
                return
            self.take_out(waiting)
        self.ready = not self.marks

    def withhold(self, may_have: Callable[[str], bool]) -> None:
        """Let go of what waits on topics that may not be had any more; it is counted."""
        if not self.queue:
            return
        self._counters.withheld += self.keep_only(may_have)
        self._drain()

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

    def give_oldest(self) -> int:
        """Drop the oldest run that waits, for the sake of all queues; return how many messages that cost."""
        count = self.take_out(self.oldest)
        self.note_lost(count)
        if not self.queue:
            self._drain()
        return count

    def note_lost(self, count: int) -> None:
        """Count messages that a full queue cost; the connection is told if it listens."""
        self._counters.dropped += count
        self._counters.overflowed += count
        self.lost += count
        self._overflowed[self] = None
