"""Data types of the wire: integers, strings, binary data (MQTT 5 §1.5).

A reader takes `(data, pos, stop)` and returns the value and where the next one begins.
It never looks at or beyond `stop`: more packets may follow in the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from tokenmq.errors import InvalidTopicName, ProtocolError
from tokenmq.limits import MAX_STRING_BYTES, MAX_VARIABLE_INTEGER
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.topics.name import check_name

T = TypeVar("T")
Reader = Callable[[bytes, int, int], tuple[T, int]]

# U+0000 must not, U+0001 to 1F and 7F to 9F should not be in a string (MQTT 5 §1.5.4).
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_ONE_BYTE = tuple(bytes((number,)) for number in range(128))
# Depth and length over our own settings get an answer, not a closed connection.
_ANY_LEVELS = MAX_STRING_BYTES + 1


def malformed(message: str) -> ProtocolError:
    """Return the error for bytes that cannot be parsed, 0x81."""
    return ProtocolError(ReasonCode.MALFORMED_PACKET, message)


def protocol_error(message: str) -> ProtocolError:
    """Return the error for what can be parsed but must not be said, 0x82."""
    return ProtocolError(ReasonCode.PROTOCOL_ERROR, message)


def left_over(stop: int, pos: int) -> ProtocolError:
    """Return the error for bytes after the end of a packet's last field."""
    return malformed(f"bytes left over at the end of the packet: {stop - pos}")


def read_byte(data: bytes, pos: int, stop: int) -> tuple[int, int]:
    """Read one byte."""
    if pos >= stop:
        raise malformed("the packet ends before a byte")
    return data[pos], pos + 1


def read_two_bytes(data: bytes, pos: int, stop: int) -> tuple[int, int]:
    """Read a Two Byte Integer (§1.5.2)."""
    if pos + 2 > stop:
        raise malformed("the packet ends inside a two byte integer")
    return data[pos] << 8 | data[pos + 1], pos + 2


def read_four_bytes(data: bytes, pos: int, stop: int) -> tuple[int, int]:
    """Read a Four Byte Integer (§1.5.3)."""
    if pos + 4 > stop:
        raise malformed("the packet ends inside a four byte integer")
    return data[pos] << 24 | data[pos + 1] << 16 | data[pos + 2] << 8 | data[pos + 3], pos + 4


def read_packet_id(data: bytes, pos: int, stop: int) -> tuple[int, int]:
    """Read a Packet Identifier, 1 to 65,535 (§2.2.1)."""
    if pos + 2 > stop:
        raise malformed("the packet ends inside the packet identifier")
    packet_id = data[pos] << 8 | data[pos + 1]
    if not packet_id:
        raise protocol_error("packet identifier 0")  # [MQTT-2.2.1-3] [MQTT311-2.3.1-1]
    return packet_id, pos + 2


def read_variable(data: bytes, pos: int, stop: int) -> tuple[int, int]:
    """Read a Variable Byte Integer of one to four bytes (§1.5.5)."""
    value = shift = 0
    while pos < stop:
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if not byte and shift:
                raise malformed("a variable byte integer is not minimal")  # [MQTT-1.5.5-1]
            return value, pos
        shift += 7
        if shift == 28:
            raise malformed("a variable byte integer has more than four bytes")
    raise malformed("the packet ends inside a variable byte integer")


def read_binary(data: bytes, pos: int, stop: int) -> tuple[bytes, int]:
    """Read Binary Data (§1.5.6)."""
    start = pos + 2
    if start > stop:
        raise malformed("the packet ends inside a length")
    end = start + (data[pos] << 8 | data[pos + 1])
    if end > stop:
        raise malformed(f"a field of {end - start} bytes ends beyond the packet")
    return data[start:end], end


def _ill_formed(error: UnicodeDecodeError) -> ProtocolError:
    # [MQTT-1.5.4-1] [MQTT311-1.5.3-1]
    return malformed(f"ill-formed UTF-8 at byte {error.start} of a string")


def _check_characters(text: str) -> None:
    if found := _CONTROL.search(text):
        # [MQTT-1.5.4-2] [MQTT311-1.5.3-2]
        raise malformed(f"control character U+{ord(found[0]):04X} in a string")


