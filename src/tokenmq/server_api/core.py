"""The calls of a backend, once for both forms; `aio` awaits them, `sync` runs them to their end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack

import httpx2

from tokenmq.client.answers import (
    Erased,
    HistoryMessage,
    HistoryPage,
    HistoryRule,
    HistoryRules,
    Introspection,
    IssuedToken,
    Presence,
    PresentUser,
    Published,
    Revocation,
    RevocationRequest,
    TokenInfo,
    TokenRequest,
)
from tokenmq.client.clocks import Backoff
from tokenmq.client.moments import Moment
from tokenmq.client.replies import answer_of, unreachable
from tokenmq.server_api import calls
from tokenmq.server_api.calls import Call, PresencePage
from tokenmq.server_api.network import Network
from tokenmq.server_api.retries import Attempts

T = TypeVar("T")


class AsyncTokens:
    """Tokens: made, looked at, revoked."""

    def __init__(self, api: AsyncCalls) -> None:
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


class AsyncCalls:
    """The calls themselves, over whatever network.

    Attributes:
        tokens: the calls about tokens.
    """

    def __init__(self, url: str, network: Network, *, retries: int, chance: Callable[[], float]) -> None:
        self._url = url
        self._network = network
        self._retries = retries
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
        await self._network.close()

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

    # Presence

    async def presence(self, topic_filter: str, *, organization_id: str | None = None) -> Presence:
        """Ask who is present on a topic, or on the topics of a filter: everybody, page after page."""
        return await self._present(lambda cursor: calls.presence(topic_filter, organization_id, cursor))

    async def presence_of(self, user_id: str, *, organization_id: str | None = None) -> Presence:
        """Ask where a user is present, named by id or username."""
        return await self._present(lambda cursor: calls.presence_of(user_id, organization_id, cursor))

    async def _present(self, asked: Callable[[str | None], Call[PresencePage]]) -> Presence:
        users: list[PresentUser] = []
        cursor: str | None = None
        while True:
            page = await self.send(asked(cursor))
            users += page["users"]
            if not (cursor := page["next"]):
                return Presence(online_count=page["online_count"], count=page["count"], users=users)

    # History

    async def history(
        self,
        topic_filter: str,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        after: int | None = None,
        limit: int | None = None,
        order: Literal["asc", "desc"] = "desc",
        organization_id: str | None = None,
    ) -> AsyncIterator[HistoryMessage]:
        """Yield recorded messages, page after page as they are asked for.

        Args:
            since, until: an aware datetime, unix seconds, or RFC 3339; both ends included.
            after: messages whose id is greater.
            limit: how many at most; None: all that there are.
            order: `desc`: the newest first; `asc`: the oldest first.
        """
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            page = await self.history_page(
                topic_filter,
                since=since,
                until=until,
                after=after,
                limit=left,
                order=order,
                cursor=cursor,
                organization_id=organization_id,
            )
            for message in page["messages"]:
                yield message
            if left is not None:
                left -= len(page["messages"])
            if not (cursor := page["next"]):
                return

    async def history_page(
        self,
        topic_filter: str,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        after: int | None = None,
        limit: int | None = None,
        order: Literal["asc", "desc"] = "desc",
        cursor: str | None = None,
        organization_id: str | None = None,
    ) -> HistoryPage:
        """Return one page of recorded messages, whether anything is recorded there, and the next cursor.

        Arguments are those of `history`; `limit` is of this page, 100 at most are asked for.
        """
        return await self.send(
            calls.history(
                topic_filter,
                since=since,
                until=until,
                after=after,
                limit=limit,
                order=order,
                cursor=cursor,
                organization_id=organization_id,
            )
        )

    async def history_rules(self, *, organization_id: str | None = None) -> HistoryRules:
        """Return the rules by which messages are recorded."""
        return await self.send(calls.history_rules(organization_id))

    async def set_history_rules(
        self, rules: Iterable[HistoryRule], *, organization_id: str | None = None
    ) -> HistoryRules:
        """Put rules in the place of all that there are; on a topic the first that matches holds."""
        return await self.send(calls.set_history_rules(rules, organization_id))

    async def erase_history(
        self,
        topic_filter: str | None = None,
        *,
        user_id: str | None = None,
        organization_id: str | None = None,
    ) -> Erased:
        """Erase what was recorded on topics, or what a user has published; give exactly one of the two.

        Raises: InvalidRequest for both or neither.
        """
        return await self.send(calls.erase_history(topic_filter, user_id, organization_id))

    async def send(self, call: Call[T]) -> T:
        """Send a call, again where that is right, and return its answer."""
        attempts = Attempts(
            is_repeatable=call.is_repeatable, retries=self._retries, backoff=Backoff(chance=self._chance)
        )
        while True:
            try:
                response = await self._network.request(
                    call.method, call.path, params=call.query, json=call.body, headers=call.headers
                )
            except httpx2.TransportError as error:
                if (wait := attempts.after(error)) is None:
                    raise unreachable(error, self._url) from error
            else:
                if response.is_success or (wait := attempts.after(response)) is None:
                    return answer_of(response, call.wants, self._url)
            await self._network.sleep(wait)
