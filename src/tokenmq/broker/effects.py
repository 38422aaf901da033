"""What the core asks its owner to do, besides writing what it appended to links.

Deliveries are not effects: the core appends bytes to `Outbox.chunks` and notes the
outbox in `Broker.dirty`. Effects are the rest, performed in the order given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from tokenmq.broker.outbox import Outbox
    from tokenmq.broker.reading import Reading


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


class Reserve(msgspec.Struct, frozen=True):
    """Reserve so many numbers for ids of messages; `Recorder` takes them in."""

    count: int


class Heads(msgspec.Struct, frozen=True):
    """Heads of recorded messages are wanted, the newest first.

    Attributes:
        after, before: ids greater, and smaller, than these.
        since: unix seconds; the time of a message is not before it.
        limit: at most so many.
    """

    org_id: str
    topic_filter: str
    after: int
    before: int
    since: float | None
    limit: int


class Lost(msgspec.Struct, frozen=True):
    """Whether a reader who has everything up to an id cannot have all that came since.

    Attributes:
        after: the id.
        since: unix seconds; what is older is gone, in the store or not.
    """

    org_id: str
    topic_filter: str
    after: int
    since: float


class Messages(msgspec.Struct, frozen=True):
    """Recorded messages are wanted, in the order of these ids; those gone by now are left out."""

    org_id: str
    ids: tuple[int, ...]


class Load(msgspec.Struct, frozen=True):
    """Ask the history, when all that was to be kept so far is settled; `Broker.loaded` takes the answer."""

    reading: Reading
    query: Heads | Lost | Messages


Effect = Close | Report | Reserve | Load
