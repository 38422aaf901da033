"""What a client says of itself where it is present, and says again on each connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tokenmq.client.presence import PREFIX
from tokenmq.errors import Denied, NotDelivered


class States:
    """States by topic. The broker forgets them with the connection; they are kept here for the next."""

    def __init__(
        self, send: Callable[[str, bytes], Awaitable[None]], on_denied: Callable[[Denied], None]
    ) -> None:
        """Begin.

        Args:
            send: publishes at QoS 1 and waits; raises Denied, NotDelivered.
            on_denied: told of a state that is not taken any more.
        """
        self._send = send
        self._on_denied = on_denied
        self._states: dict[str, bytes] = {}

    async def put(self, topic: str, state: bytes) -> None:
        """Say something now, or on the next connection; nothing takes back what was said. Raises: Denied."""
        if state:
            self._states[topic] = state
        else:
            # On another connection there is nothing to take back.
            self._states.pop(topic, None)
        await self._say(topic, state)

    async def say_again(self) -> None:
        """Say on a new connection what was said on the one before."""
        for topic, state in tuple(self._states.items()):
            try:
                await self._say(topic, state)
            except Denied as denied:
                self._on_denied(denied)

    async def _say(self, topic: str, state: bytes) -> None:
        try:
            await self._send(PREFIX + topic, state)
        except Denied:
            if self._states.get(topic) == state:
                del self._states[topic]
            raise
        except NotDelivered:
            # There is no connection any more; the next one will say it.
            return
