"""Lists, introspection and revocation of tokens."""

from __future__ import annotations

from typing import Any

import pytest


async def status_of(world: Any, token_id: str) -> str:
    return (await world.ask("GET", f"/v2/tokens/{token_id}", key=world.keys["sk"])).json()["status"]


async def test_a_family_is_shown_without_its_password(world: Any) -> None:
    world.set_time("2026-11-24T12:00:00Z")
    made = await world.token(
        user_id="shown",
        user_email="shown@example.org",
        topics=["a"],
        permissions=["publish"],
        client_id="dev-*",
        integration_id="web",
        metadata={"plan": ["pro"]},
        ttl=60,
        renewable=False,
    )
    answer = await world.ask("GET", f"/v2/tokens/{made['token_id']}", key=world.keys["sk"])
    assert answer.json() == {
        "token_id": made["token_id"],
        "organization_id": world.org_id,
        "user_id": "shown",
        "user_email": "shown@example.org",
        "status": "active",
        "permissions": ["publish"],
        "topics": ["a"],
        "grants": [],
        "client_id": "dev-*",
        "integration_id": "web",
        "key_id": world.keys["sk"][3:11],
        "provider_id": None,
        "renewable": False,
        "generation": 0,
        "ttl": 60,
        "first_issued_at": "2026-11-24T12:00:00Z",
        "issued_at": "2026-11-24T12:00:00Z",
        "expires_at": "2026-11-24T12:01:00Z",
        "ends_at": answer.json()["ends_at"],
        "revoked_at": None,
        "revoked_reason": None,
        "metadata": {"plan": ["pro"]},
    }
    listed = await world.ask("GET", "/v2/tokens", key=world.keys["sk"], params={"user_id": "shown"})
    assert listed.json()["tokens"][0] == answer.json()
    assert made["token"] not in answer.text + listed.text


