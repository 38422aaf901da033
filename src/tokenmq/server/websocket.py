"""MQTT over WebSocket: MQTT 5 §6, RFC 6455.

The framing is websockets' sans-I/O protocol; here stand the rules for the upgrade,
the limits, and the way between frames and a link. MQTT packets and frames have
nothing to do with one another [MQTT-6.0.0-2] [MQTT311-6.0.0-2]: the data of all frames
of one chunk goes to the link in one piece, and one write of the link is one frame.

Until the link writes for the first time (its CONNACK) the peer is nobody: it gets
`connect_timeout_seconds` from the accept on, upgrade included, and a message of at
most `max_connect_bytes`; after that a message may be as long as a packet.
Compression is never agreed to, so a compressed frame is a protocol error. Nothing of
a request is logged: people put tokens into URLs.
"""

from __future__ import annotations

import asyncio
import http
import logging
from collections.abc import Callable
from typing import cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Event, State
from websockets.server import ServerProtocol
from websockets.typing import StatusLike, Subprotocol

from tokenmq import clock
from tokenmq.config import BrokerSettings, WebsocketSettings, WssSettings
from tokenmq.server.admission import Admission, Refusal
from tokenmq.server.endpoint import Caller, Endpoint, Entrance
from tokenmq.server.forwarded import BadForwarding, came_over_tls, client_address
from tokenmq.server.listeners import Listener, bind, in_front
from tokenmq.server.peer import MakeLink, Peer
from tokenmq.server.secured import ContextSource, ReportEvent, unheard

# Request line and headers together (SECURITY 6.2: headers 16 KiB), and the target alone.
MAX_UPGRADE_BYTES = 16 * 1024
MAX_TARGET_BYTES = 4 * 1024
# What a message may hold beyond one packet (SECURITY 6.2).
FRAME_ALLOWANCE_BYTES = 16

_SUBPROTOCOL = Subprotocol("mqtt")  # [MQTT-6.0.0-4] [MQTT311-6.0.0-4]
_DATA = (Opcode.BINARY, Opcode.CONT)
_REFUSALS = {
    Refusal.TOO_MANY: http.HTTPStatus.SERVICE_UNAVAILABLE,
    Refusal.TOO_FAST: http.HTTPStatus.TOO_MANY_REQUESTS,
}

# The library writes whole requests at level debug and a line a connection at info.
# This logger is not in logging's tree, so no configuration can switch those on.
_LOGGER = logging.Logger("tokenmq.server.websocket", logging.ERROR)  # noqa: LOG001
_LOGGER.parent = logging.getLogger("tokenmq")

OriginAllowed = Callable[[str], bool]


async def listen_websocket(
    settings: WebsocketSettings | WssSettings,
    make_link: MakeLink,
    admission: Admission,
    *,
    limits: BrokerSettings,
    origin_allowed: OriginAllowed,
    report: ReportEvent = unheard,
    certificates: ContextSource | None = None,
) -> Listener:
    """Listen for MQTT over WebSocket, with TLS where there are certificates.

    Args:
        settings: host, port (0 takes a free one), path, proxy_protocol, allow_plaintext.
        make_link: called for each connection whose upgrade is complete.
        admission: limits on connections, the same object for all listeners.
        limits: connect_timeout_seconds, max_connect_bytes, max_packet_bytes.
        origin_allowed: asked with the `Origin` of an upgrade; one without is let in,
            because only browsers send it.
        report: told of what is worth a line before there is a link.
        certificates: what the listener shows; None = no TLS.

    Raises: as `listeners.listen_tcp`.
    """
    entrance = Entrance(make_link, admission, secure=certificates is not None)
    rules = _Rules(settings.path, limits, origin_allowed)
    table = "websocket" if certificates is None else "wss"
    make = in_front(lambda: WebsocketEndpoint(entrance, rules), entrance, settings, report, certificates)
    return await bind(table, settings, entrance, make)


