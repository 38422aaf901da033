"""Keys over HTTP."""

from __future__ import annotations

from typing import Any

import pytest


async def create(world: Any, key: str = "sk", **body: object) -> Any:
    return await world.ask("POST", "/v2/keys", key=world.keys.get(key, key), body=body)


async def test_a_new_key_is_shown_once_and_works(world: Any) -> None:
    world.set_time("2026-11-24T12:00:00Z")
    answer = await create(
        world, kind="rk", name="backend", scopes=["tokens:create"], permissions=["publish"], topics=["a/#"]
    )
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    text = body["key"]
    assert body == {
        "id": text[3:11],
        "key": text,
        "masked": f"rk_...{text[-4:]}",
        "kind": "rk",
        "name": "backend",
        "organization_id": world.org_id,
        "scopes": ["tokens:create"],
        "permissions": ["publish"],
        "topics": ["a/#"],
        "created_at": "2026-11-24T12:00:00Z",
        "expires_at": "2027-02-22T12:00:00Z",
        "expires_soon": False,
        "last_used_at": None,
        "rotated_at": None,
        "earlier_until": None,
    }
    made = await world.ask(
        "POST", "/v2/tokens", key=text, body={"user_id": "ann", "topics": ["a/b"], "permissions": ["publish"]}
    )
    assert made.status_code == 200
    listed = await world.ask("GET", "/v2/keys", key=world.keys["sk"], params={"limit": "500"})
    assert text not in listed.text
    mine = next(key for key in listed.json()["keys"] if key["id"] == body["id"])
    assert {**mine, "last_used_at": None} == {name: value for name, value in body.items() if name != "key"}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (None, None),
        ("2030-01-01T01:00:00+01:00", "2030-01-01T00:00:00Z"),
        ("2030-01-01T00:00:00.9Z", "2030-01-01T00:00:00Z"),
    ],
)
async def test_expiry_is_as_asked_and_null_means_never(
    world: Any, said: str | None, shown: str | None
) -> None:
    answer = await create(world, kind="sk", name="dated", expires_at=said)
    assert answer.json()["expires_at"] == shown


async def test_a_key_is_refused_from_its_expiry_on(world: Any) -> None:
    world.set_time("2026-11-24T12:00:00Z")
    key = (await create(world, kind="sk", name="short", expires_at="2026-11-24T12:01:00Z")).json()["key"]
    world.set_time("2026-11-24T12:00:59Z")
    assert (await world.ask("GET", "/v2/keys", key=key)).status_code == 200
    world.set_time("2026-11-24T12:01:00Z")
    world.refused(await world.ask("GET", "/v2/keys", key=key), 401, "unauthorized")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "a"}, "kind"),
        ({"kind": "sk"}, "name"),
        ({"kind": "ik", "name": "a"}, "kind"),
        ({"kind": "secret", "name": "a"}, "kind"),
        ({"kind": "sk", "name": ""}, "name"),
        ({"kind": "sk", "name": "a" * 256}, "name"),
        ({"kind": "sk", "name": "a\nb"}, "name"),
        ({"kind": "rk", "name": "a"}, "scopes"),
        ({"kind": "rk", "name": "a", "scopes": []}, "scopes"),
        ({"kind": "rk", "name": "a", "scopes": None}, "scopes"),
        ({"kind": "rk", "name": "a", "scopes": ["*"]}, None),
        ({"kind": "rk", "name": "a", "scopes": ["tokens:read"], "topics": []}, "topics"),
        (
            {"kind": "rk", "name": "a", "scopes": ["mqtt"], "permissions": ["publish"], "topics": ["a/#/b"]},
            None,
        ),
        ({"kind": "sk", "name": "a", "expires_at": "soon"}, "expires_at"),
        ({"kind": "sk", "name": "a", "expires_at": 5}, "expires_at"),
        ({"kind": "sk", "name": "a", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"kind": "sk", "name": "a", "expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        ({"kind": "sk", "name": "a", "expires_at": "0422-07-07T00:00:00Z"}, "expires_at"),
        ({"kind": "sk", "name": "a", "expires_at": "9999-12-31T23:59:59-12:00"}, "expires_at"),
        ({"kind": "sk", "name": "a", "scope": ["x"]}, "scope"),
    ],
    ids=str,
)
async def test_wrong_fields_are_refused_by_name(
    world: Any, body: dict[str, object], field: str | None
) -> None:
    problem = world.refused(await create(world, **body), 400, "invalid_request")
    named = [found["field"] for found in problem["errors"]]
    assert field is None or field in named


async def test_nobody_makes_a_key_wider_than_their_own(world: Any) -> None:
    maker = await world.restricted_key(only="keys")
    for body in (
        {"kind": "sk", "name": "wider"},
        {
            "kind": "rk",
            "name": "wider",
            "scopes": ["keys", "tokens:create"],
            "permissions": ["publish"],
            "topics": ["#"],
        },
    ):
        world.refused(await create(world, maker, **body), 403, "forbidden")


async def test_the_administrator_makes_keys_of_the_organization_that_is_named(world: Any) -> None:
    answer = await create(world, "ik", kind="sk", name="first", organization_id=world.other_org_id)
    assert answer.json()["organization_id"] == world.other_org_id


