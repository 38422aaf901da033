"""Opening all listeners that the settings ask for, and saying where they are."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

import structlog
from starlette.types import ASGIApp

from tokenmq.api.serving import HttpServer, make_server
from tokenmq.config import AdminSettings, HttpSettings, HttpsSettings, Settings
from tokenmq.errors import InvalidSettings
from tokenmq.server.admission import Admission, room_for_connections
from tokenmq.server.binding import resolve, why_not_bound
from tokenmq.server.hub import Hub
from tokenmq.server.listeners import Listener, listen_tcp
from tokenmq.server.secured import ReportEvent, Secured
from tokenmq.server.tls import Certificates
from tokenmq.server.websocket import listen_websocket

_log = structlog.get_logger("tokenmq")

# Connections that the kernel holds for the token service; uvicorn's own default.
_HTTP_BACKLOG = 2_048
# Scrapers and health checks; what is more is cut.
_ADMIN_CONNECTIONS = 20

OriginAllowed = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Ready:
    """Where everything listens.

    Attributes:
        urls: by the table of the listener: http, https, mqtt, mqtts, websocket, wss, admin.
    """

    urls: dict[str, str]


@asynccontextmanager
async def certified(settings: Settings) -> AsyncIterator[Certificates | None]:
    """Have the certificates, if there are any; read them again when they change and on SIGHUP.

    Raises: InvalidSettings for files that cannot be used.
    """
    if settings.tls.certificate is None:
        yield None
        return
    certificates = Certificates(settings.tls)
    loop = asyncio.get_running_loop()
    watching = asyncio.create_task(certificates.watch(), name="certificates")
    # Windows has no such signal, and only the main thread may ask for one.
    with suppress(NotImplementedError, ValueError, AttributeError):
        loop.add_signal_handler(signal.SIGHUP, certificates.reload)
    try:
        yield certificates
    finally:
        with suppress(NotImplementedError, ValueError, AttributeError):
            loop.remove_signal_handler(signal.SIGHUP)
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def listen_mqtt(
    settings: Settings, hub: Hub, origin_allowed: OriginAllowed, certificates: Certificates | None
) -> dict[str, Listener]:
    """Open the broker's listeners, by their tables.

    Raises: InvalidSettings; then none is open.
    """
    admission = _admission(settings)
    tcp = partial(listen_tcp, make_link=hub.make_link, admission=admission, report=hub.report)
    websocket = partial(
        listen_websocket,
        make_link=hub.make_link,
        admission=admission,
        limits=settings.broker,
        origin_allowed=origin_allowed,
        report=hub.report,
    )
    plan: dict[str, Callable[[], Awaitable[Listener]]] = {
        "mqtt": partial(tcp, settings.mqtt),
        "websocket": partial(websocket, settings.websocket),
    }
    if certificates is not None:
        plan["mqtts"] = partial(tcp, settings.mqtts, certificates=certificates)
        plan["wss"] = partial(websocket, settings.wss, certificates=certificates)
    opened: dict[str, Listener] = {}
    try:
        for table, listen in plan.items():
            if getattr(settings, table).enabled:
                opened[table] = await listen()
    except InvalidSettings:
        for listener in opened.values():
            listener.close()
        raise
    return opened


async def listen_http(settings: Settings) -> dict[str, socket.socket]:
    """Open the sockets of all that speaks HTTP, by their tables; nothing is answered yet.

    Raises: InvalidSettings; then none is open.
    """
    opened: dict[str, socket.socket] = {}
    try:
        tables = (("http", settings.http), ("https", settings.https), ("admin", settings.admin))
        for table, listening in tables:
            if listening.enabled:
                opened[table] = await _bound(table, listening)
    except InvalidSettings:
        for bound in opened.values():
            bound.close()
        raise
    return opened


def http_servers(
    app: ASGIApp, settings: Settings, certificates: Certificates | None, report: ReportEvent
) -> dict[str, HttpServer]:
    """Make what answers on each of the token service's sockets, by their tables."""
    plain = make_server(app, settings.http)
    if certificates is None:
        return {"http": plain}
    secure = partial(Secured, source=certificates, report=report)
    return {"http": plain, "https": make_server(app, settings.http, secure=secure, beside=plain)}


def admin_server(app: ASGIApp, settings: Settings) -> HttpServer:
    """Make what answers on the administrator's socket; its requests have the limits of all others."""
    limits = replace(settings.http, host=settings.admin.host, port=settings.admin.port)
    return make_server(app, limits, max_connections=_ADMIN_CONNECTIONS)


def ready(settings: Settings, http: dict[str, socket.socket], mqtt: dict[str, Listener]) -> Ready:
    """Say where everything listens."""
    urls = {
        table: _url("http" if table == "admin" else table, *bound.getsockname()[:2])
        for table, bound in http.items()
    }
    for table, listener in mqtt.items():
        scheme = "ws" if table == "websocket" else table
        urls[table] = _url(scheme, listener.address, listener.port)
    for table, path in (("websocket", settings.websocket.path), ("wss", settings.wss.path)):
        if table in mqtt:
            urls[table] += path
    return Ready(urls)


def _admission(settings: Settings) -> Admission:
    """Make the limits on connections, as far as this process has descriptors for them."""
    room = room_for_connections(settings.broker.max_connections)
    if room < settings.broker.max_connections:
        _log.warning("few_file_descriptors", max_connections=settings.broker.max_connections, possible=room)
    return Admission(replace(settings.broker, max_connections=room))


async def _bound(table: str, settings: HttpSettings | HttpsSettings | AdminSettings) -> socket.socket:
    (address, *_) = await resolve(table, settings)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, settings.port), family=family, backlog=_HTTP_BACKLOG)
    except OSError as error:
        raise InvalidSettings(why_not_bound(table, settings, error)) from error


def _url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
