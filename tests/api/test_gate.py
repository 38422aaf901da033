"""What holds on every path: limits, headers, CORS, errors, time."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from tokenmq.api.answer import ok, send_answer
from tokenmq.api.errors import HttpRefused
from tokenmq.api.gate import Gate
from tokenmq.config import HttpSettings
from tokenmq.errors import Conflict, InvalidKey, ProtocolError, RateLimited

Route = Callable[[Scope, Receive, Send], Awaitable[None]]


def scope_of(path: str = "/healthz", *, method: str = "GET", headers: object = (), **more: Any) -> Scope:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "scheme": "http",
        "headers": list(headers),
        **more,
    }


async def ask(
    route: Route, scope: Scope, *parts: Message, settings: HttpSettings | None = None
) -> list[Message]:
    """Send one request through a gate; return what it sent."""
    sent: list[Message] = []
    pending = iter(parts or ({"type": "http.request", "body": b""},))

    async def receive() -> Message:
        return next(pending)

    async def send(message: Message) -> None:
        sent.append(message)

    await Gate(route, settings or HttpSettings())(scope, receive, send)
    return sent


def headers_of(sent: list[Message]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def problem_of(sent: list[Message]) -> dict[str, Any]:
    """Return the error answer, after checking that it has the one shape."""
    body = json.loads(sent[1]["body"])
    assert headers_of(sent)["content-type"] == "application/problem+json"
    assert set(body) - {"errors"} == {
        "type",
        "title",
        "status",
        "detail",
        "error",
        "error_description",
        "message",
    }
    assert body["status"] == sent[0]["status"]
    assert isinstance(body["detail"], str) and body["detail"] == body["error_description"] == body["message"]
    return body


async def fine(scope: Scope, receive: Receive, send: Send) -> None:
    await send_answer(ok({"a": 1}), scope, send)


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send_answer(ok({"size": size}), scope, send)


def raising(error: Exception) -> Route:
    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return route


async def test_good_answer_carries_the_security_headers() -> None:
    sent = await ask(fine, scope_of())
    headers = headers_of(sent)
    assert headers.pop("x-request-id").startswith("req_")
    assert headers == {
        "content-type": "application/json",
        "content-length": "7",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "cross-origin-resource-policy": "same-origin",
    }


async def test_strict_transport_security_only_over_tls() -> None:
    headers = headers_of(await ask(fine, scope_of(scheme="https")))
    assert headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"


async def test_cache_control_of_a_route_stays() -> None:
    async def cached(scope: Scope, receive: Receive, send: Send) -> None:
        await send_answer(ok({}, headers=((b"cache-control", b"public"),)), scope, send)

    assert headers_of(await ask(cached, scope_of()))["cache-control"] == "public"


@pytest.mark.parametrize(
    ("path", "is_open"),
    [
        ("/v2/tokens", True),
        ("/v2/tokens/create", True),
        ("/v2/tokens/no/such/path", True),
        ("/v1/create", True),
        ("/v2/providers", True),
        ("/v2/utilities/presence", True),
        ("/v2/utilities/retained", False),
        ("/v2/history", True),
        ("/.well-known/jwks.json", True),
        ("/openapi.json", True),
        ("/v2/keys", False),
        ("/v2/organizations", False),
        ("/healthz", False),
        ("/", False),
    ],
)
@pytest.mark.parametrize(
    "route", [fine, raising(InvalidKey("no")), raising(KeyError())], ids=["200", "401", "500"]
)
async def test_cors_stands_on_every_answer_of_browser_paths_and_on_no_other(
    route: Route, path: str, is_open: bool
) -> None:
    headers = headers_of(await ask(route, scope_of(path)))
    assert headers.get("access-control-allow-origin") == ("*" if is_open else None)
    assert "access-control-allow-credentials" not in headers
    if is_open:
        assert headers["access-control-allow-headers"] == (
            "Content-Type, Authorization, Idempotency-Key, X-Secret-Key"
        )


async def test_head_has_the_headers_and_no_body() -> None:
    sent = await ask(fine, scope_of(method="HEAD"))
    assert headers_of(sent)["content-length"] == "7"
    assert sent[1]["body"] == b""


@pytest.mark.parametrize(
    ("error", "status", "code", "more"),
    [
        (HttpRefused(404, "no such path", code="not_found"), 404, "not_found", {}),
        (InvalidKey("no such key"), 401, "unauthorized", {"www-authenticate": "Bearer"}),
        (Conflict("taken"), 409, "conflict", {}),
        (
            RateLimited("slower", retry_after_seconds=7, quota=60, window_seconds=60, policy="failures"),
            429,
            "rate_limited",
            {
                "retry-after": "7",
                "ratelimit": '"failures";r=0;t=7',
                "ratelimit-policy": '"failures";q=60;w=60',
            },
        ),
        # an error of another edge is a defect here
        (ProtocolError(0x81, "malformed"), 500, "internal_error", {}),
        (ZeroDivisionError("secret"), 500, "internal_error", {}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_errors_are_answered_in_one_shape(
    error: Exception, status: int, code: str, more: dict[str, str]
) -> None:
    with capture_logs():
        sent = await ask(raising(error), scope_of())
    body = problem_of(sent)
    assert (body["status"], body["error"]) == (status, code)
    headers = headers_of(sent)
    assert {name: headers.get(name) for name in more} == more


async def test_defect_is_logged_once_with_its_place_and_nothing_of_its_message() -> None:
    with capture_logs() as logs:
        sent = await ask(raising(ZeroDivisionError("hunter2")), scope_of("/v2/tokens"))
    assert [(log["event"], log["error"], log["path"]) for log in logs] == [
        ("request failed", "ZeroDivisionError", "/v2/tokens")
    ]
    assert logs[0]["request_id"] == headers_of(sent)["x-request-id"]
    assert "test_gate.py" in logs[0]["traceback"].split(" < ")[0]
    assert "hunter2" not in repr(logs) + repr(sent)


async def test_v107_paths_are_logged_short_and_keys_in_them_masked() -> None:
    key = "sk_" + "A" * 57
    with capture_logs() as logs:
        await ask(raising(ZeroDivisionError()), scope_of(f"/v2/\r\n\x1b[31m{key}/" + "x" * 900))
    assert key not in repr(logs)
    assert len(logs[0]["path"]) <= 128


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        (scope_of("/" + "a" * 4_096), 414),
        (scope_of("/a", query_string=b"a" * 4_095), 414),
        (scope_of(headers=[(b"x-a", b"a" * 16_400)]), 431),
        (scope_of(headers=[(b"x-%d" % n, b"a" * 100) for n in range(200)]), 431),
        (scope_of(method="POST", headers=[(b"content-length", b"65537")]), 413),
        (scope_of(method="POST", headers=[(b"content-length", b"9" * 400)]), 413),
        (scope_of(method="POST", headers=[(b"content-length", b"9" * 5_000)]), 413),
    ],
    ids=range(7),
)
async def test_v108_requests_that_announce_too_much_are_refused_unread(scope: Scope, status: int) -> None:
    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("the route was asked")

    sent = await ask(never, scope)
    assert problem_of(sent)["status"] == status
    assert headers_of(sent)["connection"] == "close"


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536])
async def test_bodies_up_to_the_limit_pass(size: int) -> None:
    half = size // 2
    parts = (
        {"type": "http.request", "body": b"a" * half, "more_body": True},
        {"type": "http.request", "body": b"a" * (size - half)},
    )
    sent = await ask(reading, scope_of(method="POST"), *parts)
    assert json.loads(sent[1]["body"]) == {"size": size}


async def test_body_that_grows_too_large_is_refused_at_once() -> None:
    parts = ({"type": "http.request", "body": b"a" * 40_000, "more_body": True} for _ in range(2))
    sent = await ask(reading, scope_of(method="POST"), *parts)
    assert problem_of(sent)["status"] == 413


async def test_url_of_exactly_the_limit_passes() -> None:
    sent = await ask(fine, scope_of("/" + "a" * 4_000, query_string=b"a" * 95))
    assert sent[0]["status"] == 200


async def test_client_that_goes_away_while_sending_gets_nothing() -> None:
    parts = ({"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"})
    assert await ask(reading, scope_of(method="POST"), *parts) == []


async def test_a_length_that_is_no_number_is_the_servers_to_refuse() -> None:
    sent = await ask(fine, scope_of(headers=[(b"content-length", b"-1")]))
    assert sent[0]["status"] == 200


async def test_lifespan_and_websocket_go_through_untouched() -> None:
    seen = []

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    for kind in ("lifespan", "websocket"):
        await ask(route, {"type": kind})
    assert seen == ["lifespan", "websocket"]
