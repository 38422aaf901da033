"""What TCP and WebSocket connections have in common: how they begin and how they end.

How a connection ends. A socket that is closed while bytes from its peer lie unread
makes the kernel send a reset, and the peer may then lose what was written last: the
DISCONNECT that says why. So an end is three steps: what was written goes out, then
our FIN; what still comes in is thrown away until the peer's FIN; after
`LINGER_SECONDS` the connection is cut, whatever the peer does. The link hears `lost`
exactly once: as soon as nothing can come in any more, at the latest when the socket
is gone.
"""

from __future__ import annotations

import asyncio
import dataclasses
import ipaddress
from functools import lru_cache
from typing import NamedTuple, Protocol, cast

from tokenmq import clock
from tokenmq.server.admission import Admission, Refusal
from tokenmq.server.peer import Link, MakeLink

# Bytes waiting in user space for a slow peer before its link is told to pause: on top
# of the kernel's own buffers, enough that a fast peer never sees a gap between two
# turns of the loop, and 20,000 connections that all stop reading hold 5 GiB at most.
WRITE_HIGH_BYTES = 256 * 1024
# How long an ended connection may go on taking in what was written to it: the time in
# which the last connection of a revoked token must be gone.
LINGER_SECONDS = 1.0
# Refused connections that are being told why, at once; beyond it they are just cut.
MAX_REFUSING = 1_000
# Addresses whose reading is remembered: parsing one costs as much as accepting it.
_ADDRESSES = 4_096


class Caller(NamedTuple):
    """Where a connection comes from, if not from where its socket says.

    Attributes:
        address: IP address, IPv4 never written as IPv6.
        port: its port.
        trusted: as in `Peer`.
    """

    address: str
    port: int
    trusted: bool


class Early(Protocol):
    """A connection that has no link (yet)."""

    def abort(self) -> None:
        """End it now."""


@dataclasses.dataclass(slots=True)
class Entrance:
    """What all endpoints of one listener share.

    Attributes:
        make_link: builds the link of an accepted connection.
        admission: the limits on connections, shared by all listeners.
        secure: it has TLS, so whoever comes in is trusted; and to tell somebody why he is
            refused would cost a handshake, so he is just cut.
        early: what has no link (yet): refused ones, unfinished upgrades.
        refusing: how many of `early` are refused ones.
    """

    make_link: MakeLink
    admission: Admission
    secure: bool = False
    early: set[Early] = dataclasses.field(default_factory=set)
    refusing: int = 0


class Endpoint(asyncio.Protocol):
    """One accepted connection, and the `LinkTransport` of its link; abstract.

    A kind of transport adds `accepted` (build the link), `refused` (say why not) and
    `data_received`, and may override `write` and `close`.

    Attributes:
        address: the peer's IP address.
        caller: where it comes from, set before `connection_made` if a proxy has told.
    """

    __slots__ = (
        "_cut",
        "_ending",
        "_entered",
        "_entrance",
        "_link",
        "_refusing",
        "_transport",
        "address",
        "caller",
    )

    _transport: asyncio.Transport

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance
        self._link: Link | None = None
        self._cut: asyncio.TimerHandle | None = None
        self._ending = False
        self._entered = False
        self._refusing = False
        self.address = ""
        self.caller: Caller | None = None

    def accepted(self, port: int) -> None:
        """Take a connection that is within the limits."""
        raise NotImplementedError

    def refused(self, refusal: Refusal) -> None:
        """Tell the peer, in the transport's words, why it is not taken; then `finish`."""
        raise NotImplementedError

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look at the limits before anything is read."""
        # uvloop's transports are asyncio.Transport in all but the class.
        self._transport = cast("asyncio.Transport", transport)
        peername = self.caller or self._transport.get_extra_info("peername")
        if not peername:  # it has gone already
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        self.address = plain_address(peername[0])
        refusal = self._entrance.admission.enter(self.address, clock.mono())
        if refusal is None:
            self._entered = True
            self.accepted(peername[1])
        elif self._entrance.secure or self._entrance.refusing >= MAX_REFUSING:
            self._transport.abort()
        else:
            self._entrance.refusing += 1
            self._refusing = True
            self._entrance.early.add(self)
            self.refused(refusal)

    def eof_received(self) -> bool:
        """Close: half-open connections are not kept."""
        self._ending = True
        self._cut_later()
        self._tell_lost()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio names it)
        """Count the connection out."""
        self._ending = True
        if self._cut is not None:
            self._cut.cancel()
        self._entrance.early.discard(self)
        if self._refusing:
            self._entrance.refusing -= 1
        if self._entered:
            self._entrance.admission.leave(self.address)
        self._tell_lost()

    def pause_writing(self) -> None:
        """Pass on that more than `WRITE_HIGH_BYTES` wait."""
        if self._link is not None and not self._ending:
            self._link.writing_paused()

    def resume_writing(self) -> None:
        """Pass on that most of them have gone out."""
        if self._link is not None and not self._ending:
            self._link.writing_resumed()

    def is_trusted(self) -> bool:
        """Tell whether nobody can read along."""
        if self.caller is not None:
            return self.caller.trusted
        return self._entrance.secure or is_loopback(self.address)

    # The link's side.

    def write(self, data: bytes) -> None:
        """Send."""
        if not self._ending:
            self._transport.write(data)

    def close(self) -> None:
        """End after what was written."""
        if not self._ending:
            self.finish()

    def leave(self) -> None:
        """End, as the peer has."""
        self.close()

    def abort(self) -> None:
        """End now."""
        self._ending = True
        self._transport.abort()

    def pause_reading(self) -> None:
        """Receive nothing for now."""
        if not self._ending:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Receive again."""
        if not self._ending:
            self._transport.resume_reading()

    # For the kinds of transports.

    def finish(self) -> None:
        """Send FIN after what was written, and cut if the peer's does not come."""
        self._ending = True
        self._cut_later()
        if self._transport.is_closing():
            return
        self._transport.write_eof()
        # Before a TLS handshake is done there is nobody to say it to, and this was the end.
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _cut_later(self) -> None:
        if self._cut is None:
            self._cut = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.abort)

    def _tell_lost(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.lost()


@lru_cache(maxsize=_ADDRESSES)
def plain_address(text: str) -> str:
    """Write an IPv4 address that came in over IPv6 as IPv4; leave others as they are."""
    ip = ipaddress.ip_address(text)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return text if mapped is None else str(mapped)


@lru_cache(maxsize=_ADDRESSES)
def is_loopback(address: str) -> bool:
    """Tell whether an IP address is this machine's own."""
    return ipaddress.ip_address(address).is_loopback
