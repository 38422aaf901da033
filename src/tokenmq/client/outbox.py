"""Messages on their way out: waiting for a connection or for room, or for an acknowledgement.

Theory of operation. What is sent at QoS 1 or 2 stays with the connection's session until
it is acknowledged, through any number of connections (`link`). What cannot be sent waits
here, in order. While there is a connection, `publish` waits with it. While there is none,
`publish` returns and says so, and the queue is bounded: the oldest message in it is given
up for the new one, or the new one is refused.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from tokenmq.client.messages import Properties, PublishResult, Status
from tokenmq.client.wire import Outcome
from tokenmq.errors import Denied, NotDelivered, TokenmqError

# At most this many unacknowledged, whatever the broker takes: paho keeps each, and has 65,535 names for them.
# At QoS 0 at most this many that are not written yet.
WINDOW: Final = 1000
# MQTT 5 §4.3.3: PUBCOMP to a PUBREL that follows a refused PUBREC.
PACKET_IDENTIFIER_NOT_FOUND: Final = 0x92


class Sender(Protocol):
    """A connection, as far as it sends."""

    is_up: bool

    @property
    def unwritten(self) -> int:
        """How many messages of QoS 0 were given to it and are not written yet."""
        ...

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool, properties: Properties) -> int:
        """Send; returns the packet identifier. Raises: InvalidTopicName, NotDelivered."""
        ...


@dataclasses.dataclass(slots=True, eq=False)
class Outgoing:
    """A message, and who waits for its fate.

    Attributes:
        sent_on: number of the connection that it went out on first.
        is_awaited: `publish` waits for it; nobody does for what was queued.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: Properties
    fate: asyncio.Future[PublishResult]
    sent_on: int = 0
    is_awaited: bool = True


