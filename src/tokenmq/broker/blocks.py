"""Property blocks of PUBLISH packets that were looked at and go on as they are."""

from __future__ import annotations

from typing import NamedTuple

from tokenmq.broker.message import Expiry


class Block(NamedTuple):
    """What a raw property block asks to be looked at for, packet by packet.

    Attributes:
        is_text: it says that the payload is UTF-8.
        expires_after: Message Expiry Interval, seconds; 0 for none, or for one that is
            over as soon as it waits.
        expires_at: where that interval stands in the block.
    """

    is_text: bool
    expires_after: int
    expires_at: int

    def expiry(self, block_at: int, now: float) -> Expiry:
        """Return when packets are over that arrive now, whose block begins at `block_at`."""
        return Expiry(block_at + self.expires_at, now + self.expires_after)


PLAIN = Block(is_text=False, expires_after=0, expires_at=0)
