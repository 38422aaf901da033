"""The history over HTTP: what is asked, how pages become messages, and refusals."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from tokenmq.client import Client
from tokenmq.client.messages import Message
from tokenmq.errors import ConnectError, Denied, InvalidRequest, InvalidTopicFilter, ServiceError, Unreachable

CONNECT, SUBSCRIBE = 1, 8
SCRIPT = ((CONNECT, b"\x20\x03\x00\x00\x00"), (SUBSCRIBE, b"\x90\x04\x00\x01\x00\x00"))


class Service:
    """A service that gives pages of a history.

    Attributes:
        asked: the query and the bearer of every request.
        refuses: what is answered in the place of pages.
    """

    def __init__(self, count: int) -> None:
        self.ids = list(range(1, count + 1))
        self.asked: list[tuple[dict[str, str], str]] = []
        self.refuses: list[httpx2.Response | Exception] = []
        self.transport = httpx2.MockTransport(self._answer)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        query = dict(request.url.params)
        self.asked.append((query, request.headers["authorization"]))
        if self.refuses:
            refusal = self.refuses.pop(0)
            if isinstance(refusal, Exception):
                raise refusal
            return refusal
        ids = self.ids if query["order"] == "asc" else self.ids[::-1]
        start, limit = int(query.get("cursor", 0)), int(query["limit"])
        some = ids[start : start + limit]
        following = str(start + limit) if start + limit < len(ids) else None
        messages = [message(one) for one in some]
        return httpx2.Response(200, json={"recorded": True, "messages": messages, "next": following})


def message(number: int) -> dict[str, Any]:
    payload = {"payload": f"hé {number}"} if number % 2 else {"payload_base64": "//8="}
    return {
        "id": number,
        "topic": "chat/a",
        "qos": 1,
        "retain": False,
        "user_id": "bob",
        "at": "2026-11-24T13:00:00.5Z",
        **payload,
    }


@pytest.fixture
async def client(broker: Any) -> AsyncIterator[Any]:
    """A connected client, and its service of 1,200 messages."""
    service = Service(1200)
    client = Client(token_service_url="http://service/", transport=service.transport)
    client.service = service  # type: ignore[attr-defined]
    await client.connect(broker(*SCRIPT).url, username="u", password="p")
    yield client
    await client.close()


async def test_the_newest_come_oldest_first_with_what_is_known_of_them(client: Any) -> None:
    found = await client.history("chat/#", limit=2)
    assert [one.history_id for one in found] == [1199, 1200]
    text, binary = found
    assert (text.topic, text.text, text.qos, text.published_by) == ("chat/a", "hé 1199", 1, "bob")
    assert text.published_at == datetime(2026, 11, 24, 13, 0, 0, 500_000, UTC)
    assert binary.payload == base64.b64decode("//8=") and not binary.history_gap
    assert client.service.asked == [({"topic": "chat/#", "order": "desc", "limit": "2"}, "Bearer p")]


async def test_as_many_pages_are_asked_for_as_it_takes(client: Any) -> None:
    found = await client.history("chat/#", limit=1100)
    assert [one.history_id for one in found] == list(range(101, 1201))
    assert [query["limit"] for query, _ in client.service.asked] == ["500", "500", "100"]
    assert len(await client.history("chat/#", limit=5000)) == 1200


async def test_what_is_wanted_is_told(client: Any) -> None:
    since = datetime(2026, 11, 24, tzinfo=UTC)
    found = await client.history("a", limit=3, since=since, until=5, after=9, from_oldest=True)
    assert [one.history_id for one in found] == [1, 2, 3]
    ((query, _),) = client.service.asked
    assert query == {
        "topic": "a",
        "since": "2026-11-24T00:00:00Z",
        "until": "5",
        "after": "9",
        "order": "asc",
        "limit": "3",
    }
    with pytest.raises(InvalidTopicFilter):
        await client.history("a/#/b")


async def test_refusals_are_told_as_what_they_are(client: Any) -> None:
    service = client.service
    service.refuses = [httpx2.Response(403, json={"error": "forbidden", "detail": "no grant"})]
    with pytest.raises(Denied, match="history of chat/a: no grant") as caught:
        await client.history("chat/a")
    assert caught.value.action == "history"
    service.refuses = [httpx2.Response(401, json={"error": "unauthorized", "detail": "no"})]
    with pytest.raises(ServiceError, match="no"):
        await client.history("chat/a")
    service.refuses = [httpx2.ConnectError("gone")]
    with pytest.raises(Unreachable):
        await client.history("chat/a")


async def test_it_needs_an_address_and_a_connection(broker: Any) -> None:
    async with Client() as client:
        with pytest.raises(ConnectError, match="connect first"):
            await client.history("a")
        await client.connect(broker(*SCRIPT).url, username="u", password="p")
        with pytest.raises(InvalidRequest, match="token_service_url"):
            await client.history("a")


async def test_replays_are_for_mqtt_5(broker: Any) -> None:
    fake = broker((CONNECT, b"\x20\x02\x00\x00"), (SUBSCRIBE, b"\x90\x03\x00\x01\x00"))
    async with Client(protocol_version=4, clean_session=True) as client:
        await client.connect(fake.url, username="u", password="p")
        with pytest.raises(InvalidRequest, match=r"\$history/<count>/<filter>"):
            await client.subscribe("a", history=5)


def test_what_no_broker_would_say_is_left_out() -> None:
    told = (("tokenmq-history-id", "x"), ("tokenmq-history-at", "soon"), ("tokenmq-history-at", "2026"))
    odd = Message("a", b"", user_properties=told)
    assert (odd.history_id, odd.published_at, odd.published_by) == (None, None, None)
    assert Message("a", b"", user_properties=(("tokenmq-history-gap", "true"),)).history_gap
