"""What the core holds of one network connection: its protocol state and what goes out.

The owner of the network connection (`server.link`) is not known here: it takes
`chunks` whenever the broker has noted the outbox as dirty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenmq.broker.pacing import Pace
    from tokenmq.broker.session import Session
    from tokenmq.mqtt.connection import Connection


class Outbox:
    """Outgoing bytes of one network connection.

    Attributes:
        connection: the protocol state, which knows the peer's version and limits.
        owner: whatever carries the bytes; the core hands it back and never looks at it.
        chunks: bytes to write, in order. The same list for life: lanes hold it.
        session: the MQTT session that this connection serves, once CONNECT is accepted.
        paused: the link takes no more bytes for now; what comes is queued.
        held: nothing is read, because what was read waits for the store.
        pace: how fast it may publish; None: it has no rate.
        gated: nothing is written, because CONNACK waits for the store; all else waits behind it.
        closed: the core has asked for its close; nothing more is read or written.
    """

    __slots__ = ("chunks", "closed", "connection", "gated", "held", "owner", "pace", "paused", "session")

    def __init__(self, connection: Connection, owner: Any) -> None:
        self.connection = connection
        self.owner = owner
        self.chunks: list[bytes] = []
        self.session: Session | None = None
        self.pace: Pace | None = None
        self.paused = False
        self.held = False
        self.gated = False
        self.closed = False

    def let_go(self) -> None:
        """Break the circles of a connection that is gone, so that it is freed at once."""
        self.closed = True
        self.session = None
        self.owner = None
