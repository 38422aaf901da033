"""One process that serves: token service, broker, timers, and how they begin and end."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import structlog

from tokenmq.api.application import create_app
from tokenmq.api.serving import HttpServer, make_server
from tokenmq.app import logs
from tokenmq.app.assembly import ignore, opened, run
from tokenmq.config import HttpSettings, Settings
from tokenmq.errors import InvalidSettings, TokenmqError
from tokenmq.server.admission import Admission, room_for_connections
from tokenmq.server.binding import resolve, why_not_bound
from tokenmq.server.hub import Hub
from tokenmq.server.listeners import Listener, listen_tcp
from tokenmq.server.websocket import listen_websocket
from tokenmq.services.bundle import Services

_log = structlog.get_logger("tokenmq")

# Connections that the kernel holds for the token service; uvicorn's own default.
_HTTP_BACKLOG = 2_048
# Objects more than before after which the collector looks for circles among the youngest.
_COLLECT_AFTER = 10_000
# Time that closed connections have to take their last bytes at shutdown.
_FAREWELL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Ready:
    """Where everything listens."""

    http_url: str
    mqtt_url: str
    websocket_url: str


def serve(settings: Settings, on_ready: Callable[[Ready], None]) -> int:
    """Serve until SIGINT or SIGTERM; return the exit code.

    Args:
        settings: everything that can be set.
        on_ready: called once all listeners are up.

    Raises: DataFolderInUse, DatabaseInUse, InvalidSettings (a taken port, an address that
        may not be used, the store), UnusableKey, Unavailable; the last and DatabaseInUse
        also later, when a database over a network is not there for this process alone.
    """
    logs.configure(settings.log)
    return run(_serve(settings, on_ready))


async def _serve(settings: Settings, on_ready: Callable[[Ready], None]) -> int:
    ended = asyncio.Event()
    lost: list[TokenmqError] = []

    def end(error: TokenmqError) -> None:
        lost.append(error)
        ended.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, ended.set)
    async with serving(settings, on_lost=end) as ready:
        _calm_collector()
        _log.info("started", http=ready.http_url, mqtt=ready.mqtt_url, websocket=ready.websocket_url)
        on_ready(ready)
        await ended.wait()
        _log.info("stopping")
    _log.info("stopped")
    if lost:
        raise lost[0]
    return 0


def _calm_collector() -> None:
    """Let the garbage collector look less often, and only at what came after the start.

    Connections and messages are freed by their reference counts; what is left for the
    collector are exceptions and the rare circle.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


@asynccontextmanager
async def serving(
    settings: Settings, *, on_lost: Callable[[TokenmqError], None] = ignore
) -> AsyncIterator[Ready]:
    """Have everything up and running; end it in the opposite order.

    Args:
        settings: everything that can be set.
        on_lost: called when this must be ended, with the reason (see `opened`).

    Raises: as `serve`.
    """
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(opened(settings, on_lost))
        hub = Hub(settings.broker, services.authenticator, services.families, services.organizations)
        services.attach(hub)
        http = await _listen_http(settings.http)
        stack.callback(http.close)
        listeners = await _listen_mqtt(settings, hub, services)
        stack.push_async_callback(_end_mqtt, hub, listeners)
        await stack.enter_async_context(_running(hub.run()))
        services.upkeep.start()
        server = make_server(create_app(services, settings.http), settings.http)
        await stack.enter_async_context(_answering(server, http))
        tcp, websocket = listeners
        yield Ready(
            http_url=_url("http", http.getsockname()),
            mqtt_url=_url("mqtt", (tcp.address, tcp.port)),
            websocket_url=_url("ws", (websocket.address, websocket.port)) + settings.websocket.path,
        )


async def _listen_mqtt(settings: Settings, hub: Hub, services: Services) -> tuple[Listener, Listener]:
    room = room_for_connections(settings.broker.max_connections)
    if room < settings.broker.max_connections:
        _log.warning("few_file_descriptors", max_connections=settings.broker.max_connections, possible=room)
    admission = Admission(replace(settings.broker, max_connections=room))
    tcp = await listen_tcp(settings.mqtt, hub.make_link, admission)
    try:
        websocket = await listen_websocket(
            settings.websocket,
            hub.make_link,
            admission,
            limits=settings.broker,
            origin_allowed=services.organizations.admits_origin,
        )
    except InvalidSettings:
        tcp.close()
        raise
    return tcp, websocket


async def _end_mqtt(hub: Hub, listeners: tuple[Listener, Listener]) -> None:
    for listener in listeners:
        listener.close()
    hub.shut_down()
    await asyncio.sleep(_FAREWELL_SECONDS)


async def _listen_http(settings: HttpSettings) -> socket.socket:
    (address, *_) = await resolve("http", settings)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, settings.port), family=family, backlog=_HTTP_BACKLOG)
    except OSError as error:
        raise InvalidSettings(why_not_bound("http", settings, error)) from error


@asynccontextmanager
async def _answering(server: HttpServer, listening: socket.socket) -> AsyncIterator[None]:
    """Run the HTTP server; at the end let it finish what it is answering."""
    task = asyncio.create_task(server.serve(sockets=[listening]), name="http")
    while not server.started:
        if task.done():
            await task
        await asyncio.sleep(0)
    try:
        yield
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def _running(main: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Own a background task that never ends by itself."""
    task = asyncio.create_task(main, name="timer")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _url(scheme: str, bound: tuple[object, ...]) -> str:
    host, port = bound[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in str(host) else f"{scheme}://{host}:{port}"