@pytest.mark.parametrize("way", ["query", "body", "neither"])
async def test_deleting_a_key_can_revoke_what_it_issued(world: Any, way: str) -> None:
    made = await world.key(kind="sk", name="short-lived")
    token = await world.token(key=made["key"], user_id="of-that-key")
    answer = await world.ask(
        "DELETE",
        f"/v2/keys/{made['id']}",
        key=world.keys["sk"],
        params={"revoke_tokens": "true"} if way == "query" else None,
        body={"revoke_tokens": True} if way == "body" else None,
    )
    revoked = 0 if way == "neither" else 1
    assert answer.json() == {"id": made["id"], "deleted": True, "revoked": revoked, "sessions_closed": 0}
    world.refused(await world.ask("GET", "/v2/tokens", key=made["key"]), 401, "unauthorized")
    shown = await world.ask("GET", f"/v2/tokens/{token['token_id']}", key=world.keys["sk"])
    assert shown.json()["status"] == ("revoked" if revoked else "active")
    again = await world.ask("DELETE", f"/v2/keys/{made['id']}", key=world.keys["sk"])
    world.refused(again, 404, "not_found")


async def test_two_wishes_that_differ_are_400(world: Any) -> None:
    made = await world.key(kind="sk", name="kept")
    answer = await world.ask(
        "DELETE",
        f"/v2/keys/{made['id']}",
        key=world.keys["sk"],
        params={"revoke_tokens": "false"},
        body={"revoke_tokens": True},
    )
    world.refused(answer, 400, "invalid_request")
    assert (await world.ask("GET", "/v2/tokens", key=made["key"])).status_code == 200


async def rotate(world: Any, key_id: str, *, key: str | None = None, **body: object) -> Any:
    return await world.ask(
        "POST", f"/v2/keys/{key_id}/rotate", key=key or world.keys["sk"], body=body or None
    )


async def test_rotated_key_is_shown_once_and_both_secrets_work_in_the_grace(world: Any) -> None:
    made = (
        await world.ask("POST", "/v2/keys", key=world.keys["sk"], body={"kind": "sk", "name": "r"})
    ).json()
    answer = await rotate(world, made["id"], grace_seconds=60)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert (body["id"], body["kind"]) == (made["id"], "sk")
    assert body["key"] != made["key"] and body["masked"] == f"sk_...{body['key'][-4:]}"
    assert (body["rotated_at"], body["earlier_until"]) == ("2026-11-24T12:00:00Z", "2026-11-24T12:01:00Z")
    assert body["expires_at"] == made["expires_at"]
    for text, told in ((made["key"], "2026-11-24T12:01:00Z"), (body["key"], None)):
        used = await world.ask("GET", "/v2/keys", key=text)
        assert used.status_code == 200
        assert used.headers.get("tokenmq-key-expires") == told
    assert (await rotate(world, made["id"])).json()["earlier_until"] == "2026-11-27T12:00:00Z"


@pytest.mark.parametrize(
    ("body", "status"),
    [({"grace_seconds": -1}, 400), ({"grace_seconds": 2_592_001}, 400), ({"grace": 5}, 400),
     ({"expires_at": "2020-01-01T00:00:00Z"}, 400)],
)  # fmt: skip
async def test_wrong_rotation_is_refused(world: Any, body: dict[str, object], status: int) -> None:
    made = (
        await world.ask("POST", "/v2/keys", key=world.keys["sk"], body={"kind": "sk", "name": "r"})
    ).json()
    assert (await rotate(world, made["id"], **body)).status_code == status
    assert (await world.ask("GET", "/v2/keys", key=made["key"])).status_code == 200


async def test_key_of_another_organization_is_not_there_to_be_rotated(world: Any) -> None:
    made = (
        await world.ask("POST", "/v2/keys", key=world.keys["sk"], body={"kind": "sk", "name": "r"})
    ).json()
    assert (await rotate(world, made["id"], key=world.keys["other sk"])).status_code == 404
    assert (await rotate(world, "unknown1")).status_code == 404


async def test_key_that_ends_soon_is_told_on_every_answer(world: Any) -> None:
    body = {"kind": "sk", "name": "soon", "expires_at": "2026-12-08T12:00:00Z"}
    made = (await world.ask("POST", "/v2/keys", key=world.keys["sk"], body=body)).json()
    assert made["expires_soon"] is True
    for path, status in (("/v2/keys", 200), ("/v2/audit?a=1", 400), ("/v2/tokens/tok_unknown", 404)):
        answer = await world.ask("GET", path, key=made["key"])
        assert answer.status_code == status, answer.text
        assert answer.headers["tokenmq-key-expires"] == "2026-12-08T12:00:00Z"
    body["expires_at"] = "2026-12-08T12:00:01Z"
    later = (await world.ask("POST", "/v2/keys", key=world.keys["sk"], body=body)).json()
    assert later["expires_soon"] is False
    assert "tokenmq-key-expires" not in (await world.ask("GET", "/v2/keys", key=later["key"])).headers


async def test_key_over_its_requests_a_minute_is_told_when_to_come_back(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = (
        await world.ask("POST", "/v2/keys", key=world.keys["sk"], body={"kind": "sk", "name": "l"})
    ).json()
    monkeypatch.setattr(world.services.key_limits, "_per_minute", 1)
    assert (await world.ask("GET", "/v2/keys", key=made["key"])).status_code == 200
    refused = await world.ask("GET", "/v2/keys", key=made["key"])
    assert (refused.status_code, refused.json()["error"]) == (429, "rate_limited")
    wait = int(refused.headers["retry-after"])
    assert 1 <= wait <= 60
    assert refused.headers["ratelimit"] == f'"key";r=0;t={wait}'
    assert refused.headers["ratelimit-policy"] == '"key";q=1;w=60'
