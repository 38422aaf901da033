"""Protocol state of one network connection, seen from the server (MQTT 5 §3.1, §4.12).

Theory of operation. A connection is in one of four phases. `accept` takes each packet
that `codec.frame` has found, refuses what may not come now, and decodes the rest; the
owner answers with `connected` or `refused`, and with `send` afterwards.

    CONNECTING      nothing has come yet. Only CONNECT may [MQTT-3.1.0-1]
                    [MQTT311-3.1.0-1].
    AUTHENTICATING  a CONNECT has come and is not answered. DISCONNECT may come, and AUTH
                    if the CONNECT had an Authentication Method [MQTT-3.1.2-30]. What a
                    client without method sends on without waiting stays with the owner
                    until the answer: nothing after a refused CONNECT is ever looked at
                    [MQTT-3.1.4-6] [MQTT311-3.1.4-5].
    CONNECTED       everything that a client may send, but no second CONNECT
                    [MQTT-3.1.0-2] [MQTT311-3.1.0-2].
    CLOSED          a DISCONNECT has come, the CONNECT was refused, or something was
                    against the protocol. Nothing may come any more.

                    CONNECTING  ──CONNECT──>  AUTHENTICATING  ──connected()──>  CONNECTED
                        └───────── error, DISCONNECT, refused() ─> CLOSED <────────┘

Whatever may not come is 0x82. An error of any kind closes: there is no way back from it.

Time is told, never asked for. Until the CONNECT is answered one deadline holds, which
no packet moves; then every packet moves the end of the keep alive, one and a half times
its value away [MQTT-3.1.2-22] [MQTT311-3.1.2-24]. Sizes: until the CONNECT is answered all packets together
may have `max_connect_bytes`, then each one `max_packet_bytes`.
"""

from __future__ import annotations

import dataclasses

import msgspec

from tokenmq.errors import ProtocolError
from tokenmq.limits import DEFAULT_RECEIVE_MAXIMUM, KEEP_ALIVE_FACTOR, MAX_STRING_BYTES, MAX_VARIABLE_INTEGER
from tokenmq.mqtt import codec, wire
from tokenmq.mqtt.aliases import InboundAliases
from tokenmq.mqtt.codes import CONNACK_CODES, ReasonCode
from tokenmq.mqtt.exchange import Exchange
from tokenmq.mqtt.outbound import fitting, unexplained
from tokenmq.mqtt.packets import Auth, Connack, Connect, Disconnect, Packet, Publish, connect
from tokenmq.mqtt.phases import MAY_COME, Phase
from tokenmq.mqtt.properties import UserPropertyLimits

# Looked up once: a member is found through its class at ten times the cost of a name.
_CONNECTING, _AUTHENTICATING, _CONNECTED, _CLOSED = Phase
_SUCCESS = ReasonCode.SUCCESS

# A fixed header has at most five bytes (MQTT 5 §2.1).
_LARGEST_PACKET = MAX_VARIABLE_INTEGER + 5
# Packets that change the state, and those that may explain themselves to every peer. All
# are asked for by their very class: isinstance() takes a long way around a metaclass.
_TURNING = (Connect, Auth, Disconnect)
_EXPLAINED_ALWAYS = (Publish, Disconnect)
# What MQTT 3.1.1 answers by closing without a CONNACK [MQTT311-3.1.4-1] [MQTT311-3.2.2-6].
_UNANSWERED_311 = frozenset(
    {
        ReasonCode.MALFORMED_PACKET,
        ReasonCode.PROTOCOL_ERROR,
        ReasonCode.TOPIC_NAME_INVALID,
        ReasonCode.PACKET_TOO_LARGE,
        ReasonCode.PAYLOAD_FORMAT_INVALID,
    }
)


# Of a connection whose CONNECT has not come, or had no method; nothing ever changes it.
_NO_EXCHANGE = Exchange(None)


