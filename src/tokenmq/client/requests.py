"""Requests and their replies, by response topic and correlation data (MQTT 5 §4.10)."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from tokenmq.client.messages import Message

CORRELATION_BYTES: Final = 16


class Requests:
    """Requests that wait for their reply.

    A message is a reply when it has come on the response topic and carries the correlation
    data of a request that waits; anything else is a message like others.
    """

    def __init__(self, response_topic: str) -> None:
        self.response_topic = response_topic
        self._waiting: dict[bytes, asyncio.Future[Message]] = {}

    def begin(self) -> tuple[bytes, asyncio.Future[Message]]:
        """Return correlation data for a request, and what its reply will be found in."""
        correlation = secrets.token_bytes(CORRELATION_BYTES)
        reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[correlation] = reply
        return correlation, reply

    def forget(self, correlation: bytes) -> None:
        """Nobody waits for this one any more."""
        self._waiting.pop(correlation, None)

    def give_up(self, error: Exception) -> None:
        """There will be no replies: tell all who wait."""
        for reply in self._waiting.values():
            if not reply.done():
                reply.set_exception(error)
                # Who is still publishing the request learns it there.
                reply.exception()
        self._waiting.clear()

    def received(self, message: Message) -> bool:
        """Take a message that is a reply; returns whether it was one."""
        if message.topic != self.response_topic or message.correlation_data is None:
            return False
        reply = self._waiting.pop(message.correlation_data, None)
        if reply is None or reply.done():
            return False
        reply.set_result(message)
        return True
