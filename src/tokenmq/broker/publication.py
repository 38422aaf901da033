"""A message on its way into the broker that has to wait, and the queue of those of one publisher.

What becomes of it says `arriving`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from tokenmq.broker.message import Message
from tokenmq.broker.refusals import Refusal
from tokenmq.mqtt.packets import Publish

if TYPE_CHECKING:
    from tokenmq.broker.delivery import Delivery
    from tokenmq.broker.outbox import Outbox
    from tokenmq.broker.session import Session
    from tokenmq.broker.shared import Group
    from tokenmq.broker.waiting import Unstored

# What a packet takes beside its topic and payload while it waits, about.
_OVERHEAD_BYTES = 512

# Whom a delivery is for; a session may get another copy under its `$history/count/`.
For: TypeAlias = "Session | tuple[Session, str] | Group"
# Told once what became of a message that came by no connection: why it was refused, or None.
Told = Callable[[Refusal | None], None]


class Publication:
    """A message on its way into the broker.

    Attributes:
        outbox: the connection that it came by, at QoS 2 last; None for a will, and for what was posted.
        told: who is told what became of it, where that is no connection; None: nobody.
        position: its place in every queue: in the order in which they came.
        deliveries: what was reserved for sessions that get it one by one, by session, or by
            the shared subscription through which they were chosen.
        refused: why it is not taken.
        ready: it waits for nothing but those before it.
        counted: its packet identifier counts until PUBREL.
        kept: the store has some of it, at least.
        note: the number under which it was noted as its topic's retained message; 0: it was not.
        is_recorded: its record in the history is kept with it.
        noted_id: the id in the history that what is kept of it names.
        owes: it waits for something of its own, not just behind others.
    """

    __slots__ = (
        "counted",
        "deliveries",
        "is_recorded",
        "kept",
        "message",
        "note",
        "noted_id",
        "outbox",
        "owes",
        "packet",
        "position",
        "ready",
        "refused",
        "session",
        "told",
    )

    def __init__(
        self, session: Session, packet: Publish, message: Message, outbox: Outbox | None, position: int
    ) -> None:
        self.session = session
        self.packet = packet
        self.message = message
        self.outbox = outbox
        self.position = position
        self.told: Told | None = None
        self.deliveries: dict[For, Delivery] = {}
        self.refused: Refusal | None = None
        self.ready = False
        self.counted = False
        self.kept = False
        self.note = 0
        self.is_recorded = False
        self.noted_id = 0
        self.owes = False

    @property
    def is_received(self) -> bool:
        """Whether its packet identifier counts until PUBREL (QoS 2); that of a will does not exist."""
        return self.packet.qos == 2 and self.outbox is not None

    @property
    def is_owed_puback(self) -> bool:
        """Whether it is answered with PUBACK: on the next connection it is sent again, as another."""
        return self.packet.qos == 1 and self.is_answered

    @property
    def is_answered(self) -> bool:
        """Whether it came by the connection that there is.

        By the next one it is sent again. An answer to the earlier attempt would cross that, and
        be taken for one to what its client has published under the identifier since.
        """
        return self.session.connected and self.outbox is self.session.outbox


class Arriving:
    """The publications of one session that are not through yet.

    Attributes:
        size: bytes that they take, about.
        unanswered: how many of them are owed a PUBACK over the connection that there is.
        unreceived: those that are owed a PUBREC, by packet identifier.
    """

    __slots__ = ("_queue", "_unstored", "size", "unanswered", "unreceived")

    def __init__(self, unstored: Unstored) -> None:
        self._unstored = unstored
        self._queue: deque[Publication] = deque()
        self.size = 0
        self.unanswered = 0
        self.unreceived: dict[int, Publication] = {}

    def __bool__(self) -> bool:
        return bool(self._queue)

    def append(self, publication: Publication) -> None:
        """Put a publication behind all others."""
        self._queue.append(publication)
        size = publication.message.size + _OVERHEAD_BYTES
        self.size += size
        self._unstored.bytes += size
        if publication.is_owed_puback:
            self.unanswered += 1
        elif publication.is_received:
            self.unreceived[publication.packet.packet_id] = publication

    def come_again(self, packet_id: int) -> bool:
        """Have the answer to one that is owed a PUBREC go where it came again; False: there is none."""
        publication = self.unreceived.get(packet_id)
        if publication is None:
            return False
        publication.outbox = publication.session.outbox
        return True

    def first(self) -> Publication | None:
        """Return the first one if it is ready."""
        return self._queue[0] if self._queue and self._queue[0].ready else None

    def pop(self) -> None:
        """Take the first one out."""
        publication = self._queue.popleft()
        size = publication.message.size + _OVERHEAD_BYTES
        self.size -= size
        self._unstored.bytes -= size
        if publication.is_owed_puback:
            self.unanswered -= 1
        elif self.unreceived.get(publication.packet.packet_id) is publication:
            del self.unreceived[publication.packet.packet_id]
