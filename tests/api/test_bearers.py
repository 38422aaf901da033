"""A user's token in place of a key, at an endpoint that takes them."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tokenmq.access.addresses import CountedAddresses
from tokenmq.access.permission import Permission
from tokenmq.api.answer import ok
from tokenmq.api.call import Access, Call, Endpoint
from tokenmq.api.dispatch import Path
from tokenmq.api.gate import Gate
from tokenmq.api.keyless import MAX_FAILURES_A_MINUTE, KeylessFailures
from tokenmq.api.schemas.requests import OrganizationQuery
from tokenmq.config import HttpSettings

PATH = "/v2/seen"


async def show(call: Call[None, OrganizationQuery]) -> Any:
    if call.bearer is None:
        return ok({"org": call.about().id, "key": call.caller().kind})
    scope = call.bearer.scope
    topics = ("chat/a", "own/c1", "own/c2", "in/ann")
    seen = [topic for topic in topics if scope.on_topic(Permission.PRESENCE, topic).allowed]
    return ok({"org": call.about().id, "user": call.bearer.identity.user_id, "sees": seen})


def endpoint(permission: Permission | None) -> Endpoint:
    return Endpoint(
        "GET", PATH, "seen", "See", show, Access.SCOPE, dict, OrganizationQuery,
        scope="presence:read", permission=permission,
    )  # fmt: skip


@pytest.fixture
def asks(world: Any) -> Any:
    """Return what asks the endpoint with a credential; with `takes_tokens=False` one that takes only keys."""
    failures = KeylessFailures(CountedAddresses(()))

    async def ask(
        text: str | None, *, takes_tokens: bool = True, headers: Any = None, **query: str
    ) -> httpx2.Response:
        one = endpoint(Permission.PRESENCE if takes_tokens else None)
        path = Path([one], world.services, b"", failures, lambda: world.now)

        async def routed(scope: Any, receive: Any, send: Any) -> None:
            await path({**scope, "path_params": {}}, receive, send)

        transport = httpx2.ASGITransport(app=Gate(routed, HttpSettings()), client=("192.0.2.9", 1))
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
            shown = {} if text is None else {"Authorization": f"Bearer {text}"}
            return await client.get(PATH, headers={**shown, **(headers or {})}, params=query)

    return ask


async def token(world: Any, *topics: str, **fields: Any) -> dict[str, Any]:
    return await world.token(
        user_id="ann", permissions=["presence"], topics=list(topics or ("chat/#",)), **fields
    )


async def test_a_token_is_its_user_with_the_rights_of_its_permission(world: Any, asks: Any) -> None:
    made = await token(world, "chat/#", "in/{user_id}")
    answer = await asks(made["token"])
    assert answer.json() == {"org": world.org_id, "user": "ann", "sees": ["chat/a", "in/ann"]}
    assert (await asks(made["token"], organization_id=world.org_id)).status_code == 200


async def test_a_key_stays_a_key(world: Any, asks: Any) -> None:
    assert (await asks(world.keys["rk"])).json() == {"org": world.org_id, "key": "rk"}
    world.refused(await asks(world.keys["pk"]), 403, "forbidden")
    world.refused(await asks(None), 401, "unauthorized")


async def test_client_id_stands_for_the_one_that_the_token_is_bound_to(world: Any, asks: Any) -> None:
    for client_id, sees in (("c1", ["own/c1"]), ("c*", []), (None, [])):
        fields = {} if client_id is None else {"client_id": client_id}
        made = await token(world, "own/{client_id}", **fields)
        assert (await asks(made["token"])).json()["sees"] == sees


async def test_an_endpoint_for_keys_takes_no_token(world: Any, asks: Any) -> None:
    made = await token(world)
    world.refused(await asks(made["token"], takes_tokens=False), 401, "unauthorized")


async def test_a_revoked_expired_superseded_or_damaged_token_is_401(world: Any, asks: Any) -> None:
    revoked, refreshed, old = await token(world), await token(world), await token(world, ttl=60)
    await world.ask("DELETE", f"/v2/tokens/{revoked['token_id']}", key=world.keys["sk"])
    body = {"token_id": refreshed["token_id"], "current_token_password": refreshed["token"]}
    newest = (await world.ask("POST", "/v2/tokens/refresh", body=body)).json()["token"]
    assert (await asks(newest)).status_code == 200
    world.now += 120
    world.refused(await asks(old["token"]), 401, "token_expired")
    for bad in (revoked["token"], refreshed["token"], newest[:-4] + "AAAA", "a.b.c", "."):
        answer = await asks(bad)
        world.refused(answer, 401, "unauthorized")
        assert bad == "." or bad not in answer.text


async def test_rights_are_cut_by_the_policy_of_now(world: Any, asks: Any) -> None:
    made = await token(world)

    async def sees_under(*permissions: str) -> list[str]:
        rules = [{"user": "*", "permissions": list(permissions), "topics": ["#", "$spaces/#"]}]
        body = {"version": "1", "rules": rules}
        answer = await world.ask("PUT", "/v2/acl", key=world.keys["sk"], body=body)
        assert answer.status_code == 200, answer.text
        return (await asks(made["token"])).json()["sees"]

    assert await sees_under("publish", "subscribe") == []
    assert await sees_under("publish", "subscribe", "presence", "history") == ["chat/a"]


async def test_another_organization_cannot_be_named(world: Any, asks: Any) -> None:
    made = await token(world)
    world.refused(await asks(made["token"], organization_id=world.other_org_id), 400, "invalid_request")


async def test_a_page_that_the_organization_does_not_allow_is_403(world: Any, asks: Any) -> None:
    made = await token(world)
    world.refused(await asks(made["token"], headers={"Origin": "https://evil.example"}), 403, "forbidden")
    assert (await asks(made["token"], headers={"Origin": "http://localhost:8000"})).status_code == 200


async def test_tokens_that_fail_are_counted_by_address(world: Any, asks: Any) -> None:
    made = await token(world)
    for _ in range(MAX_FAILURES_A_MINUTE):
        world.refused(await asks("a.b.c"), 401)
    world.refused(await asks("a.b.c"), 429, "rate_limited")
    assert (await asks(made["token"])).status_code == 200
