"""Signing keys over HTTP, for the instance administrator."""

from __future__ import annotations

from typing import Any

import pytest


async def ask(world: Any, method: str, path: str = "", **more: Any) -> Any:
    return await world.ask(method, f"/v2/signing-keys{path}", key=world.keys["ik"], **more)


async def published(world: Any) -> list[str]:
    return [key["kid"] for key in (await world.ask("GET", "/.well-known/jwks.json")).json()["keys"]]


async def active(world: Any, token: str) -> bool:
    answer = await world.ask("POST", "/v2/tokens/introspect", key=world.keys["sk"], body={"token": token})
    return answer.json()["active"]


async def test_a_new_key_signs_without_a_restart_and_old_tokens_verify_until_it_is_retired(
    world: Any,
) -> None:
    (first,) = await published(world)
    old = (await world.token(user_id="ann"))["token"]
    world.set_time("2026-11-24T12:01:00Z")
    added = await ask(world, "POST", body={"algorithm": "EdDSA"})
    assert added.status_code == 201
    kid = added.json()["kid"]
    waiting = {
        "kid": kid,
        "algorithm": "EdDSA",
        "status": "waiting",
        "created_at": "2026-11-24T12:01:00Z",
        "current_from": None,
        "retired_at": None,
    }
    assert added.json() == waiting
    assert sorted(await published(world)) == sorted([first, kid])
    assert world.header((await world.token(user_id="ann"))["token"])["kid"] == first

    world.set_time("2026-11-24T12:06:00Z")
    used = await ask(world, "POST", f"/{kid}/use")
    assert used.json() == {**waiting, "status": "current", "current_from": "2026-11-24T12:06:00Z"}
    new = (await world.token(user_id="ann"))["token"]
    assert world.header(new) == {"typ": "at+jwt", "alg": "EdDSA", "kid": kid}
    assert await active(world, old) and await active(world, new)

    world.refused(await ask(world, "POST", f"/{kid}/retire"), 409, "conflict")
    retired = (await ask(world, "POST", f"/{first}/retire")).json()
    assert (retired["status"], retired["retired_at"]) == ("retired", "2026-11-24T12:06:00Z")
    assert await published(world) == [kid]
    assert not await active(world, old) and await active(world, new)
    world.refused(await ask(world, "POST", f"/{first}/use"), 409, "conflict")
    listed = (await ask(world, "GET")).json()
    assert [(key["kid"], key["status"]) for key in listed["signing_keys"]] == [
        (first, "retired"),
        (kid, "current"),
    ]
    assert listed["next"] is None
    assert "PRIVATE" not in str(listed)


async def test_a_key_may_sign_at_once(world: Any) -> None:
    world.now += 3_600
    added = (await ask(world, "POST", body={"current": True})).json()
    assert (added["status"], added["algorithm"]) == ("current", "ES256")
    assert world.header((await world.token(user_id="ann"))["token"])["kid"] == added["kid"]


@pytest.mark.parametrize(
    "body",
    [
        {"algorithm": "HS256"},
        {"algorithm": None},
        {"algorithm": "none"},
        {"current": "yes"},
        {"curent": True},
    ],
    ids=str,
)
async def test_wrong_fields_are_400(world: Any, body: dict[str, object]) -> None:
    world.refused(await ask(world, "POST", body=body), 400, "invalid_request")


@pytest.mark.parametrize("action", ["use", "retire"])
async def test_a_key_that_is_not_there_is_404(world: Any, action: str) -> None:
    world.refused(await ask(world, "POST", f"/{'a' * 43}/{action}"), 404, "not_found")