class _Rules:
    """What an upgrade and a frame are held against."""

    __slots__ = (
        "connect_timeout_seconds",
        "max_connect_bytes",
        "max_message_bytes",
        "origin_allowed",
        "path",
    )

    def __init__(self, path: str, limits: BrokerSettings, origin_allowed: OriginAllowed) -> None:
        self.path = path
        self.connect_timeout_seconds = limits.connect_timeout_seconds
        self.max_connect_bytes = limits.max_connect_bytes
        self.max_message_bytes = limits.max_packet_bytes + FRAME_ALLOWANCE_BYTES
        self.origin_allowed = origin_allowed


class _Upgrade(ServerProtocol):
    """The library's protocol, with our headers on every refusal (SECURITY 6.2)."""

    def reject(self, status: StatusLike, text: str) -> Response:
        response = super().reject(status, text)
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


class WebsocketEndpoint(Endpoint):
    """MQTT in binary frames."""

    __slots__ = ("_deadline", "_paused", "_port", "_protocol", "_rules", "_upgrade_bytes")

    def __init__(self, entrance: Entrance, rules: _Rules) -> None:
        super().__init__(entrance)
        self._rules = rules
        self._protocol = _Upgrade(
            subprotocols=[_SUBPROTOCOL], max_size=rules.max_connect_bytes, logger=_LOGGER
        )
        self._deadline: asyncio.TimerHandle | None = None
        self._paused = False
        self._port = 0
        self._upgrade_bytes = 0

    def accepted(self, port: int) -> None:
        """Wait for the upgrade."""
        self._port = port
        self._entrance.early.add(self)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._rules.connect_timeout_seconds, self._too_late)

    def refused(self, refusal: Refusal) -> None:
        """Answer in HTTP, which a server may do before the request is there."""
        self._respond(self._refusal(refusal))

    def data_received(self, data: bytes) -> None:
        """Take the upgrade, then frames."""
        if self._ending:
            return
        if self._link is None:
            self._receive_upgrade(data)
            return
        self._protocol.receive_data(data)
        self._take(cast("list[Frame]", self._protocol.events_received()))

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the connection out."""
        self._stop_deadline()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass on that the peer reads too slowly, and answer none of its pings meanwhile."""
        self._paused = True
        super().pause_writing()

    def resume_writing(self) -> None:
        """Pass on that it caught up."""
        self._paused = False
        super().resume_writing()

    def write(self, data: bytes) -> None:
        """Send one binary frame."""
        if self._ending or self._protocol.state is not State.OPEN:
            return
        if self._deadline is not None:
            self._stop_deadline()
            self._protocol.max_message_size = self._rules.max_message_bytes
        self._protocol.send_binary(data)
        self._flush()

    def close(self) -> None:
        """Send a close frame and FIN after what was written."""
        if self._ending:
            return
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
        self._flush()
        self.finish()

    # The upgrade.

    def _receive_upgrade(self, data: bytes) -> None:
        self._upgrade_bytes += len(data)
        if self._upgrade_bytes > MAX_UPGRADE_BYTES:
            self._refuse(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too long")
            return
        self._protocol.receive_data(data)
        events = self._protocol.events_received()
        if self._protocol.close_expected():
            self._flush()
        elif len(events) > 1:
            # RFC 6455 §4.1: no frame before the server's answer.
            self._refuse(http.HTTPStatus.BAD_REQUEST, "frames came before the answer to the upgrade")
        elif events:
            self._answer(events[0])

    def _answer(self, request: Event) -> None:
        assert isinstance(request, Request)
        response = self._judge(request)
        if response.status_code == http.HTTPStatus.SWITCHING_PROTOCOLS:
            response = self._meet_client(request) or response
        self._respond(response)
        if response.status_code == http.HTTPStatus.SWITCHING_PROTOCOLS:
            self._open(request.headers.get("Origin"))

    def _judge(self, request: Request) -> Response:
        """Return the answer to an upgrade: 101, or what is wrong with it."""
        reject = self._protocol.reject
        if len(request.path) > MAX_TARGET_BYTES:
            return reject(http.HTTPStatus.REQUEST_URI_TOO_LONG, "the request target is too long\n")
        if request.path.partition("?")[0] != self._rules.path:
            return reject(
                http.HTTPStatus.NOT_FOUND, f"there is nothing here; MQTT is at {self._rules.path}\n"
            )
        origins = request.headers.get_all("Origin")
        if len(origins) > 1:
            return reject(http.HTTPStatus.BAD_REQUEST, "there is more than one Origin\n")
        if origins and not self._rules.origin_allowed(origins[0]):
            return reject(
                http.HTTPStatus.FORBIDDEN, "pages of this origin may not connect; see allowed_origins\n"
            )
        return self._protocol.accept(request)

    def _meet_client(self, request: Request) -> Response | None:
        """Go on with the client that a trusted proxy speaks for; return the answer if it is refused."""
        admission = self._entrance.admission
        values = request.headers.get_all("X-Forwarded-For")
        if not values or not admission.is_proxy(self.address):
            return None
        try:
            address = client_address(values, admission.is_proxy)
        except BadForwarding as error:
            return self._protocol.reject(http.HTTPStatus.BAD_REQUEST, f"{error}\n")
        # Whether the way from the client to the proxy is safe, our own listener does not show.
        trusted = came_over_tls(request.headers.get_all("X-Forwarded-Proto"))
        self.caller = Caller(address or self.address, self._port, trusted=trusted)
        self._entered = False
        refusal = admission.move(self.address, self.caller.address, clock.mono())
        if refusal is not None:
            return self._refusal(refusal)
        self._entered = True
        self.address = self.caller.address
        return None

    def _refusal(self, refusal: Refusal) -> Response:
        response = self._protocol.reject(_REFUSALS[refusal], f"{refusal.value}\n")
        response.headers["Retry-After"] = "1"
        return response

    def _refuse(self, status: http.HTTPStatus, why: str) -> None:
        self._respond(self._protocol.reject(status, f"{why}\n"))

    def _respond(self, response: Response) -> None:
        self._protocol.send_response(response)
        self._flush()

    def _open(self, origin: str | None) -> None:
        self._entrance.early.discard(self)
        peer = Peer(self.address, self._port, "websocket", origin, trusted=self.is_trusted())
        self._link = self._entrance.make_link(peer)
        self._link.opened(self)

    def _too_late(self) -> None:
        self._deadline = None
        if self._ending:
            return  # refused before, and slow to take it in
        if self._link is None:
            self._refuse(http.HTTPStatus.REQUEST_TIMEOUT, "the upgrade took too long")
        else:
            self.close()

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # Frames.

    def _take(self, frames: list[Frame]) -> None:
        """Pass on the data of frames, up to the first that may not be."""
        if self._paused and self._protocol.state is State.OPEN:
            # Nothing but pongs can wait here, and a peer that reads none of them must
            # not fill our memory; RFC 6455 §5.5.3 asks for the newest only.
            self._protocol.data_to_send()
        payloads: list[bytes] = []
        unsupported = False
        for frame in frames:
            if frame.opcode in _DATA:
                payloads.append(bytes(frame.data))
            elif frame.opcode is Opcode.TEXT:
                # [MQTT-6.0.0-1] [MQTT311-6.0.0-1]
                unsupported = True
                break
        data = b"".join(payloads)
        if data and self._link is not None:
            self._link.received(data)
        if self._ending:
            return
        if unsupported:
            self._protocol.fail(CloseCode.UNSUPPORTED_DATA, "MQTT is in binary frames")
        self._flush()
        if self._ending:
            self._tell_lost()

    def _flush(self) -> None:
        """Write what the protocol has to send, and end where it says so."""
        for part in self._protocol.data_to_send():
            if part:
                self._transport.write(part)
            else:
                self.finish()
