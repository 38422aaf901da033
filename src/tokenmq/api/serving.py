"""uvicorn, set up for this surface: strict before a request is one, silent about itself.

The gate sees a request when its head is complete. What can go wrong before that, and
what a reader does that never reads, is bounded here: the time and the size of a head, the
time that an answer may wait to be taken. Refusals have the same shape as all others.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from tokenmq.api.answer import CLOSE, WHOLE_ANSWER
from tokenmq.api.errors import HttpRefused, problem
from tokenmq.api.gate import SECURITY
from tokenmq.config import HttpSettings

# Connections at once; one more is cut. Most of the descriptors that are kept free for
# whatever is no MQTT connection (`server.admission`): without this, whoever opens many
# would leave none for the store and the broker.
MAX_CONNECTIONS = 800
# Method, version and line ends of the longest head that the gate would take.
_FRAMING_BYTES = 1024


Secure = Callable[[asyncio.Protocol], asyncio.Protocol]


class HttpServer(uvicorn.Server):
    """A server that leaves signals to whoever runs it: `should_exit` ends it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: the process has other parts to end."""
        yield


def make_server(
    app: ASGIApp,
    settings: HttpSettings,
    *,
    secure: Secure | None = None,
    beside: HttpServer | None = None,
    max_connections: int = MAX_CONNECTIONS,
) -> HttpServer:
    """Make the server of an application; `serve(sockets=[…])` runs it.

    Args:
        app: from `create_app`.
        settings: limits and address.
        secure: puts TLS in front of the protocol of a connection; None = no TLS.
        beside: a server with which this one shares the limit on connections; they end together.
        max_connections: at once; one more is cut.
    """

    class Protocol(StrictHttpProtocol):
        limits = settings
        most = max_connections

    def make_protocol(**given: Any) -> asyncio.Protocol:
        return secure(Protocol(**given)) if secure else Protocol(**given)

    server = HttpServer(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=cast("type[asyncio.Protocol]", make_protocol),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Whoever connects is the client; nothing in a header says otherwise.
            proxy_headers=False,
            timeout_keep_alive=settings.keep_alive_seconds,
            timeout_graceful_shutdown=settings.request_timeout_seconds,
        )
    )
    if beside is not None:
        server.server_state = beside.server_state
    return server


class StrictHttpProtocol(HttpToolsProtocol):
    """One connection, with limits on heads and on slow readers."""

    limits: HttpSettings = HttpSettings()
    most = MAX_CONNECTIONS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._taking_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all waiting."""
        super().connection_lost(exc)
        self._stop_waiting()
        if self._taking_timer is not None:
            self._taking_timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Parse, as long as heads stay within their limits."""
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes:
            self._await_head()
        limit = self.limits.max_url_bytes + self.limits.max_header_bytes + _FRAMING_BYTES
        if self._in_head and self._head_bytes > limit:
            self._refuse(HttpRefused(431, f"the head of the request has more than {limit} bytes"))

    def on_headers_complete(self) -> None:
        """Hand the request to the gate, which has its own clock."""
        self._stop_waiting()
        self._in_head = False
        super().on_headers_complete()
        # A cycle holds its scope: if that held the cycle, each request would be left to the collector.
        cycle = cast("RequestResponseCycle", weakref.proxy(self.cycle))
        self.scope["extensions"] = {WHOLE_ANSWER: {"write": partial(_write_whole, cycle)}}

    def on_message_complete(self) -> None:
        """Take what comes next as the next head."""
        super().on_message_complete()
        self._in_head = True
        self._head_bytes = 0

    def pause_writing(self) -> None:
        """Give a reader that does not read some time, and no more."""
        super().pause_writing()
        self._taking_timer = self.loop.call_later(self.limits.request_timeout_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        if self._taking_timer is not None:
            self._taking_timer.cancel()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - our words, not the parser's
        """Answer to what is no HTTP in the one shape."""
        self._refuse(HttpRefused(400, "this is not an HTTP/1.1 request"))

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: there is no upgrade here, and the request is answered as it is."""

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.request_timeout_seconds, self._head_is_late)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        if self._head_bytes == 0:
            self.transport.close()
        else:
            self._refuse(HttpRefused(408, "the request did not arrive in time"))

    def _refuse(self, error: HttpRefused) -> None:
        """Answer, unless an earlier request of the connection is still being answered; close."""
        self._stop_waiting()
        if self.cycle is None or self.cycle.response_complete:
            answer = problem(error, request_id="")
            headers = [
                (b"content-type", answer.media_type),
                (b"content-length", b"%d" % len(answer.body)),
                (b"cache-control", b"no-store"),
                CLOSE,
                *SECURITY,
            ]
            self.transport.write(_head(answer.status, headers) + answer.body)
        self.transport.close()


def _head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines = [b"%b: %b\r\n" % header for header in headers]
    return b"".join([STATUS_LINE[status], *lines, b"\r\n"])


def _write_whole(
    cycle: RequestResponseCycle, status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> bool:
    """Write a complete answer of ours at once; False when it must go by messages.

    By messages uvicorn holds each header of each answer against two regular expressions;
    ours are constants, numbers and ids. What is out of the ordinary (no body, the end of
    the connection, a client that is gone or reads slowly) is left to uvicorn.
    """
    if cycle.response_started or cycle.disconnected or cycle.flow.write_paused:
        return False
    if not body or not cycle.keep_alive or CLOSE in headers:
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(_head(status, [*cycle.default_headers, *headers]) + body)
    cycle.message_event.set()
    cycle.on_response()
    return True
