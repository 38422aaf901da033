"""MQTT bytes as the load generator needs them: build client packets, read a broker's frames.

Pure. Not here: sockets, counting (`streams`). MQTT 3.1.1 (version 4) and 5 (version 5).
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, DISCONNECT = 2, 3, 4, 5, 6, 7, 9, 14
DISCONNECT_PACKET = b"\xe0\x00"
KEEP_ALIVE_SECONDS = 300
SESSION_EXPIRY_SECONDS = 3600

# The kinds of property that a PUBLISH may carry to a subscriber (MQTT 5, 2.2.2.2).
_BYTE, _U16, _U32, _VARINT, _TEXT, _PAIR = 1, 2, 4, 0, -1, -2
_PROPERTY_KINDS = {
    0x01: _BYTE, 0x02: _U32, 0x03: _TEXT, 0x08: _TEXT, 0x09: _TEXT, 0x0B: _VARINT, 0x23: _U16, 0x26: _PAIR,
}  # fmt: skip


class BadStream(Exception):
    """What the broker sent is not what it should have sent."""


class Delivery(NamedTuple):
    """One PUBLISH as a receiver sees it; `properties` sorted by identifier, values as raw bytes."""

    topic: bytes
    packet_id: int
    properties: tuple[tuple[int, bytes], ...]
    payload: bytes


class Connack(NamedTuple):
    """What of a CONNACK the load goes by."""

    reason_code: int
    receive_maximum: int
    maximum_qos: int
    session_present: bool


class Run(NamedTuple):
    """Packets that follow each other, of one size and with the same bytes before their bodies.

    Attributes:
        first: the first byte of each.
        start: where the first packet begins.
        head: bytes of a packet before its body.
        size: bytes of a packet.
        amount: how many there are.
    """

    first: int
    start: int
    head: int
    size: int
    amount: int

    @property
    def stop(self) -> int:
        """Where the last packet ends."""
        return self.start + self.size * self.amount


def variable(number: int) -> bytes:
    """Encode a variable byte integer."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def text(value: str | bytes) -> bytes:
    """Encode a string or binary field with its two-byte length."""
    raw = value.encode() if isinstance(value, str) else value
    return len(raw).to_bytes(2, "big") + raw


def packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + variable(len(body)) + body


