"""One application message on its way from a publisher to its receivers.

A message is encoded once for each form in which receivers want it (protocol version,
QoS, retain flag, subscription identifiers) and the bytes are shared.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from tokenmq.broker import stamping
from tokenmq.mqtt import properties, wire
from tokenmq.mqtt.codec import encode_publish, publish_halves
from tokenmq.mqtt.codes import PacketType
from tokenmq.mqtt.properties import MESSAGE_EXPIRY_INTERVAL

if TYPE_CHECKING:
    from tokenmq.broker.records import HistoryRecord

# MQTT 5 §3.3.2.3.3: a four byte integer.
_LONGEST_SECONDS = 0xFFFF_FFFF


class Expiry(NamedTuple):
    """When the packets of a run are over (MQTT 5 §3.3.2.3.3).

    Attributes:
        at: where the Message Expiry Interval stands in each packet; 0: it does not.
        moment: unix seconds.
    """

    at: int
    moment: float

    def seconds_left(self, now: float) -> int:
        """Return what a packet that goes out now says [MQTT-3.3.2-6]."""
        # Seconds since 1970 have no room for more than microseconds: nothing is added by rounding.
        return min(_LONGEST_SECONDS, max(1, ceil(round(self.moment - now, 3))))


class Form(NamedTuple):
    """A message encoded for one kind of receiver.

    Attributes:
        packet: with the publisher's packet identifier.
        offset: where that stands in it; 0 at QoS 0.
        expiry: None for a message that does not expire.
    """

    packet: bytes
    offset: int
    expiry: Expiry | None


class Message:
    """An application message (MQTT 5 §3.3), judged and ready to be routed.

    Attributes:
        topic: the resolved Topic Name.
        payload: Application Message bytes.
        qos: quality of service that the publisher asked for, 0 to 2.
        packet_id: the publisher's Packet Identifier; 0 where there is none.
        forward: the encoded MQTT 5 properties that travel with it, unchanged
            [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18]
            [MQTT-3.3.2-20].
        retain: whether the publisher asked for it to be retained.
        expires_at: unix seconds; None: it does not expire.
        number: names it in the store; 0 while it is not there.
        waits: sessions in the store that are still to get it.
        recorded: what is recorded of it; None: nothing, or that was before a restart.
    """

    __slots__ = (
        "_forms",
        "_stamp",
        "expires_at",
        "forward",
        "number",
        "packet_id",
        "payload",
        "qos",
        "recorded",
        "retain",
        "topic",
        "waits",
    )

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        packet_id: int,
        forward: bytes,
        *,
        retain: bool = False,
        expires_at: float | None = None,
        number: int = 0,
        stamp: bytes = b"",
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.packet_id = packet_id
        self.forward = forward
        self.retain = retain
        self.expires_at = expires_at
        self.number = number
        self.waits = 0
        self.recorded: HistoryRecord | None = None
        self._stamp = stamp
        self._forms: dict[tuple[int, int, bool, tuple[int, ...], str, bool], Form] = {}

    @classmethod
    def of(cls, record: HistoryRecord) -> Message:
        """Return the message that was recorded so."""
        message = cls(
            record.topic,
            record.payload,
            record.qos,
            0,
            record.forward,
            retain=record.retain,
            expires_at=record.expires_at,
        )
        message.recorded = record
        return message

    def name(self, record: HistoryRecord | None) -> None:
        """Have it recorded so, or not, whatever it was before."""
        self.recorded = record
        self._stamp = b""

    @property
    def stamp(self) -> bytes:
        """The encoded properties that say under which id it is recorded; empty where it is not."""
        if self.recorded is not None and not self._stamp:
            self._stamp = stamping.stamp_of(self.recorded)
        return self._stamp

    @property
    def history_id(self) -> int:
        """Under which it is recorded; 0: it is not."""
        return stamping.id_of(self._stamp) if self.recorded is None else self.recorded.id

    def form(
        self,
        version: int,
        qos: int,
        identifiers: tuple[int, ...],
        *,
        retain: bool = False,
        prefix: str = "",
        stamped: bool = False,
    ) -> Form:
        """Encode for one kind of receiver, once.

        Args:
            version: the receiver's protocol version, 4 or 5.
            qos: 0 to 2, as it is delivered.
            identifiers: the receiver's subscription identifiers, MQTT 5 only.
            retain: as the receiver shall see it.
            prefix: what stands before the topic.
            stamped: say under which id it is recorded, MQTT 5 only.
        """
        key = (version, qos, retain, identifiers, prefix, stamped)
        form = self._forms.get(key)
        if form is None:
            stamp = self.stamp if stamped else b""
            before, after = publish_halves(
                (prefix + self.topic).encode(),
                self.payload,
                version=version,
                qos=qos,
                retain=retain,
                forward=self.forward + stamp,
                subscription_identifiers=identifiers,
            )
            offset = len(before) if qos else 0
            packet = before + self.packet_id.to_bytes(2, "big") + after if qos else before
            form = Form(packet, offset, self._expiry(packet, version, identifiers, len(stamp)))
            self._forms[key] = form
        return form

    def encode(
        self,
        version: int,
        now: float,
        *,
        qos: int,
        retain: bool,
        identifiers: tuple[int, ...],
        packet_id: int = 0,
        dup: bool = False,
        prefix: str = "",
        more: bytes = b"",
    ) -> bytes:
        """Encode for one receiver as it goes out now, which may be long after it came.

        Args:
            more: encoded properties that are added, MQTT 5 only.
        """
        return encode_publish(
            (prefix + self.topic).encode(),
            self.payload,
            version=version,
            qos=qos,
            retain=retain,
            dup=dup,
            packet_id=packet_id,
            forward=self._forward_at(now) + more if version == 5 else b"",
            subscription_identifiers=identifiers,
        )

    def counted_down(self, now: float) -> Message:
        """Return the same message as it goes out now to somebody who did not get it when it came."""
        message = Message(
            self.topic,
            self.payload,
            self.qos,
            self.packet_id,
            self._forward_at(now),
            retain=self.retain,
            expires_at=self.expires_at,
            stamp=self._stamp,
        )
        message.recorded = self.recorded
        return message

    def is_over(self, now: float) -> bool:
        """Tell whether its life is over [MQTT-3.3.2-5]."""
        return self.expires_at is not None and now >= self.expires_at

    @property
    def size(self) -> int:
        """Bytes that it takes while it waits, about."""
        return len(self.topic) + len(self.payload) + len(self.forward)

    def _forward_at(self, now: float) -> bytes:
        """Return the properties as they are now: what is left of its life is counted down."""
        forward = self.forward
        if self.expires_at is None:
            return forward
        at = properties.position(forward, PacketType.PUBLISH, MESSAGE_EXPIRY_INTERVAL)
        left = Expiry(at, self.expires_at).seconds_left(now)
        return forward[:at] + left.to_bytes(4, "big") + forward[at + 4 :]

    def _expiry(self, packet: bytes, version: int, identifiers: tuple[int, ...], stamp: int) -> Expiry | None:
        if self.expires_at is None:
            return None
        if version == 4:
            return Expiry(0, self.expires_at)
        at = properties.position(self.forward, PacketType.PUBLISH, MESSAGE_EXPIRY_INTERVAL)
        # The stamp and identifiers stand behind what is forwarded.
        behind = stamp + sum(len(wire.write_variable(identifier)) + 1 for identifier in identifiers)
        begin = len(packet) - len(self.payload) - behind - len(self.forward)
        return Expiry(begin + at, self.expires_at)
