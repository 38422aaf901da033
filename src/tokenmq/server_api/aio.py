"""The service for a backend, under asyncio."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx2

from tokenmq.client.answers import (
    Introspection,
    IssuedToken,
    Published,
    Revocation,
    RevocationRequest,
    TokenInfo,
    TokenRequest,
)
from tokenmq.client.clocks import Backoff
from tokenmq.client.replies import answer_of, unreachable
from tokenmq.server_api import calls
from tokenmq.server_api.calls import Call
from tokenmq.server_api.http import client_settings
from tokenmq.server_api.retries import Attempts

T = TypeVar("T")


class AsyncServerApi:
    """One token service and broker, for a backend with a key.

        async with AsyncServerApi("http://127.0.0.1:8080", key) as api:
            token = await api.tokens.create(user_id="alice", permissions=["subscribe"], topics=["chat/#"])
            await api.publish("chat/room1", {"hello": "alice"})

    Connections are kept and shared. What was surely not done (429, 503, no connection) is sent again
    with backoff, as `Retry-After` asks; after other failures only what may be done twice is.
    Every call raises ServiceError for an answer that is not success, and Unreachable without one.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_seconds: float = 10.0,
        retries: int = 3,
        transport: httpx2.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
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
        self._http = httpx2.AsyncClient(**client_settings(url, key, timeout_seconds), transport=transport)
        self._retries = retries
        self._sleep = sleep
        self._chance = chance
        self.tokens = AsyncTokens(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the network connections."""
        await self._http.aclose()

    async def publish(
        self,
        topic: str,
        payload: dict[str, Any] | list[Any] | str,
        *,
        qos: int = 1,
        retain: bool = False,
        organization_id: str | None = None,
    ) -> Published:
        """Publish a message; it is never sent twice by itself."""
        return await self.send(
            calls.publish(topic, payload, qos=qos, retain=retain, organization_id=organization_id)
        )

    async def send(self, call: Call[T]) -> T:
        """Send a call, again where that is right, and return its answer."""
        attempts = Attempts(
            is_repeatable=call.is_repeatable, retries=self._retries, backoff=Backoff(chance=self._chance)
        )
        while True:
            try:
                response = await self._http.request(
                    call.method, call.path, params=call.query, json=call.body, headers=call.headers
                )
            except httpx2.TransportError as error:
                if (wait := attempts.after(error)) is None:
                    raise unreachable(error, str(self._http.base_url)) from error
            else:
                if response.is_success or (wait := attempts.after(response)) is None:
                    return answer_of(response, call.wants, str(self._http.base_url))
            await self._sleep(wait)


class AsyncTokens:
    """Tokens: made, looked at, revoked."""

    def __init__(self, api: AsyncServerApi) -> None:
        self._api = api

    async def create(self, **request: Unpack[TokenRequest]) -> IssuedToken:
        """Make a token for a user; hand the whole answer to their client."""
        return await self._api.send(calls.create_token(**request))

    async def revoke(self, **request: Unpack[RevocationRequest]) -> Revocation:
        """Revoke tokens; when this returns it is durable and their connections are closed."""
        return await self._api.send(calls.revoke(**request))

    async def get(self, token_id: str, *, organization_id: str | None = None) -> TokenInfo:
        """Look at a token's family."""
        return await self._api.send(calls.get_token(token_id, organization_id))

    async def list(
        self, *, organization_id: str | None = None, user_id: str | None = None, status: str | None = None
    ) -> AsyncIterator[TokenInfo]:
        """Yield every token family, or those of a user or in a status."""
        cursor: str | None = None
        while True:
            page = await self._api.send(
                calls.list_tokens(
                    organization_id=organization_id, user_id=user_id, status=status, cursor=cursor
                )
            )
            for token in page["tokens"]:
                yield token
            if not (cursor := page["next"]):
                return

    async def introspect(self, token: str, *, organization_id: str | None = None) -> Introspection:
        """Ask whether a token is good now, and what it may do (RFC 7662)."""
        return await self._api.send(calls.introspect(token, organization_id))
