"""CONNECT, CONNACK and AUTH (MQTT 5 §3.1, §3.2, §3.15; MQTT 3.1.1 §3.1, §3.2)."""

from __future__ import annotations

import msgspec

from tokenmq.errors import ProtocolError
from tokenmq.mqtt import codes, properties, wire
from tokenmq.mqtt.codes import PacketType, ReasonCode
from tokenmq.mqtt.properties import UserPropertyLimits

# Looked up once: a member is found through its class at ten times the cost of a name.
_CONNECT, _CONNACK, _AUTH = PacketType.CONNECT, PacketType.CONNACK, PacketType.AUTH
_NAME = b"\x00\x04MQTT"
# Protocol name, version, flags, keep alive.
_HEAD_BYTES = len(_NAME) + 4
_NAME_31 = b"\x00\x06MQIsdp"
_USERNAME, _PASSWORD, _WILL_RETAIN, _WILL, _CLEAN_START, _RESERVED = 0x80, 0x40, 0x20, 0x04, 0x02, 0x01
_NOT_FORWARDED = frozenset({properties.WILL_DELAY_INTERVAL})
# Mosquitto's bridges set this bit in the version first, and try without it when they are told 1.
BRIDGE_BIT = 0x80


class Will(msgspec.Struct, gc=False):
    """The Will Message of a CONNECT, its properties as attributes (§3.1.3.2).

    Attributes:
        payload_format_indicator: 1 says that the payload is UTF-8, which was checked.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    will_delay_interval: int | None = None
    payload_format_indicator: int | None = None
    message_expiry_interval: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user_properties: tuple[tuple[str, str], ...] = ()

    @property
    def forward(self) -> bytes:
        """The encoded properties that go on to receivers: all but Will Delay Interval."""
        return properties.write(self, properties.WILL, leave_out=_NOT_FORWARDED)


class Connect(msgspec.Struct, gc=False):
    """CONNECT, in 3.1.1 without properties.

    Attributes:
        protocol_version: 4 (3.1.1) or 5.
        client_id: empty asks the server for one.
        clean_start: Clean Session in 3.1.1.
        keep_alive: seconds, 0 for none.
        username: None where there is none; a password may stand alone in MQTT 5 only.
        session_expiry_interval: seconds; None where it is absent, which means 0.
        receive_maximum: None where it is absent, which means 65,535.
        request_problem_information: None where it is absent, which means True.
    """

    protocol_version: int
    client_id: str
    clean_start: bool = True
    keep_alive: int = 0
    username: str | None = None
    password: bytes | None = None
    will: Will | None = None
    session_expiry_interval: int | None = None
    receive_maximum: int | None = None
    maximum_packet_size: int | None = None
    topic_alias_maximum: int | None = None
    request_response_information: bool | None = None
    request_problem_information: bool | None = None
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    user_properties: tuple[tuple[str, str], ...] = ()


class Connack(msgspec.Struct, gc=False):
    """CONNACK; the reason code is MQTT 5's in both versions.

    Attributes:
        maximum_qos: 0 or 1; None where it is absent, which means 2.
        response_information: nothing here ever sets it [MQTT-3.1.2-28].
    """

    reason_code: int = ReasonCode.SUCCESS
    session_present: bool = False
    session_expiry_interval: int | None = None
    receive_maximum: int | None = None
    maximum_qos: int | None = None
    retain_available: bool | None = None
    maximum_packet_size: int | None = None
    assigned_client_identifier: str | None = None
    topic_alias_maximum: int | None = None
    reason_string: str | None = None
    user_properties: tuple[tuple[str, str], ...] = ()
    wildcard_subscription_available: bool | None = None
    subscription_identifier_available: bool | None = None
    shared_subscription_available: bool | None = None
    server_keep_alive: int | None = None
    response_information: str | None = None
    server_reference: str | None = None
    authentication_method: str | None = None
    authentication_data: bytes | None = None


class Auth(msgspec.Struct, gc=False):
    """AUTH, MQTT 5 only.

    Attributes:
        authentication_method: None only in the AUTH of no bytes that a server may send.
    """

    reason_code: int = ReasonCode.SUCCESS
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    reason_string: str | None = None
    user_properties: tuple[tuple[str, str], ...] = ()


def protocol_version(data: bytes, start: int, stop: int) -> int:
    """Return the Protocol Version of a CONNECT, 4 or 5.

    Raises: ProtocolError 0x84 for any other protocol or version, 0x81 for less than
        name and version.
    """
    at = start + len(_NAME)
    if data.startswith(_NAME, start) and at < stop and data[at] in (4, 5):
        return data[at]
    name, pos = wire.read_binary(data, start, stop)
    version, pos = wire.read_byte(data, pos, stop)
    # [MQTT-3.1.2-1] [MQTT-3.1.2-2] [MQTT311-3.1.2-1] [MQTT311-3.1.2-2]
    raise ProtocolError(
        ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
        f"protocol {name[:8].decode('latin-1')!a} version {version}, wanted 'MQTT' version 4 or 5",
    )


def answer_version(data: bytes, start: int, stop: int) -> int:
    """Return the version in which a CONNECT is to be answered, whatever is wrong with it.

    A CONNECT of a version that we do not speak is told so in the nearest one that we do
    [MQTT311-3.1.2-2]; a bridge in the version that it would speak without its bit.

    Returns: 4 or 5; 0 for a protocol that is not MQTT, which gets no answer.
    """
    if data.startswith(_NAME, start) and start + len(_NAME) < stop:
        return 5 if data[start + len(_NAME)] & ~BRIDGE_BIT >= 5 else 4
    return 4 if data.startswith(_NAME_31, start) and start + len(_NAME_31) < stop else 0


def decode_connect(data: bytes, start: int, stop: int, limits: UserPropertyLimits) -> Connect:
    """Decode a CONNECT; the version is what it says itself.

    Raises: ProtocolError for whatever is against §3.1 [MQTT-3.1.4-1] [MQTT311-3.1.4-1].
    """
    version = protocol_version(data, start, stop)
    pos = start + _HEAD_BYTES
    if pos > stop:
        raise wire.malformed("the packet ends before its keep alive does")
    flags = data[pos - 3]
    _check_flags(flags, version)
    keep_alive = data[pos - 2] << 8 | data[pos - 1]
    connect = Connect(version, "", bool(flags & _CLEAN_START), keep_alive)
    if version == 5:
        pos = properties.read_block(connect, _CONNECT, data, pos, stop, limits)
        if connect.authentication_data is not None and connect.authentication_method is None:
            raise wire.protocol_error("authentication data without authentication method")
    # Client id, will, user name, password, in this order [MQTT-3.1.3-1] [MQTT311-3.1.3-1]; the
    # strings are text [MQTT-3.1.3-3] [MQTT-3.1.3-4] [MQTT-3.1.3-12] [MQTT311-3.1.3-3] [MQTT311-3.1.3-4]
    # [MQTT311-3.1.3-11].
    connect.client_id, pos = wire.read_text(data, pos, stop)
    if flags & _WILL:  # [MQTT-3.1.2-9] [MQTT311-3.1.2-9]
        connect.will, pos = _decode_will(flags, version, data, pos, stop, limits)
    if flags & _USERNAME:  # [MQTT-3.1.2-17] [MQTT311-3.1.2-19]
        connect.username, pos = wire.read_text(data, pos, stop)
    if flags & _PASSWORD:  # [MQTT-3.1.2-19] [MQTT311-3.1.2-21]
        connect.password, pos = wire.read_binary(data, pos, stop)
    if pos != stop:
        # What no flag announces: [MQTT-3.1.2-16] [MQTT-3.1.2-18] [MQTT311-3.1.2-18] [MQTT311-3.1.2-20]
        raise wire.left_over(stop, pos)
    if version == 4 and not connect.client_id and not connect.clean_start:
        # [MQTT311-3.1.3-7] [MQTT311-3.1.3-8]
        raise ProtocolError(ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, "clean session 0 without a client id")
    return connect


def _check_flags(flags: int, version: int) -> None:
    if flags & _RESERVED:
        raise wire.malformed("the reserved connect flag is set")  # [MQTT-3.1.2-3] [MQTT311-3.1.2-3]
    will_qos = flags >> 3 & 3
    if will_qos == 3:
        raise wire.malformed("will QoS 3")  # [MQTT-3.1.2-12] [MQTT311-3.1.2-14]
    if not flags & _WILL and (will_qos or flags & _WILL_RETAIN):
        # [MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT311-3.1.2-11] [MQTT311-3.1.2-13] [MQTT311-3.1.2-15]
        raise wire.malformed("will QoS or will retain without a will")
    if version == 4 and flags & _PASSWORD and not flags & _USERNAME:
        raise wire.malformed("a password without a user name")  # [MQTT311-3.1.2-22]


def _decode_will(
    flags: int, version: int, data: bytes, pos: int, stop: int, limits: UserPropertyLimits
) -> tuple[Will, int]:
    will = Will("", b"", flags >> 3 & 3, bool(flags & _WILL_RETAIN))
    if version == 5:
        pos = properties.read_block(will, properties.WILL, data, pos, stop, limits)
    will.topic, pos = wire.read_topic(data, pos, stop)  # [MQTT-3.1.3-11] [MQTT311-3.1.3-10]
    will.payload, pos = wire.read_binary(data, pos, stop)
    if will.payload_format_indicator:
        wire.check_payload(will.payload)
    return will, pos


def encode_connect(connect: Connect, _version: int) -> bytes:
    """Encode a CONNECT; the version is what it says itself."""
    version, will = connect.protocol_version, connect.will
    flags = connect.clean_start and _CLEAN_START
    payload = [wire.write_text(connect.client_id)]
    if will is not None:
        flags |= _WILL | will.qos << 3 | (will.retain and _WILL_RETAIN)
        if version == 5:
            payload.append(properties.block(will, properties.WILL))
        payload += (wire.write_text(will.topic), wire.write_binary(will.payload))
    if connect.username is not None:
        flags |= _USERNAME
        payload.append(wire.write_text(connect.username))
    if connect.password is not None:
        flags |= _PASSWORD
        payload.append(wire.write_binary(connect.password))
    head = _NAME + bytes((version, flags)) + wire.write_two_bytes(connect.keep_alive)
    block = properties.block(connect, _CONNECT) if version == 5 else b""
    return wire.packet(0x10, head, block, *payload)


def decode_connack(data: bytes, start: int, stop: int, version: int, limits: UserPropertyLimits) -> Connack:
    """Decode a CONNACK, as a client does."""
    flags, pos = wire.read_byte(data, start, stop)
    reason_code, pos = wire.read_byte(data, pos, stop)
    if flags > 1:
        raise wire.malformed("reserved connect acknowledge flags are set")  # [MQTT-3.2.2-1]
    if version == 4:
        if reason_code >= len(codes.CONNACK_FROM_311):
            raise wire.protocol_error(f"return code {reason_code} in a CONNACK")
        reason_code = codes.CONNACK_FROM_311[reason_code]
    elif reason_code not in codes.CONNACK_CODES:
        raise wire.protocol_error(f"reason code 0x{reason_code:02x} in a CONNACK")  # [MQTT-3.2.2-8]
    if flags and reason_code:
        # [MQTT-3.2.2-6] [MQTT311-3.2.2-4]
        raise wire.protocol_error("session present in a CONNACK that refuses")
    connack = Connack(reason_code, bool(flags))
    if version == 5:
        pos = properties.read_block(connack, _CONNACK, data, pos, stop, limits)
    if pos != stop:
        raise wire.left_over(stop, pos)
    return connack


def encode_connack(connack: Connack, version: int) -> bytes:
    """Encode a CONNACK."""
    flags = connack.session_present and 1  # [MQTT-3.2.2-1]
    if version == 4:
        return bytes((0x20, 2, flags, codes.connack_311(connack.reason_code)))
    head = bytes((flags, connack.reason_code))
    return wire.packet(0x20, head, properties.block(connack, _CONNACK))


def decode_auth(data: bytes, start: int, stop: int, limits: UserPropertyLimits, *, from_client: bool) -> Auth:
    """Decode an AUTH of MQTT 5."""
    auth = Auth()
    if start < stop:
        auth.reason_code = data[start]
        pos = properties.read_block(auth, _AUTH, data, start + 1, stop, limits)
        if pos != stop:
            raise wire.left_over(stop, pos)
        if auth.authentication_method is None:
            raise wire.protocol_error("AUTH without authentication method")
    allowed = codes.CLIENT_AUTH_CODES if from_client else codes.SERVER_AUTH_CODES
    if auth.reason_code not in allowed:
        raise wire.protocol_error(f"reason code 0x{auth.reason_code:02x} in an AUTH")  # [MQTT-3.15.2-1]
    return auth


def encode_auth(auth: Auth, _version: int) -> bytes:
    """Encode an AUTH of MQTT 5."""
    block = properties.block(auth, _AUTH)
    if auth.reason_code == ReasonCode.SUCCESS and block == b"\x00":
        return b"\xf0\x00"
    return wire.packet(0xF0, bytes((auth.reason_code,)), block)
