"""The backend's half, over a service in this process; both clients do the same."""

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from tokenmq import server_api
from tokenmq.errors import InvalidRequest, ServiceError, Unreachable
from tokenmq.server_api import AsyncServerApi, ServerApi
from tokenmq.server_api.core import AsyncTokens
from tokenmq.server_api.sync import Tokens

ISSUED = {
    "token": "a.b.c",
    "token_id": "tok_1",
    "expires_at": "2026-11-24T13:00:00Z",
    "organization_id": "org_x",
    "user_id": "alice",
    "mqtt_username": "alice@org_x",
}
Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]] | Exception


class Backend:
    """Calls the API in one of its two forms, against answers that are given.

    Attributes:
        asked: every request.
        slept: seconds that were waited.
    """

    def __init__(self, *, is_async: bool) -> None:
        self.is_async = is_async
        self.answers: list[Answer] = []
        self.asked: list[httpx2.Request] = []
        self.slept: list[float] = []

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, told, *headers = answer
        return httpx2.Response(status, json=told, headers=headers[0] if headers else None)

    def api(self, **options: Any) -> Any:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)

        given = {"transport": httpx2.MockTransport(self._answer), "chance": lambda: 1.0, **options}
        if self.is_async:
            return AsyncServerApi("http://service/", "sk_1", sleep=sleep, **given)
        return ServerApi("http://service/", "sk_1", sleep=self.slept.append, **given)

    async def call(self, function: Callable[[Any], Any], *answers: Answer, **options: Any) -> Any:
        """Call with these answers to come, and return what it returned."""
        self.answers = list(answers)
        api = self.api(**options)
        if not self.is_async:
            with api:
                result = function(api)
                return list(result) if inspect.isgenerator(result) else result
        async with api:
            result = function(api)
            return [one async for one in result] if inspect.isasyncgen(result) else await result

    def body(self, index: int = -1) -> Any:
        return json.loads(self.asked[index].content)


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def backend(request: pytest.FixtureRequest) -> Backend:
    return Backend(is_async=request.param)


def create(api: Any) -> Any:
    return api.tokens.create(user_id="alice", permissions=["subscribe"], topics=["chat/#"])


def publish(api: Any) -> Any:
    return api.publish("chat/a", {"x": 1})


async def test_a_token_is_made_with_the_key(backend: Backend) -> None:
    assert await backend.call(create, (200, ISSUED)) == ISSUED
    (request,) = backend.asked
    assert (request.method, str(request.url)) == ("POST", "http://service/v2/tokens")
    assert request.headers["authorization"] == "Bearer sk_1"
    assert backend.body() == {"user_id": "alice", "permissions": ["subscribe"], "topics": ["chat/#"]}


async def test_making_a_token_again_after_no_answer_makes_one(backend: Backend) -> None:
    lost = httpx2.ReadTimeout("late")
    assert await backend.call(create, lost, (502, "<html>"), (200, ISSUED)) == ISSUED
    assert len({request.headers["idempotency-key"] for request in backend.asked}) == 1
    assert backend.slept == [1, 2]
    await backend.call(create, (200, ISSUED))
    assert len({request.headers["idempotency-key"] for request in backend.asked}) == 2


async def test_retry_after_is_obeyed(backend: Backend) -> None:
    await backend.call(create, (429, {"detail": "slow"}, {"retry-after": "7"}), (200, ISSUED))
    assert backend.slept == [8]


async def test_retry_after_may_be_a_date_and_is_compared_with_the_answers_own(backend: Backend) -> None:
    dates = {"date": "Sun, 06 Nov 1994 08:49:37 GMT", "retry-after": "Sun, 06 Nov 1994 08:49:42 GMT"}
    await backend.call(create, (503, {"detail": "away"}, dates), (200, ISSUED))
    assert backend.slept == [6]


async def test_a_wait_that_is_too_long_is_the_callers(backend: Backend) -> None:
    with pytest.raises(ServiceError) as caught:
        await backend.call(
            create, (429, {"error": "rate_limited", "detail": "slow"}, {"retry-after": "3600"})
        )
    assert (caught.value.status, caught.value.code, backend.slept) == (429, "rate_limited", [])


async def test_it_gives_up_after_some_retries(backend: Backend) -> None:
    with pytest.raises(ServiceError, match="away"):
        await backend.call(create, *[(503, {"detail": "away"})] * 4)
    assert len(backend.asked) == 4
    with pytest.raises(Unreachable, match="no token service answers at http://service"):
        await backend.call(create, *[httpx2.ConnectError("refused")] * 2, retries=1)