class Outbox:
    """All messages of one client that the broker does not have yet, or has not said so."""

    def __init__(
        self,
        *,
        capacity: int,
        drops_oldest: bool,
        on_denied: Callable[[Denied], None],
    ) -> None:
        """Begin.

        Args:
            capacity: messages that may wait without a connection; 0 for none.
            drops_oldest: what happens to the oldest when it is full; else the new one is refused.
            on_denied: told of refused messages that nobody waits for.
        """
        self._capacity = capacity
        self._drops_oldest = drops_oldest
        self._on_denied = on_denied
        self._sender: Sender | None = None
        self._window = self._receive_maximum = WINDOW
        self._connections = 0
        self._waiting: deque[Outgoing] = deque()
        self._unacknowledged: dict[int, Outgoing] = {}
        self._is_held = False
        self._end: str | None = None
        self._moved = asyncio.Event()

    @property
    def queued(self) -> int:
        """How many wait for a connection or for room."""
        return len(self._waiting)

    @property
    def unacknowledged(self) -> int:
        """How many were sent and not acknowledged."""
        return len(self._unacknowledged)

    @property
    def _is_online(self) -> bool:
        return self._sender is not None

    def connected(self, sender: Sender, *, receive_maximum: int) -> None:
        """There is a connection: send what waits."""
        self._sender = sender
        self._connections += 1
        self._receive_maximum = receive_maximum
        # One place is kept for `send_now`.
        self._window = max(min(receive_maximum - 1, WINDOW), 1)
        self._is_held = False
        self._flush()

    def disconnected(self) -> None:
        """There is none any more."""
        self._sender = None
        self._stir()

    async def hold(self, seconds: float) -> None:
        """Send nothing new, and wait, so long at most, until all that was sent is acknowledged."""
        self._is_held = True
        try:
            async with asyncio.timeout(seconds):
                while self._unacknowledged and self._is_online:
                    await self._moved.wait()
        except TimeoutError:
            return

    async def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int,
        retain: bool,
        properties: Properties,
        timeout_seconds: float | None = None,
    ) -> PublishResult:
        """Send a message and wait for its fate; without a connection queue it and return.

        What was not sent when the waiting ends (by `timeout_seconds`, or because the caller is
        cancelled) is not sent any more.

        Raises: Denied, NotDelivered, InvalidTopicName, TimeoutError.
        """
        fate: asyncio.Future[PublishResult] = asyncio.get_running_loop().create_future()
        one = Outgoing(topic, payload, qos, retain, properties, fate)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._publish(one)
        except TimeoutError as error:
            what = "it was sent and may yet arrive" if one.sent_on else "it was not sent and will not be"
            why = f"the broker has not acknowledged the message to {topic} in {timeout_seconds:g} s: {what}"
            raise TimeoutError(why) from error

    async def _publish(self, one: Outgoing) -> PublishResult:
        while self._is_online and len(self._waiting) >= max(self._capacity, WINDOW):
            await self._moved.wait()
        if self._end is not None:
            raise NotDelivered(one.topic, self._end)
        if not self._is_online:
            result = self._queue(one)
            # Who publishes in a loop would let nobody connect again.
            await asyncio.sleep(0)
            return result
        self._waiting.append(one)
        self._flush()
        try:
            return await one.fate
        except asyncio.CancelledError:
            if one in self._waiting:
                self._waiting.remove(one)
            one.is_awaited = False
            raise

    async def send_now(self, topic: str, payload: bytes) -> None:
        """Send at QoS 1 past the queue, and wait. Raises: Denied, NotDelivered."""
        fate: asyncio.Future[PublishResult] = asyncio.get_running_loop().create_future()
        one = Outgoing(topic, payload, 1, retain=False, properties={}, fate=fate)
        while self._is_online and len(self._unacknowledged) >= self._receive_maximum:
            await self._moved.wait()
        if self._sender is None or not self._sender.is_up:
            raise NotDelivered(topic, "there is no connection")
        self._send(self._sender, one)
        await fate

    def acknowledged(self, packet_id: int, outcome: Outcome) -> None:
        """The broker has answered."""
        one = self._unacknowledged.pop(packet_id, None)
        if one is None:
            return
        is_lost = outcome.reason_code == PACKET_IDENTIFIER_NOT_FOUND and one.sent_on != self._connections
        if outcome.is_failure and not is_lost:
            reason = outcome.reason
            if outcome.reason_code == PACKET_IDENTIFIER_NOT_FOUND:
                reason = "its PUBREC said no"
            self._fail(one, Denied("publish", one.topic, reason, reason_code=outcome.reason_code))
        elif not one.fate.done():
            status = Status.UNKNOWN if is_lost else Status.ACKNOWLEDGED
            one.fate.set_result(PublishResult(one.topic, one.qos, status, outcome.reason_code))
        self._flush()

    def written(self) -> None:
        """There may be room for another message of QoS 0."""
        if self._waiting:
            self._flush()

    def give_up(self, why: str, error: TokenmqError | None = None) -> None:
        """Nothing will be sent any more: tell all who wait, and by which error."""
        self._end = why
        for one in (*self._unacknowledged.values(), *self._waiting):
            given_up = NotDelivered(one.topic, why)
            given_up.__cause__ = error
            self._fail(one, given_up)
        self._unacknowledged.clear()
        self._waiting.clear()
        self.disconnected()

    def _queue(self, one: Outgoing) -> PublishResult:
        if len(self._waiting) >= self._capacity:
            if not self._capacity:
                raise NotDelivered(one.topic, "there is no connection, and nothing is queued")
            if not self._drops_oldest:
                raise NotDelivered(one.topic, f"the queue is full with {self._capacity} messages")
            oldest = self._waiting.popleft()
            self._fail(oldest, NotDelivered(oldest.topic, "the queue was full and it was the oldest in it"))
        one.is_awaited = False
        self._waiting.append(one)
        return PublishResult(one.topic, one.qos, Status.QUEUED, _later=one.fate)

    def _flush(self) -> None:
        sender = self._sender
        while sender is not None and sender.is_up and self._waiting and not self._is_held:
            under_way = len(self._unacknowledged) if self._waiting[0].qos else sender.unwritten
            if under_way >= (self._window if self._waiting[0].qos else WINDOW):
                break
            self._send(sender, self._waiting.popleft())
        self._stir()

    def _send(self, sender: Sender, one: Outgoing) -> None:
        try:
            packet_id = sender.publish(
                one.topic, one.payload, qos=one.qos, retain=one.retain, properties=one.properties
            )
        except TokenmqError as error:
            self._fail(one, error)
            return
        if one.qos:
            one.sent_on = self._connections
            self._unacknowledged[packet_id] = one
        elif not one.fate.done():
            one.fate.set_result(PublishResult(one.topic, 0, Status.SENT))

    def _fail(self, one: Outgoing, error: TokenmqError) -> None:
        if not one.is_awaited and isinstance(error, Denied):
            self._on_denied(error)
        if not one.fate.done():
            one.fate.set_exception(error)
            # Whoever queued it need not ask what became of it.
            one.fate.exception()

    def _stir(self) -> None:
        """Wake all who wait for a change."""
        self._moved.set()
        self._moved = asyncio.Event()
