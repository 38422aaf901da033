"""A link that only writes down what it hears, and clients on loopback."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest

from tokenmq.server.peer import LinkTransport, Peer

Connect = Callable[[Any], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class FakeLink:
    """Writes down what its transport calls."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.calls: list[str] = []
        self.data = b""
        self.changed = asyncio.Condition()
        self.on_received: Callable[[FakeLink], None] = lambda link: None

    def opened(self, transport: LinkTransport) -> None:
        self.transport = transport
        self._note("opened")

    def received(self, data: bytes) -> None:
        assert isinstance(data, bytes) and data
        self.data += data
        self._note("received")
        self.on_received(self)

    def writing_paused(self) -> None:
        self._note("writing_paused")

    def writing_resumed(self) -> None:
        self._note("writing_resumed")

    def lost(self) -> None:
        self._note("lost")

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self._task = asyncio.get_running_loop().create_task(self._notify())

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, condition: Callable[["FakeLink"], bool]) -> None:
        with anyio.fail_after(10):
            async with self.changed:
                await self.changed.wait_for(lambda: condition(self))

    async def until_lost(self) -> None:
        await self.until(lambda link: "lost" in link.calls)


class Links:
    """The links that were made, in order."""

    def __init__(self) -> None:
        self.made: asyncio.Queue[FakeLink] = asyncio.Queue()
        self.all: list[FakeLink] = []
        self.on_received: Callable[[FakeLink], None] = lambda link: None

    def __call__(self, peer: Peer) -> FakeLink:
        link = FakeLink(peer)
        link.on_received = self.on_received
        self.all.append(link)
        self.made.put_nowait(link)
        return link

    async def next(self) -> FakeLink:
        with anyio.fail_after(10):
            return await self.made.get()


@pytest.fixture
async def links() -> AsyncIterator[Links]:
    """The factory of fake links; what is left of them at the end is cut."""
    links = Links()
    yield links
    for link in links.all:
        link.transport.abort()
        await link.until_lost()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    writers: list[asyncio.StreamWriter] = []

    async def connect(listener: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(listener.address, listener.port)
        writers.append(writer)
        return reader, writer

    yield connect
    for writer in writers:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
def read_all() -> Callable[[asyncio.StreamReader], Awaitable[bytes]]:
    """Read until the end; a reset is an end with nothing."""

    async def read_all(reader: asyncio.StreamReader) -> bytes:
        with anyio.fail_after(10):
            try:
                return await reader.read()
            except ConnectionResetError:
                return b""

    return read_all
