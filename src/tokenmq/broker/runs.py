"""A run of messages that waits: what of it has not gone out, and until when it may."""

from __future__ import annotations

from tokenmq.broker.message import Expiry


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
        at = 2
        while self.run[at - 1] > 127:
            at += 1
        size = int.from_bytes(self.run[at : at + 2])
        return self.run[at + 2 : at + 2 + size].decode()

    def count_down(self, expiry: Expiry, now: float) -> None:
        """Write into the packets that have not gone out what is left of their life."""
        if not expiry.at:
            return
        rest = bytearray(self.run[self.start :])
        for index, byte in enumerate(expiry.seconds_left(now).to_bytes(4, "big")):
            rest[expiry.at + index :: self.size] = bytes((byte,)) * (len(rest) // self.size)
        self.run, self.start = bytes(rest), 0
