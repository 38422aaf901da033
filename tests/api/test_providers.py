"""/v2/providers: what everybody may see, and what only a key may change."""

from __future__ import annotations

from typing import Any

import pytest

OIDC = {
    "provider": "oidc",
    "name": "login",
    "issuer": "https://login.example",
    "audience": "web",
    "jwks_url": "https://login.example/jwks",
    "accept_open_policy": True,
}
SECRET = "a-shared-secret-of-more-than-32-bytes"


@pytest.fixture
async def world(world: Any) -> Any:
    """Return the module's world without providers."""
    yield world
    for path in ("", "other "):
        key = world.keys[f"{path}sk"]
        listed = (await world.ask("GET", "/v2/providers", key=key)).json()["providers"]
        for one in listed:
            await world.ask("DELETE", f"/v2/providers/{one['id']}", key=key)


async def add(world: Any, *, key: str = "sk", **changes: Any) -> Any:
    return await world.ask("POST", "/v2/providers", key=world.keys[key], body={**OIDC, **changes})


async def added(world: Any, **changes: Any) -> dict[str, Any]:
    answer = await add(world, **changes)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def change(world: Any, provider_id: str, *, key: str = "sk", **changes: Any) -> Any:
    return await world.ask("PATCH", f"/v2/providers/{provider_id}", key=world.keys[key], body=changes)


async def test_nobody_has_providers_at_first(world: Any) -> None:
    for more in ({"params": {"organization_id": world.org_id}}, {"key": world.keys["pk"]}):
        answer = await world.ask("GET", "/v2/providers", **more)
        assert (answer.status_code, answer.json()) == (200, {"providers": []})


async def test_providers_of_no_organization(world: Any) -> None:
    world.refused(await world.ask("GET", "/v2/providers"), 400, "invalid_request")
    answer = await world.ask("GET", "/v2/providers", params={"organization_id": "org_zzzzzzzzzzzz"})
    world.refused(answer, 404, "organization_not_found")


async def test_everybody_sees_the_public_part_and_who_may_change_it_the_rest(world: Any) -> None:
    made = await added(world, attrs=["plan"])
    public = {
        "id": made["id"],
        "provider": "oidc",
        "name": "login",
        "issuer": "https://login.example",
        "enabled": True,
    }
    whole = {
        **public,
        "configuration": {
            "issuer": "https://login.example",
            "audience": ["web"],
            "jwks_url": "https://login.example/jwks",
            "attrs": ["plan"],
        },
        "has_secret": False,
    }
    assert made == whole
    lesser = await world.restricted_key(without="providers")
    for more in (
        {"params": {"organization_id": world.org_id}},
        {"key": world.keys["pk"]},
        {"key": lesser},
    ):
        answer = await world.ask("GET", "/v2/providers", **more)
        assert answer.json() == {"providers": [public]}
        assert answer.headers["access-control-allow-origin"] == "*"
    opening = await world.restricted_key(only="providers")
    for key in (world.keys["sk"], opening):
        assert (await world.ask("GET", "/v2/providers", key=key)).json() == {"providers": [whole]}
    named = await world.ask(
        "GET", "/v2/providers", key=world.keys["ik"], params={"organization_id": world.org_id}
    )
    assert named.json() == {"providers": [whole]}


async def test_v69_secret_is_never_shown(world: Any) -> None:
    body = {"provider": "supabase", "name": "s", "project_url": "https://abc.example", "jwt_secret": SECRET}
    answer = await world.ask(
        "POST", "/v2/providers", key=world.keys["sk"], body={**body, "accept_open_policy": True}
    )
    assert (answer.status_code, answer.json()["has_secret"]) == (201, True)
    listed = await world.ask("GET", "/v2/providers", key=world.keys["sk"])
    changed = await change(world, answer.json()["id"], name="t")
    assert not any(SECRET in shown.text for shown in (answer, listed, changed))
    gone = await change(world, answer.json()["id"], jwt_secret=None)
    assert gone.json()["has_secret"] is False