async def test_a_refusal_is_raised_at_once(backend: Backend) -> None:
    with pytest.raises(ServiceError, match="too wide") as caught:
        await backend.call(create, (403, {"error": "forbidden", "detail": "too wide"}))
    assert (caught.value.status, caught.value.code) == (403, "forbidden")


async def test_a_message_is_published_and_never_twice(backend: Backend) -> None:
    done = (200, {"success": True, "message_id": "m1"})
    assert await backend.call(publish, done) == done[1]
    assert str(backend.asked[0].url) == "http://service/v1/publish"
    assert backend.body() == {"topic": "chat/a", "payload": {"x": 1}, "qos": 1, "retain": False}
    for unknown in (httpx2.ReadTimeout("late"), (500, {"detail": "?"})):
        with pytest.raises((Unreachable, ServiceError)):
            await backend.call(publish, unknown)
    # What was surely not done is another matter.
    assert await backend.call(publish, httpx2.ConnectError("no"), (503, {}), done) == done[1]


async def test_tokens_are_listed_page_by_page_looked_at_and_revoked(backend: Backend) -> None:
    pages = [
        (200, {"tokens": [{"token_id": "tok_1"}], "next": "c"}),
        (200, {"tokens": [{"token_id": "tok_2"}], "next": None}),
    ]
    listed = await backend.call(lambda api: api.tokens.list(user_id="alice"), *pages)
    assert [token["token_id"] for token in listed] == ["tok_1", "tok_2"]
    assert dict(backend.asked[1].url.params) == {"user_id": "alice", "cursor": "c", "limit": "100"}
    await backend.call(lambda api: api.tokens.get("tok/1", organization_id="o"), (200, {"token_id": "tok_1"}))
    assert str(backend.asked[-1].url) == "http://service/v2/tokens/tok%2F1?organization_id=o"
    revoked = await backend.call(
        lambda api: api.tokens.revoke(user_id="alice", reason="left"),
        (500, {}),
        (200, {"revoked": 2, "sessions_closed": 1}),
    )
    assert revoked == {"revoked": 2, "sessions_closed": 1}
    assert backend.body() == {"user_id": "alice", "reason": "left"}
    told = await backend.call(lambda api: api.tokens.introspect("t"), (200, {"active": False}))
    assert told == {"active": False} and backend.body() == {"token": "t"}


def present(*client_ids: str, following: str | None = None) -> Answer:
    users = [{"username": "alice", "client_id": client_id} for client_id in client_ids]
    return 200, {"online_count": 1, "count": 3, "users": users, "next": following}


def message(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "topic": "chat/a",
        "payload": "x",
        "qos": 1,
        "retain": False,
        "user_id": "alice",
        "at": "2026-11-24T13:00:00Z",
    }


def page(*numbers: int, following: str | None = None) -> Answer:
    return 200, {"recorded": True, "messages": [message(one) for one in numbers], "next": following}


async def test_who_is_present_is_told_by_topic_and_by_user(backend: Backend) -> None:
    pages = present("a", "b", following="x"), present("c")
    found = await backend.call(lambda api: api.presence("chat/+"), *pages)
    assert (found["online_count"], found["count"]) == (1, 3)
    assert [one["client_id"] for one in found["users"]] == ["a", "b", "c"]
    first, second = backend.asked
    assert (first.url.path, dict(first.url.params)) == (
        "/v2/utilities/presence",
        {"topic": "chat/+", "limit": "500"},
    )
    assert dict(second.url.params) == {"topic": "chat/+", "limit": "500", "cursor": "x"}
    found = await backend.call(lambda api: api.presence_of("a/b", organization_id="o"), present("a"))
    assert len(found["users"]) == 1
    asked = str(backend.asked[-1].url)
    assert asked == "http://service/v2/utilities/presence/a%2Fb?organization_id=o&limit=500"


