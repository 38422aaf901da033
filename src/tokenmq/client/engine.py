"""The parts of a client put together: what happens to the connection reaches messages, tokens, callbacks.

`Client` is the face, this is what it is the face of. The connection is the `Keeper`'s;
here its beginning leads to subscribing again and to sending what waits, its messages to
their readers, `$auth/events` to the callbacks, and a new family of tokens to the broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import Sequence
from typing import Any, Final, Protocol

from paho.mqtt.subscribeoptions import SubscribeOptions

from tokenmq.client.addresses import Address
from tokenmq.client.clocks import Backoff
from tokenmq.client.events import Events, logger
from tokenmq.client.inbox import MessageCallback
from tokenmq.client.keeper import Credentials, Keeper
from tokenmq.client.link import Link
from tokenmq.client.messages import Message
from tokenmq.client.options import Options
from tokenmq.client.outbox import Outbox
from tokenmq.client.requests import Requests
from tokenmq.client.source import TokenSource
from tokenmq.client.subscriptions import Subscription, Subscriptions, Wish
from tokenmq.client.tokens import Token
from tokenmq.client.wire import Connack, LinkOptions, Outcome, Received
from tokenmq.errors import ConnectError, Denied, TokenError, TokenmqError

AUTH_EVENTS: Final = "$auth/events"
AUTH_TOKEN: Final = "$auth/token"
# The user property of CONNACK that names a filter that the token no longer covers.
SUSPENDED: Final = "tokenmq-suspended"
# As many as a broker takes in one SUBSCRIBE.
FILTERS_A_PACKET: Final = 50
# For the broker to take a token, and for what is under way before a planned reconnect.
SHOW_SECONDS: Final = 10.0
HOLD_SECONDS: Final = 5.0


class Login(Credentials, Protocol):
    """Credentials, some of which the broker can be given in place."""

    @property
    def is_outdated(self) -> bool:
        """There is a token of another family than the one that the connection was opened with."""
        ...


class Engine:
    """One client at work, from its connecting to its end.

    Attributes:
        is_connected: a message that is published now goes out.
        error: by which it has ended, closing included; None while it goes on.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        link_options: LinkOptions,
        credentials: Login,
        *,
        options: Options,
        events: Events,
        source: TokenSource | None = None,
    ) -> None:
        self._options = options
        self._events = events
        self._source = source
        self._credentials = credentials
        self._link_options = link_options
        self.is_connected = False
        self.error: TokenError | ConnectError | None = None
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._links = [Link(address, link_options, self) for address in addresses]
        self._link = self._links[0]
        self.subscriptions = Subscriptions(
            acknowledge=lambda one: self._link.acknowledge(one),
            on_dropped=lambda count: events.tell("dropped", count),
            receive_maximum=options.receive_maximum,
        )
        self.outbox = Outbox(
            capacity=options.max_offline_queue_size if options.enable_offline_queue else 0,
            drops_oldest=options.drop_oldest_on_queue_full,
            on_denied=lambda denied: events.tell("denied", denied),
        )
        self.requests = Requests(
            options.response_topic_pattern.replace("{client_id}", link_options.client_id)
        )
        self._keeper = Keeper(
            self._links,
            credentials,
            self,
            clock=options.clock,
            backoff=Backoff(chance=options.chance),
            max_attempts=options.max_reconnect_attempts,
            reconnects=options.auto_reconnect,
        )
        if source is not None:
            source.on_renewed(self._renewed)

    async def start(self) -> None:
        """Connect. Raises: TokenError, ConnectError; then nothing goes on."""
        try:
            await self._keeper.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self, *, session_expiry_seconds: int | None = None) -> None:
        """Disconnect and end everything; what waits is given up."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.subscriptions.close()
        await self._keeper.stop(session_expiry_seconds=session_expiry_seconds)
        if session_expiry_seconds == 0 and self.is_connected:
            await self._end_session()
        self.is_connected = False
        self.outbox.give_up("the client was closed")
        self.subscriptions.messages.close(self.error)
        self.error = self.error or ConnectError("this client was closed; make another one")
        self.requests.give_up(self.error)
        self._stir()

    async def _end_session(self) -> None:
        """In 3.1.1 DISCONNECT ends no session: a connection with Clean Session 1 does."""
        if self._link_options.version != 4 or self._link_options.clean_start:
            return
        link = Link(self._link.address, dataclasses.replace(self._link_options, clean_start=True), self)
        with contextlib.suppress(TokenError, ConnectError):
            await link.open(*await self._credentials.current())
        await link.close()

    def check_goes_on(self) -> None:
        """Raises: what has ended it."""
        if self.error is not None:
            # It is raised by each call: without this it would remember all of them.
            raise self.error.with_traceback(None)

    async def ready(self, timeout_seconds: float) -> Link:
        """Wait for a connection. Raises: ConnectError when there is none in time, or what has ended it."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while not (self.is_connected and self._link.is_up):
                    self.check_goes_on()
                    await self._changed.wait()
        except TimeoutError as error:
            raise ConnectError(f"there is no connection after {timeout_seconds:g} s") from error
        return self._link

    async def subscribe(
        self,
        topic_filter: str,
        options: SubscribeOptions,
        callback: MessageCallback | None,
        told: Sequence[tuple[str, str]],
    ) -> Subscription:
        """Subscribe, through as many connections as it takes until there is an answer.

        Raises: Denied, ConnectError, InvalidTopicFilter.
        """
        deadline = asyncio.get_running_loop().time() + self._options.request_timeout_seconds
        wish = self.subscriptions.add(topic_filter, options, callback)
        try:
            while True:
                link = await self.ready(deadline - asyncio.get_running_loop().time())
                with contextlib.suppress(ConnectError):
                    async with asyncio.timeout_at(deadline):
                        (outcome,) = await link.subscribe([(topic_filter, options)], told)
                    break
        except TimeoutError as error:
            self.subscriptions.forget(wish)
            raise ConnectError(f"the broker does not answer to the subscription to {topic_filter}") from error
        except BaseException:
            self.subscriptions.forget(wish)
            raise
        if outcome.is_failure:
            self.subscriptions.forget(wish)
            raise Denied("subscribe", topic_filter, outcome.reason, reason_code=outcome.reason_code)
        return Subscription(topic_filter, outcome.reason_code, outcome.user_properties)

    async def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe, through as many connections as it takes. Raises: ConnectError."""
        deadline = asyncio.get_running_loop().time() + self._options.request_timeout_seconds
        self.subscriptions.remove(topic_filter)
        try:
            while True:
                link = await self.ready(deadline - asyncio.get_running_loop().time())
                with contextlib.suppress(ConnectError):
                    async with asyncio.timeout_at(deadline):
                        await link.unsubscribe([topic_filter])
                    return
        except TimeoutError as error:
            raise ConnectError(f"the broker does not answer to the end of {topic_filter}") from error

    # What the keeper tells

    async def connected(self, connack: Connack) -> None:
        """Subscribe again if the session is new, send what waits, tell everybody."""
        link = next((link for link in self._links if link.is_up), None)
        if link is None:
            raise ConnectError("the broker has taken the connection and closed it at once")
        self._link = link
        self.subscriptions.connected(session_present=connack.session_present)
        suspended = [value for name, value in connack.outcome.user_properties if name == SUSPENDED]
        try:
            async with asyncio.timeout(self._link_options.timeout_seconds):
                if not connack.session_present:
                    await self._subscribe_again()
                await self._listen_to_events()
        except TimeoutError as error:
            raise ConnectError("the broker does not answer to SUBSCRIBE in time") from error
        self.outbox.connected(self._link, receive_maximum=connack.receive_maximum)
        self.is_connected = True
        self._stir()
        self._events.tell("connected", connack.session_present)
        self._tell_status("connected")
        if suspended:
            self._events.tell("narrowed", suspended)
        if self._credentials.is_outdated and self._source is not None and self._source.newest is not None:
            # It came while the connection was being opened with the one before.
            self._show_soon(self._source.newest)

    def disconnected(self, outcome: Outcome | None) -> None:
        """The connection has ended."""
        self.is_connected = False
        self.outbox.disconnected()
        self._events.tell("disconnected", None if outcome is None else str(outcome))
        self._tell_status("disconnected")

    def reconnecting(self, attempt: int) -> None:
        """It is tried again."""
        self._events.tell("reconnecting", attempt)
        self._tell_status("reconnecting")

    async def before_move(self) -> None:
        """Let what is under way be acknowledged; what is published meanwhile waits."""
        await self.outbox.hold(HOLD_SECONDS)
        self.is_connected = False

    def failed(self, error: TokenError | ConnectError) -> None:
        """Nothing is tried again: whoever waits is told why."""
        self.error = error
        self.is_connected = False
        self.outbox.give_up(str(error), error)
        self.subscriptions.messages.close(error)
        self.requests.give_up(error)
        self._stir()
        if isinstance(error, TokenError):
            self._events.tell("auth_error", error)
        self._tell_status("error")
        logger.info("the connection has ended for good: %s", error)

    # What the link tells

    def received(self, one: Received) -> None:
        """A message has come."""
        if one.message.topic == AUTH_EVENTS:
            self._link.acknowledge(one)
            self._told(one.message)
        elif self.requests.received(one.message):
            self._link.acknowledge(one)
        else:
            self.subscriptions.received(one)

    def acknowledged(self, packet_id: int, outcome: Outcome) -> None:
        """PUBACK or PUBCOMP has come."""
        self.outbox.acknowledged(packet_id, outcome)

    def written(self) -> None:
        """A message of QoS 0 is on its way."""
        self.outbox.written()

    def lost(self, outcome: Outcome | None) -> None:
        """The connection has ended."""
        self._keeper.lost(outcome)

    def _told(self, message: Message) -> None:
        """`$auth/events`: what concerns this connection."""
        try:
            event: dict[str, Any] = message.json()
            match event.get("event"):
                case "narrowed":
                    self._events.tell("narrowed", list(event["suspended"]))
                case "denied":
                    denied = Denied(str(event["action"]), str(event["topic"]), str(event["reason"]))
                    self._events.tell("denied", denied)
                case "dropped":
                    self._events.tell("dropped", int(event["count"]))
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            logger.warning("an event of the broker cannot be read: %r", message.payload[:200])

    async def _listen_to_events(self) -> None:
        """Subscribe to `$auth/events`; a broker that has none refuses, and that is all."""
        await self._link.subscribe([(AUTH_EVENTS, SubscribeOptions(qos=0))])

    async def _subscribe_again(self) -> None:
        wishes = list(self.subscriptions)
        for start in range(0, len(wishes), FILTERS_A_PACKET):
            some: list[Wish] = wishes[start : start + FILTERS_A_PACKET]
            outcomes = await self._link.subscribe([(wish.topic_filter, wish.options) for wish in some])
            for wish, outcome in zip(some, outcomes, strict=True):
                if outcome.is_failure:
                    self.subscriptions.forget(wish)
                    denied = Denied(
                        "subscribe", wish.topic_filter, outcome.reason, reason_code=outcome.reason_code
                    )
                    self._events.tell("denied", denied)

    def _tell_status(self, word: str) -> None:
        self._events.tell("status", self.is_connected, word)

    # Tokens

    def _renewed(self, token: Token, is_new_family: bool) -> None:  # noqa: FBT001
        """A refresh moves the connection by itself; a new family is to be shown to the broker."""
        if is_new_family and self.is_connected and self._link.is_up:
            self._show_soon(token)

    def _show_soon(self, token: Token) -> None:
        task = asyncio.create_task(self._show(token))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _show(self, token: Token) -> None:
        """Give the broker a token in place; where it does not take it, connect anew with it."""
        try:
            async with asyncio.timeout(SHOW_SECONDS):
                await self.outbox.send_now(AUTH_TOKEN, token.access_token.encode())
        except (TokenmqError, TimeoutError) as error:
            if self._link.is_up:
                logger.info(
                    "the broker does not take a token in place, so the connection is moved: %s", error
                )
                self._keeper.move()

    def _stir(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
