"""The client for those without asyncio: `aio.Client` behind a loop in a thread of its own.

There is one implementation. Callbacks are plain functions and run in worker threads, so
they may block, and call the client. Async ones run in the client's thread, and may not.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

from tokenmq.client import aio, source
from tokenmq.client.messages import Message
from tokenmq.client.options import Settings
from tokenmq.client.portal import Portal, in_a_thread
from tokenmq.client.tokens import Token

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")

Hears = Callable[["Client", Callable[..., Any]], Callable[..., Any]]
Sets = Callable[["Client", Callable[..., Any] | None], None]

# Arguments that are functions of the caller's.
_FUNCTIONS = ("callback", "answer", "get_token", "external_token")

_END = object()


def _blocking(
    method: Callable[Concatenate[aio.Client, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Client, P], R]:
    """Return a method that runs an async one to its end."""

    @functools.wraps(method)
    def called(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> R:
        given = inspect.signature(method).bind(self._client, *args, **kwargs)
        for name in _FUNCTIONS:
            if callable(function := given.arguments.get(name)):
                given.arguments[name] = in_a_thread(function)
        return self._portal.run(method(*given.args, **given.kwargs))

    return called


def _each(
    method: Callable[Concatenate[aio.Client, P], AsyncGenerator[R]],
) -> Callable[Concatenate[Client, P], Generator[R]]:
    """Return a method that yields what an async one yields; closing it leaves that one."""

    @functools.wraps(method)
    def called(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Generator[R]:
        items = method(self._client, *args, **kwargs)
        try:
            while (item := self._portal.run(_next(items))) is not _END:
                yield item  # type: ignore[misc]
        finally:
            if not self._portal.is_closed:
                self._portal.run(items.aclose())

    return called


async def _next(items: AsyncGenerator[R]) -> R | object:
    return await anext(items, _END)


def _takes(
    init: Callable[Concatenate[source.TokenSource, P], None],  # noqa: ARG001
) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, P], None]]:
    """Let a constructor take the arguments of another one, for who checks types."""
    return lambda own: own


def _hears(name: str) -> Hears:
    """Return a method that adds a callback."""

    @functools.wraps(getattr(aio.Client, name))
    def called(self: Client, callback: Callable[..., Any]) -> Callable[..., Any]:
        self._portal.call(lambda: getattr(self._client, name)(self._threaded(callback)))
        return callback

    return called


def _sets(name: str) -> Sets:
    """Return a method that sets a callback."""

    @functools.wraps(getattr(aio.Client, name))
    def called(self: Client, callback: Callable[..., Any] | None) -> None:
        told = None if callback is None else self._threaded(callback)
        self._portal.call(lambda: getattr(self._client, name)(told))

    return called


class Client:
    """A client that blocks; every method is that of `tokenmq.client.Client`.

        with Client(token_service_url="https://auth.example") as client:
            client.connect_with_token("wss://mqtt.example/mqtt", get_token=ask_my_backend)
            client.subscribe("chat/#")
            client.publish("chat/room1", {"hello": "world"})
            for message in client.messages:
                print(message.topic, message.json())

    Methods may be called by several threads.
    """

    def __init__(self, **settings: Unpack[Settings]) -> None:
        """Prepare; nothing is sent yet. Raises: InvalidRequest for settings that cannot be."""
        self._portal = Portal()
        self._wrapped: dict[Callable[..., Any], Callable[..., Any]] = {}
        try:
            self._client = self._portal.call(lambda: aio.Client(**settings))
        except BaseException:
            self._portal.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._portal.close(lambda: self._client.__aexit__(kind, error, at))

    connect_with_token = _blocking(aio.Client.connect_with_token)
    connect = _blocking(aio.Client.connect)
    refresh_token = _blocking(aio.Client.refresh_token)
    subscribe = _blocking(aio.Client.subscribe)
    unsubscribe = _blocking(aio.Client.unsubscribe)
    publish = _blocking(aio.Client.publish)
    transmit = publish
    request = _blocking(aio.Client.request)
    on_request = _blocking(aio.Client.on_request)
    presence = _blocking(aio.Client.presence)
    set_presence_state = _blocking(aio.Client.set_presence_state)
    presence_events = _each(aio.Client.presence_events)
    history = _blocking(aio.Client.history)

    on_token_expiring = _hears("on_token_expiring")
    on_token_refreshed = _hears("on_token_refreshed")
    on_token_error = _hears("on_token_error")
    on_auth_error = _hears("on_auth_error")
    on_connected = _hears("on_connected")
    on_disconnected = _hears("on_disconnected")
    on_reconnecting = _hears("on_reconnecting")
    on_connection_status_change = _hears("on_connection_status_change")
    on_narrowed = _hears("on_narrowed")
    on_denied = _hears("on_denied")
    on_dropped = _hears("on_dropped")
    on_message = _hears("on_message")
    off_message = _hears("off_message")

    set_token_expiring_callback = _sets("set_token_expiring_callback")
    set_token_refreshed_callback = _sets("set_token_refreshed_callback")
    set_token_error_callback = _sets("set_token_error_callback")
    set_auth_error_callback = _sets("set_auth_error_callback")
    set_connection_status_callback = _sets("set_connection_status_callback")
    set_online_callback = _sets("set_online_callback")
    set_offline_callback = _sets("set_offline_callback")
    set_reconnecting_callback = _sets("set_reconnecting_callback")

    @property
    def is_connected(self) -> bool:
        """There is a connection at this moment."""
        return self._client.is_connected

    @property
    def client_id(self) -> str:
        """The client id; empty before the first connection."""
        return self._client.client_id

    @property
    def token(self) -> Token | None:
        """The newest token; None without one."""
        return self._client.token

    @property
    def queued(self) -> int:
        """How many messages wait here for a connection."""
        return self._client.queued

    @property
    def messages(self) -> Iterator[Message]:
        """Messages as they come, as `tokenmq.client.Client.messages` says."""
        mailbox = self._client.messages
        while not self._portal.is_closed and (one := self._portal.run(mailbox.take())) is not None:
            yield one.message

    def close(self) -> None:
        """Disconnect and end everything; again is nothing. Callbacks may call it too."""
        self._portal.close(self._client.close)

    def _threaded(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        return self._wrapped.setdefault(callback, in_a_thread(callback))


class TokenSource:
    """Credentials that are always good, for a client of yours that blocks.

        with TokenSource(get_token=ask_my_backend) as source:
            username, password = source.credentials

    Its arguments are those of `tokenmq.client.TokenSource`; functions are plain and run in threads.
    """

    @_takes(source.TokenSource.__init__)
    def __init__(self, **arguments: Any) -> None:
        """Prepare, as `tokenmq.client.TokenSource` says."""
        self._portal = Portal()
        for name in _FUNCTIONS:
            if callable(function := arguments.get(name)):
                arguments[name] = in_a_thread(function)
        try:
            self._source = self._portal.call(lambda: source.TokenSource(**arguments))
        except BaseException:
            self._portal.close()
            raise

    def __enter__(self) -> Self:
        try:
            self.token()
        except BaseException:
            self.close()
            raise
        self._portal.call(self._source.start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    @property
    def credentials(self) -> tuple[str, str]:
        """Username and password of the newest token, without waiting."""
        return self._source.credentials

    @property
    def newest(self) -> Token | None:
        """The newest token, past or not; None before the first."""
        return self._source.newest

    def token(self) -> Token:
        """Return the newest token; fetch or renew it first where there is none to connect with."""
        return self._portal.run(self._source.token())

    def renew(self) -> Token:
        """Renew it now."""
        return self._portal.run(self._source.renew(self._source.newest))

    def on_token_expiring(self, callback: Callable[[float], Any]) -> None:
        """Call it with the seconds that are left when a token is about to be renewed."""
        self._portal.call(lambda: self._source.on_token_expiring(in_a_thread(callback)))

    def on_token_refreshed(self, callback: Callable[[Token], Any]) -> None:
        """Call it with each Token after the first."""
        self._portal.call(lambda: self._source.on_token_refreshed(in_a_thread(callback)))

    def on_token_error(self, callback: Callable[..., Any]) -> None:
        """Call it with a TokenError and its kind whenever a renewal fails."""
        self._portal.call(lambda: self._source.on_token_error(in_a_thread(callback)))

    def close(self) -> None:
        """End the renewing and the network connections; the newest token stays."""
        self._portal.close(self._source.close)
