"""Organizations over HTTP, for the instance administrator."""

from __future__ import annotations

from typing import Any

import pytest

DEFAULTS = {
    "default_ttl_seconds": 3600,
    "min_ttl_seconds": 60,
    "max_ttl_seconds": 86400,
    "family_max_seconds": 2592000,
    "refresh_grace_seconds": 300,
    "superseded_reconnect": True,
    "reconnect_window_seconds": 3600,
    "reuse_detection": True,
    "refresh_spread": False,
    "allowed_origins": ["http://localhost:*", "http://127.0.0.1:*"],
    "default_session_expiry_seconds": 0,
    "refused_publish_311": "drop",
    "max_connections": 20000,
    "max_sessions": 10000,
    "max_retained_messages": 10000,
    "max_publish_messages_per_second": 0,
    "max_publish_bytes_per_second": 0,
    "history_bytes": 1073741824,
    "dollar_trees": ["$notifications", "$spaces"],
}


async def ask(world: Any, method: str, path: str = "", **more: Any) -> Any:
    return await world.ask(method, f"/v2/organizations{path}", key=world.keys["ik"], **more)


async def test_an_organization_from_first_to_last(world: Any) -> None:
    world.set_time("2026-11-24T12:00:00Z")
    made = await ask(world, "POST", body={"name": "acme", "settings": {"default_ttl_seconds": 600}})
    assert made.status_code == 201
    org_id = made.json()["id"]
    expected = {
        "id": org_id,
        "name": "acme",
        "settings": {**DEFAULTS, "default_ttl_seconds": 600},
        "created_at": "2026-11-24T12:00:00Z",
    }
    assert made.json() == expected
    assert (await ask(world, "GET", f"/{org_id}")).json() == expected
    listed = (await ask(world, "GET", params={"limit": "500"})).json()["organizations"]
    assert expected in listed

    changed = await ask(world, "PATCH", f"/{org_id}", body={"settings": {"max_ttl_seconds": 900}})
    expected["settings"] = {**DEFAULTS, "default_ttl_seconds": 600, "max_ttl_seconds": 900}
    assert changed.json() == expected
    renamed = await ask(world, "PATCH", f"/{org_id}", body={"name": "acme 2"})
    assert renamed.json() == {**expected, "name": "acme 2"}

    body = {"user_id": "ann", "organization_id": org_id}
    token = (await world.ask("POST", "/v2/tokens", key=world.keys["ik"], body=body)).json()
    assert token["expires_in"] == 600
    too_long = await world.ask("POST", "/v2/tokens", key=world.keys["ik"], body={**body, "ttl": 901})
    assert world.refused(too_long, 400, "invalid_request")["errors"][0]["field"] == "ttl"

    key = await world.key(key=world.keys["ik"], kind="sk", name="its", organization_id=org_id)
    gone = await ask(world, "DELETE", f"/{org_id}")
    assert gone.json() == {"id": org_id, "deleted": True, "sessions_closed": 0}
    world.refused(await ask(world, "GET", f"/{org_id}"), 404, "organization_not_found")
    world.refused(await ask(world, "DELETE", f"/{org_id}"), 404, "organization_not_found")
    world.refused(await world.ask("GET", "/v2/tokens", key=key["key"]), 401, "unauthorized")


async def test_a_name_that_is_taken_is_409(world: Any) -> None:
    first = (await ask(world, "POST", body={"name": "taken"})).json()
    second = (await ask(world, "POST", body={"name": "free"})).json()
    world.refused(await ask(world, "POST", body={"name": "taken"}), 409, "conflict")
    world.refused(await ask(world, "PATCH", f"/{second['id']}", body={"name": "taken"}), 409, "conflict")
    assert (await ask(world, "PATCH", f"/{first['id']}", body={"name": "taken"})).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": None},
        {"name": 5},
        {"name": "a" * 256},
        {"name": "a\nb"},
        {"nam": "a"},
        {"name": "a", "settings": None},
        {"name": "a", "settings": []},
        {"name": "a", "settings": {"ttl": 5}},
        {"name": "a", "settings": {"default_ttl_seconds": 5}},
        {"name": "a", "settings": {"default_ttl_seconds": "600"}},
        {"name": "a", "settings": {"default_ttl_seconds": None}},
        {"name": "a", "settings": {"default_ttl_seconds": True}},
        {"name": "a", "settings": {"min_ttl_seconds": 600, "max_ttl_seconds": 300}},
        {"name": "a", "settings": {"refused_publish_311": "maybe"}},
        {"name": "a", "settings": {"dollar_trees": ["$SYS"]}},
        {"name": "a", "settings": {"dollar_trees": "$x"}},
        {"name": "a", "settings": {"allowed_origins": ["http://localhost:80@attacker"]}},
        {"name": "a", "settings": {"allowed_origins": [5]}},
        {"name": "a", "organization_id": "org_aaaaaaaaaaaa"},
    ],
    ids=str,
)
async def test_v105_wrong_fields_are_400(world: Any, method: str, body: dict[str, object]) -> None:
    path = f"/{world.other_org_id}" if method == "PATCH" else ""
    world.refused(await ask(world, method, path, body=body), 400, "invalid_request")


@pytest.mark.parametrize(
    "name", ["null", "None", "undefined", "global", "default", "system", "$SYS", " ", "NULL"]
)
async def test_v68_reserved_names_are_refused(world: Any, name: str) -> None:
    world.refused(await ask(world, "POST", body={"name": name}), 400, "invalid_request")


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\x", "a/b", "x'; DROP TABLE organizations;--"])
async def test_v34_names_are_text_and_nothing_else(world: Any, name: str) -> None:
    answer = await ask(world, "POST", body={"name": name})
    assert answer.status_code == 201
    assert (await ask(world, "GET", f"/{answer.json()['id']}")).json()["name"] == name


async def test_a_patch_that_changes_nothing_is_400(world: Any) -> None:
    world.refused(await ask(world, "PATCH", f"/{world.other_org_id}", body={}), 400, "invalid_request")


async def test_a_patch_of_no_organization_is_404(world: Any) -> None:
    answer = await ask(world, "PATCH", "/org_zzzzzzzzzzzz", body={"name": "new"})
    world.refused(answer, 404, "organization_not_found")
