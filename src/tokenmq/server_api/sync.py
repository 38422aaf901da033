"""The service for a backend, without asyncio: the calls of `core`, each run to its end."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

import httpx2

from tokenmq.server_api.calls import Call
from tokenmq.server_api.core import AsyncCalls, AsyncTokens
from tokenmq.server_api.http import client_settings
from tokenmq.server_api.network import BlockingNetwork, finish, finish_each

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Awaited = TypeVar("Awaited")


class Blocking(Generic[Awaited]):
    """Calls that block, over the same calls that are awaited."""

    _awaited: Awaited


def _blocking(
    method: Callable[Concatenate[Awaited, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Blocking[Awaited], P], R]:
    """Return a method that blocks until its call is done."""

    @functools.wraps(method)
    def called(self: Blocking[Awaited], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return finish(method(self._awaited, *args, **kwargs))

    return called


def _each(
    method: Callable[Concatenate[Awaited, P], AsyncIterator[R]],
) -> Callable[Concatenate[Blocking[Awaited], P], Iterator[R]]:
    """Return a method that yields what its call yields."""

    @functools.wraps(method)
    def called(self: Blocking[Awaited], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        yield from finish_each(method(self._awaited, *args, **kwargs))

    return called


class Tokens(Blocking[AsyncTokens]):
    """Tokens: made, looked at, revoked."""

    def __init__(self, awaited: AsyncTokens) -> None:
        self._awaited = awaited

    create = _blocking(AsyncTokens.create)
    revoke = _blocking(AsyncTokens.revoke)
    get = _blocking(AsyncTokens.get)
    list = _each(AsyncTokens.list)
    introspect = _blocking(AsyncTokens.introspect)


class ServerApi(Blocking[AsyncCalls]):
    """One token service and broker, for a backend with a key.

        with ServerApi("http://127.0.0.1:8080", key) as api:
            token = api.tokens.create(user_id="alice", permissions=["subscribe"], topics=["chat/#"])
            api.publish("chat/room1", {"hello": "alice"})

    Connections are kept and shared, among threads too. What was surely not done (429, 503, no
    connection) is sent again with backoff, as `Retry-After` asks; after other failures only what may be
    done twice is.
    Every call raises ServiceError for an answer that is not success, and Unreachable without one.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_seconds: float = 10.0,
        retries: int = 3,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Prepare for calls; nothing is sent yet.

        Args:
            url: where the service is, as http://127.0.0.1:8080.
            key: secret, restricted or administrator's; an administrator's calls name `organization_id`.
            timeout_seconds: for each of connecting, sending and waiting.
            retries: how often a call is sent again at most.
            transport, sleep, chance: stand in for the network, time and chance in tests.

        Raises: InvalidRequest for a URL or a key that cannot be one.
        """
        http = httpx2.Client(**client_settings(url, key, timeout_seconds), transport=transport)
        network = BlockingNetwork(http, sleep)
        self._awaited = AsyncCalls(str(http.base_url), network, retries=retries, chance=chance)
        self.tokens = Tokens(self._awaited.tokens)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    close = _blocking(AsyncCalls.close)
    publish = _blocking(AsyncCalls.publish)
    presence = _blocking(AsyncCalls.presence)
    presence_of = _blocking(AsyncCalls.presence_of)
    history = _each(AsyncCalls.history)
    history_page = _blocking(AsyncCalls.history_page)
    history_rules = _blocking(AsyncCalls.history_rules)
    set_history_rules = _blocking(AsyncCalls.set_history_rules)
    erase_history = _blocking(AsyncCalls.erase_history)

    def send(self, call: Call[T]) -> T:
        """Send a call, again where that is right, and return its answer."""
        return finish(self._awaited.send(call))
