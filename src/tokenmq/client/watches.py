"""Watches: filters whose presence this client follows, and who listens to each.

Theory of operation. However many listen to the presence of a filter, the broker is
subscribed to once; the last who leaves ends it. A watch keeps the roster, so whoever comes
later begins with what is known, and a listener that falls behind gets a snapshot in the
place of what it has missed. When the connection is lost the roster counts for nothing until
the next snapshot: the broker sends one by itself for a session that goes on, and on a new
session the client subscribes again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from paho.mqtt.subscribeoptions import SubscribeOptions

from tokenmq.client.messages import Message
from tokenmq.client.presence import PREFIX, PresenceEvent, Roster, watched_topic
from tokenmq.errors import Denied, TokenmqError

logger = logging.getLogger("tokenmq.client")

# Events that wait for one listener; past that it is given a snapshot in their place.
CAPACITY: Final = 1000
# How the broker is subscribed to.
WATCHING: Final = SubscribeOptions(qos=0)


class Listener:
    """One who listens to a watch: events that wait, in order."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._waiting: deque[PresenceEvent] = deque()
        self._arrived = asyncio.Event()
        watch.listeners.add(self)
        if watch.roster.is_whole:
            self._waiting.append(watch.roster.snapshot())

    def put(self, events: list[PresenceEvent]) -> None:
        """Append events."""
        self._waiting.extend(events)
        if len(self._waiting) > CAPACITY:
            self._waiting.clear()
            self._waiting.append(self._watch.roster.snapshot())
        self.stir()

    def stir(self) -> None:
        """Look again."""
        self._arrived.set()

    async def take(self) -> PresenceEvent | None:
        """Return the next event; None when the client was closed. Raises: what has ended the watch."""
        while not self._waiting:
            if self._watch.is_over:
                if self._watch.error is not None:
                    raise self._watch.error
                return None
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()


class Watch:
    """The presence of one filter.

    Attributes:
        topic_filter: without `$presence/`.
        is_over: no more events come; by `error`, if that is not None.
    """

    def __init__(self, topic_filter: str) -> None:
        self.topic_filter = topic_filter
        self.roster = Roster(topic_filter)
        self.listeners: set[Listener] = set()
        self.is_over = False
        self.error: TokenmqError | None = None

    @property
    def subscription(self) -> str:
        """The filter that the broker is subscribed to."""
        return PREFIX + self.topic_filter

    def told(self, payload: bytes) -> None:
        """Take in what the broker has sent."""
        try:
            events = self.roster.told(payload)
        except msgspec.DecodeError:
            logger.warning("an event of presence cannot be read: %r", payload[:200])
            return
        for listener in self.listeners:
            listener.put(events)

    def end(self, error: TokenmqError | None) -> None:
        """No more events come."""
        self.is_over, self.error = True, error
        for listener in self.listeners:
            listener.stir()


class Watches:
    """All watches of a client."""

    def __init__(
        self, subscribe: Callable[[str], Awaitable[None]], unsubscribe: Callable[[str], None]
    ) -> None:
        """Begin.

        Args:
            subscribe: subscribes to a filter; raises Denied, ConnectError.
            unsubscribe: the reverse, now or as soon as there is a connection.
        """
        self._subscribe = subscribe
        self._unsubscribe = unsubscribe
        self._watches: dict[str, Watch] = {}
        self._lock = asyncio.Lock()

    @property
    def subscriptions(self) -> list[str]:
        """What the broker is to be subscribed to."""
        return [watch.subscription for watch in self._watches.values()]

    @asynccontextmanager
    async def listening(self, topic_filter: str) -> AsyncIterator[Listener]:
        """Listen to the presence of a filter. Raises: Denied, ConnectError."""
        topic = watched_topic(topic_filter)
        async with self._lock:
            watch = self._watches.get(topic)
            if watch is None:
                # Before it is asked for: its snapshot may overtake the answer.
                watch = self._watches[topic] = Watch(topic_filter)
                try:
                    await self._subscribe(watch.subscription)
                except BaseException as error:
                    if self._watches.pop(topic, None) is not None and not isinstance(error, Denied):
                        self._unsubscribe(watch.subscription)  # it may be in force all the same
                    raise
            listener = Listener(watch)
        try:
            yield listener
        finally:
            watch.listeners.discard(listener)
            if not watch.listeners and self._watches.get(topic) is watch:
                del self._watches[topic]
                self._unsubscribe(watch.subscription)

    def received(self, message: Message) -> bool:
        """Take a message that is about a watch; returns whether it was."""
        watch = self._watches.get(message.topic)
        if watch is not None:
            watch.told(message.payload)
        return watch is not None

    def disconnected(self) -> None:
        """What is known is not to be believed until the next snapshot."""
        for watch in self._watches.values():
            watch.roster.forget()

    def refused(self, subscription: str, error: TokenmqError) -> None:
        """The broker tells no more about a filter: its listeners get the error."""
        topic = watched_topic(subscription.removeprefix(PREFIX))
        if subscription.startswith(PREFIX) and (watch := self._watches.pop(topic, None)) is not None:
            watch.end(error)

    def close(self, error: TokenmqError | None) -> None:
        """There will be no more: listeners get the error, or their end."""
        for watch in self._watches.values():
            watch.end(error)
        self._watches.clear()
