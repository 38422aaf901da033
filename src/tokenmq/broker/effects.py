"""What the core asks its owner to do, besides writing what it appended to links.

Deliveries are not effects: the core appends bytes to `Outbox.chunks` and notes the
outbox in `Broker.dirty`. Effects are the rest, performed in the order given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from tokenmq.broker.outbox import Outbox


class Close(msgspec.Struct, frozen=True):
    """Close a network connection, after writing what its outbox still holds.

    Attributes:
        reason: a few words for the log; never shown to the peer.
        peer_left: the peer has said goodbye and waits for nothing.
    """

    outbox: Outbox
    reason: str
    peer_left: bool = False


class Report(msgspec.Struct, frozen=True):
    """Something that happened, for log and audit.

    Attributes:
        event: a name in snake_case.
        fields: what is to be said of it; no token, no key, no payload.
    """

    event: str
    fields: dict[str, Any] = {}


Effect = Close | Report