async def test_lists_are_paged_and_filtered(world: Any) -> None:
    made = {(await world.token(user_id="lister"))["token_id"] for _ in range(5)}
    seen, cursor = [], {}
    while True:
        params = {"user_id": "lister", "limit": "2", **cursor}
        page = (await world.ask("GET", "/v2/tokens", key=world.keys["sk"], params=params)).json()
        seen += [token["token_id"] for token in page["tokens"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert len(seen) == 5 and set(seen) == made
    await world.ask("DELETE", f"/v2/tokens/{seen[0]}", key=world.keys["sk"])
    params = {"user_id": "lister", "status": "revoked"}
    page = (await world.ask("GET", "/v2/tokens", key=world.keys["sk"], params=params)).json()
    assert [token["token_id"] for token in page["tokens"]] == [seen[0]]


@pytest.mark.parametrize("path", ["/v2/tokens", "/v2/keys", "/v2/organizations"])
@pytest.mark.parametrize(
    "params",
    [
        {"limit": "0"},
        {"limit": "-1"},
        {"limit": "501"},
        {"limit": "9" * 30},
        {"limit": ""},
        {"limit": "1; DROP TABLE tokens"},
        {"cursor": ""},
        {"cursor": "x"},
        {"cursor": "-1"},
        {"cursor": "A" * 3_000},
        {"cursor": "' OR 1=1 --"},
        {"offset": "0"},
        {"sort": "id"},
    ],
    ids=lambda params: str(params)[:40],
)
async def test_v49_v111_odd_pages_are_refused(world: Any, path: str, params: dict[str, str]) -> None:
    where = {} if "organizations" in path else {"organization_id": world.org_id}
    answer = await world.ask("GET", path, key=world.keys["ik"], params={**where, **params})
    world.refused(answer, 400, "invalid_request")


@pytest.mark.parametrize("status", ["", "living", "ACTIVE", "active,revoked"])
async def test_unknown_status_is_400(world: Any, status: str) -> None:
    answer = await world.ask("GET", "/v2/tokens", key=world.keys["sk"], params={"status": status})
    world.refused(answer, 400, "invalid_request")


async def test_repeated_query_fields_are_400(world: Any) -> None:
    answer = await world.ask("GET", "/v2/tokens?user_id=a&user_id=b", key=world.keys["sk"])
    world.refused(answer, 400, "invalid_request")


@pytest.mark.parametrize("form", [False, True])
async def test_introspection_shows_a_good_token(world: Any, form: bool) -> None:
    made = await world.token(user_id="seen", topics=["a"], client_id="dev-1")
    body = {"token": made["token"], "token_type_hint": "access_token", "client_id": "rs"}
    answer = await world.ask(
        "POST", "/v2/tokens/introspect", key=world.keys["sk"], **({"form": body} if form else {"body": body})
    )
    claims = world.claims(made["token"])
    assert answer.json() == {
        "active": True,
        "token_type": "Bearer",
        "username": f"seen@{world.org_id}",
        **{name: claims[name] for name in ("iss", "aud", "sub", "iat", "nbf", "exp", "jti", "client_id")},
        "token_id": made["token_id"],
        "organization_id": world.org_id,
        "user_id": "seen",
        "generation": 0,
        "permissions": ["publish", "subscribe"],
        "topics": ["a"],
        "grants": [],
    }


async def test_introspection_of_anything_else_is_inactive_alone(world: Any) -> None:
    good = (await world.token(user_id="ann"))["token"]
    revoked = await world.token(user_id="gone")
    await world.ask("DELETE", f"/v2/tokens/{revoked['token_id']}", key=world.keys["sk"])
    none = "eyJhbGciOiJub25lIn0." + good.split(".")[1] + "."
    for text in (
        "",
        "x",
        good[:-4] + "AAAA",
        good + "=",
        none,
        revoked["token"],
        world.keys["sk"],
        "a" * 9_000,
        "é",
    ):
        answer = await world.ask("POST", "/v2/tokens/introspect", key=world.keys["sk"], body={"token": text})
        assert (answer.status_code, answer.json()) == (200, {"active": False})


@pytest.mark.parametrize("path", ["/v2/tokens", "/v2/tokens/create", "/v1/create", "/v2/tokens/revoke"])
async def test_forms_are_taken_only_by_introspection(world: Any, path: str) -> None:
    answer = await world.ask("POST", path, key=world.keys["sk"], form={"user_id": "a"})
    world.refused(answer, 415, "invalid_request")


async def revoke(world: Any, **wish: object) -> Any:
    return await world.ask("POST", "/v2/tokens/revoke", key=world.keys["sk"], body=wish)


async def test_revocation_by_each_of_its_fields(world: Any) -> None:
    key = await world.restricted_key(only="tokens:create")
    for wish, request in (
        ({"token_id": None}, {"user_id": "r1"}),
        ({"user_id": "r2"}, {"user_id": "r2"}),
        ({"client_id": "r3-client"}, {"user_id": "r3", "client_id": "r3-client"}),
        ({"key_id": key[3:11], "reason": "leaked", "keep_retained": True}, {"user_id": "r4"}),
    ):
        made = await world.token(key=key, **request)
        wish = {name: made["token_id"] if value is None else value for name, value in wish.items()}
        answer = await revoke(world, **wish)
        assert answer.status_code == 200 and answer.json()["revoked"] >= 1
        assert await status_of(world, made["token_id"]) == "revoked"


async def test_revocation_says_whether_retained_messages_stay(world: Any) -> None:
    for keep in (False, True):
        made = await world.token(user_id=f"keep-{keep}")
        assert (await revoke(world, token_id=made["token_id"], keep_retained=keep)).status_code == 200
        family = await world.services.store.families.get(world.org_id, made["token_id"])
        assert family.retained_kept is keep


async def test_revocation_of_what_was_issued_before_a_moment(world: Any) -> None:
    world.set_time("2026-11-24T12:00:00Z")
    old = await world.token(user_id="timed")
    world.set_time("2026-11-24T12:10:00Z")
    new = await world.token(user_id="timed")
    answer = await revoke(world, user_id="timed", issued_before="2026-11-24T13:05:00+01:00")
    assert answer.json()["revoked"] == 1
    assert [await status_of(world, token["token_id"]) for token in (old, new)] == ["revoked", "active"]


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"all": False},
        {"user_id": "a", "token_id": "b"},
        {"user_id": "a", "all": True},
        {"user_id": ""},
        {"user_id": None},
        {"all": "true"},
        {"user": "a"},
        {"user_id": "a", "issued_before": "yesterday"},
        {"user_id": "a", "issued_before": 5},
        {"user_id": "a", "issued_before": "2026-11-24T12:00:00"},
        {"user_id": "a", "reason": "x" * 256},
        {"user_id": "a", "reason": 5},
    ],
    ids=str,
)
async def test_revocation_must_say_exactly_what(world: Any, wish: dict[str, object]) -> None:
    world.refused(await revoke(world, **wish), 400, "invalid_request")


async def test_delete_revokes_once(world: Any) -> None:
    token_id = (await world.token(user_id="deleted"))["token_id"]
    path = f"/v2/tokens/{token_id}"
    first = await world.ask("DELETE", path, key=world.keys["sk"])
    assert first.json() == {"revoked": 1, "sessions_closed": 0}
    assert (await world.ask("DELETE", path, key=world.keys["sk"])).json() == {
        "revoked": 0,
        "sessions_closed": 0,
    }
    with_body = await world.ask("DELETE", path, body={"secret_key": world.keys["sk"]})
    assert with_body.status_code == 200