async def test_history_is_read_page_by_page_up_to_its_limit(backend: Backend) -> None:
    def whole(api: Any) -> Any:
        return api.history("chat/#", since=datetime(2026, 11, 24, tzinfo=UTC), until=1e9 + 0.5, after=7)

    read = await backend.call(whole, page(3, 2, following="c"), page(1))
    assert [one["id"] for one in read] == [3, 2, 1]
    first, second = (dict(request.url.params) for request in backend.asked)
    assert first == {
        "topic": "chat/#",
        "since": "2026-11-24T00:00:00Z",
        "until": "1000000000.5",
        "after": "7",
        "limit": "100",
        "order": "desc",
    }
    assert second == {**first, "cursor": "c"}

    def some(api: Any) -> Any:
        return api.history("chat/#", limit=120, order="asc")

    backend.asked.clear()
    read = await backend.call(some, page(*range(100), following="c"), page(*range(100, 120), following="d"))
    assert [one["id"] for one in read] == list(range(120))
    assert [request.url.params["limit"] for request in backend.asked] == ["100", "20"]
    assert await backend.call(lambda api: api.history("chat/#", limit=0)) == []
    told = await backend.call(lambda api: api.history_page("x", cursor="c", limit=2), page(1))
    assert told["recorded"] is True and backend.asked[-1].url.params["cursor"] == "c"


async def test_a_history_is_asked_for_as_far_as_it_is_read(backend: Backend) -> None:
    backend.answers = [page(3, 2, following="c")]
    api = backend.api()
    if backend.is_async:
        async with api:
            read = api.history("chat/#")
            assert (await anext(read))["id"] == 3
            await read.aclose()
    else:
        with api:
            read = api.history("chat/#")
            assert next(read)["id"] == 3
            read.close()
    assert len(backend.asked) == 1


async def test_a_moment_without_a_time_zone_is_refused(backend: Backend) -> None:
    with pytest.raises(InvalidRequest, match="no time zone"):
        await backend.call(lambda api: api.history("a", since=datetime(2026, 11, 24)))  # noqa: DTZ001


async def test_rules_of_history_are_read_and_set_and_history_is_erased(backend: Backend) -> None:
    rules = {"rules": [{"topic": "chat/#", "max_age": 60, "max_messages": 10, "durable": True}]}
    assert await backend.call(lambda api: api.history_rules(), (200, rules)) == rules
    assert await backend.call(lambda api: api.set_history_rules(rules["rules"]), (200, rules)) == rules
    request = backend.asked[-1]
    assert (request.method, request.url.path) == ("PUT", "/v2/history/rules") and backend.body() == rules
    erased = (200, {"erased": 3})
    assert await backend.call(lambda api: api.erase_history("chat/#"), erased) == erased[1]
    assert await backend.call(lambda api: api.erase_history(user_id="alice"), erased) == erased[1]
    assert [(one.method, one.url.query) for one in backend.asked[-2:]] == [
        ("DELETE", b"topic=chat%2F%23"),
        ("DELETE", b"user_id=alice"),
    ]
    with pytest.raises(InvalidRequest, match="not both"):
        await backend.call(lambda api: api.erase_history())
    with pytest.raises(InvalidRequest, match="not both"):
        await backend.call(lambda api: api.erase_history("a", user_id="b"))


async def test_an_answer_that_lacks_what_is_needed_is_no_token_service(backend: Backend) -> None:
    with pytest.raises(ServiceError, match="is no token service"):
        await backend.call(create, (200, {"hello": "world"}))


@pytest.mark.parametrize(("url", "key"), [("service", "sk_1"), ("http://service", "sk 1"), ("ftp://x", "k")])
def test_addresses_and_keys_that_cannot_be_are_refused(url: str, key: str) -> None:
    with pytest.raises(InvalidRequest):
        ServerApi(url, key)
    with pytest.raises(InvalidRequest):
        AsyncServerApi(url, key)


@pytest.mark.parametrize(("one", "other"), [(ServerApi, AsyncServerApi), (Tokens, AsyncTokens)])
def test_both_forms_have_the_same_calls(one: type, other: type) -> None:
    def calls(form: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(function).parameters)
            for name, function in inspect.getmembers(form, inspect.isfunction)
            if not name.startswith("_")
        }

    assert calls(one) == calls(other)
    for name in calls(one):
        assert inspect.getdoc(getattr(one, name)) == inspect.getdoc(getattr(other, name))


def test_it_needs_nothing_that_only_the_service_needs() -> None:
    program = (
        "import sys\n"
        "for name in ('sqlalchemy', 'starlette', 'uvicorn', 'cryptography', 'structlog', 'websockets'):\n"
        "    sys.modules[name] = None\n"
        "import tokenmq.server_api, tokenmq.client, tokenmq.client.sync\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert set(server_api.__all__) == {
        "ServerApi",
        "AsyncServerApi",
        "Published",
        "Presence",
        "PresentUser",
        "HistoryMessage",
        "HistoryPage",
        "HistoryRule",
        "HistoryRules",
    }
