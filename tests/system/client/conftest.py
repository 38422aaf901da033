"""The client against the real service, and a network that a test can cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tokenmq.client import Client

PATIENCE_SECONDS = 30


class Heard:
    """What callbacks of a client were told, awaitable by event."""

    EVENTS = (
        "token_expiring",
        "token_refreshed",
        "token_error",
        "auth_error",
        "connected",
        "disconnected",
        "reconnecting",
        "narrowed",
        "denied",
        "dropped",
    )

    def __init__(self, client: Client) -> None:
        self.all: list[tuple[str, Any]] = []
        self._arrived = asyncio.Event()
        for event in self.EVENTS:
            getattr(client, f"on_{event}")(lambda *told, event=event: self._note(event, told))

    def _note(self, event: str, told: tuple[Any, ...]) -> None:
        self.all.append((event, told[0] if len(told) == 1 else told))
        self._arrived.set()

    def names(self) -> list[str]:
        """Return the events in order."""
        return [event for event, _ in self.all]

    async def wait_for(self, event: str, *, times: int = 1, within: float = PATIENCE_SECONDS) -> Any:
        """Wait until it has been told so often; returns what was told then."""
        async with asyncio.timeout(within):
            while len(told := [what for name, what in self.all if name == event]) < times:
                self._arrived.clear()
                await self._arrived.wait()
        return told[times - 1]


class Proxy:
    """A network in the middle: forwards to a place, until it is cut."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    async def cut(self) -> None:
        """End all connections in the middle of what they send, and take no new ones until `start`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._writers):
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def lead_to(self, host: str, port: int) -> None:
        """Forward new connections to another place."""
        self._target = host, port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        self._writers -= {writer, far_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@pytest.fixture
async def proxy_to() -> AsyncIterator[Callable[[str, int], Awaitable[Proxy]]]:
    """Start a proxy to a host and port."""
    started: list[Proxy] = []

    async def start(host: str, port: int) -> Proxy:
        proxy = Proxy(host, port)
        started.append(proxy)
        await proxy.start()
        return proxy

    yield start
    for proxy in started:
        await proxy.cut()


@pytest.fixture
async def make_client(service: Any) -> AsyncIterator[Callable[..., tuple[Client, Heard]]]:
    """Make clients, and what hears them; all are closed at the end."""
    made: list[Client] = []

    def make(**settings: Any) -> tuple[Client, Heard]:
        client = Client(**{"token_service_url": service.http_url, "chance": lambda: 0.0, **settings})
        made.append(client)
        return client, Heard(client)

    yield make
    for client in made:
        await client.close()


@pytest.fixture
def connect(service: Any) -> Callable[..., Awaitable[Any]]:
    """Connect a client as a user who may do everything below chat/ and response/."""

    async def connect(client: Client, user_id: str = "alice", **arguments: Any) -> Any:
        wanted: dict[str, Any] = {
            "host": service.ready["mqtt_url"],
            "organization_id": service.organization_id,
            "secret_key": service.secret_key,
            "user_id": user_id,
            "permissions": ["publish", "subscribe"],
            "topics": ["chat/#", "response/#"],
        }
        return await client.connect_with_token(**{**wanted, **arguments})

    return connect
