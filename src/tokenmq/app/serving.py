"""One process that serves: token service, broker, timers, and how they begin and end."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any

import structlog

from tokenmq.access.addresses import CountedAddresses
from tokenmq.api.application import create_admin_app, create_app
from tokenmq.api.serving import HttpServer
from tokenmq.api.tally import Tally
from tokenmq.app import logs
from tokenmq.app.assembly import ignore, opened, run
from tokenmq.app.listening import (
    Ready,
    admin_server,
    certified,
    http_servers,
    listen_http,
    listen_mqtt,
    ready,
)
from tokenmq.config import Settings
from tokenmq.errors import TokenmqError
from tokenmq.server.hub import Hub
from tokenmq.server.listeners import Listener
from tokenmq.services.bundle import Services
from tokenmq.services.tarpit import Tarpit

_log = structlog.get_logger("tokenmq")

# Objects more than before after which the collector looks for circles among the youngest.
_COLLECT_AFTER = 10_000
# Time that closed connections have to take their last bytes at shutdown.
_FAREWELL_SECONDS = 0.2


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
    async with AsyncExitStack() as stack:
        with _collector_paused():
            listening = await stack.enter_async_context(serving(settings, on_lost=end))
        _log.info("started", **listening.urls)
        on_ready(listening)
        await ended.wait()
        _log.info("stopping")
    _log.info("stopped")
    if lost:
        raise lost[0]
    return 0


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Let the garbage collector rest during the start, and look less often after it, at what is new.

    What the start makes is there to stay: where 100,000 messages wait, looking through them
    again and again takes longer than to read them. Connections and messages are freed by
    their reference counts; what is left for the collector are exceptions and the rare circle.
    """
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(_COLLECT_AFTER)
        gc.enable()


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
        addresses = CountedAddresses(settings.broker.trusted_proxies)
        tarpit = Tarpit(settings.auth, addresses)
        hub = Hub(
            settings.broker,
            services.authenticator,
            services.families,
            services.organizations,
            services.store.kept,
            history=services.store.history,
            tarpit=tarpit,
            refused_keys=services.refused_keys,
            trail=services.store.audit,
        )
        await hub.begin_history()
        hub.restore(await services.store.kept.load())
        stack.push_async_callback(hub.reader.close)
        services.attach(hub)
        certificates = await stack.enter_async_context(certified(settings))
        http = await listen_http(settings)
        for bound in http.values():
            stack.callback(bound.close)
        mqtt = await listen_mqtt(settings, hub, services.organizations.admits_origin, certificates)
        stack.push_async_callback(_end_mqtt, hub, mqtt.values())
        await stack.enter_async_context(_running(hub.run()))
        services.upkeep.start()
        services.sweeper.start()
        tally = Tally()
        app = create_app(services, settings.http, tarpit=tarpit, tally=tally, addresses=addresses)
        servers = http_servers(app, settings, certificates, hub.report)
        if settings.admin.enabled:
            servers["admin"] = _admin_server(settings, services, hub, tally)
        await stack.enter_async_context(_answering([(servers[table], http[table]) for table in http]))
        yield ready(settings, http, mqtt)


def _admin_server(settings: Settings, services: Services, hub: Hub, tally: Tally) -> HttpServer:
    # Most starts need no metrics, and need not wait for the import.
    from tokenmq.app.metrics import make_metrics

    metrics = make_metrics(hub, services.store, services.keys, tally)
    return admin_server(create_admin_app(services, settings.http, metrics), settings)


async def _end_mqtt(hub: Hub, listeners: Collection[Listener]) -> None:
    for listener in listeners:
        listener.close()
    hub.shut_down()
    await asyncio.sleep(_FAREWELL_SECONDS)


@asynccontextmanager
async def _answering(servers: Sequence[tuple[HttpServer, socket.socket]]) -> AsyncIterator[None]:
    """Run the HTTP servers; at the end let them finish what they are answering."""
    tasks = [
        asyncio.create_task(server.serve(sockets=[listening]), name="http") for server, listening in servers
    ]
    while not all(server.started for server, _ in servers):
        for task in tasks:
            if task.done():
                await task
        await asyncio.sleep(0)
    try:
        yield
    finally:
        for server, _ in servers:
            server.should_exit = True
        await asyncio.gather(*tasks)


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