@dataclasses.dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What every connection is held to.

    Attributes:
        connect_timeout_seconds: from the opening to the answer to CONNECT.
        max_connect_bytes: everything before that answer.
        max_packet_bytes: one packet after it.
        max_user_properties: of one packet.
        max_user_property_bytes: names and values of one packet's User Properties.
        topic_alias_maximum: highest Topic Alias that a client may set; announced.
        max_topic_bytes: of a topic that is remembered under an alias; it is not refused here.
        user_properties: the two for User Properties, as `codec.decode` takes them.
        max_first_bytes: the first packet.
    """

    connect_timeout_seconds: float = 10.0
    max_connect_bytes: int = 65_536
    max_packet_bytes: int = 1_048_576
    max_user_properties: int = 32
    max_user_property_bytes: int = 4_096
    topic_alias_maximum: int = 16
    max_topic_bytes: int = MAX_STRING_BYTES
    user_properties: UserPropertyLimits = dataclasses.field(init=False)
    max_first_bytes: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_first_bytes", min(self.max_connect_bytes, self.max_packet_bytes))
        limits = UserPropertyLimits(self.max_user_properties, self.max_user_property_bytes)
        object.__setattr__(self, "user_properties", limits)


class Connection:
    """Protocol state of one network connection.

    Attributes:
        phase: where it is in its life.
        version: 0 before a CONNECT has come, then 4 or 5; of a CONNECT in an unknown
            version the one that the refusal is written in.
        max_packet_bytes: largest packet that is accepted now, for `codec.frame`.
        peer_receive_maximum: QoS 1 and 2 messages that may be unacknowledged at the peer.
        peer_max_packet_bytes: largest packet that the peer accepts.
        peer_topic_alias_maximum: the highest Topic Alias that the peer accepts; 0 for none.
        request_problem_information: whether the peer wants Reason Strings and User
            Properties everywhere [MQTT-3.1.2-29].
    """

    __slots__ = (
        "_aliases",
        "_answered",
        "_connect_deadline",
        "_exchange",
        "_keep_alive_seconds",
        "_limits",
        "_seen_at",
        "_session_expires",
        "max_packet_bytes",
        "peer_max_packet_bytes",
        "peer_receive_maximum",
        "peer_topic_alias_maximum",
        "phase",
        "request_problem_information",
        "version",
    )

    def __init__(self, limits: ConnectionLimits, mono: float) -> None:
        self.phase = _CONNECTING
        self.version = 0
        self.max_packet_bytes = limits.max_first_bytes
        self.peer_receive_maximum = DEFAULT_RECEIVE_MAXIMUM
        self.peer_max_packet_bytes = _LARGEST_PACKET
        self.peer_topic_alias_maximum = 0
        self.request_problem_information = True
        self._limits = limits
        self._aliases: InboundAliases | None = None
        self._connect_deadline = mono + limits.connect_timeout_seconds
        self._seen_at = mono
        self._keep_alive_seconds = 0
        self._answered = False
        self._exchange = _NO_EXCHANGE
        self._session_expires = False

    @property
    def user_property_limits(self) -> UserPropertyLimits:
        """How many User Properties a packet may carry here."""
        return self._limits.user_properties

    # What comes

    def check_first(self, first: int) -> None:
        """Refuse a packet by its first byte, before the rest of it has arrived.

        Raises: ProtocolError 0x82; the connection is closed then.
        """
        if first >> 4 not in MAY_COME[self.phase]:
            raise self._out_of_place(first)

    def accept(self, first: int, data: bytes, start: int, stop: int, mono: float) -> Packet:
        """Decode a whole packet and check that it may come now.

        Args:
            first: its first byte.
            data: received bytes.
            start: where its body begins, as `codec.frame` told.
            stop: where it ends.
            mono: monotonic seconds; keep alive counts from here.

        Returns: the packet; the topic of a PUBLISH is the real one, whatever its alias.
        Raises: ProtocolError; the connection is closed then.
        """
        if first >> 4 not in MAY_COME[self.phase]:
            raise self._out_of_place(first)
        try:
            if not self.version:
                self.version = connect.answer_version(data, start, stop)
            packet = codec.decode(first, data, start, stop, self.version, limits=self._limits.user_properties)
            if type(packet) is Publish:
                if packet.topic_alias is not None:
                    self._resolve(packet)
            elif type(packet) in _TURNING:
                self._turn(packet, stop - start)
        except ProtocolError:
            self.phase = _CLOSED  # [MQTT311-4.8.0-1]
            raise
        self._seen_at = mono
        return packet

    def touch(self, mono: float) -> None:
        """Note that a packet has come which was not given to `accept`."""
        self._seen_at = mono

    # What is answered

    def connected(self, connack: Connack, *, keep_alive_seconds: int) -> bytes:
        """Accept the CONNECT [MQTT-3.1.4-5] [MQTT311-3.1.4-4].

        Args:
            connack: the answer.
            keep_alive_seconds: as it holds from now on; 0 for none.

        Returns: the encoded CONNACK.
        Raises: ProtocolError 0x82 if no CONNECT waits for its answer, 0x95 if the peer
            accepts no packet as large as this one; the connection is closed then.
        """
        if self.phase is not _AUTHENTICATING:  # [MQTT-3.2.0-2]
            raise wire.protocol_error("no CONNECT waits for its answer")
        encoded = fitting(connack, self.version, self.peer_max_packet_bytes)
        if encoded is None:
            self.phase = _CLOSED
            raise ProtocolError(
                ReasonCode.PACKET_TOO_LARGE, f"no CONNACK fits into {self.peer_max_packet_bytes} bytes"
            )
        self.phase = _CONNECTED
        self.max_packet_bytes = self._limits.max_packet_bytes
        self._keep_alive_seconds = keep_alive_seconds
        self._answered = True
        if self._exchange is not _NO_EXCHANGE:
            self._exchange.succeeded()
        return encoded

    def refused(self, connack: Connack) -> bytes | None:
        """Refuse the CONNECT; nothing may come after it.

        Returns: the encoded CONNACK; None where the protocol closes without one.
        """
        self.phase = _CLOSED
        if self._answered or not self.version:
            return None
        if self.version == 4 and connack.reason_code in _UNANSWERED_311:
            return None
        if connack.reason_code not in CONNACK_CODES:  # [MQTT-3.2.2-8]
            connack = msgspec.structs.replace(connack, reason_code=ReasonCode.UNSPECIFIED_ERROR)
        return fitting(connack, self.version, self.peer_max_packet_bytes)

    def send(self, packet: Packet) -> bytes | None:
        """Encode a packet for this peer.

        Returns: the bytes; None where nothing may be sent: the packet is over the peer's
            Maximum Packet Size [MQTT-3.1.2-24], the peer's version has no such packet,
            or the CONNECT is not accepted [MQTT-3.2.0-1] [MQTT-3.14.0-1] [MQTT311-3.2.0-1].
        Effects: an AUTH that says success ends a re-authentication.
        """
        if type(packet) is Auth:
            if self._exchange.method is None:  # [MQTT-4.12.0-6]
                return None
            if packet.reason_code == _SUCCESS:
                self._exchange.succeeded()
        elif not self._answered or (self.version == 4 and type(packet) is Disconnect):
            return None
        if not self.request_problem_information and type(packet) not in _EXPLAINED_ALWAYS:
            packet = unexplained(packet)  # [MQTT-3.1.2-29]
        return fitting(packet, self.version, self.peer_max_packet_bytes)

    # Time

    @property
    def expires_at_mono(self) -> float | None:
        """The moment at which it must be closed if nothing comes; None for never."""
        phase = self.phase
        if phase is _CONNECTING or phase is _AUTHENTICATING:
            return self._connect_deadline
        if phase is _CLOSED or not self._keep_alive_seconds:
            return None
        return self._seen_at + KEEP_ALIVE_FACTOR * self._keep_alive_seconds

    @property
    def timeout_code(self) -> ReasonCode:
        """What to tell the peer when that moment has come."""
        return ReasonCode.KEEP_ALIVE_TIMEOUT if self._answered else ReasonCode.SERVER_BUSY

    @property
    def timeout_text(self) -> str:
        """The same in words."""
        if self._answered:
            return f"nothing came within {KEEP_ALIVE_FACTOR} times {self._keep_alive_seconds} s of keep alive"
        return f"connecting took longer than {self._limits.connect_timeout_seconds} s"

    # Steps

    def _resolve(self, packet: Publish) -> None:
        if self._aliases is None:  # most clients use none
            self._aliases = InboundAliases(self._limits.topic_alias_maximum, self._limits.max_topic_bytes)
        self._aliases.resolve(packet)

    def _out_of_place(self, first: int) -> ProtocolError:
        phase, self.phase = self.phase, _CLOSED
        return wire.protocol_error(f"packet type {first >> 4} while {phase.name.lower()}")

    def _turn(self, packet: Packet, size: int) -> None:
        """Follow a packet that changes the state; size is that of its body."""
        if type(packet) is Connect:
            self._note(packet)
            self.phase = _AUTHENTICATING
        if self.phase is _AUTHENTICATING:
            self.max_packet_bytes = max(0, self.max_packet_bytes - size)
        if type(packet) is Auth:
            self._exchange.received(packet, connected=self._answered)
        elif type(packet) is Disconnect:
            if packet.session_expiry_interval and not self._session_expires:
                raise wire.protocol_error("a session expiry interval on DISCONNECT, but none on CONNECT")
            self.phase = _CLOSED  # [MQTT-3.14.4-1]

    def _note(self, packet: Connect) -> None:
        if packet.authentication_method is not None:
            self._exchange = Exchange(packet.authentication_method)
        self._session_expires = bool(packet.session_expiry_interval)
        self.request_problem_information = packet.request_problem_information is not False
        self.peer_receive_maximum = packet.receive_maximum or DEFAULT_RECEIVE_MAXIMUM  # [MQTT-4.9.0-1]
        self.peer_max_packet_bytes = packet.maximum_packet_size or _LARGEST_PACKET
        self.peer_topic_alias_maximum = packet.topic_alias_maximum or 0
