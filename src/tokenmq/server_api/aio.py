"""The service for a backend, under asyncio."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import httpx2

from tokenmq.server_api.core import AsyncCalls
from tokenmq.server_api.http import client_settings
from tokenmq.server_api.network import AwaitedNetwork


class AsyncServerApi(AsyncCalls):
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
        http = httpx2.AsyncClient(**client_settings(url, key, timeout_seconds), transport=transport)
        super().__init__(str(http.base_url), AwaitedNetwork(http, sleep), retries=retries, chance=chance)
