"""What a listener and a link know of one another, whatever the transport.

A listener accepts, looks at limits, and builds a `Link` by a `MakeLink`; the link
gets bytes and gives bytes. MQTT's packet borders are the link's affair, frame and
chunk borders are the transport's: neither side may rely on the other's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec


class Peer(msgspec.Struct, frozen=True):
    """The other end of one network connection, as the listener sees it.

    Attributes:
        address: IP address; an IPv4 address that came in over IPv6 is written as IPv4.
        port: its port.
        transport: what carries the bytes.
        origin: the `Origin` of a WebSocket upgrade; None where there was none.
        trusted: nobody can read along: TLS, or the peer is on this machine.
    """

    address: str
    port: int
    transport: Literal["tcp", "websocket"]
    origin: str | None
    trusted: bool


class LinkTransport(Protocol):
    """Where a link puts what goes out. No method raises or waits; after the end all do nothing."""

    def write(self, data: bytes) -> None:
        """Send bytes after those written before; over WebSocket as one binary frame."""

    def close(self) -> None:
        """End the connection after what was written; cut within a second if the peer does not read.

        Nothing is received any more; `lost` follows.
        """

    def leave(self) -> None:
        """End the connection, of which the peer has said that it is over: nobody waits for a word.

        Nothing is received any more; `lost` follows.
        """

    def abort(self) -> None:
        """End the connection now and drop what was written; `lost` follows."""

    def pause_reading(self) -> None:
        """Receive nothing until `resume_reading`; the peer is held by TCP's window."""

    def resume_reading(self) -> None:
        """Receive again."""


class Link(Protocol):
    """One network connection as its transport calls it, always from the event loop.

    Order: `opened` once, then any of the others, then `lost` once, whoever ended it.
    No method may block or raise.
    """

    def opened(self, transport: LinkTransport) -> None:
        """Take the transport; it may be written to from here on."""

    def received(self, data: bytes) -> None:
        """Take the next bytes, never empty; never called within another `received`."""

    def writing_paused(self) -> None:
        """Hear that the peer reads slower than is written; writing still works, in memory."""

    def writing_resumed(self) -> None:
        """Hear that most of what was written has gone out."""

    def lost(self) -> None:
        """Hear that the connection is over; what was written before may still reach the peer."""


MakeLink = Callable[[Peer], Link]
