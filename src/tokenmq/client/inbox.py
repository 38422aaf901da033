"""Messages on their way in: who gets which, and when the broker is told.

Theory of operation. A message goes to every subscription with a callback that matches it
(`topics.FilterTree`, `$share` counting by its inner filter); what none of those takes goes
to the `Mailbox` behind `client.messages`. It is acknowledged when all who got it are done
with it: a callback when it has returned, a loop when it asks for the next. Until then the
broker holds back what is over the receive maximum, so a slow reader slows its sender and
loses nothing.

A connection may be lost in between. The broker then sends the message again under its
packet identifier, which is free for no other message before we acknowledge it: so a
repeat of what is still here, or was done with while there was no connection, is known for
certain, and is not handed out twice.

The bounds: `receive_maximum` of QoS 1 by the broker's hand; everything together by
`capacity`, past which what arrives is dropped and counted. While nobody has ever read
`messages` and there are callbacks, the oldest there make room: a forgotten loop stops nobody.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from tokenmq.client.messages import Message
from tokenmq.client.wire import Received
from tokenmq.errors import TokenmqError

logger = logging.getLogger("tokenmq.client")

MessageCallback = Callable[[Message], Any]


@dataclasses.dataclass(slots=True, eq=False)
class Delivery:
    """A message, and how many are not done with it."""

    received: Received
    readers: int
    done: Callable[[Delivery], None]

    @property
    def message(self) -> Message:
        """The message itself."""
        return self.received.message

    def finish(self) -> None:
        """One reader is done."""
        self.readers -= 1
        if self.readers == 0:
            self.done(self)


class Mailbox:
    """Messages in order, for one reader.

    Attributes:
        is_read: somebody has begun to read.
    """

    def __init__(self) -> None:
        self._waiting: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._held: Delivery | None = None
        self._end: TokenmqError | None = None
        self._is_closed = False
        self.is_read = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, one: Delivery) -> None:
        """Append."""
        self._waiting.append(one)
        self._arrived.set()

    def drop_oldest(self) -> None:
        """Take the oldest out, as if it had been read."""
        self._waiting.popleft().finish()

    def close(self, error: TokenmqError | None) -> None:
        """There will be no more: after what is here, the reader gets the error, or the end."""
        self._end, self._is_closed = error, True
        self._arrived.set()

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Yield messages as they come; each is done with when the next is asked for.

        Raises: TokenError or ConnectError when the client has ended by one.
        """
        while (one := await self.take()) is not None:
            yield one.message

    async def take(self) -> Delivery | None:
        """Return the next, done with the one before; None at the end."""
        self.is_read = True
        self.release()
        while not self._waiting:
            if self._is_closed:
                if self._end is not None:
                    raise self._end
                return None
            self._arrived.clear()
            await self._arrived.wait()
        self._held = self._waiting.popleft()
        return self._held

    def release(self) -> None:
        """Be done with the message that was taken last."""
        if (held := self._held) is not None:
            self._held = None
            held.finish()

    def keep_unacknowledged(self) -> None:
        """The reader has failed with the message that was taken last: never be done with it."""
        self._held = None


class Reader:
    """Calls one callback with one message after the other, in order."""

    def __init__(self, callback: MessageCallback) -> None:
        self._callback = callback
        self.mailbox = Mailbox()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while (one := await self.mailbox.take()) is not None:
            try:
                result = self._callback(one.message)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                logger.exception("a callback has failed with a message on %s", one.message.topic)

    def end(self) -> None:
        """Call no more; what is waiting counts as done with. A callback that runs ends by itself."""
        while len(self.mailbox):
            self.mailbox.drop_oldest()
        self.mailbox.close(None)

    async def close(self) -> None:
        """End it, in the midst of a callback if need be."""
        if self._task is not asyncio.current_task():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
