"""The borders of what is sent and received: MQTT packets in a stream, WebSocket frames.

Written for this generator alone. `walk` says what a server must do with a stream: wait for
more, go on, or close; what it says of the packets themselves is nobody's affair here.
"""

from __future__ import annotations

import base64
from random import Random
from typing import Final, NamedTuple

_OPCODES = (0x0, 0x1, 0x3, 0x8, 0x9, 0xA, 0xF)
_MAX_PADDING: Final = 80_000


class Walk(NamedTuple):
    """How a stream of packets divides.

    Attributes:
        starts: where each packet begins that has begun.
        pings: whole PINGREQs among them.
        missing: bytes until the last one is whole, as far as is known; 0 at a border.
        fatal: no server may go on: a length that is none, or is larger than allowed.
    """

    starts: tuple[int, ...]
    pings: int
    missing: int
    fatal: bool


def walk(stream: bytes, *, max_first: int, max_packet: int) -> Walk:
    """Find the packets of a stream.

    Args:
        stream: what a client sends.
        max_first: bytes that the first packet may have.
        max_packet: bytes that any later one may have.
    """
    starts: list[int] = []
    pings = pos = 0
    while pos < len(stream):
        starts.append(pos)
        found = _length(stream, pos + 1)
        if found is None:
            fatal = len(stream) - pos > 4
            return Walk(tuple(starts), pings, 1, fatal)
        length, body = found
        stop = body + length
        if stop - pos > (max_packet if len(starts) > 1 else max_first):
            return Walk(tuple(starts), pings, 0, True)
        if stop > len(stream):
            return Walk(tuple(starts), pings, stop - len(stream), False)
        pings += stream[pos:stop] == b"\xc0\x00"
        pos = stop
    return Walk(tuple(starts), pings, 0, False)


def complete(random: Random, stream: bytes, *, max_first: int, max_packet: int) -> tuple[bytes, Walk]:
    """Fill up the last packet of a stream, so that a server must answer or close."""
    while True:
        found = walk(stream, max_first=max_first, max_packet=max_packet)
        if found.fatal or not found.missing or found.missing > _MAX_PADDING:
            return stream, found
        stream += random.randbytes(found.missing)


def _length(stream: bytes, at: int) -> tuple[int, int] | None:
    """Read a remaining length: it, and where the body begins; None if it is not there whole."""
    value = 0
    for index, byte in enumerate(stream[at : at + 4]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    return None


def upgrade(random: Random, host: str) -> bytes:
    """Make the request that opens a WebSocket."""
    key = base64.b64encode(random.randbytes(16)).decode()
    return (
        f"GET /mqtt HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    ).encode()


def masked(random: Random, payload: bytes, *, first: int = 0x82) -> bytes:
    """Put a payload into a client's frame."""
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 0x10000:
        head = bytes((first, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0xFF)) + size.to_bytes(8, "big")
    mask = random.randbytes(4)
    whole = (mask * (size // 4 + 1))[:size]
    data = (int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")).to_bytes(size, "big")
    return head + mask + data


def framed(random: Random, payload: bytes) -> bytes:
    """Put a payload into one frame or several, with a ping among them at times."""
    if random.random() < 0.8 or len(payload) < 2:
        return masked(random, payload)
    at = random.randrange(1, len(payload))
    parts = [masked(random, payload[:at], first=0x02), masked(random, payload[at:], first=0x80)]
    if random.random() < 0.5:
        parts.insert(1, masked(random, b"ping", first=0x89))
    return b"".join(parts)


def bad_frame(random: Random, payload: bytes) -> bytes:
    """Make a frame that RFC 6455 does not allow, or MQTT does not."""
    frame = masked(random, payload[:100])
    match random.randrange(8):
        case 0:
            return masked(random, payload[:200], first=0x80 | random.choice(_OPCODES))
        case 1:
            return masked(random, payload, first=0x82 | random.choice((0x40, 0x20, 0x10)))
        case 2:  # not masked
            return bytes((0x82, min(len(payload), 125))) + payload[:125]
        case 3:  # lengths that are lies
            lie = random.choice((0, 1, 127, 65_536, 1 << 31, 1 << 62, (1 << 64) - 1))
            return b"\x82\xff" + lie.to_bytes(8, "big") + random.randbytes(4) + payload
        case 4:
            return b"\x82\xfe\x00\x05" + random.randbytes(4) + payload[:5]
        case 5:  # a close frame with a code and a reason that there are not
            body = random.choice((b"\x00", b"\x03\xed", b"\xff\xff", b"\x03\xe8\xff"))
            return masked(random, body, first=0x88)
        case 6:
            return frame[: random.randrange(len(frame))]
        case _:
            changed = bytearray(frame)
            changed[random.randrange(min(len(changed), 14))] ^= 1 << random.randrange(8)
            return bytes(changed)


class Reader:
    """Takes what a server sends and counts its PINGRESPs and messages.

    Attributes:
        pings: PINGRESPs so far.
        packets: packets so far.
        unacknowledged: acknowledgements that a good client would send now.
        broken: the server sent what is no packet.
        upgraded: the request for a WebSocket has been answered.
    """

    __slots__ = ("_rest", "_web", "_websocket", "broken", "packets", "pings", "unacknowledged", "upgraded")

    def __init__(self, *, websocket: bool) -> None:
        self._websocket = websocket
        self.upgraded = not websocket
        self._web = b""
        self._rest = b""
        self.pings = 0
        self.packets = 0
        self.unacknowledged: list[bytes] = []
        self.broken = False

    def take(self, data: bytes) -> bytes:
        """Take received bytes; return those that are MQTT."""
        if not self._websocket:
            self._parse(data)
            return data
        payload = self._unframe(data)
        self._parse(payload)
        return payload

    def _unframe(self, data: bytes) -> bytes:
        web = self._web + data
        if not self.upgraded:
            head, border, rest = web.partition(b"\r\n\r\n")
            if not border:
                self._web = web
                return b""
            self.upgraded = True
            web = rest if head.startswith(b"HTTP/1.1 101 ") else b""
        parts = []
        while len(web) >= 2:
            size, start = web[1], 2
            if size == 126:
                size, start = int.from_bytes(web[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(web[2:10], "big"), 10
            if len(web) < start + size:
                break
            if web[0] & 0x0F in (0, 2):
                parts.append(web[start : start + size])
            web = web[start + size :]
        self._web = web
        return b"".join(parts)

    def _parse(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        pos = 0
        while pos < len(data):
            found = _length(data, pos + 1)
            if found is None:
                self.broken = self.broken or len(data) - pos > 4
                break
            length, body = found
            stop = body + length
            if stop > len(data):
                break
            self.packets += 1
            self._note(data[pos], data, body, stop)
            pos = stop
        self._rest = data[pos:]

    def _note(self, first: int, data: bytes, body: int, stop: int) -> None:
        kind = first >> 4
        if kind == 13:
            self.pings += 1
        elif kind == 3 and first & 6:
            at = body + 2 + int.from_bytes(data[body : body + 2], "big")
            answer = 0x40 if first & 6 == 2 else 0x50
            self.unacknowledged.append(bytes((answer, 2)) + data[at : at + 2])
        elif kind == 5:
            self.unacknowledged.append(b"\x62\x02" + data[body : body + 2])
        elif kind == 6:
            self.unacknowledged.append(b"\x70\x02" + data[body : body + 2])
        elif kind not in (2, 3, 4, 7, 9, 11, 14, 15) or stop < body:
            self.broken = True
