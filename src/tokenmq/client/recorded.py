"""The history by a client: recorded messages, read over HTTP with its token."""

from __future__ import annotations

import base64
from typing import Final

import httpx2

from tokenmq.client.answers import HistoryMessage, HistoryPage
from tokenmq.client.keeper import Credentials
from tokenmq.client.messages import HISTORY_AT, HISTORY_ID, HISTORY_USER, Message
from tokenmq.client.moments import Moment, written
from tokenmq.client.options import Options
from tokenmq.client.replies import answer_of, is_web_address, unreachable
from tokenmq.client.source import TokenSource
from tokenmq.errors import ConnectError, Denied, InvalidRequest, ServiceError
from tokenmq.topics.filter import check_filter

# The service's own maximum.
PAGE: Final = 500
TIMEOUT_SECONDS: Final = 10.0
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403


class Recorded:
    """The part of a client that reads the history; it needs the permission `history`."""

    options: Options
    _source: TokenSource | None
    _login: Credentials | None
    _reading: httpx2.AsyncClient | None = None

    async def history(
        self,
        topic_filter: str,
        *,
        limit: int = 50,
        since: Moment | None = None,
        until: Moment | None = None,
        after: int | None = None,
        from_oldest: bool = False,
    ) -> list[Message]:
        """Return recorded messages, oldest first.

        It is asked over HTTP, with the newest token or with what the client has connected with, so
        `token_service_url` must be set. Each message has `history_id`, `published_at`, `published_by`.

        Args:
            limit: how many at most: the newest ones, or with `from_oldest` the oldest.
            since, until: an aware datetime, unix seconds, or RFC 3339; both ends included.
            after: messages whose `history_id` is greater.

        Raises: Denied without the permission; ServiceError for another refusal, Unreachable without an
            answer; TokenError, InvalidTopicFilter; InvalidRequest without `token_service_url`.
        """
        check_filter(topic_filter)
        query = {
            "topic": topic_filter,
            "since": None if since is None else written(since),
            "until": None if until is None else written(until),
            "after": None if after is None else str(after),
            "order": "asc" if from_oldest else "desc",
        }
        told = {name: value for name, value in query.items() if value is not None}
        found: list[HistoryMessage] = []
        while len(found) < limit:
            page = await self._page({**told, "limit": str(min(limit - len(found), PAGE))})
            found += page["messages"]
            if not (cursor := page["next"]):
                break
            told["cursor"] = cursor
        if not from_oldest:
            found.reverse()
        return [_message(one) for one in found]

    async def _page(self, query: dict[str, str]) -> HistoryPage:
        """Ask for a page; a token that is refused is renewed once."""
        try:
            return await self._read(query)
        except ServiceError as error:
            if error.status == FORBIDDEN:
                raise Denied("history", query["topic"], error.detail) from error
            if error.status != UNAUTHORIZED or self._source is None:
                raise
            await self._source.renew(self._source.newest)
        return await self._read(query)

    async def _read(self, query: dict[str, str]) -> HistoryPage:
        if self._login is None:
            raise ConnectError("connect first")
        http = self._service()
        _, password = await self._login.current()
        try:
            response = await http.get(
                "/v2/history", params=query, headers={"Authorization": f"Bearer {password}"}
            )
        except httpx2.TransportError as error:
            raise unreachable(error, str(http.base_url)) from error
        return answer_of(response, HistoryPage, str(http.base_url))

    def _service(self) -> httpx2.AsyncClient:
        """Return the connections to the service, made when they are needed first."""
        if self._reading is None:
            url = self.options.token_service_url
            if url is None or not is_web_address(url):
                raise InvalidRequest(
                    ("token_service_url", f"{url!r} is no address, and history is asked for there")
                )
            self._reading = httpx2.AsyncClient(
                base_url=url.rstrip("/"),
                timeout=TIMEOUT_SECONDS,
                verify=True if self.options.tls is None else self.options.tls,
                transport=self.options.transport,
                trust_env=False,
            )
        return self._reading

    async def _close_reading(self) -> None:
        if self._reading is not None:
            await self._reading.aclose()


def _message(told: HistoryMessage) -> Message:
    """Return a message as it would have come by a subscription."""
    payload = told.get("payload")
    return Message(
        told["topic"],
        base64.b64decode(told.get("payload_base64", "")) if payload is None else payload.encode(),
        qos=told["qos"],
        retain=told["retain"],
        user_properties=(
            (HISTORY_ID, str(told["id"])),
            (HISTORY_AT, told["at"]),
            (HISTORY_USER, told["user_id"]),
        ),
    )