async def test_open_policy_is_a_conflict_unless_it_is_accepted(world: Any) -> None:
    body = world.refused(await add(world, accept_open_policy=False), 409, "conflict")
    assert "accept_open_policy" in body["detail"]
    made = await added(world, enabled=False, accept_open_policy=False)
    world.refused(await change(world, made["id"], enabled=True), 409, "conflict")
    answer = await change(world, made["id"], enabled=True, accept_open_policy=True)
    assert (answer.status_code, answer.json()["enabled"]) == (200, True)


async def test_second_provider_needs_prefixes(world: Any) -> None:
    first = await added(world)
    world.refused(await add(world, name="b", issuer="https://b.example"), 409, "conflict")
    assert (await change(world, first["id"], user_prefix="a:")).status_code == 200
    await added(world, name="b", issuer="https://b.example", user_prefix="b:")
    world.refused(await add(world, name="b", user_prefix="c:"), 409, "conflict")


async def test_change_is_of_what_is_named_and_null_puts_the_default_back(world: Any) -> None:
    made = await added(world, attrs=["plan"], required_claims=["plan"])
    answer = await change(world, made["id"], attrs=None, audience=["web", "app"], name="renamed")
    assert answer.json() == {
        **made,
        "name": "renamed",
        "configuration": {
            "issuer": "https://login.example",
            "audience": ["web", "app"],
            "jwks_url": "https://login.example/jwks",
            "required_claims": ["plan"],
        },
    }
    world.refused(await change(world, made["id"]), 400, "invalid_request")
    world.refused(await change(world, made["id"], provider="auth0"), 400, "invalid_request")
    disabled = await change(world, made["id"], enabled=False)
    assert disabled.json()["enabled"] is False


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"provider": "okta"}, "provider"),
        ({"provider": None}, "provider"),
        ({"name": ""}, "name"),
        ({"isuer": "https://x.example"}, "isuer"),
        ({"attrs": []}, "attrs"),
        ({"audience": None}, "audience"),
        ({"audience": []}, "audience"),
        ({"audience": 7}, "audience"),
        ({"domain": "x.example"}, "domain"),
        ({"jwks_url": "http://login.example"}, "jwks_url"),
        ({"jwks_url": "https://127.0.0.1/"}, "jwks_url"),
        ({"jwt_secret": SECRET}, "jwt_secret"),
        ({"jwt_secret": "short"}, "jwt_secret"),
        ({"mapping": []}, "mapping"),
        ({"mapping": [{"claim": "role", "grants": []}]}, "mapping[0].grants"),
        (
            {
                "mapping": [
                    {"claim": "r", "equals": 1, "grants": [{"topics": ["a/#/b"], "permissions": ["publish"]}]}
                ]
            },
            "mapping[0].grants[0].topics[0]",
        ),
        ({"user_id_claim": ""}, "user_id_claim"),
        ({"enabled": "yes"}, "enabled"),
    ],
    ids=str,
)
async def test_wrong_fields_are_named(world: Any, changes: dict[str, Any], field: str) -> None:
    body = world.refused(await add(world, **changes), 400, "invalid_request")
    assert body["errors"][0]["field"] == field


async def test_other_tenants_provider_is_not_there(world: Any) -> None:
    made = await added(world)
    for method, body in (("PATCH", {"enabled": False}), ("DELETE", None)):
        answer = await world.ask(method, f"/v2/providers/{made['id']}", key=world.keys["other sk"], body=body)
        missing = await world.ask(method, "/v2/providers/idp_none", key=world.keys["other sk"], body=body)
        assert world.refused(answer, 404, "provider_not_found") == world.refused(missing, 404)
    assert (await world.ask("GET", "/v2/providers", key=world.keys["other sk"])).json() == {"providers": []}


async def test_deleted_provider_is_gone(world: Any) -> None:
    made = await added(world)
    answer = await world.ask("DELETE", f"/v2/providers/{made['id']}", key=world.keys["sk"])
    assert (answer.status_code, answer.json()) == (200, {"id": made["id"], "deleted": True})
    again = await world.ask("DELETE", f"/v2/providers/{made['id']}", key=world.keys["sk"])
    world.refused(again, 404, "provider_not_found")
