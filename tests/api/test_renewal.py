"""POST /v2/tokens/refresh and /v2/tokens/exchange."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from tokenmq.api import create_app
from tokenmq.config import HttpSettings

MEMBERS = {
    "token", "access_token", "token_type", "expires_in", "expires_at", "refresh_recommended_at",
    "token_id", "organization_id", "org_short_id", "user_id", "user_email", "provider", "permissions",
    "topics", "grants", "mqtt_credentials", "mqtt_username", "mqtt_password", "token_password",
}  # fmt: skip


async def refresh(world: Any, made: dict[str, Any], **more: Any) -> Any:
    body = {"token_id": made["token_id"], "current_token_password": made["access_token"]}
    return await world.ask("POST", "/v2/tokens/refresh", body=body, **more)


async def exchange(world: Any, made: dict[str, Any], **more: Any) -> Any:
    body = {"organization_id": world.org_id, "token": made["access_token"]}
    return await world.ask("POST", "/v2/tokens/exchange", body=body, **more)


async def test_refresh_answers_as_a_creation_does(world: Any) -> None:
    world.set_time("2026-11-24T12:00:00Z")
    made = await world.token(user_id="ann", ttl=3_600)
    world.set_time("2026-11-24T12:54:00Z")
    answer = await refresh(world, made)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["access-control-allow-origin"] == "*"
    body = answer.json()
    assert set(body) == MEMBERS
    assert body["token_id"] == made["token_id"] and body["token"] != made["token"]
    assert body["expires_at"] == "2026-11-24T13:54:00Z"
    assert body["refresh_recommended_at"] == "2026-11-24T13:48:00Z"
    assert body["mqtt_credentials"] == {"username": made["mqtt_username"], "password": body["token"]}
    claims = world.claims(body["token"])
    assert (claims["gen"], claims["fam"]) == (1, made["token_id"])
    shown = await world.ask("GET", f"/v2/tokens/{made['token_id']}", key=world.keys["sk"])
    assert shown.json()["generation"] == 1


async def test_exchange_answers_with_a_family_of_its_own(world: Any) -> None:
    made = await world.token(user_id="ann")
    answer = await exchange(world, made)
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == MEMBERS
    assert body["token_id"] != made["token_id"] and body["user_id"] == "ann"
    assert (await refresh(world, body)).json()["token_id"] == body["token_id"]


async def test_lost_answers_are_given_again(world: Any) -> None:
    made = await world.token(user_id="ann")
    answers = await asyncio.gather(*(refresh(world, made) for _ in range(8)))
    assert {world.claims(answer.json()["token"])["jti"] for answer in answers} == {
        world.claims((await refresh(world, made)).json()["token"])["jti"]
    }


async def test_unknown_fields_and_keys_are_passed_over(world: Any) -> None:
    made = await world.token(user_id="ann")
    body = {"token_id": made["token_id"], "current_token_password": made["token"], "later": [1]}
    answer = await world.ask("POST", "/v2/tokens/refresh", body=body, key=world.wrong_keys["unknown"])
    assert answer.status_code == 200
    body = {"organization_id": world.org_id, "token": made["token"], "later": {}, "integration_id": "x"}
    assert (await world.ask("POST", "/v2/tokens/exchange", body=body)).status_code == 200


@pytest.mark.parametrize("missing", ["token_id", "current_token_password"])
async def test_missing_field_is_400_and_named(world: Any, missing: str) -> None:
    body = {"token_id": "a", "current_token_password": "b"}
    del body[missing]
    answer = await world.ask("POST", "/v2/tokens/refresh", body=body)
    assert world.refused(answer, 400, "invalid_request")["errors"][0]["field"] == missing


async def test_exchange_names_its_organization_or_shows_a_key(world: Any) -> None:
    made = await world.token(user_id="ann")
    body = {"token": made["token"]}
    answer = await world.ask("POST", "/v2/tokens/exchange", body=body)
    assert world.refused(answer, 400, "invalid_request")["errors"][0]["field"] == "organization_id"
    for key in ("sk", "pk", "rk"):
        assert (
            await world.ask("POST", "/v2/tokens/exchange", body=body, key=world.keys[key])
        ).status_code == 200
    wrong = await world.ask("POST", "/v2/tokens/exchange", body=body, key=world.wrong_keys["deleted"])
    world.refused(wrong, 401, "unauthorized")
    missing = {**body, "organization_id": "org_aaaaaaaaaaaa"}
    world.refused(
        await world.ask("POST", "/v2/tokens/exchange", body=missing), 404, "organization_not_found"
    )


async def test_each_refusal_has_the_status_and_code_that_clients_know(world: Any) -> None:
    made = await world.token(user_id="ann", ttl=60)
    bound = await world.token(user_id="ann", renewable=False)
    revoked = await world.token(user_id="ann")
    await world.ask("DELETE", f"/v2/tokens/{revoked['token_id']}", key=world.keys["sk"])
    world.refused(await refresh(world, bound), 403, "forbidden")
    world.refused(await refresh(world, revoked), 401, "unauthorized")
    world.refused(await exchange(world, revoked), 401, "unauthorized")
    world.refused(await refresh(world, {**made, "token_id": bound["token_id"]}), 401, "unauthorized")
    world.refused(await refresh(world, {**made, "access_token": "x.y.z"}), 401, "unauthorized")
    world.now += 60
    world.refused(await exchange(world, made), 401, "token_expired")
    world.now += 301
    world.refused(await refresh(world, made), 401, "token_expired")


async def test_foreign_issuer_finds_no_provider(world: Any) -> None:
    # {"alg":"RS256"}.{"iss":"https://issuer.example"}.
    foreign = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIn0.AAAA"
    answer = await exchange(world, {"access_token": foreign})
    world.refused(answer, 404, "provider_not_found")
    world.refused(await exchange(world, {"access_token": "x"}), 401, "unauthorized")


@pytest.mark.parametrize("use", [refresh, exchange])
async def test_page_that_is_not_allowed_gets_a_403_that_it_can_read(world: Any, use: Any) -> None:
    made = await world.token(user_id="ann")
    answer = await use(world, made, headers={"Origin": "https://attacker.example"})
    world.refused(answer, 403, "forbidden")
    assert answer.headers["access-control-allow-origin"] == "*"
    good = await use(world, made, headers={"Origin": "http://localhost:5173"})
    assert good.status_code == 200
    preflight = await world.ask("OPTIONS", f"/v2/tokens/{use.__name__}", headers={"Origin": "null"})
    assert preflight.status_code == 204


async def test_reuse_is_a_401_that_says_why_and_shows_nothing(world: Any) -> None:
    first = await world.token(user_id="ann")
    second = (await refresh(world, first)).json()
    third = (await refresh(world, second)).json()
    answer = await refresh(world, first)
    assert "superseded" in world.refused(answer, 401, "unauthorized")["detail"]
    world.refused(await refresh(world, third), 401, "unauthorized")
    assert third["token"] not in answer.text


async def test_over_30_generations_a_minute_is_429_with_its_headers(world: Any) -> None:
    made = await world.token(user_id="ann")
    for _ in range(30):
        before, made = made, (await refresh(world, made)).json()
    answer = await refresh(world, made)
    world.refused(answer, 429, "rate_limited")
    assert answer.headers["retry-after"] == "60"
    assert answer.headers["ratelimit"] == '"generations";r=0;t=60'
    assert answer.headers["ratelimit-policy"] == '"generations";q=30;w=60'
    assert (await refresh(world, before)).status_code == 200


class TestFailures:
    """SECURITY 6.2: 60 failed requests a minute from one address."""

    @pytest.fixture
    def ask_from(self, world: Any) -> Any:
        app = create_app(world.services, HttpSettings(), now=lambda: world.now)

        async def ask(address: str, made: dict[str, Any], path: str = "refresh") -> Any:
            transport = httpx2.ASGITransport(app=app, client=(address, 5))
            body = {
                "token_id": made["token_id"],
                "current_token_password": made["access_token"],
                "token": made["access_token"],
                "organization_id": world.org_id,
            }
            async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
                return await client.post(f"/v2/tokens/{path}", json=body)

        return ask

    async def test_more_are_429_and_a_good_credential_is_never_refused_for_them(
        self, world: Any, ask_from: Any
    ) -> None:
        good = await world.token(user_id="ann")
        bad = {**good, "access_token": good["access_token"][:-4] + "AAAA"}
        for number in range(60):
            path = ("refresh", "exchange")[number % 2]
            world.refused(await ask_from("192.0.2.1", bad, path), 401, "unauthorized")
        for path in ("refresh", "exchange"):
            answer = await ask_from("192.0.2.1", bad, path)
            world.refused(answer, 429, "rate_limited")
            assert answer.headers["ratelimit-policy"] == '"failures";q=60;w=60'
        assert (await ask_from("192.0.2.1", good)).status_code == 200
        world.refused(await ask_from("192.0.2.2", bad), 401)
        world.now += 60
        world.refused(await ask_from("192.0.2.1", bad), 401)

    async def test_loopback_is_not_counted(self, world: Any, ask_from: Any) -> None:
        good = await world.token(user_id="ann")
        bad = {**good, "access_token": "x"}
        for _ in range(70):
            world.refused(await ask_from("127.0.0.1", bad), 401)
