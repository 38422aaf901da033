"""Keys to verify with, health, and paths that are not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tokenmq.api.table import ENDPOINTS
from tokenmq.errors import Unavailable

PATHS = sorted({endpoint.path for endpoint in ENDPOINTS})
UNKNOWN = [
    "/",
    "/v2",
    "/v2/",
    "/v2/token",
    "/v2/tokens/",
    "/v2/tokens/a/b",
    "/V2/TOKENS",
    "/metrics",
    "/docs",
    "//",
]


async def test_j20_jwks_has_its_media_type(world: Any) -> None:
    for method in ("GET", "HEAD"):
        answer = await world.ask(method, "/.well-known/jwks.json")
        assert answer.headers["content-type"] == "application/jwk-set+json"
    described = (await world.ask("GET", "/openapi.json")).json()["paths"]["/.well-known/jwks.json"]["get"]
    assert list(described["responses"]["200"]["content"]) == ["application/jwk-set+json"]


async def test_jwks_verifies_our_tokens_and_holds_nothing_private(world: Any) -> None:
    answer = await world.ask("GET", "/.well-known/jwks.json")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert answer.headers["access-control-allow-origin"] == "*"
    keys = answer.json()["keys"]
    header = world.header((await world.token(user_id="ann"))["token"])
    assert header["kid"] in {key["kid"] for key in keys}
    for key in keys:
        assert set(key) == {"kty", "crv", "x", "y", "use", "alg", "kid"}


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_tells_no_detail(world: Any, path: str) -> None:
    answer = await world.ask("GET", path, params={"probe": "1"})
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", UNKNOWN)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "PROPFIND"])
async def test_unknown_paths_are_404_in_the_one_shape(world: Any, path: str, method: str) -> None:
    world.refused(await world.ask(method, path), 404, "not_found")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
async def test_other_methods_are_405_and_told_which_there_are(world: Any, path: str, method: str) -> None:
    methods = {endpoint.method for endpoint in ENDPOINTS if endpoint.path == path}
    if method in methods:
        return
    answer = await world.ask(method, path, key=world.keys["sk"])
    world.refused(answer, 405, "method_not_allowed")
    allowed = set(answer.headers["allow"].split(", "))
    assert allowed == methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())


@pytest.mark.parametrize("path", PATHS + UNKNOWN)
async def test_options_works_on_every_path(world: Any, path: str) -> None:
    headers = {
        "Origin": "https://app.example.org",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    answer = await world.ask("OPTIONS", path, headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-length" not in answer.headers
    methods = {endpoint.method for endpoint in ENDPOINTS if endpoint.path == path}
    assert methods <= set(answer.headers["access-control-allow-methods"].split(", "))
    tokens = ("/v2/tokens", "/v1/create", "/v2/utilities/presence", "/v2/history")
    is_open = path.startswith((*tokens, "/v2/providers", "/.well-known/", "/openapi.json"))
    assert answer.headers.get("access-control-allow-origin") == ("*" if is_open else None)


@pytest.mark.parametrize("path", ["/healthz", "/.well-known/jwks.json", "/openapi.json"])
async def test_head_answers_as_get_without_the_body(world: Any, path: str) -> None:
    got = await world.ask("GET", path)
    head = await world.ask("HEAD", path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


JSON_TYPES = [
    "application/json",
    "application/json; charset=utf-8",
    "Application/JSON",
    " application/json ;x=y",
]
OTHER_TYPES = [
    "text/plain",
    "text/plain; application/json",
    "application/jsonp",
    "application/problem+json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "multipart/form-data; boundary=" + ("a" * 8_000),
    "text/html",
    "*/*",
    "json",
    "",
    "application/json, text/plain",
]


@pytest.mark.parametrize("media_type", JSON_TYPES)
async def test_v106_json_is_taken_as_json(world: Any, media_type: str) -> None:
    headers = {"Content-Type": media_type}
    answer = await world.ask(
        "POST", "/v2/tokens", key=world.keys["sk"], headers=headers, raw=b'{"user_id":"a"}'
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("media_type", [*OTHER_TYPES, None], ids=lambda value: str(value)[:30])
@pytest.mark.parametrize(
    ("method", "path"),
    sorted((e.method, e.path) for e in ENDPOINTS if e.body is not None),
)
async def test_v106_json_as_anything_else_is_refused(
    world: Any, method: str, path: str, media_type: str | None
) -> None:
    if path.endswith(("/introspect", "/exchange")) and media_type == "application/x-www-form-urlencoded":
        return
    headers = {} if media_type is None else {"Content-Type": media_type}
    answer = await world.ask(method, path, key=world.keys["ik"], headers=headers, raw=b'{"user_id":"a"}')
    world.refused(answer, 415, "invalid_request")


async def test_two_content_types_are_400(world: Any) -> None:
    headers = [("Content-Type", "text/plain"), ("Content-Type", "application/json")]
    answer = await world.ask("POST", "/v2/tokens", key=world.keys["sk"], headers=headers, raw=b"{}")
    world.refused(answer, 400, "invalid_request")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b'{"user_id":"a","user_id":"b"}',
        b'{"user_id":"\xff"}',
        b'{"ttl":NaN}',
        b"[" * 65_000,
    ],
    ids=range(9),
)
@pytest.mark.parametrize(
    "path", ["/v2/tokens", "/v2/tokens/introspect", "/v2/tokens/revoke", "/v2/keys", "/v2/organizations"]
)
async def test_broken_json_is_400_on_every_path(world: Any, path: str, raw: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await world.ask("POST", path, key=world.keys["ik"], headers=headers, raw=raw)
    world.refused(answer, 400, "invalid_request")


async def test_too_large_a_body_or_url_is_refused_in_the_one_shape(world: Any) -> None:
    headers = {"Content-Type": "application/json"}
    raw = json.dumps({"user_id": "a", "metadata": {"a": "x" * 70_000}}).encode()
    answer = await world.ask("POST", "/v2/tokens", key=world.keys["sk"], headers=headers, raw=raw)
    world.refused(answer, 413)
    assert answer.headers["access-control-allow-origin"] == "*"
    world.refused(await world.ask("GET", "/v2/tokens?user_id=" + "a" * 5_000), 414)
    world.refused(await world.ask("GET", "/v2/tokens", headers={"X-Long": "a" * 17_000}), 431)


async def test_lost_store_is_503_and_no_success(
    open_world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost() -> None:
        raise Unavailable("database or disk is full [SQL: SELECT 1]")

    async with open_world(tmp_path) as world:
        await world.services.store.close()
        monkeypatch.setattr(world.services.store, "ping", lost)
        for method, path, body in (
            ("POST", "/v2/tokens", {"user_id": "a"}),
            ("POST", "/v2/tokens/revoke", {"user_id": "a"}),
            ("POST", "/v2/keys", {"kind": "sk", "name": "a"}),
            ("GET", "/readyz", None),
        ):
            answer = await world.ask(method, path, key=world.keys["sk"], body=body)
            world.refused(answer, 503, "unavailable")
            assert int(answer.headers["retry-after"]) >= 1
            assert "SQL" not in answer.text
        assert (await world.ask("GET", "/healthz")).status_code == 200
