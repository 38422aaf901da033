"""What a session is still to get one by one: messages at QoS 1 and 2 that may not be lost with it.

A session has a backlog if it outlives its connection, or if a message that was meant for it
may have to go to another member of a shared subscription. Its deliveries do not travel as
runs: each is an entry of its own, from the moment at which it is decided until the peer has
acknowledged it. If the session outlives its connection, each is kept in the store, too.

Theory of operation. `reserve` gives a delivery its packet identifier, for good: a peer
recognises a QoS 2 message by it, so after a restart it must be the same [MQTT-4.4.0-1]
[MQTT311-4.4.0-1].
`add` makes it due. `pump` sends what is due, in order, as far as link and window allow;
when a connection is there anew, everything not acknowledged is due again. Whatever is sent
is judged under the rights that hold then, and counted down if it expires.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from tokenmq.access.permission import Permission
from tokenmq.broker.message import Message
from tokenmq.broker.records import DeliveryRecord, MessageRecord
from tokenmq.limits import MAX_PACKET_ID

if TYPE_CHECKING:
    from tokenmq.access.decide import Scope
    from tokenmq.broker.keeping import Keeping
    from tokenmq.broker.session import Session
    from tokenmq.broker.shared import Group

# Of the packet identifiers, so many may be reserved: the rest is for what is being judged.
MAX_DELIVERIES = MAX_PACKET_ID - 1_024


class Delivery:
    """A message on its way to one session.

    Attributes:
        backlog: where it belongs.
        position: orders the deliveries of a session, as their messages came in.
        scope: the rights under which it was judged last.
        group: the shared subscription that it came by.
        pending: it is reserved, and not due yet.
        uncertain: out of the store, which does not say whether it has been sent.
        sent: it may have been sent before [MQTT-3.3.1-1] [MQTT311-3.3.1-1].
        releasing: PUBREC has come, and that is not kept yet: nothing is sent.
        released: PUBREC has come; PUBREL is what is sent.
    """

    __slots__ = (
        "backlog",
        "group",
        "identifiers",
        "message",
        "packet_id",
        "pending",
        "position",
        "qos",
        "released",
        "releasing",
        "retain",
        "scope",
        "sent",
        "uncertain",
    )

    def __init__(
        self,
        backlog: Backlog,
        message: Message,
        packet_id: int,
        position: int,
        *,
        qos: int,
        retain: bool,
        identifiers: tuple[int, ...],
        group: Group | None,
        scope: Scope | None,
    ) -> None:
        self.backlog = backlog
        self.message = message
        self.packet_id = packet_id
        self.position = position
        self.qos = qos
        self.retain = retain
        self.identifiers = identifiers
        self.group = group
        self.scope = scope
        self.pending = True
        self.sent = False
        self.uncertain = False
        self.releasing = False
        self.released = False

    @property
    def stands(self) -> bool:
        """Whether its session still is to get it."""
        return self.backlog.deliveries.get(self.packet_id) is self


class Backlog:
    """The deliveries of one session.

    Attributes:
        session: whose they are.
        deliveries: by packet identifier.
    """

    __slots__ = ("_bytes", "_due", "_keeping", "_max_bytes", "_max_messages", "deliveries", "session")

    def __init__(self, session: Session, keeping: Keeping, *, max_messages: int, max_bytes: int) -> None:
        self.session = session
        self._keeping = keeping
        self._max_messages = min(max_messages, MAX_DELIVERIES)
        self._max_bytes = max_bytes
        self._due: deque[Delivery] = deque()
        self._bytes = 0
        self.deliveries: dict[int, Delivery] = {}

    @property
    def waiting(self) -> int:
        """How many are due and have not gone out on this connection."""
        return len(self._due)

    # How a delivery comes into being

    def reserve(
        self,
        message: Message,
        position: int,
        *,
        qos: int,
        retain: bool,
        identifiers: tuple[int, ...],
        group: Group | None = None,
    ) -> Delivery | None:
        """Give a message a packet identifier; None if there is none left."""
        if len(self.deliveries) >= MAX_PACKET_ID - self.session.window:
            return None
        packet_id = self.session.free_packet_id()
        while packet_id in self.deliveries:
            packet_id = self.session.free_packet_id()
        delivery = Delivery(
            self, message, packet_id, position,
            qos=qos, retain=retain, identifiers=identifiers, group=group, scope=self.session.scope,
        )  # fmt: skip
        self.deliveries[packet_id] = delivery
        message.waits += 1
        return delivery

    def keep(self, delivery: Delivery, *, owned: bool) -> None:
        """Have a delivery kept, if the session is."""
        if self.session.number:
            self._keeping.put(self._record(delivery), owned=owned)

    def add(self, delivery: Delivery) -> None:
        """Make a delivery due; the oldest that is due goes if there are too many."""
        if not delivery.stands:
            return
        delivery.pending = False
        self._due.append(delivery)
        self._bytes += delivery.message.size
        lost = 0
        while len(self._due) > self._max_messages or self._bytes > self._max_bytes:
            self.forget(self._next())
            lost += 1
        if lost:
            self.session.note_lost(lost)
        self.pump()

    def restore(self, delivery: Delivery) -> None:
        """Take in a delivery out of the store; in order."""
        delivery.pending = False
        delivery.sent = delivery.uncertain = True
        self.deliveries[delivery.packet_id] = delivery
        delivery.message.waits += 1

    def forget(self, delivery: Delivery) -> None:
        """Let go of a delivery, in the store too."""
        if not delivery.stands:
            return
        del self.deliveries[delivery.packet_id]
        session = self.session
        session.inflight.discard(delivery.packet_id)
        if session.number:
            self._keeping.drop(DeliveryRecord, (session.number, delivery.packet_id))
        self._let_go(delivery.message)

    def forget_all(self) -> list[Delivery]:
        """Let go of everything, as the session ends; return what it was, the oldest first.

        The store drops the deliveries of a session with it.
        """
        gone = list(self.deliveries.values())
        self.deliveries.clear()
        self._due.clear()
        self._bytes = 0
        for delivery in gone:
            self._let_go(delivery.message)
        return gone

    # What goes out

    def resume(self) -> None:
        """Begin anew on a new connection: all that was not acknowledged is due.

        [MQTT-4.3.3-3] [MQTT-4.3.3-5] [MQTT-4.8.2-4].
        """
        due = [delivery for delivery in self.deliveries.values() if not delivery.pending]
        due.sort(key=attrgetter("position"))
        self._due = deque(due)
        self._bytes = sum(delivery.message.size for delivery in self._due)
        self.pump()

    def pump(self) -> None:
        """Send what is due as far as link and window allow [MQTT-3.3.4-9]."""
        session = self.session
        while self._due and session.connected and not session.outbox.paused:
            if len(session.inflight) >= session.window:
                return
            self._send(self._next())

    def _next(self) -> Delivery:
        delivery = self._due.popleft()
        self._bytes -= delivery.message.size
        return delivery

    def _send(self, delivery: Delivery) -> None:
        session = self.session
        if not delivery.stands:  # forgotten while it was due
            return
        if delivery.releasing or delivery.released:
            session.inflight.add(delivery.packet_id)
            if delivery.released:
                session.release(delivery.packet_id, known=True)
            return
        message = delivery.message
        if self._is_over(delivery):
            session.count_expired()
            self.forget(delivery)
            return
        if not self._may_go(delivery):
            session.count_withheld()
            self.forget(delivery)
            return
        packet = message.encode(
            session.version,
            session.now,
            qos=delivery.qos,
            retain=delivery.retain,
            identifiers=delivery.identifiers,
            packet_id=delivery.packet_id,
            dup=delivery.sent,
        )
        if len(packet) > session.max_packet_bytes:  # [MQTT-3.1.2-25]
            session.count_too_large()
            self.forget(delivery)
            return
        delivery.sent = True
        session.inflight.add(delivery.packet_id)
        session.append_publish(packet)

    def _is_over(self, delivery: Delivery) -> bool:
        """Tell whether its time was over before it was sent [MQTT-3.3.2-5].

        What was sent is sent again until it is acknowledged [MQTT-4.3.3-7] [MQTT-4.4.0-1]. Of
        what a restart has left uncertain that is so at QoS 2 only: the peer may hold the identifier.
        """
        expires_at = delivery.message.expires_at
        if expires_at is None or self.session.now < expires_at:
            return False
        return not delivery.sent or (delivery.uncertain and delivery.qos == 1)

    def _may_go(self, delivery: Delivery) -> bool:
        """Ask again for the right to receive, if the rights are others than when it was asked."""
        scope = self.session.scope
        if delivery.scope is not scope:
            if not scope.on_topic(Permission.SUBSCRIBE, delivery.message.topic).allowed:
                return False
            delivery.scope = scope
        return True

    # What the peer says

    def acknowledged(self, packet_ids: Iterable[int]) -> None:
        """End deliveries at QoS 1 (PUBACK), or at QoS 2 (PUBCOMP, a PUBREC that refuses)."""
        for packet_id in packet_ids:
            delivery = self.deliveries.get(packet_id)
            if delivery is not None and delivery.sent:
                self.forget(delivery)
        self.pump()

    def taken(self, packet_ids: Iterable[int]) -> None:
        """Take in PUBRECs: PUBREL goes out when that is kept [MQTT-4.3.3-4].

        A peer that has had PUBREL forgets the identifier. If we did not know after a
        restart that it went out, we would send the message again, and it would be new.
        """
        for packet_id in packet_ids:
            delivery = self.deliveries.get(packet_id)
            if delivery is None or delivery.qos < 2:
                self.session.release(packet_id, known=packet_id in self.session.inflight)
            elif delivery.released:
                self.session.release(packet_id, known=True)
            elif not delivery.releasing:
                self._release(delivery)

    def _release(self, delivery: Delivery) -> None:
        delivery.releasing = True
        if not self.session.number:
            self._released(delivery, kept=True)
            return
        self._keeping.put(self._record(delivery), owned=True)
        self._keeping.when_kept(partial(self._released, delivery))

    def _released(self, delivery: Delivery, *, kept: bool) -> None:
        session = self.session
        if not delivery.stands:
            return
        if not kept:
            self._keeping.try_again(partial(self._try_again, delivery))
            return
        delivery.releasing, delivery.released = False, True
        if session.connected and delivery.packet_id in session.inflight:
            session.release(delivery.packet_id, known=True)

    def _try_again(self, delivery: Delivery) -> None:
        if delivery.stands:
            self._release(delivery)

    def _let_go(self, message: Message) -> None:
        message.waits -= 1
        if message.number and not message.waits:
            self._keeping.drop(MessageRecord, message.number)
            message.number = 0

    def _record(self, delivery: Delivery) -> DeliveryRecord:
        return DeliveryRecord(
            session=self.session.number,
            packet_id=delivery.packet_id,
            position=delivery.position,
            message=delivery.message.number,
            qos=delivery.qos,
            retain=delivery.retain,
            released=delivery.released or delivery.releasing,
            identifiers=delivery.identifiers,
            group=delivery.group.name if delivery.group is not None else "",
        )
