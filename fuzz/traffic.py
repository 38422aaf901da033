"""Performs scripts on live sockets, many at a time, and notes what was not as it must be."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import cast

from fuzz.frames import Reader, framed
from fuzz.scripts import Ending, Script

# Time in which the service must answer or close. Far more than any of it takes; a reply to
# failed credentials may be held back for 5 s on purpose.
HANG_SECONDS = 15.0
# Of one that does not read: long enough for the service to have written all that it would.
_DEAF_SECONDS = 0.3
# Between two bytes to a service that has closed: a cut is noticed by writing.
LINGER_SECONDS = 0.2
_RESET = struct.pack("ii", 1, 0)
_INTERNAL = b"internal error"
_RECENT = 400


@dataclass(frozen=True, slots=True)
class Fault:
    """What was not as it must be, and on which connection."""

    what: str
    script: Script


@dataclass(slots=True)
class Tally:
    """What was done.

    Attributes:
        packets: sent, as far as the connection was open.
        connections: begun.
        answered: connections that answered at the end, or stood.
        closed: connections that the service closed.
        faults: what was not as it must be.
        recent: the numbers of the connections that ended last, with when.
    """

    packets: int = 0
    connections: int = 0
    answered: int = 0
    closed: int = 0
    faults: list[Fault] = field(default_factory=list)
    recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_RECENT))


class _Conversation(asyncio.Protocol):
    """One connection: keeps what has come, and wakes whoever waits for it."""

    def __init__(self, *, websocket: bool, lingers: bool, forbidden: bytes) -> None:
        self.reader = Reader(websocket=websocket)
        self.closed = False
        self.finished = False
        self.gone = asyncio.Event()
        self._lingers = lingers
        self.internal_error = False
        self.foreign = False
        self._forbidden = forbidden
        self._waiter: asyncio.Future[None] | None = None
        self.writable = True

    def data_received(self, data: bytes) -> None:
        plain = self.reader.take(data)
        self.internal_error = self.internal_error or _INTERNAL in plain
        self.foreign = self.foreign or self._forbidden in plain
        self._wake()

    def eof_received(self) -> bool:
        self.finished = True
        self._wake()
        return self._lingers

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        self.closed = True
        self.gone.set()
        self._wake()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self._wake()

    @property
    def over(self) -> bool:
        """Tell whether nothing more can come."""
        return self.closed or self.finished

    async def until(self, reached: Callable[[_Conversation], bool], seconds: float) -> bool:
        """Wait for something or for the service's end of it; False when neither came in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not (self.over or reached(self)):
            left = deadline - loop.time()
            if left <= 0:
                return False
            self._waiter = loop.create_future()
            timer = loop.call_later(left, self._wake)
            await self._waiter
            timer.cancel()
        return True

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _is_writable(conversation: _Conversation) -> bool:
    return conversation.writable


_REACHED: dict[str, Callable[[_Conversation], bool]] = {
    "upgrade": lambda conversation: conversation.reader.upgraded,
    "packet": lambda conversation: conversation.reader.packets > 0,
}


class Traffic:
    """Performs scripts.

    Args:
        host: where the service listens.
        ports: of each transport.
        forbidden: bytes that no connection of ours may ever get: another's messages.
    """

    def __init__(self, host: str, ports: dict[str, int], forbidden: bytes) -> None:
        self.tally = Tally()
        self._host = host
        self._ports = ports
        self._forbidden = forbidden

    async def perform(self, script: Script) -> None:
        """Perform one script, and note its faults."""
        self.tally.connections += 1
        loop = asyncio.get_running_loop()
        try:
            transport, protocol = await loop.create_connection(
                lambda: _Conversation(
                    websocket=script.transport == "websocket",
                    lingers=script.ending is Ending.LINGER,
                    forbidden=self._forbidden,
                ),
                self._host,
                self._ports[script.transport],
            )
        except OSError as error:
            self._fault(f"no connection: {error}", script)
            return
        try:
            what = await self._converse(script, transport, protocol)
        finally:
            transport.abort()
            await protocol.gone.wait()
        if protocol.internal_error:
            what = "the service said: internal error"
        elif protocol.foreign:
            what = "another client's message was delivered"
        elif protocol.reader.broken:
            what = "the service sent what is no packet"
        if what:
            self._fault(what, script)
        self.tally.recent.append((time.time(), script.number))

    async def _converse(self, script: Script, transport: asyncio.Transport, protocol: _Conversation) -> str:
        """Do what the script says; return what was wrong, "" if nothing was."""
        if script.ending is Ending.DEAF:
            transport.pause_reading()
        for step in script.steps:
            if protocol.over:
                break
            transport.write(step.data)
            self.tally.packets += step.packets
            if step.awaits and script.ending is not Ending.DEAF:
                if not await protocol.until(_REACHED[step.awaits], HANG_SECONDS):
                    return f"no answer to the first bytes within {HANG_SECONDS:.0f} s"
            else:
                await asyncio.sleep(0)
        if script.ending is not Ending.DEAF and not await protocol.until(_is_writable, HANG_SECONDS):
            return f"nothing is read for {HANG_SECONDS:.0f} s"
        return await self._end(script, transport, protocol)

    async def _end(self, script: Script, transport: asyncio.Transport, protocol: _Conversation) -> str:
        reader = protocol.reader
        match script.ending:
            case Ending.LINGER:
                return await self._linger(transport, protocol)
            case Ending.DEAF:
                await asyncio.sleep(_DEAF_SECONDS)
                return ""
            case Ending.RESET:
                sock = cast("socket.socket", transport.get_extra_info("socket"))
                if not protocol.closed:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                return ""
            case Ending.HALF_CLOSE if not protocol.over:
                transport.write_eof()
            case Ending.ANSWER if not protocol.over and reader.unacknowledged:
                answers = b"".join(reader.unacknowledged[:100])
                transport.write(
                    framed(Random(script.number), answers) if script.transport == "websocket" else answers
                )
            case _:
                pass
        standing = script.ending is Ending.ANSWER
        in_time = await protocol.until(
            lambda heard: standing and heard.reader.pings >= script.pings, HANG_SECONDS
        )
        if not in_time:
            return f"not within {HANG_SECONDS:.0f} s: {script.ending.value}"
        if protocol.over:
            self.tally.closed += 1
        else:
            self.tally.answered += 1
        return ""

    async def _linger(self, transport: asyncio.Transport, protocol: _Conversation) -> str:
        """Wait for the service's FIN, do not close, and write until the connection is cut."""
        if not await protocol.until(lambda heard: heard.finished, HANG_SECONDS):
            return f"not closed within {HANG_SECONDS:.0f} s"
        deadline = time.monotonic() + HANG_SECONDS
        while not protocol.closed:
            if time.monotonic() > deadline:
                return f"not within {HANG_SECONDS:.0f} s: {Ending.LINGER.value}"
            transport.write(b"\x00")
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_SECONDS):
                    await protocol.gone.wait()
        self.tally.closed += 1
        return ""

    def _fault(self, what: str, script: Script) -> None:
        self.tally.faults.append(Fault(what, script))
