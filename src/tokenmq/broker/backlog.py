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

A QoS 2 message that was sent may wait at the peer for its PUBREL. If it is not to be sent
again after all, it is released all the same: else the peer would take the next message
under its identifier for this one. What is released needs no message any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from tokenmq.access.permission import Permission
from tokenmq.broker.delivery import Delivery
from tokenmq.broker.due import Due
from tokenmq.broker.message import Message
from tokenmq.broker.records import DeliveryRecord, MessageRecord
from tokenmq.limits import MAX_PACKET_ID

if TYPE_CHECKING:
    from tokenmq.broker.keeping import Keeping
    from tokenmq.broker.session import Session
    from tokenmq.broker.shared import Group

# Of the packet identifiers, so many may be reserved: the rest is for what is being judged.
MAX_DELIVERIES = MAX_PACKET_ID - 1_024


class Backlog:
    """The deliveries of one session.

    Attributes:
        session: whose they are.
        deliveries: by packet identifier, the oldest first.
        due: those that are due and have not gone out on this connection.
    """

    __slots__ = (
        "_inflight_bytes",
        "_keeping",
        "_max_bytes",
        "_max_inflight_bytes",
        "_max_messages",
        "deliveries",
        "due",
        "session",
    )

    def __init__(
        self,
        session: Session,
        keeping: Keeping,
        *,
        max_messages: int,
        max_bytes: int,
        max_inflight_bytes: int,
    ) -> None:
        self.session = session
        self._keeping = keeping
        self._max_messages = min(max_messages, MAX_DELIVERIES)
        self._max_bytes = max_bytes
        self._max_inflight_bytes = max_inflight_bytes
        self.due = Due(session.tenant.share, self._give_oldest)
        self._inflight_bytes = 0
        self.deliveries: dict[int, Delivery] = {}
        session.reserved = self.deliveries

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
        prefix: str = "",
        stamped: bool = False,
    ) -> Delivery | None:
        """Give a message a packet identifier; None if there is none left."""
        if len(self.deliveries) >= MAX_PACKET_ID - self.session.window:
            return None
        packet_id = self.session.free_packet_id()
        delivery = Delivery(
            self, message, packet_id, position,
            qos=qos, retain=retain, identifiers=identifiers, group=group, scope=self.session.scope,
            prefix=prefix, stamped=stamped,
        )  # fmt: skip
        self.deliveries[packet_id] = delivery
        message.waits += 1
        return delivery

    def keep(self, delivery: Delivery, *, owned: bool) -> None:
        """Have a delivery kept, if the session is."""
        if self.session.number:
            self._keeping.put(delivery.record, owned=owned)

    def keep_all(self) -> None:
        """Have all deliveries kept once more; their messages are still there."""
        for delivery in self.deliveries.values():
            self.keep(delivery, owned=False)

    def add(self, delivery: Delivery) -> None:
        """Make a delivery due; the oldest that is due goes if there are too many."""
        message = delivery.message
        if message is None or not delivery.stands:
            return
        delivery.pending = False
        if self.due.is_empty and self.has_room(message.size):
            self.send(delivery)
            return
        self.due.append(delivery, message)
        lost = 0
        while len(self.due) > self._max_messages or self.due.bytes > self._max_bytes:
            lost += self._drop_oldest()
        if lost:
            self.session.note_lost(lost)
        self.pump()

    def _give_oldest(self) -> int:
        """Drop the oldest that is due, for the sake of all queues; return how many messages that cost."""
        lost = self._drop_oldest()
        if lost:
            self.session.note_lost(lost)
        return lost

    def _drop_oldest(self) -> int:
        oldest = self.due.pop()
        if not oldest.stands or oldest.released:
            return 0
        self._give_up(oldest)
        return 1

    def restore(self, delivery: Delivery) -> None:
        """Take in a delivery out of the store, which its message counts already; in order."""
        delivery.pending = False
        delivery.sent = delivery.restored = True  # the duplicate flag says that it may have been
        self.deliveries[delivery.packet_id] = delivery
        if delivery.message is not None:
            self.due.append(delivery, delivery.message)

    def forget(self, delivery: Delivery, *, stored: bool = True) -> None:
        """Let go of a delivery, in the store too, unless it is known not to be there."""
        if not delivery.stands:
            return
        del self.deliveries[delivery.packet_id]
        session = self.session
        self._is_through(delivery)
        session.inflight.discard(delivery.packet_id)
        if session.number and stored:
            self._keeping.drop(DeliveryRecord, (session.number, delivery.packet_id))
        if delivery.message is not None:
            self._let_go(delivery.message)

    def withhold(self, may_have: Callable[[Group | None, str], bool]) -> list[Delivery]:
        """Let go of what may not be had any more: by the shared subscription that it came by, and topic.

        The topic is the one that the session is told, with whatever stands before it.

        What has gone out over the connection that there is keeps its packet identifier until it is
        acknowledged; at QoS 1, if it was shared, somebody else is to get it all the same.

        Returns: what came by shared subscriptions, and others may have; the oldest first.
        """
        session = self.session
        gone: list[Delivery] = []
        for delivery in list(self.deliveries.values()):
            message = delivery.message
            if message is None or delivery.pending:
                continue
            if may_have(delivery.group, delivery.prefix + message.topic):
                if not delivery.stamped:  # whether it may still say its id is asked as it goes out
                    delivery.scope = session.scope
                continue
            is_under_way = delivery.packet_id in session.inflight
            if not is_under_way:
                session.count_withheld()
            if delivery.may_be_with_peer:
                if not is_under_way:
                    self._give_up(delivery)
            elif delivery.group is not None or not is_under_way:
                self.forget(delivery)
                if is_under_way:
                    session.inflight.add(delivery.packet_id)
                if delivery.group is not None:
                    gone.append(delivery)
        self.due.drop_what_ended()
        return gone

    def forget_all(self) -> list[Delivery]:
        """Let go of everything, as the session ends; return what it was, the oldest first.

        The store drops the deliveries of a session with it.
        """
        gone = list(self.deliveries.values())
        self.deliveries.clear()
        self.due.end()
        for delivery in gone:
            if delivery.message is not None:
                self._let_go(delivery.message)
        return gone

    # What goes out

    def resume(self) -> None:
        """Begin anew on a new connection: all that was not acknowledged is due.

        PUBREL goes out at once: only PUBLISH waits for the window [MQTT-4.9.0-3]. All of it is
        sent until it is acknowledged [MQTT-4.3.3-3] [MQTT-4.3.3-5], shared or not [MQTT-4.8.2-4].
        """
        self.due.clear()
        for delivery in sorted(self.deliveries.values(), key=_position):
            self._is_through(delivery)
            if delivery.released:
                if delivery.packet_id not in self.session.inflight:  # given up just now
                    self._send_release(delivery)
            elif delivery.message is not None and not delivery.pending:
                self.due.append(delivery, delivery.message)
        self.pump()

    def pump(self) -> None:
        """Send what is due as far as link and window allow [MQTT-3.3.4-9]."""
        while (size := self.due.next_bytes) is not None and self.has_room(size):
            self.send(self.due.pop())

    def has_room(self, size: int) -> bool:
        """Tell whether a message of so many bytes may go out now; one alone may, whatever its size."""
        session, under_way = self.session, self._inflight_bytes
        return (
            session.connected
            and not session.outbox.paused
            and len(session.inflight) < session.window
            and not (under_way and under_way + size > self._max_inflight_bytes)
        )

    def send(self, delivery: Delivery) -> None:
        """Send a delivery now, if it may go; the window is the caller's to ask for."""
        delivery.pending = False
        session, message = self.session, delivery.message
        if message is None or delivery.released or not delivery.stands:  # while it was due
            return
        if message.is_over(session.now) and (delivery.restored or not delivery.may_be_with_peer):
            session.count_expired()  # [MQTT-4.3.3-7]
            self._give_up(delivery)
            return
        if not self._may_go(delivery, message):
            session.count_withheld()
            self._give_up(delivery)
            return
        packet = message.encode(
            session.version,
            session.now,
            qos=delivery.qos,
            retain=delivery.retain,
            identifiers=delivery.identifiers,
            packet_id=delivery.packet_id,
            dup=delivery.sent,
            prefix=delivery.prefix,
            more=message.stamp if delivery.stamped else b"",
        )
        if len(packet) > session.max_packet_bytes:  # [MQTT-3.1.2-25]
            session.count_too_large()
            self._give_up(delivery)
            return
        if session.marks:
            packet = session.take_mark(packet, delivery.prefix + message.topic, delivery.qos)
        delivery.sent = True
        delivery.restored = False
        session.inflight.add(delivery.packet_id)
        delivery.under_way = message.size
        self._inflight_bytes += message.size
        session.append_publish(packet)

    def _send_release(self, delivery: Delivery) -> None:
        session = self.session
        if session.connected:
            session.inflight.add(delivery.packet_id)
            if not delivery.releasing:
                session.release(delivery.packet_id, known=True)

    def _give_up(self, delivery: Delivery) -> None:
        """Do without sending it: release it if the peer may have it, else forget it."""
        if not delivery.may_be_with_peer:
            self.forget(delivery)
            return
        delivery.released = True
        self._no_longer_waits(delivery)
        self.keep(delivery, owned=False)
        self._send_release(delivery)

    def _may_go(self, delivery: Delivery, message: Message) -> bool:
        """Ask again for the right to receive, if the rights are others than when it was asked."""
        scope = self.session.scope
        if delivery.scope is not scope:
            if not scope.on_topic(Permission.SUBSCRIBE, message.topic).allowed:
                return False
            if delivery.prefix or delivery.stamped:
                may_read = scope.on_topic(Permission.HISTORY, message.topic).allowed
                if delivery.prefix and not may_read:
                    return False
                delivery.stamped = delivery.stamped and may_read
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
            elif not delivery.released:
                self._release(delivery)
            elif not delivery.releasing:
                self.session.release(packet_id, known=True)

    def _release(self, delivery: Delivery) -> None:
        delivery.released = True
        if not self.session.number:
            self._no_longer_waits(delivery)
            self._send_release(delivery)
            return
        delivery.releasing = True
        self._keeping.put(delivery.record, owned=True)
        self._keeping.when_kept(partial(self._released, delivery))

    def _released(self, delivery: Delivery, *, kept: bool) -> None:
        if not delivery.stands:
            return
        delivery.releasing = False
        if kept:
            self._no_longer_waits(delivery)
            self._send_release(delivery)
        else:
            delivery.released = False
            self._keeping.try_again(partial(self._try_again, delivery))

    def _try_again(self, delivery: Delivery) -> None:
        if delivery.stands and not delivery.released:
            self._release(delivery)

    def _no_longer_waits(self, delivery: Delivery) -> None:
        """Let go of a delivery's message."""
        self._is_through(delivery)
        message, delivery.message = delivery.message, None
        if message is not None:
            self._let_go(message)

    def _is_through(self, delivery: Delivery) -> None:
        """Count out the bytes of a delivery that is under way, once."""
        self._inflight_bytes -= delivery.under_way
        delivery.under_way = 0

    def _let_go(self, message: Message) -> None:
        message.waits -= 1
        if message.number and not message.waits:
            self._keeping.drop(MessageRecord, message.number)
            message.number = 0


def _position(delivery: Delivery) -> int:
    return delivery.position
