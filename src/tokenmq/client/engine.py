"""The parts of a client put together: what happens to the connection reaches messages, tokens, callbacks.

`Client` is the face, this is what it is the face of. The connection is the `Keeper`'s;
here its beginning leads to subscribing again and to sending what waits, its messages to
their readers, `$auth/events` to the callbacks, and a new family of tokens to the broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from paho.mqtt.subscribeoptions import SubscribeOptions

from tokenmq.client.addresses import Address
from tokenmq.client.authevents import AUTH_EVENTS, told_by
from tokenmq.client.clocks import Backoff
from tokenmq.client.events import Events, logger
from tokenmq.client.inbox import MessageCallback
from tokenmq.client.keeper import Keeper
from tokenmq.client.link import Link
from tokenmq.client.logins import Login
from tokenmq.client.messages import Message
from tokenmq.client.options import Options
from tokenmq.client.outbox import Outbox
from tokenmq.client.presence import PREFIX
from tokenmq.client.replays import Replay
from tokenmq.client.requests import Requests
from tokenmq.client.source import TokenSource
from tokenmq.client.states import States
from tokenmq.client.subscriptions import Subscription, Subscriptions, Wish
from tokenmq.client.tokens import Token
from tokenmq.client.watches import WATCHING, Watches
from tokenmq.client.wire import Connack, LinkOptions, Outcome, Received
from tokenmq.errors import ConnectError, Denied, TokenError, TokenmqError

AUTH_TOKEN: Final = "$auth/token"
# The user property of CONNACK that names a filter that the token no longer covers.
SUSPENDED: Final = "tokenmq-suspended"
# As many as a broker takes in one SUBSCRIBE.
FILTERS_A_PACKET: Final = 50
# For the broker to take a token, and for what is under way before a planned reconnect.
SHOW_SECONDS: Final = 10.0
HOLD_SECONDS: Final = 5.0

R = TypeVar("R")


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
        self.states = States(self.outbox.send_now, lambda denied: events.tell("denied", denied))
        self.requests = Requests(
            options.response_topic_pattern.replace("{client_id}", link_options.client_id)
        )
        self.watches = Watches(self._watch, self._unwatch)
        # Presence that is not wanted any more, and the broker does not know it yet.
        self._unwatched: set[str] = set()
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
        self.watches.close(self.error)
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
        history: Replay | None = None,
    ) -> Subscription:
        """Subscribe, through as many connections as it takes until there is an answer.

        Raises: Denied, ConnectError, InvalidTopicFilter.
        """
        wish = self.subscriptions.add(topic_filter, options, callback, history)
        try:
            outcome = await self._ask_for(topic_filter, options, lambda: [*told, *wish.asked()])
        except BaseException:
            self.subscriptions.forget(wish)
            raise
        if outcome.is_failure:
            self.subscriptions.forget(wish)
            raise _denied(topic_filter, outcome)
        return Subscription(topic_filter, outcome.reason_code, outcome.user_properties)

    async def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe, through as many connections as it takes. Raises: ConnectError."""
        self.subscriptions.remove(topic_filter)
        await self._ask(f"the end of {topic_filter}", lambda link: link.unsubscribe([topic_filter]))

    async def _ask_for(
        self,
        topic_filter: str,
        options: SubscribeOptions,
        told: Callable[[], Sequence[tuple[str, str]]] = tuple,
    ) -> Outcome:
        """Ask for one subscription. Raises: ConnectError, InvalidTopicFilter."""
        (outcome,) = await self._ask(
            f"the subscription to {topic_filter}",
            lambda link: link.subscribe([(topic_filter, options)], told()),
        )
        return outcome

    async def _ask(self, what: str, ask: Callable[[Link], Awaitable[R]]) -> R:
        """Ask through as many connections as it takes until there is an answer. Raises: ConnectError."""
        deadline = asyncio.get_running_loop().time() + self._options.request_timeout_seconds
        try:
            while True:
                link = await self.ready(deadline - asyncio.get_running_loop().time())
                with contextlib.suppress(ConnectError):
                    async with asyncio.timeout_at(deadline):
                        return await ask(link)
        except TimeoutError as error:
            raise ConnectError(f"the broker does not answer to {what}") from error

    async def _watch(self, subscription: str) -> None:
        """Subscribe to presence."""
        self._unwatched.discard(subscription)
        outcome = await self._ask_for(subscription, WATCHING)
        if outcome.is_failure:
            raise _denied(subscription, outcome)

    def _unwatch(self, subscription: str) -> None:
        """Unsubscribe from presence, as soon as there is a connection."""
        if self.is_connected and self._link.is_up:
            self._link.leave([subscription])
        else:
            self._unwatched.add(subscription)

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
                    self._unwatched.clear()
                    await self._subscribe_again()
                await self._ask_for_history(session_present=connack.session_present)
                # A broker that has none refuses, and that is all.
                await self._link.subscribe([(AUTH_EVENTS, SubscribeOptions(qos=0))])
        except TimeoutError as error:
            raise ConnectError("the broker does not answer to SUBSCRIBE in time") from error
        self.outbox.connected(self._link, receive_maximum=connack.receive_maximum)
        self.is_connected = True
        while self._unwatched and self._link.is_up:  # before, or since this connection began
            self._link.leave([self._unwatched.pop()])
        self._stir()
        self._events.tell("connected", connack.session_present)
        self._tell_status("connected")
        if suspended:
            self._narrowed(suspended)
        self._begin(self.states.say_again())
        if self._credentials.is_outdated and self._source is not None and self._source.newest is not None:
            # It came while the connection was being opened with the one before.
            self._begin(self._show(self._source.newest))

    def disconnected(self, outcome: Outcome | None) -> None:
        """The connection has ended."""
        self.is_connected = False
        self.outbox.disconnected()
        self.watches.disconnected()
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
        self.watches.close(error)
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
        elif self.requests.received(one.message) or self.watches.received(one.message):
            self._link.acknowledge(one)
        elif one.message.topic.startswith(PREFIX) and not self.subscriptions.wants(one.message.topic):
            # Of a watch that is over; the broker had not heard of that yet.
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
        match told_by(message):
            case "narrowed", suspended:
                self._narrowed(suspended)
            case event, what:
                self._events.tell(event, what)

    def _narrowed(self, suspended: list[str]) -> None:
        """The token does not cover these filters any more: tell those who cannot see it by themselves."""
        for topic_filter in suspended:
            error = Denied("subscribe", topic_filter, "the token does not cover it any more")
            self.watches.refused(topic_filter, error)
        self._events.tell("narrowed", suspended)

    async def _subscribe_again(self) -> None:
        """Ask for everything on a new session, but what has a history."""
        plain = [wish for wish in self.subscriptions if wish.history is None]
        for start in range(0, len(plain), FILTERS_A_PACKET):
            some = plain[start : start + FILTERS_A_PACKET]
            outcomes = await self._link.subscribe([(wish.topic_filter, wish.options) for wish in some])
            self._answered(some, outcomes)
        for subscription in self.watches.subscriptions:
            (outcome,) = await self._link.subscribe([(subscription, WATCHING)])
            if outcome.is_failure:
                self.watches.refused(subscription, _denied(subscription, outcome))

    async def _ask_for_history(self, *, session_present: bool) -> None:
        """Ask for what was published meanwhile, on a session that goes on too; no retained message again."""
        for wish in self.subscriptions:
            if wish.history is not None:
                options = copy.copy(wish.options)
                if session_present:
                    options.retainHandling = max(options.retainHandling, 1)
                (outcome,) = await self._link.subscribe([(wish.topic_filter, options)], wish.asked())
                self._answered([wish], [outcome])

    def _answered(self, wishes: Sequence[Wish], outcomes: Sequence[Outcome]) -> None:
        """Forget what is refused on another connection, and tell."""
        for wish, outcome in zip(wishes, outcomes, strict=True):
            if outcome.is_failure:
                self.subscriptions.forget(wish)
                self._events.tell("denied", _denied(wish.topic_filter, outcome))

    def _tell_status(self, word: str) -> None:
        self._events.tell("status", self.is_connected, word)

    # Tokens

    def _renewed(self, token: Token, is_new_family: bool) -> None:  # noqa: FBT001
        """A refresh moves the connection by itself; a new family is to be shown to the broker."""
        if is_new_family and self.is_connected and self._link.is_up:
            self._begin(self._show(token))

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

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Begin something that ends by itself, or with this client."""
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _stir(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _denied(topic_filter: str, outcome: Outcome) -> Denied:
    return Denied("subscribe", topic_filter, outcome.reason, reason_code=outcome.reason_code)
