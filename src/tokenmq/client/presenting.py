"""Presence by a client: who is there, who comes and goes, what this client says of itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from tokenmq.client.messaging import Messaging
from tokenmq.client.presence import PresenceEvent, PresenceSnapshot
from tokenmq.errors import ConnectError
from tokenmq.topics.filter import check_filter
from tokenmq.topics.name import check_name


class Presenting(Messaging):
    """The part of a client that is about presence; it needs the permission `presence`.

    All of it goes over MQTT, whatever the version and the transport, with the connection's own
    rights: no address of the token service is needed.
    """

    async def presence(self, topic_filter: str) -> PresenceSnapshot:
        """Return who is present on a topic, or on the topics of a filter.

        While `presence_events` of the same filter is being read the answer is at hand; else the
        broker is asked.

        Raises: Denied, ConnectError when there is no answer in time, InvalidTopicFilter.
        """
        check_filter(topic_filter)
        seconds = self.options.request_timeout_seconds
        async with self._working().watches.listening(topic_filter) as listener:
            try:
                async with asyncio.timeout(seconds):
                    while (event := await listener.take()) is not None:
                        if isinstance(event, PresenceSnapshot):
                            return event
            except TimeoutError as error:
                raise ConnectError(f"the broker does not tell who is present on {topic_filter}") from error
        raise ConnectError("the client was closed")

    async def presence_events(self, topic_filter: str) -> AsyncGenerator[PresenceEvent]:
        """Yield who is present, then who comes, goes and says something, one by one.

        After a reconnect there is a snapshot again. One who does not keep up is given a snapshot in the
        place of what was missed. It ends with the client; when it is left, the broker is told.

        Raises: Denied at the start, or when the token does not cover it any more; ConnectError or
            TokenError when the client has ended by one; InvalidTopicFilter.
        """
        check_filter(topic_filter)
        async with self._working().watches.listening(topic_filter) as listener:
            while (event := await listener.take()) is not None:
                yield event

    async def set_presence_state(self, topic: str, state: Any) -> None:
        """Say something of this client to those who watch a topic that it is subscribed to.

        The state is what JSON can say, at most 1 KiB, one for each topic; None takes it back. It is gone
        with the connection, so it is said again after each reconnect. Without a connection it is said
        on the next one.

        Raises: Denied where this client is not present, or has no `presence` on the topic;
            InvalidTopicName.
        """
        check_name(topic)
        told = b"" if state is None else json.dumps(state, ensure_ascii=False, separators=(",", ":")).encode()
        await self._working().states.put(topic, told)