def connect(
    client_id: str,
    *,
    version: int,
    username: str | None = None,
    password: str | None = None,
    clean: bool = True,
) -> bytes:
    """Encode a CONNECT; not `clean` asks for a session that outlives the connection, and for the old one."""
    flags = (
        (2 if clean else 0) | (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    )
    body = text("MQTT") + bytes((version, flags)) + KEEP_ALIVE_SECONDS.to_bytes(2, "big")
    if version == 5:
        body += b"\x00" if clean else b"\x05\x11" + SESSION_EXPIRY_SECONDS.to_bytes(4, "big")
    body += text(client_id)
    if username is not None:
        body += text(username)
    if password is not None:
        body += text(password)
    return packet(0x10, body)


def subscribe(
    *topic_filters: str, qos: int, version: int, packet_id: int = 1, no_local: bool = False
) -> bytes:
    """Encode a SUBSCRIBE; No Local is of version 5."""
    options = bytes((qos | no_local << 2,))
    body = packet_id.to_bytes(2, "big") + (b"\x00" if version == 5 else b"")
    return packet(0x82, body + b"".join(text(one) + options for one in topic_filters))


def publish(
    topic: str, payload: bytes, *, qos: int, version: int, packet_id: int = 0, properties: bytes = b""
) -> bytes:
    """Encode a PUBLISH; `properties` is the block without its length prefix (version 5 only)."""
    body = text(topic)
    if qos:
        body += packet_id.to_bytes(2, "big")
    if version == 5:
        body += variable(len(properties)) + properties
    return packet(0x30 | qos << 1, body + payload)


def common_properties() -> bytes:
    """The property block of the rows with properties: payload format, content type, one user property."""
    return b"\x01\x01" + b"\x03" + text("text/plain") + b"\x26" + text("sent-by") + text("bench")


def correlation(number: int) -> bytes:
    """A Correlation Data property that no other message has."""
    return b"\x09\x00\x04" + number.to_bytes(4, "big")


def read_frame(data: bytes | bytearray, position: int, stop: int) -> tuple[int, int, int] | None:
    """Find one frame: (first byte, start of body, end of body), or None when it is not complete."""
    length = shift = 0
    for at in range(position + 1, min(position + 5, stop)):
        digit = data[at]
        length |= (digit & 127) << shift
        if digit < 128:
            end = at + 1 + length
            return (data[position], at + 1, end) if end <= stop else None
        shift += 7
    if stop - position >= 5:
        raise BadStream("the remaining length has more than four bytes")
    return None


def frames(data: bytes | bytearray, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Yield the complete frames of `data[start:stop]`."""
    while (frame := read_frame(data, start, stop)) is not None:
        yield frame
        start = frame[2]


def runs(data: bytes | bytearray, start: int, stop: int) -> Iterator[Run]:
    """Yield the complete frames of `data[start:stop]`, those that follow each other alike as one run."""
    while (frame := read_frame(data, start, stop)) is not None:
        first, body, end = frame
        found = _alike(bytes(data[start:body]), end - body).match(data, start, stop)
        assert found is not None  # it matches the frame itself
        run = Run(first, start, body - start, end - start, (found.end() - start) // (end - start))
        yield run
        start = run.stop


@lru_cache(maxsize=1024)
def _alike(head: bytes, rest: int) -> re.Pattern[bytes]:
    """Any number of packets with this head and so many bytes after it."""
    return re.compile(b"(?:%b.{%d})*" % (re.escape(head), rest), re.DOTALL)


def packet_ids(data: bytes | bytearray, at: int, run: Run) -> bytearray:
    """The packet ids of a run, two bytes each, whose first one stands at `at`."""
    ids = bytearray(2 * run.amount)
    ids[0::2], ids[1::2] = data[at : run.stop : run.size], data[at + 1 : run.stop : run.size]
    return ids


def acknowledgements(first: int, ids: bytes | bytearray) -> bytearray:
    """Encode a PUBACK, PUBREC, PUBREL or PUBCOMP (`first` is its first byte) for each packet id."""
    answer = bytearray((first, 2, 0, 0)) * (len(ids) // 2)
    answer[2::4], answer[3::4] = ids[0::2], ids[1::2]
    return answer


def read_variable(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """Decode a variable byte integer: (value, position after it)."""
    value = shift = 0
    while True:
        digit = data[at]
        value |= (digit & 127) << shift
        at += 1
        shift += 7
        if digit < 128:
            return value, at


def split_properties(block: bytes) -> tuple[tuple[int, bytes], ...]:
    """Split a PUBLISH property block; sorted by identifier, equal identifiers in the order they came."""
    found = []
    at = 0
    while at < len(block):
        identifier = block[at]
        start = at = at + 1
        kind = _PROPERTY_KINDS.get(identifier)
        if kind is None:
            raise BadStream(f"property {identifier:#04x} in a PUBLISH")
        if kind > 0:
            at += kind
        elif kind == _VARINT:
            at = read_variable(block, at)[1]
        else:
            for _ in range(-kind):
                at += 2 + int.from_bytes(block[at : at + 2], "big")
        found.append((identifier, block[start:at]))
    return tuple(sorted(found, key=lambda one: one[0]))


def delivery(first: int, data: bytes | bytearray, start: int, stop: int, version: int) -> Delivery:
    """Decode the body of a PUBLISH frame."""
    at = start + 2 + int.from_bytes(data[start : start + 2], "big")
    topic = bytes(data[start + 2 : at])
    packet_id = 0
    if first & 6:
        packet_id = int.from_bytes(data[at : at + 2], "big")
        at += 2
    properties: tuple[tuple[int, bytes], ...] = ()
    if version == 5:
        length, at = read_variable(data, at)
        properties = split_properties(bytes(data[at : at + length]))
        at += length
    return Delivery(topic, packet_id, properties, bytes(data[at:stop]))


def connack(data: bytes | bytearray, start: int, stop: int, version: int) -> Connack:
    """Decode the body of a CONNACK; a maximum that is absent is the standard's default."""
    receive_maximum, maximum_qos = 65535, 2
    if version == 5 and stop - start > 2:
        length, at = read_variable(data, start + 2)
        end = at + length
        while at < end:
            identifier = data[at]
            at += 1
            if identifier in (0x24, 0x25, 0x28, 0x29, 0x2A):
                maximum_qos = data[at] if identifier == 0x24 else maximum_qos
                at += 1
            elif identifier in (0x13, 0x21, 0x22):
                value = int.from_bytes(data[at : at + 2], "big")
                receive_maximum = value if identifier == 0x21 else receive_maximum
                at += 2
            elif identifier in (0x11, 0x27):
                at += 4
            else:  # strings; 0x26 is a pair of them
                for _ in range(2 if identifier == 0x26 else 1):
                    at += 2 + int.from_bytes(data[at : at + 2], "big")
    return Connack(data[start + 1], receive_maximum, maximum_qos, bool(data[start] & 1))


def suback(data: bytes | bytearray, start: int, stop: int, version: int) -> bytes:
    """The reason codes of a SUBACK, one for each filter."""
    at = start + 2
    if version == 5:
        length, at = read_variable(data, at)
        at += length
    return bytes(data[at:stop])


def filters(data: bytes | bytearray, start: int, stop: int, version: int) -> list[tuple[bytes, int]]:
    """The filters of a SUBSCRIBE without properties, each with its options."""
    at = start + (3 if version == 5 else 2)
    found = []
    while at < stop:
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        found.append((bytes(data[at + 2 : end]), data[end]))
        at = end + 1
    return found