def decode_topic(raw: bytes) -> str:
    """Decode a Topic Name of whatever length and depth (§4.7).

    Raises: ProtocolError 0x81 for what is no string, 0x90 for what is no Topic Name.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise _ill_formed(error) from None
    # The grammar is check_name's; text of this kind obeys it, and this is quicker.
    if text.isprintable() and text and "#" not in text and "+" not in text:
        return text
    _check_characters(text)
    try:
        check_name(text, max_bytes=MAX_STRING_BYTES, max_levels=_ANY_LEVELS)
    except InvalidTopicName as error:
        raise ProtocolError(ReasonCode.TOPIC_NAME_INVALID, str(error)) from None
    return text


def check_payload(payload: bytes) -> None:
    """Check that a payload is the UTF-8 that its Payload Format Indicator says it is."""
    if payload.isascii():
        return
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(
            ReasonCode.PAYLOAD_FORMAT_INVALID, f"ill-formed UTF-8 at byte {error.start} of a payload"
        ) from None


def read_text(data: bytes, pos: int, stop: int) -> tuple[str, int]:
    """Read a UTF-8 Encoded String without control characters (§1.5.4).

    U+FEFF stays, nothing is normalised [MQTT-1.5.4-3] [MQTT311-1.5.3-3].
    """
    start = pos + 2
    if start > stop:
        raise malformed("the packet ends inside a length")
    end = start + (data[pos] << 8 | data[pos + 1])
    if end > stop:
        raise malformed(f"a string of {end - start} bytes ends beyond the packet")
    try:
        text = data[start:end].decode()
    except UnicodeDecodeError as error:
        raise _ill_formed(error) from None
    if not text.isprintable():  # printable text holds no control character, other text may
        _check_characters(text)
    return text, end


def read_filter(data: bytes, pos: int, stop: int) -> tuple[str, int]:
    """Read a Topic Filter as a string without U+0000; its grammar is not judged here."""
    raw, pos = read_binary(data, pos, stop)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise _ill_formed(error) from None
    if "\x00" in text:
        raise malformed("U+0000 in a topic filter")  # [MQTT-1.5.4-2] [MQTT311-1.5.3-2]
    return text, pos


def read_topic(data: bytes, pos: int, stop: int) -> tuple[str, int]:
    """Read a Topic Name."""
    raw, pos = read_binary(data, pos, stop)
    return decode_topic(raw), pos


def read_pair(data: bytes, pos: int, stop: int) -> tuple[tuple[str, str], int]:
    """Read a UTF-8 String Pair without control characters (§1.5.7) [MQTT-1.5.7-1]."""
    # Two times read_text in one: user properties are many, and calls cost.
    start = pos + 2
    if start > stop:
        raise malformed("the packet ends inside a length")
    middle = start + (data[pos] << 8 | data[pos + 1])
    if middle + 2 > stop:
        raise malformed("the name of a pair ends beyond the packet")
    end = middle + 2 + (data[middle] << 8 | data[middle + 1])
    if end > stop:
        raise malformed("the value of a pair ends beyond the packet")
    try:
        name = data[start:middle].decode()
        value = data[middle + 2 : end].decode()
    except UnicodeDecodeError as error:
        raise _ill_formed(error) from None
    if not name.isprintable() or not value.isprintable():
        _check_characters(name)
        _check_characters(value)
    return (name, value), end


def write_two_bytes(value: int) -> bytes:
    """Write a Two Byte Integer."""
    return value.to_bytes(2, "big")


def write_four_bytes(value: int) -> bytes:
    """Write a Four Byte Integer."""
    return value.to_bytes(4, "big")


def write_variable(value: int) -> bytes:
    """Write a Variable Byte Integer in its minimal form [MQTT-1.5.5-1]."""
    if value < 0x80:
        return _ONE_BYTE[value]
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value > MAX_VARIABLE_INTEGER:
        raise ProtocolError(ReasonCode.PACKET_TOO_LARGE, f"{value} is over {MAX_VARIABLE_INTEGER}")
    if value < 0x20_0000:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14 & 0x7F | 0x80, value >> 21))


def write_binary(value: bytes) -> bytes:
    """Write Binary Data of at most 65,535 bytes."""
    if len(value) > MAX_STRING_BYTES:
        raise ProtocolError(ReasonCode.PACKET_TOO_LARGE, f"a field of {len(value)} bytes, over 65535")
    return len(value).to_bytes(2, "big") + value


def write_text(value: str) -> bytes:
    """Write a UTF-8 Encoded String."""
    return write_binary(value.encode())


def write_pair(value: tuple[str, str]) -> bytes:
    """Write a UTF-8 String Pair."""
    return write_text(value[0]) + write_text(value[1])


def packet(first: int, *parts: bytes) -> bytes:
    """Put the fixed header before the parts of a packet (§2.1)."""
    body = b"".join(parts)
    return b"%c%b%b" % (first, write_variable(len(body)), body)
