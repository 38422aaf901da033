"""The protocol state of a strictly compliant client, for 3.1.1 and 5: what it sends again, what it drops.

Pure: packets in, packets out; what is worth noting goes to a `Book`. Nothing is shared with the broker but
the shapes of the packets. The session outlives connections here as it must (MQTT 5 §4.1, §4.4): PUBLISH that
is not acknowledged goes again with DUP under its identifier, PUBREL too, in the order in which they went
first; a QoS 2 message is handed up once until its PUBREL.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from tokenmq.mqtt.packets import (
    Connack,
    Disconnect,
    Packet,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
)

MAX_PACKET_ID = 65_535
REFUSED = 0x80


class Book(Protocol):
    """Who writes down what happens to one client."""

    def began(self) -> None:
        """A session has begun: the server had none."""

    def resumed(self) -> None:
        """The server goes on with the session of before."""

    def note(self, message: int, what: str, packet_id: int) -> None:
        """Something of a message has gone over the wire."""

    def acknowledged(self, message: int) -> None:
        """The server owns a message now."""

    def refused(self, message: int, code: int) -> None:
        """The server does not take a message."""

    def abandoned(self, message: int) -> None:
        """A message that was not acknowledged goes down with its session."""

    def handed_up(self, packet: Publish) -> None:
        """A message has come, and is not one that came before."""

    def seen(self, packet: Publish, what: str) -> None:
        """A PUBLISH has come, new or not."""

    def asked(self, subscribe: Subscribe | Unsubscribe) -> None:
        """SUBSCRIBE or UNSUBSCRIBE goes out."""

    def granted(self, topic_filter: str, code: int) -> None:
        """One filter of a SUBACK."""

    def ended(self, topic_filter: str) -> None:
        """One filter of an UNSUBACK."""

    def wrong(self, text: str) -> None:
        """The server did what no server may."""


@dataclass(slots=True)
class Outgoing:
    """A message of ours that is under way; `taken`: PUBREC has come, PUBREL is what is sent."""

    number: int
    packet: Publish
    taken: bool = False


class ClientState:
    """One client's session and what of its connection the protocol needs.

    Attributes:
        connected: CONNACK has come on this connection.
        established: something was acknowledged that the server must have kept the session for.
        confirmed: likewise, and after this CONNECT: the server has kept that, too.
        outgoing: messages under way by packet identifier, the oldest first.
        filters: subscriptions that are wanted, with their options.
    """

    def __init__(self, book: Book, *, version: int, outlives: bool) -> None:
        self._book = book
        self._version = version
        self._outlives = outlives
        self._has_session = False
        self._incoming: set[int] = set()
        self._asked: dict[int, tuple[str, ...]] = {}
        self._granted: set[str] = set()
        self.clean_start = not outlives
        self.connected = False
        self.established = False
        self.confirmed = False
        self.outgoing: dict[int, Outgoing] = {}
        self.filters: dict[str, Subscription] = {}

    def packet_id(self) -> int:
        """Return the lowest free identifier: those that were in use just now are used again at once."""
        used = self.outgoing.keys() | self._asked.keys()
        return next(number for number in range(1, MAX_PACKET_ID + 1) if number not in used)

    # What we do

    def publish(self, number: int, packet: Publish) -> list[Packet]:
        """Begin to send a message at QoS 1 or 2."""
        packet.packet_id = self.packet_id()
        self.outgoing[packet.packet_id] = Outgoing(number, packet)
        self._book.note(number, f"PUBLISH qos {packet.qos} sent", packet.packet_id)
        return [packet]

    def subscribe(self, subscription: Subscription) -> list[Packet]:
        """Want a subscription from now on."""
        self.filters[subscription.topic_filter] = subscription
        return self._missing()

    def unsubscribe(self, topic_filter: str) -> list[Packet]:
        """Want a subscription no more."""
        del self.filters[topic_filter]
        self._granted.discard(topic_filter)
        packet = Unsubscribe(self.packet_id(), (topic_filter,))
        self._asked[packet.packet_id] = packet.topic_filters
        self._book.asked(packet)
        return [packet]

    def disconnected(self) -> None:
        """Take in that the connection is gone; a session that does not outlive it goes, too."""
        self.connected = self.confirmed = False
        self._asked.clear()
        if not self._outlives:
            self._forget()

    # What the server says

    def received(self, packet: Packet) -> list[Packet]:
        """Take in a packet and return what is to be sent."""
        if isinstance(packet, Connack):
            return self._connack(packet)
        if not self.connected:
            self._book.wrong(f"{packet!r:.80} before CONNACK")
        answer = _ANSWERS.get(type(packet))
        if answer is None:
            self._book.wrong(f"{packet!r:.80} from a server")
            return []
        return answer(self, packet)

    def _connack(self, packet: Connack) -> list[Packet]:
        """Go on with the session if both sides have it, else begin anew [MQTT-3.2.2-4] [MQTT-3.2.2-5]."""
        if packet.session_present and self.clean_start:
            self._book.wrong("session present after a clean start")
        if packet.session_present and not self._has_session:
            self._book.wrong("session present, and this client never had one")
        if not packet.session_present and self.established and not self.clean_start:
            self._book.wrong("the session is gone")
        self.connected = True
        if not packet.session_present:
            self._forget()
            self._has_session = True
            self._book.began()
        else:
            self._book.resumed()
        again: list[Packet] = []
        for packet_id, outgoing in self.outgoing.items():
            if outgoing.taken:
                again.append(Pubrel(packet_id))
                self._book.note(outgoing.number, "PUBREL sent again", packet_id)
            else:
                outgoing.packet.dup = True
                again.append(outgoing.packet)
                self._book.note(outgoing.number, "PUBLISH sent again", packet_id)
        return again + self._missing()

    def _forget(self) -> None:
        for outgoing in self.outgoing.values():
            if not outgoing.taken:
                self._book.abandoned(outgoing.number)
        self.outgoing.clear()
        self._incoming.clear()
        self._granted.clear()
        self.established = self._has_session = False

    def _missing(self) -> list[Packet]:
        """Ask for every subscription that is wanted, not granted and not asked for."""
        if not self.connected:
            return []
        asked = {topic_filter for filters in self._asked.values() for topic_filter in filters}
        missing = tuple(
            subscription
            for topic_filter, subscription in self.filters.items()
            if topic_filter not in self._granted and topic_filter not in asked
        )
        if not missing:
            return []
        packet = Subscribe(self.packet_id(), missing)
        self._asked[packet.packet_id] = tuple(subscription.topic_filter for subscription in missing)
        self._book.asked(packet)
        return [packet]

    def _suback(self, packet: Suback) -> list[Packet]:
        filters = self._asked.pop(packet.packet_id, ())
        if len(filters) != len(packet.reason_codes):
            self._book.wrong(f"a SUBACK of {len(packet.reason_codes)} codes for {len(filters)} filters")
        for topic_filter, code in zip(filters, packet.reason_codes, strict=False):
            if code < REFUSED:
                self._granted.add(topic_filter)
                self.established = self.confirmed = True
            self._book.granted(topic_filter, code)
        return []

    def _unsuback(self, packet: Unsuback) -> list[Packet]:
        for topic_filter in self._asked.pop(packet.packet_id, ()):
            self._book.ended(topic_filter)
        return []

    def _publish(self, packet: Publish) -> list[Packet]:
        if not packet.qos:
            self._book.wrong(f"a message at QoS 0 on {packet.topic}")
            return []
        if packet.qos == 1:
            self._book.seen(packet, "PUBLISH qos 1 received")
            self._book.handed_up(packet)
            return [Puback(packet.packet_id)]
        if packet.packet_id in self._incoming:
            self._book.seen(packet, "PUBLISH qos 2 received again")
        else:
            self._incoming.add(packet.packet_id)
            self._book.seen(packet, "PUBLISH qos 2 received")
            self._book.handed_up(packet)
        return [Pubrec(packet.packet_id)]

    def _pubrel(self, packet: Pubrel) -> list[Packet]:
        known = packet.packet_id in self._incoming
        self._incoming.discard(packet.packet_id)
        return [Pubcomp(packet.packet_id, 0 if known or self._version == 4 else 0x92)]

    def _puback(self, packet: Puback) -> list[Packet]:
        outgoing = self._under_way(packet, qos=1)
        if outgoing is not None:
            del self.outgoing[packet.packet_id]
            self._answered(outgoing, packet)
            # Not so by PUBREC: for a message that was taken in before, it waits for nothing.
            self.confirmed = True
        return []

    def _pubrec(self, packet: Pubrec) -> list[Packet]:
        outgoing = self._under_way(packet, qos=2)
        if outgoing is None:
            return [Pubrel(packet.packet_id)]
        if packet.reason_code >= REFUSED:
            del self.outgoing[packet.packet_id]
            self._answered(outgoing, packet)
            return []
        if outgoing.taken:
            self._book.wrong(f"a second PUBREC for packet {packet.packet_id}, message {outgoing.number}")
            return [Pubrel(packet.packet_id)]
        outgoing.taken = True
        self._answered(outgoing, packet)
        self._book.note(outgoing.number, "PUBREL sent", packet.packet_id)
        return [Pubrel(packet.packet_id)]

    def _pubcomp(self, packet: Pubcomp) -> list[Packet]:
        outgoing = self._under_way(packet, qos=2)
        if outgoing is None:
            return []
        if not outgoing.taken:
            self._book.wrong(f"PUBCOMP before PUBREC for packet {packet.packet_id}, {outgoing.number}")
            return []
        del self.outgoing[packet.packet_id]
        self._book.note(outgoing.number, "PUBCOMP received", packet.packet_id)
        return []

    def _under_way(self, packet: Puback | Pubrec | Pubcomp, *, qos: int) -> Outgoing | None:
        outgoing = self.outgoing.get(packet.packet_id)
        if outgoing is None or outgoing.packet.qos != qos:
            self._book.wrong(f"{type(packet).__name__} {packet.packet_id} for nothing that is under way")
            return None
        return outgoing

    def _answered(self, outgoing: Outgoing, packet: Puback | Pubrec) -> None:
        name = type(packet).__name__.upper()
        self._book.note(outgoing.number, f"{name} {packet.reason_code:#04x} received", packet.packet_id)
        if packet.reason_code < REFUSED:
            self.established = True
            self._book.acknowledged(outgoing.number)
        else:
            self._book.refused(outgoing.number, packet.reason_code)

    def _nothing(self, _packet: Pingresp | Disconnect) -> list[Packet]:
        return []


_ANSWERS: dict[type[Packet], Callable[[ClientState, Any], list[Packet]]] = {
    Suback: ClientState._suback,
    Unsuback: ClientState._unsuback,
    Publish: ClientState._publish,
    Puback: ClientState._puback,
    Pubrec: ClientState._pubrec,
    Pubrel: ClientState._pubrel,
    Pubcomp: ClientState._pubcomp,
    Pingresp: ClientState._nothing,
    Disconnect: ClientState._nothing,
}
