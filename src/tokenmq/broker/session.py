"""One MQTT session: who it is, what it subscribed to, what it still has to receive.

The session owns its delivery: packet identifiers, the in-flight window and the queue
of what could not go out yet. A receiver is `ready` while its link takes bytes and its
queue is empty; only then may a message be appended directly, so order is kept
[MQTT-4.6.0-6].
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tokenmq.access.decide import Scope
from tokenmq.access.identity import Identity
from tokenmq.broker.message import Message
from tokenmq.broker.outbox import Outbox
from tokenmq.limits import MAX_PACKET_ID

if TYPE_CHECKING:
    from tokenmq.broker.lane import Lane
    from tokenmq.broker.publishing import Refusal
    from tokenmq.broker.tenant import Tenant

# Topics of one session whose judgement is kept; enough for a client's working set.
_MAX_JUDGEMENTS = 1_024
# Lanes of one session that are kept, for the same reason.
_MAX_LANES = 1_024
# Property blocks of one session that are kept: most clients send the same few.
_MAX_BLOCKS = 64
# The block of a PUBLISH without properties.
_NO_PROPERTIES = b"\x00"


class Subscription:
    """One subscription of one session (MQTT 5 §3.8.3.1).

    Attributes:
        topic_filter: as it was asked for.
        qos: the maximum that was granted, 0 or 1.
        no_local: do not send back what this session publishes.
        retain_as_published: kept and told; it has no effect without retained messages.
        identifier: the Subscription Identifier, 0 for none.
    """

    __slots__ = ("identifier", "no_local", "qos", "retain_as_published", "session", "topic_filter")

    def __init__(
        self,
        session: Session,
        topic_filter: str,
        *,
        qos: int,
        no_local: bool,
        retain_as_published: bool,
        identifier: int,
    ) -> None:
        self.session = session
        self.topic_filter = topic_filter
        self.qos = qos
        self.no_local = no_local
        self.retain_as_published = retain_as_published
        self.identifier = identifier


class Queued:
    """A message that waits for window or link."""

    __slots__ = ("identifiers", "message", "qos", "size")

    def __init__(self, message: Message, qos: int, identifiers: tuple[int, ...], size: int) -> None:
        self.message = message
        self.qos = qos
        self.identifiers = identifiers
        self.size = size


class Session:
    """A session and the connection that it lives with.

    Attributes:
        tenant: the organization that it belongs to.
        identity: who is connected.
        scope: what that identity may do.
        version: protocol version of its connection, 4 or 5.
        chunks: `outbox.chunks`, one step nearer.
        ready: the link takes bytes and nothing is queued.
        inflight: packet identifiers (two bytes each) sent and not acknowledged.
        window: how many of those there may be.
        queue: what waits, the oldest first; bounded, the oldest goes.
        max_packet_bytes: the largest packet that the peer takes.
        listens: it has subscribed to its own events.
        judgements: why publishing to a topic is refused, None where it is not.
        lanes: by the raw bytes of a topic, see `lane`.
        blocks: raw property blocks, with their length, that need no second look; empty in
            3.1.1, which has none.
        lost: messages that a full queue cost it and that it has not been told of.
        expiry_second: its place in the wheel of expiries, None if it does not expire.
        opened_at: unix seconds.
    """

    __slots__ = (
        "_next_packet_id",
        "blocks",
        "chunks",
        "client_id",
        "denied_told_at",
        "ended",
        "expiry_second",
        "identity",
        "inflight",
        "judgements",
        "lanes",
        "listens",
        "lost",
        "max_packet_bytes",
        "max_queued_bytes",
        "max_queued_messages",
        "opened_at",
        "outbox",
        "queue",
        "queued_bytes",
        "ready",
        "scope",
        "subscriptions",
        "tenant",
        "version",
        "warning_second",
        "window",
    )

    def __init__(
        self,
        tenant: Tenant,
        outbox: Outbox,
        identity: Identity,
        scope: Scope,
        client_id: str,
        *,
        window: int,
        max_queued_messages: int,
        max_queued_bytes: int,
        now: float,
    ) -> None:
        self.tenant = tenant
        self.outbox = outbox
        self.chunks = outbox.chunks
        self.identity = identity
        self.scope = scope
        self.client_id = client_id
        self.version = outbox.connection.version
        self.max_packet_bytes = outbox.connection.peer_max_packet_bytes
        self.window = window
        self.max_queued_messages = max_queued_messages
        self.max_queued_bytes = max_queued_bytes
        self.opened_at = now
        self.ready = True
        self.ended = False
        self.listens = False
        self.denied_told_at = 0.0
        self.lost = 0
        self.expiry_second: int | None = None
        self.warning_second: int | None = None
        self.inflight: set[bytes] = set()
        self.queue: deque[Queued] = deque()
        self.queued_bytes = 0
        self.subscriptions: dict[str, Subscription] = {}
        self.judgements: dict[str, Refusal | None] = {}
        self.lanes: dict[bytes, Lane] = {}
        self.blocks: dict[bytes, None] = {_NO_PROPERTIES: None} if self.version == 5 else {}
        self._next_packet_id = 0

    def keep_judgement(self, topic: str, refusal: Refusal | None) -> None:
        """Remember what publishing to a topic comes to."""
        if len(self.judgements) >= _MAX_JUDGEMENTS:
            del self.judgements[next(iter(self.judgements))]
        self.judgements[topic] = refusal

    def keep_lane(self, topic: bytes, lane: Lane) -> None:
        """Remember the lane of a topic that this session publishes to."""
        if len(self.lanes) >= _MAX_LANES:
            del self.lanes[next(iter(self.lanes))]
        self.lanes[topic] = lane

    def keep_block(self, forward: bytes) -> None:
        """Remember properties that go on as they came; a length of one byte is all that lanes know."""
        if 0 < len(forward) < 128:
            if len(self.blocks) >= _MAX_BLOCKS:
                self.blocks = {_NO_PROPERTIES: None}
            self.blocks[bytes((len(forward),)) + forward] = None

    def take_packet_id(self) -> bytes:
        """Return the next free packet identifier, in use from now on [MQTT-2.2.1-3]."""
        while True:
            self._next_packet_id = self._next_packet_id % MAX_PACKET_ID + 1
            packet_id = self._next_packet_id.to_bytes(2, "big")
            if packet_id not in self.inflight:
                self.inflight.add(packet_id)
                return packet_id

    def deliver(self, message: Message, qos: int, identifiers: tuple[int, ...]) -> int:
        """Append a message to the link, or queue it when link or window do not allow it.

        Returns: how many messages this cost the session: 0, or what a full queue or
            the peer's maximum packet size [MQTT-3.1.2-24] made it lose.
        """
        head, tail = message.form(self.version, qos, identifiers)
        size = len(head) + len(tail) + (2 if qos else 0)
        if size > self.max_packet_bytes:
            return 1
        if self.ready and (not qos or len(self.inflight) < self.window):
            self._append(message, head, tail, qos)
            return 0
        self.ready = False
        self.queue.append(Queued(message, qos, identifiers, size))
        self.queued_bytes += size
        return self._trim()

    def acknowledge(self, packet_id: bytes) -> None:
        """Free a packet identifier and send what waited for it [MQTT-4.3.2-3]."""
        self.inflight.discard(packet_id)
        if self.queue:
            self.drain()

    def drain(self) -> None:
        """Send from the queue as far as window and link allow."""
        if self.outbox.paused or self.ended:
            return
        queue = self.queue
        while queue:
            queued = queue[0]
            if queued.qos and len(self.inflight) >= self.window:
                return
            queue.popleft()
            self.queued_bytes -= queued.size
            head, tail = queued.message.form(self.version, queued.qos, queued.identifiers)
            self._append(queued.message, head, tail, queued.qos)
        self.ready = True

    def pause(self) -> None:
        """Queue what comes from now on: the link takes no more bytes."""
        self.outbox.paused = True
        self.ready = False

    def resume(self) -> None:
        """Send again: the link takes bytes."""
        self.outbox.paused = False
        self.drain()

    def _append(self, message: Message, head: bytes, tail: bytes, qos: int) -> None:
        chunks = self.chunks
        if not chunks:
            self.tenant.dirty.append(self.outbox)
        chunks.append(head)
        if qos:
            packet_id = message.packet_id
            if packet_id == b"\x00\x00" or packet_id in self.inflight:
                packet_id = self.take_packet_id()
            else:
                self.inflight.add(packet_id)
            chunks.append(packet_id)
            chunks.append(tail)

    def _trim(self) -> int:
        lost = 0
        while len(self.queue) > self.max_queued_messages or self.queued_bytes > self.max_queued_bytes:
            self.queued_bytes -= self.queue.popleft().size
            lost += 1
        self.lost += lost
        return lost
