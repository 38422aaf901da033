"""A foreign tenant's object answers exactly as one that does not exist."""

from __future__ import annotations

from typing import Any

import pytest

MISSING_TOKEN = "tok_" + "a" * 26
ODD_IDS = ["x", "..", "%2e%2e", "tok_", "AAAAAAAA", "%00", "%F0%9F%98%80", "a%0Ab", "null", "a" * 500]


def essence(answer: Any) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return all that a caller sees, but the id of the request."""
    headers = [(name, value) for name, value in answer.headers.items() if name != "x-request-id"]
    return answer.status_code, answer.content, headers


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_token_of_another_organization(world: Any, method: str) -> None:
    foreign = (await world.token(key=world.keys["other sk"], user_id="ann"))["token_id"]
    seen = await world.ask(method, f"/v2/tokens/{foreign}", key=world.keys["sk"])
    missing = await world.ask(method, f"/v2/tokens/{MISSING_TOKEN}", key=world.keys["sk"])
    world.refused(missing, 404, "not_found")
    assert essence(seen) == essence(missing)
    own = await world.ask("GET", f"/v2/tokens/{foreign}", key=world.keys["other sk"])
    assert own.json()["status"] == "active"


async def test_key_of_another_organization(world: Any) -> None:
    foreign = (await world.key(key=world.keys["other sk"], kind="pk", name="theirs"))["id"]
    seen = await world.ask("DELETE", f"/v2/keys/{foreign}", key=world.keys["sk"])
    missing = await world.ask("DELETE", "/v2/keys/AAAAAAAA", key=world.keys["sk"])
    world.refused(missing, 404, "not_found")
    assert essence(seen) == essence(missing)
    listed = (await world.ask("GET", "/v2/keys", key=world.keys["other sk"])).json()["keys"]
    assert foreign in {key["id"] for key in listed}


async def test_the_administrators_key_cannot_be_deleted_from_an_organization(world: Any) -> None:
    administrators = world.keys["ik"][3:11]
    for key in (world.keys["sk"], world.keys["ik"]):
        seen = await world.ask(
            "DELETE", f"/v2/keys/{administrators}", key=key, params={"organization_id": world.org_id}
        )
        world.refused(seen, 404, "not_found")


async def test_revoking_what_is_foreign_revokes_nothing(world: Any) -> None:
    token = await world.token(key=world.keys["other sk"], user_id="foreign-user", client_id="foreign-client")
    for wish in (
        {"token_id": token["token_id"]},
        {"user_id": "foreign-user"},
        {"client_id": "foreign-client"},
        {"key_id": world.keys["other sk"][3:11]},
        {"token_id": MISSING_TOKEN},
        {"key_id": "AAAAAAAA"},
    ):
        answer = await world.ask("POST", "/v2/tokens/revoke", key=world.keys["sk"], body=wish)
        assert (answer.status_code, answer.json()) == (200, {"revoked": 0, "sessions_closed": 0})
    own = await world.ask("GET", f"/v2/tokens/{token['token_id']}", key=world.keys["other sk"])
    assert own.json()["status"] == "active"


async def test_introspecting_what_is_foreign_is_inactive(world: Any) -> None:
    token = (await world.token(key=world.keys["other sk"], user_id="ann"))["token"]
    answer = await world.ask("POST", "/v2/tokens/introspect", key=world.keys["sk"], body={"token": token})
    assert answer.json() == {"active": False}


async def test_lists_hold_nothing_foreign(world: Any) -> None:
    await world.token(key=world.keys["other sk"], user_id="only-there")
    tokens = (await world.ask("GET", "/v2/tokens", key=world.keys["sk"], params={"limit": "500"})).json()[
        "tokens"
    ]
    assert {token["organization_id"] for token in tokens} <= {world.org_id}
    keys = (await world.ask("GET", "/v2/keys", key=world.keys["sk"])).json()["keys"]
    assert {key["organization_id"] for key in keys} == {world.org_id}


async def test_v49_cursor_of_another_organization_gives_nothing_of_it(world: Any) -> None:
    for _ in range(2):
        await world.token(key=world.keys["other sk"], user_id="paged")
    page = await world.ask("GET", "/v2/tokens", key=world.keys["other sk"], params={"limit": "1"})
    cursor = page.json()["next"]
    answer = await world.ask("GET", "/v2/tokens", key=world.keys["sk"], params={"cursor": cursor})
    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        assert {token["organization_id"] for token in answer.json()["tokens"]} <= {world.org_id}


@pytest.mark.parametrize("odd", ODD_IDS)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/tokens/"),
        ("DELETE", "/v2/tokens/"),
        ("DELETE", "/v2/keys/"),
        ("GET", "/v2/organizations/"),
        ("DELETE", "/v2/organizations/"),
    ],
)
async def test_v34_odd_ids_are_just_not_there(world: Any, method: str, path: str, odd: str) -> None:
    params = {"organization_id": world.org_id} if "organizations" not in path else None
    answer = await world.ask(method, path + odd, key=world.keys["ik"], params=params)
    assert answer.status_code == 404
    assert world.refused(answer, 404)["error"] in ("not_found", "organization_not_found")
