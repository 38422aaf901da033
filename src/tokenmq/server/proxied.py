"""A connection that a proxy passes on: the PROXY protocol's header, then what it is about.

The header is required, comes from `trusted_proxies` only, and has the time of a TLS
handshake, which it shares with that handshake where there is one. From then on the
client's address is the one that limits and logs go by, and nothing that was true of the
proxy's own address (loopback) is true of its client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from tokenmq import clock
from tokenmq.server.admission import Refusal
from tokenmq.server.endpoint import Caller, Endpoint, Entrance, is_loopback, plain_address
from tokenmq.server.proxy_header import BadProxyHeader, Source, parse_header
from tokenmq.server.secured import HANDSHAKE_SECONDS, ContextSource, ReportEvent, Secured


class Proxied(asyncio.Protocol):
    """One connection until its header is there; then the endpoint takes its place."""

    __slots__ = ("_address", "_certificates", "_deadline", "_entered", "_entrance", "_head", "_loop",
                 "_make_endpoint", "_port", "_report", "_timer", "_transport")  # fmt: skip

    _transport: asyncio.Transport

    def __init__(
        self,
        entrance: Entrance,
        make_endpoint: Callable[[], Endpoint],
        report: ReportEvent,
        certificates: ContextSource | None,
    ) -> None:
        """Wait for a header.

        Args:
            entrance: of the listener.
            make_endpoint: makes what follows.
            report: told of connections that are cut.
            certificates: for a listener with TLS, which follows the header.
        """
        self._entrance = entrance
        self._make_endpoint = make_endpoint
        self._report = report
        self._certificates = certificates
        self._head = b""
        self._address = ""
        self._port = 0
        self._entered = False
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + HANDSHAKE_SECONDS
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take it from a proxy that is trusted, and if there is room."""
        # uvloop's transports are asyncio.Transport in all but the class.
        self._transport = cast("asyncio.Transport", transport)
        peername = self._transport.get_extra_info("peername")
        if not peername:  # it has gone already
            self._transport.abort()
            return
        self._address, self._port = plain_address(peername[0]), peername[1]
        admission = self._entrance.admission
        if not admission.is_proxy(self._address):
            self._refuse("the address is not in trusted_proxies")
            return
        refusal: Refusal | None = admission.enter(self._address, clock.mono())
        if refusal is not None:
            self._transport.abort()
            return
        self._entered = True
        self._entrance.early.add(self)
        self._timer = self._loop.call_at(self._deadline, self._refuse, "no header came in time")

    def data_received(self, data: bytes) -> None:
        """Read the header, and hand over what follows."""
        if self._transport.is_closing():
            return
        self._head += data
        try:
            found = parse_header(self._head)
        except BadProxyHeader as error:
            self._refuse(str(error))
            return
        if found is not None:
            self._hand_over(*found)

    def eof_received(self) -> bool:
        """Close."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio names it)
        """Count it out."""
        self._leave()

    def abort(self) -> None:
        """Cut it."""
        self._transport.abort()

    def _hand_over(self, source: Source, length: int) -> None:
        self._leave()
        endpoint = self._make_endpoint()
        endpoint.caller = self._caller(source)
        follows: asyncio.Protocol = endpoint
        if self._certificates is not None:
            seconds = self._deadline - self._loop.time()
            follows = Secured(
                endpoint, self._certificates, self._report, seconds=seconds, peername=endpoint.caller[:2]
            )
        self._transport.set_protocol(follows)
        follows.connection_made(self._transport)
        rest = self._head[length:]
        if rest and not self._transport.is_closing():
            follows.data_received(rest)

    def _caller(self, source: Source) -> Caller:
        with_tls = self._entrance.secure or source.secure
        if source.local:
            return Caller(self._address, self._port, trusted=with_tls or is_loopback(self._address))
        if source.address is None:
            return Caller(self._address, self._port, trusted=with_tls)
        address = plain_address(source.address)
        # Loopback is this machine's own only if the proxy is on it.
        is_here = is_loopback(address) and is_loopback(self._address)
        return Caller(address, source.port, trusted=with_tls or is_here)

    def _refuse(self, reason: str) -> None:
        self._report("proxy_refused", address=self._address, port=self._port, reason=reason)
        self._transport.abort()

    def _leave(self) -> None:
        self._entrance.early.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._entered:
            self._entered = False
            self._entrance.admission.leave(self._address)
