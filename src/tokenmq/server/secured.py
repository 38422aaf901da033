"""TLS between a socket's transport and whatever protocol is within.

Theory of operation. One object stands for each side: to the socket it is the protocol,
to the protocol within it is the transport. Between them OpenSSL turns bytes into bytes
in memory; what it has to send goes out at once, so buffers, pauses and their limits are
those of the socket's transport, and a connection holds no buffer of its own while it is
idle. (The event loop's own TLS sets aside 256 KiB for each, tells of a connection only
after its handshake, and took more than twice the time for a message where it was tried.)

The protocol within hears `connection_made` before the handshake: limits on connections
hold before anything is spent on one, and the time of a CONNECT runs from its beginning.
It receives nothing until the handshake is done, and what it writes before that goes
nowhere. A handshake has `HANDSHAKE_SECONDS`.

An end is the same as without TLS: close_notify after what was written, our FIN, and what
still comes in is thrown away until the peer's FIN (`endpoint`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Protocol, cast

# SECURITY 6.1: of the 10 s in which CONNECT must have come.
HANDSHAKE_SECONDS = 5.0
# RFC 8446 §5.1: a record has no more.
_RECORD_BYTES = 16 * 1024
# How long a peer may take to take in why its handshake was refused.
_LINGER_SECONDS = 1.0

# Within a connection that is over.
_NOBODY = asyncio.Protocol()

# The name of an event, and what is to be said of it.
ReportEvent = Callable[..., None]


def unheard(event: str, **fields: object) -> None:
    """Take a report where nobody wants any."""


class ContextSource(Protocol):
    """Where the next connection gets its context; it may be another one each time."""

    @property
    def context(self) -> ssl.SSLContext:
        """The context to use now."""


class Secured(asyncio.Protocol, asyncio.Transport):
    """One connection with TLS, on the server's side."""

    __slots__ = (
        "_established",
        "_handshake",
        "_held",
        "_incoming",
        "_inner",
        "_outgoing",
        "_over",
        "_peername",
        "_raw",
        "_report",
        "_tls",
    )

    _raw: asyncio.Transport

    def __init__(
        self,
        inner: asyncio.Protocol,
        source: ContextSource,
        report: ReportEvent,
        *,
        seconds: float = HANDSHAKE_SECONDS,
        peername: tuple[str, int] | None = None,
    ) -> None:
        """Stand between a socket and a protocol.

        Args:
            inner: gets `connection_made` with this object as its transport.
            source: the context is taken now.
            report: told of handshakes that fail and of certificates that clients show.
            seconds: for the handshake.
            peername: whom reports name; None = whom the socket is connected to.
        """
        self._inner = inner
        self._report = report
        self._peername = peername
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = source.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._established = False
        # Nothing is to be received any more: either side has ended it.
        self._over = False
        # Reading is paused: bytes may wait in `_incoming`.
        self._held = False
        loop = asyncio.get_running_loop()
        self._handshake: asyncio.TimerHandle | None = loop.call_later(seconds, self._too_late)

    # The socket's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, and let the protocol within look whether it wants this connection."""
        # uvloop's transports are asyncio.Transport in all but the class.
        self._raw = cast("asyncio.Transport", transport)
        self._inner.connection_made(self)

    def data_received(self, data: bytes) -> None:
        """Go on with the handshake, then decrypt."""
        if self._over:
            return
        self._incoming.write(data)
        if self._established or self._shake_hands():
            self._pass_on()

    def eof_received(self) -> bool:
        """Pass on that the peer is gone, with a close_notify or without."""
        if self._established and not self._over:
            self._pass_on()
            if not self._over:
                self._over = True
                self._inner.eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that it is over."""
        self._over = True
        self._stop_clock()
        # They hold each other, and OpenSSL's memory with them, of which the garbage collector
        # knows nothing: it would not look in time.
        inner, self._inner = self._inner, _NOBODY
        inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._inner.resume_writing()

    # The protocol's side.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        if not data or not self._established or self._over or self._raw.is_closing():
            return
        try:
            sent = self._tls.write(data)
            while sent < len(data):
                data = memoryview(data)[sent:]
                sent = self._tls.write(data)
        except ssl.SSLError:  # a peer that broke the protocol, or has been told the end
            self.abort()
            return
        self._flush()

    def write_eof(self) -> None:
        """Send close_notify and FIN after what was written; receive nothing more."""
        if self._end():
            self._raw.write_eof()

    def close(self) -> None:
        """Send close_notify after what was written, and close."""
        if self._end():
            self._raw.close()

    def abort(self) -> None:
        """Close now."""
        self._over = True
        self._raw.abort()

    def is_closing(self) -> bool:
        """Tell whether the socket is being closed."""
        return self._raw.is_closing()

    def pause_reading(self) -> None:
        """Receive nothing for now; what has arrived waits encrypted."""
        self._held = True
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Receive again, what waits first."""
        if self._held:
            self._held = False
            asyncio.get_running_loop().call_soon(self._pass_on)
        self._raw.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the socket's transport knows, and the context, which says that there is TLS."""
        if name == "sslcontext":
            return self._tls.context
        return self._raw.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Pass it on."""
        self._raw.set_write_buffer_limits(high, low)

    # Between them.

    def _shake_hands(self) -> bool:
        """Go on with the handshake; tell whether it is done."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._flush()  # the alert
            self._fail(_reason(error))
            return False
        self._established = True
        self._stop_clock()
        self._flush()
        shown = self._tls.getpeercert()
        if shown:
            self._tell("client_certificate", **_told(shown))
        return True

    def _pass_on(self) -> None:
        """Decrypt all that is there, and hand it in as one piece."""
        if self._over or self._held or not self._established:
            return
        chunks: list[bytes] = []
        ended = False
        try:
            while self._incoming.pending or self._tls.pending():
                chunk = self._tls.read(_RECORD_BYTES)
                if not chunk:  # close_notify
                    ended = True
                    break
                chunks.append(chunk)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self.abort()
            return
        if self._outgoing.pending:
            self._flush()
        if chunks:
            self._inner.data_received(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        if ended and not self._over:
            self._inner.eof_received()
            self.close()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            self._raw.write(data)

    def _end(self) -> bool:
        """Say in TLS that this side ends; False when there is nobody to say it to."""
        self._over = True
        if self._raw.is_closing():
            return False
        if not self._established:
            self._raw.abort()
            return False
        with contextlib.suppress(ssl.SSLError):  # the peer's own is not there yet, and is not waited for
            self._tls.unwrap()
        self._flush()
        return True

    def _too_late(self) -> None:
        self._handshake = None
        self._tell("tls_refused", reason="the handshake took too long")
        self.abort()

    def _fail(self, reason: str) -> None:
        self._tell("tls_refused", reason=reason)
        self._over = True
        self._stop_clock()
        if not self._raw.is_closing():
            self._raw.close()
            self._handshake = asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._raw.abort)

    def _stop_clock(self) -> None:
        if self._handshake is not None:
            self._handshake.cancel()
            self._handshake = None

    def _tell(self, event: str, **fields: object) -> None:
        address, port = (self._peername or self._raw.get_extra_info("peername") or ("", 0))[:2]
        self._report(event, address=address, port=port, **fields)


def _reason(error: ssl.SSLError) -> str:
    """Return OpenSSL's words for what was wrong, without its places."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"client certificate: {error.verify_message}"
    return (error.reason or "no TLS").lower().replace("_", " ")


def _told(shown: dict[str, Any]) -> dict[str, object]:
    """Return what a log line says of a client's certificate."""
    subject = ", ".join(f"{name}={value}" for rdn in shown.get("subject", ()) for name, value in rdn)
    return {"subject": subject, "serial": shown.get("serialNumber", "")}
