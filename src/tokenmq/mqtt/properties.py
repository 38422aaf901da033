"""The 27 properties of MQTT 5 as a table, and the one reader and writer of them.

MQTT 5 §2.2.2. Properties are attributes of packets; an absent one is None, User
Property and the Subscription Identifiers of a PUBLISH are tuples. Nothing here knows a
packet class: the reader sets attributes, the writer gets them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from tokenmq.errors import ProtocolError
from tokenmq.mqtt import wire
from tokenmq.mqtt.codes import PacketType, ReasonCode

# The will's properties stand inside a CONNECT; type 0 is forbidden, so it is free here.
WILL: Final = 0


class UserPropertyLimits(NamedTuple):
    """How many User Properties one packet (a will apart) may carry.

    Attributes:
        max_user_properties: pairs.
        max_user_property_bytes: names and values together, in bytes of UTF-8.
    """

    max_user_properties: int = 32
    max_user_property_bytes: int = 4096


DEFAULT_LIMITS: Final = UserPropertyLimits()


class Kind(NamedTuple):
    """A data type of a property: how it is read and written."""

    read: wire.Reader[Any]
    write: Callable[[Any], bytes]


def _read_flag(data: bytes, pos: int, stop: int) -> tuple[int, int]:
    value, pos = wire.read_byte(data, pos, stop)
    if value > 1:
        raise wire.protocol_error(f"a property of 0 or 1 is {value}")
    return value, pos


def _read_bool(data: bytes, pos: int, stop: int) -> tuple[bool, int]:
    value, pos = _read_flag(data, pos, stop)
    return bool(value), pos


def _write_byte(value: int) -> bytes:
    return b"\x01" if value else b"\x00"


def _not_zero(read: wire.Reader[int], what: str, reason_code: ReasonCode) -> wire.Reader[int]:
    def read_positive(data: bytes, pos: int, stop: int) -> tuple[int, int]:
        value, pos = read(data, pos, stop)
        if not value:
            raise ProtocolError(reason_code, f"{what} of 0")
        return value, pos

    return read_positive


_FLAG = Kind(_read_flag, _write_byte)
_BOOL = Kind(_read_bool, _write_byte)
_TWO_BYTES = Kind(wire.read_two_bytes, wire.write_two_bytes)
_FOUR_BYTES = Kind(wire.read_four_bytes, wire.write_four_bytes)
_TEXT = Kind(wire.read_text, wire.write_text)
_BINARY = Kind(wire.read_binary, wire.write_binary)
_PAIR = Kind(wire.read_pair, wire.write_pair)
_TOPIC = Kind(wire.read_topic, wire.write_text)  # [MQTT-3.3.2-13] [MQTT-3.3.2-14]
_IDENTIFIER = Kind(
    _not_zero(wire.read_variable, "a subscription identifier", ReasonCode.PROTOCOL_ERROR), wire.write_variable
)
_RECEIVE_MAXIMUM = Kind(
    _not_zero(wire.read_two_bytes, "a receive maximum", ReasonCode.PROTOCOL_ERROR), wire.write_two_bytes
)
_PACKET_SIZE = Kind(
    _not_zero(wire.read_four_bytes, "a maximum packet size", ReasonCode.PROTOCOL_ERROR), wire.write_four_bytes
)
_ALIAS = Kind(  # [MQTT-3.3.2-8]
    _not_zero(wire.read_two_bytes, "a topic alias", ReasonCode.TOPIC_ALIAS_INVALID), wire.write_two_bytes
)


class Property(NamedTuple):
    """One line of table 2-4.

    Attributes:
        identifier: Property Identifier.
        name: as the standard prints it.
        attribute: what it is called on a packet.
        kind: its data type.
        allowed_in: packet types that may carry it, `WILL` among them.
        repeatable: whether one of those may carry it more than once.
    """

    identifier: int
    name: str
    attribute: str
    kind: Kind
    allowed_in: frozenset[int]
    repeatable: bool = False


_MESSAGE = frozenset({PacketType.PUBLISH, WILL})
_PUBLISH = frozenset({PacketType.PUBLISH})
_CONNECT = frozenset({PacketType.CONNECT})
_CONNACK = frozenset({PacketType.CONNACK})
_BOTH = _CONNECT | _CONNACK
_AUTH = _BOTH | {PacketType.AUTH}
_ANSWERS = frozenset(
    {
        *(PacketType.CONNACK, PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP),
        *(PacketType.SUBACK, PacketType.UNSUBACK, PacketType.DISCONNECT, PacketType.AUTH),
    }
)
_ALL = _ANSWERS | _MESSAGE | {PacketType.CONNECT, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE}

PROPERTIES: Final = (
    Property(0x01, "Payload Format Indicator", "payload_format_indicator", _FLAG, _MESSAGE),
    Property(0x02, "Message Expiry Interval", "message_expiry_interval", _FOUR_BYTES, _MESSAGE),
    Property(0x03, "Content Type", "content_type", _TEXT, _MESSAGE),
    Property(0x08, "Response Topic", "response_topic", _TOPIC, _MESSAGE),
    Property(0x09, "Correlation Data", "correlation_data", _BINARY, _MESSAGE),
    Property(
        0x0B, "Subscription Identifier", "subscription_identifiers", _IDENTIFIER, _PUBLISH, repeatable=True
    ),
    Property(
        *(0x0B, "Subscription Identifier", "subscription_identifier", _IDENTIFIER),
        frozenset({PacketType.SUBSCRIBE}),
    ),
    Property(
        *(0x11, "Session Expiry Interval", "session_expiry_interval", _FOUR_BYTES),
        _BOTH | {PacketType.DISCONNECT},
    ),
    Property(0x12, "Assigned Client Identifier", "assigned_client_identifier", _TEXT, _CONNACK),
    Property(0x13, "Server Keep Alive", "server_keep_alive", _TWO_BYTES, _CONNACK),
    Property(0x15, "Authentication Method", "authentication_method", _TEXT, _AUTH),
    Property(0x16, "Authentication Data", "authentication_data", _BINARY, _AUTH),
    Property(0x17, "Request Problem Information", "request_problem_information", _BOOL, _CONNECT),
    Property(0x18, "Will Delay Interval", "will_delay_interval", _FOUR_BYTES, frozenset({WILL})),
    Property(0x19, "Request Response Information", "request_response_information", _BOOL, _CONNECT),
    Property(0x1A, "Response Information", "response_information", _TEXT, _CONNACK),
    Property(
        *(0x1C, "Server Reference", "server_reference", _TEXT),
        frozenset({PacketType.CONNACK, PacketType.DISCONNECT}),
    ),
    Property(0x1F, "Reason String", "reason_string", _TEXT, _ANSWERS),
    Property(0x21, "Receive Maximum", "receive_maximum", _RECEIVE_MAXIMUM, _BOTH),
    Property(0x22, "Topic Alias Maximum", "topic_alias_maximum", _TWO_BYTES, _BOTH),
    Property(0x23, "Topic Alias", "topic_alias", _ALIAS, _PUBLISH),
    Property(0x24, "Maximum QoS", "maximum_qos", _FLAG, _CONNACK),
    Property(0x25, "Retain Available", "retain_available", _BOOL, _CONNACK),
    Property(0x26, "User Property", "user_properties", _PAIR, _ALL, repeatable=True),
    Property(0x27, "Maximum Packet Size", "maximum_packet_size", _PACKET_SIZE, _BOTH),
    Property(0x28, "Wildcard Subscription Available", "wildcard_subscription_available", _BOOL, _CONNACK),
    Property(
        *(0x29, "Subscription Identifier Available", "subscription_identifier_available", _BOOL), _CONNACK
    ),
    Property(0x2A, "Shared Subscription Available", "shared_subscription_available", _BOOL, _CONNACK),
)
USER_PROPERTY: Final = 0x26
TOPIC_ALIAS: Final = 0x23
SUBSCRIPTION_IDENTIFIER: Final = 0x0B
MESSAGE_EXPIRY_INTERVAL: Final = 0x02
WILL_DELAY_INTERVAL: Final = 0x18
# Identifier and two lengths of a User Property.
_PAIR_OVERHEAD: Final = 5

# packet type -> Property Identifier -> how it is read, where it goes, and the bit that
# stands for having met it, 0 where it may be met again; None where it is not allowed.
_READERS: Final[tuple[tuple[tuple[wire.Reader[Any], str, int] | None, ...], ...]] = tuple(
    tuple(
        next(
            (
                (line.kind.read, line.attribute, 0 if line.repeatable else 1 << identifier)
                for line in PROPERTIES
                if line.identifier == identifier and packet_type in line.allowed_in
            ),
            None,
        )
        for identifier in range(256)
    )
    for packet_type in range(16)
)
# packet type -> the lines it may carry, in order.
_WRITTEN: Final = tuple(
    tuple(line for line in PROPERTIES if packet_type in line.allowed_in) for packet_type in range(16)
)


def read_length(data: bytes, pos: int, stop: int) -> tuple[int, int]:
    """Read a Property Length and return where the properties begin and end."""
    if pos < stop and data[pos] < 0x80:
        end = data[pos] + pos + 1
        pos += 1
    else:
        length, pos = wire.read_variable(data, pos, stop)
        end = pos + length
    if end > stop:
        raise wire.malformed("the properties end beyond the packet")
    return pos, end


def read(packet: Any, packet_type: int, data: bytes, pos: int, end: int, limits: UserPropertyLimits) -> None:
    """Read the properties between pos and end into the packet's attributes.

    Args:
        packet: gets the attributes; those not met stay as they are.
        packet_type: whose properties, or `WILL`.
        data: received bytes.
        pos: where the first property begins.
        end: where the last one ends, from `read_length`.
        limits: for User Properties; counted while reading.

    Raises: ProtocolError 0x81 for a property that is unknown, not allowed here or not
        of its type, 0x82 for one that comes twice or has a forbidden value, 0x97 for
        too many User Properties.
    """
    readers = _READERS[packet_type]
    met = 0
    pairs: list[tuple[str, str]] = []
    identifiers: list[int] = []
    room = limits.max_user_property_bytes
    while pos < end:
        identifier = data[pos]
        if identifier == USER_PROPERTY:  # allowed in every packet, the most frequent one
            start = pos + _PAIR_OVERHEAD
            pair, pos = wire.read_pair(data, pos + 1, end)
            pairs.append(pair)
            room -= pos - start
            if room < 0 or len(pairs) > limits.max_user_properties:
                raise ProtocolError(ReasonCode.QUOTA_EXCEEDED, "too many user properties")
            continue
        reader = readers[identifier]
        if reader is None:  # identifiers of two bytes do not exist
            raise wire.malformed(f"property 0x{identifier:02x} is not allowed in this packet")
        read_value, attribute, bit = reader
        value, pos = read_value(data, pos + 1, end)
        if not bit:
            identifiers.append(value)
        elif met & bit:
            raise wire.protocol_error(f"property 0x{identifier:02x} comes twice")
        else:
            met |= bit
            setattr(packet, attribute, value)
    if pairs:
        packet.user_properties = tuple(pairs)
    if identifiers:
        packet.subscription_identifiers = tuple(identifiers)


def position(encoded: bytes, packet_type: int, identifier: int) -> int:
    """Return where the value of a property begins in encoded properties, -1 if it is not there.

    Args:
        encoded: properties that `read` has found right, without their length.
        packet_type: whose properties, or `WILL`.
        identifier: Property Identifier.
    """
    readers = _READERS[packet_type]
    pos = 0
    while pos < len(encoded):
        found = encoded[pos]
        if found == identifier:
            return pos + 1
        reader = readers[found]
        if reader is None:  # `read` would have refused it
            break
        _, pos = reader[0](encoded, pos + 1, len(encoded))
    return -1


def read_block(
    packet: Any, packet_type: int, data: bytes, pos: int, stop: int, limits: UserPropertyLimits
) -> int:
    """Read Property Length and properties, and return where they end."""
    pos, end = read_length(data, pos, stop)
    if pos < end:
        read(packet, packet_type, data, pos, end, limits)
    return end


def write(packet: object, packet_type: int, *, leave_out: frozenset[int] = frozenset()) -> bytes:
    """Write the properties that a packet has, in the order of the table, without their length.

    Args:
        packet: whose attributes are written; None and an empty tuple are absent.
        packet_type: whose properties, or `WILL`.
        leave_out: Property Identifiers that are not written.
    """
    parts: list[bytes] = []
    for line in _WRITTEN[packet_type]:
        value = getattr(packet, line.attribute)
        if value is None or value == () or line.identifier in leave_out:
            continue
        head = bytes((line.identifier,))
        write_value = line.kind.write
        parts += [head + write_value(one) for one in (value if line.repeatable else (value,))]
    return b"".join(parts)


def block(packet: object, packet_type: int) -> bytes:
    """Write a packet's properties with their length before them, 0 without any [MQTT-2.2.2-1]."""
    written = write(packet, packet_type)
    return wire.write_variable(len(written)) + written
