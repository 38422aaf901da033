"""A run of messages that waits: what of it has not gone out, and until when it may."""

from __future__ import annotations

import struct

from tokenmq.broker import stamping
from tokenmq.broker.message import Expiry


def packet_ids_of(run: bytes, size: int, offset: int) -> tuple[int, ...]:
    """Return the packet identifiers of a run, in order; without a step of Python a packet."""
    count = len(run) // size
    if count == 1:
        return (run[offset] << 8 | run[offset + 1],)
    pairs = bytearray(2 * count)
    pairs[0::2] = run[offset::size]
    pairs[1::2] = run[offset + 1 :: size]
    return struct.unpack(f">{count}H", pairs)


def text_of(run: bytes, size: int, offset: int) -> bytes:
    """Return the packets of a run up to the first whose payload is not UTF-8, which it says it is."""
    for start in range(0, len(run), size):
        payload = run[start + offset : start + size]
        if not payload.isascii() and not _is_utf8(payload):
            return run[:start]
    return run


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def topic_of(packet: bytes) -> str:
    """Return the topic of a PUBLISH, with whatever stands before it."""
    at = 2
    while packet[at - 1] > 127:
        at += 1
    size = int.from_bytes(packet[at : at + 2])
    return packet[at + 2 : at + 2 + size].decode()


class Waiting:
    """A run in a queue; `start` is where the first packet begins that has not gone out."""

    __slots__ = ("expiry", "offset", "run", "size", "start")

    def __init__(self, run: bytes, size: int, offset: int, start: int, expiry: Expiry | None) -> None:
        self.run = run
        self.size = size
        self.offset = offset
        self.start = start
        self.expiry = expiry

    @property
    def topic(self) -> str:
        """The topic of its packets."""
        return topic_of(self.run)

    @property
    def bytes_left(self) -> int:
        """Bytes of what has not gone out."""
        return len(self.run) - self.start

    @property
    def messages_left(self) -> int:
        """How many messages have not gone out."""
        return self.bytes_left // self.size

    def first_marked(self) -> Waiting:
        """Return its next message alone, with the word that something is missing before it; MQTT 5."""
        packet = self.run[self.start : self.start + self.size]
        grown, head, block = stamping.with_property(packet, self.offset, stamping.GAP)
        expiry = self.expiry
        if expiry is not None and expiry.at:
            expiry = expiry._replace(at=expiry.at + block)
        return Waiting(grown, len(grown), self.offset and self.offset + head, 0, expiry)

    def count_down(self, expiry: Expiry, now: float) -> None:
        """Write into the packets that have not gone out what is left of their life."""
        if not expiry.at:
            return
        rest = bytearray(self.run[self.start :])
        for index, byte in enumerate(expiry.seconds_left(now).to_bytes(4, "big")):
            rest[expiry.at + index :: self.size] = bytes((byte,)) * (len(rest) // self.size)
        self.run, self.start = bytes(rest), 0
