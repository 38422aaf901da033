"""POST /v2/tokens and its two other paths."""

from __future__ import annotations

from typing import Any

import pytest

CREATE_PATHS = ["/v2/tokens", "/v2/tokens/create", "/v1/create"]
REQUEST = {
    "user_id": "user-123",
    "permissions": ["subscribe", "publish"],
    "topics": ["notifications/user-123", "chat/#"],
}


async def create(world: Any, body: object = None, *, path: str = "/v2/tokens", **more: Any) -> Any:
    return await world.ask("POST", path, key=world.keys["sk"], body=REQUEST if body is None else body, **more)


@pytest.mark.parametrize("path", CREATE_PATHS)
async def test_answer_of_a_creation_has_every_member_of_the_contract(world: Any, path: str) -> None:
    world.set_time("2026-11-24T12:00:00Z")
    answer = await create(world, path=path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    token, token_id, username = body["token"], body["token_id"], f"user-123@{world.org_id}"
    assert token.count(".") == 2 and token_id.startswith("tok_")
    assert body == {
        "token": token,
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": 3600,
        "expires_at": "2026-11-24T13:00:00Z",
        "refresh_recommended_at": "2026-11-24T12:54:00Z",
        "token_id": token_id,
        "organization_id": world.org_id,
        "org_short_id": world.org_id,
        "user_id": "user-123",
        "user_email": "user-123",
        "provider": "cloudsignal",
        "permissions": ["publish", "subscribe"],
        "topics": ["chat/#", "notifications/user-123"],
        "grants": [],
        "mqtt_credentials": {"username": username, "password": token},
        "mqtt_username": username,
        "mqtt_password": token,
        "token_password": token,
    }


async def test_the_request_of_the_official_client_is_accepted(world: Any) -> None:
    body = {
        "organization_id": world.org_id,
        "secret_key": world.keys["sk"],
        "user_email": "ann@example.org",
        "replace_existing": True,
        "integration_id": "web",
    }
    answer = await world.ask("POST", "/v2/tokens/create", body=body)
    assert answer.status_code == 200
    assert answer.json()["user_id"] == answer.json()["user_email"] == "ann@example.org"
    assert answer.json()["mqtt_username"] == f"ann%40example.org@{world.org_id}"


async def test_grants_that_differ_by_topic_stand_in_grants_alone(world: Any) -> None:
    grants = [
        {"topics": ["out/#"], "permissions": ["publish"]},
        {"topics": ["in/#"], "permissions": ["subscribe", "presence"]},
    ]
    body = (await create(world, {"user_id": "ann", "grants": grants})).json()
    assert (body["permissions"], body["topics"]) == ([], [])
    assert sorted((grant["topics"], sorted(grant["permissions"])) for grant in body["grants"]) == [
        (["in/#"], ["presence", "subscribe"]),
        (["out/#"], ["publish"]),
    ]


async def test_topics_alone_mean_publish_and_subscribe(world: Any) -> None:
    body = (await create(world, {"user_id": "ann", "topics": ["a"]})).json()
    assert (body["permissions"], body["topics"]) == (["publish", "subscribe"], ["a"])


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["user_id"]),
        ({"user_id": ""}, ["user_id"]),
        ({"user_id": "server"}, ["user_id"]),
        ({"user_id": "a\nb"}, ["user_id"]),
        ({"user_id": "a\u0085"}, ["user_id"]),
        ({"user_id": "é" * 128}, ["user_id"]),
        ({"user_id": "a" * 256}, ["user_id"]),
        ({"user_id": None}, ["user_id"]),
        ({"user_id": 5}, ["user_id"]),
        ({"user_id": "a", "user_email": "server"}, ["user_email"]),
        ({"user_id": "a", "topics": []}, ["topics"]),
        ({"user_id": "a", "topics": None}, ["topics"]),
        ({"user_id": "a", "permissions": []}, ["permissions"]),
        ({"user_id": "a", "permissions": None}, ["permissions"]),
        ({"user_id": "a", "permissions": "publish"}, ["permissions"]),
        ({"user_id": "a", "permissions": ["pub"]}, ["permissions[0]"]),
        ({"user_id": "a", "grants": []}, ["grants"]),
        ({"user_id": "a", "grants": None}, ["grants"]),
        ({"user_id": "a", "grants": [{}]}, ["grants[0]"]),
        ({"user_id": "a", "grants": [{"topics": ["a"], "permissions": []}]}, ["grants[0].permissions"]),
        ({"user_id": "a", "grants": [{"topics": [], "permissions": ["publish"]}]}, ["grants[0].topics"]),
        (
            {"user_id": "a", "grants": [{"topics": ["a"], "permissions": ["publish"], "topic": ["#"]}]},
            ["grants[0].topic"],
        ),
        (
            {"user_id": "a", "topics": ["a"], "grants": [{"topics": ["a"], "permissions": ["publish"]}]},
            ["grants"],
        ),
        ({"user_id": "a", "topics": ["chat/#/x"]}, ["topics[0]"]),
        ({"user_id": "a", "topics": ["ok", "a#"]}, ["topics[1]"]),
        ({"user_id": "a", "topics": [""]}, ["topics[0]"]),
        ({"user_id": "a", "topics": ["{nobody}/x"]}, ["topics[0]"]),
        ({"user_id": "a", "topics": ["$share/g/a"]}, ["topics[0]"]),
        ({"user_id": "a", "topics": ["a"] * 65}, ["topics"]),
        ({"user_id": "a", "topics": [5]}, ["topics[0]"]),
        ({"user_id": "a", "ttl": 5}, ["ttl"]),
        ({"user_id": "a", "ttl": 59}, ["ttl"]),
        ({"user_id": "a", "ttl": 86_401}, ["ttl"]),
        ({"user_id": "a", "ttl": 10**40}, ["ttl"]),
        ({"user_id": "a", "ttl": -1}, ["ttl"]),
        ({"user_id": "a", "ttl": "3600"}, ["ttl"]),
        ({"user_id": "a", "ttl": 3600.5}, ["ttl"]),
        ({"user_id": "a", "ttl": True}, ["ttl"]),
        ({"user_id": "a", "ttl": None}, ["ttl"]),
        ({"user_id": "a", "client_id": None}, ["client_id"]),
        ({"user_id": "a", "client_id": ""}, ["client_id"]),
        ({"user_id": "a", "renewable": "no"}, ["renewable"]),
        ({"user_id": "a", "replace_existing": 1}, ["replace_existing"]),
        ({"user_id": "a", "metadata": []}, ["metadata"]),
        ({"user_id": "a", "metadata": {"a": "x" * 4_100}}, ["metadata"]),
        ({"user_id": "a", "organization_id": 5}, ["organization_id"]),
        ({"user_id": "a", "topic": ["a"]}, ["topic"]),
        ({"user_id": "a", "expires_in": 5}, ["expires_in"]),
        ({"user_id": "a", "ttl": 5, "topics": [], "permision": ["publish"]}, ["permision", "topics", "ttl"]),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_wrong_fields_are_refused_by_name(world: Any, body: object, fields: list[str]) -> None:
    problem = world.refused(await create(world, body), 400, "invalid_request")
    assert sorted(found["field"] for found in problem["errors"]) == fields


async def test_a_misspelt_field_is_told_the_right_one(world: Any) -> None:
    problem = world.refused(await create(world, {"user_id": "a", "permision": ["publish"]}), 400)
    assert "did you mean permissions?" in problem["detail"]


async def test_a_restricted_key_gives_no_more_than_its_own(world: Any) -> None:
    key = await world.restricted_key(only="tokens:create", permissions=["publish"], topics=["chat/+"])
    for topics, status in (
        (["chat/a"], 200),
        (["chat/+"], 200),
        (["chat/#"], 403),
        (["#"], 403),
        (["x"], 403),
    ):
        body = {"user_id": "ann", "permissions": ["publish"], "topics": topics}
        answer = await world.ask("POST", "/v2/tokens", key=key, body=body)
        assert answer.status_code == status
        if status == 403:
            assert topics[0] in world.refused(answer, 403, "forbidden")["detail"]


async def test_what_the_policy_leaves_nothing_of_is_403(world: Any) -> None:
    answer = await create(world, {"user_id": "ann", "permissions": ["publish"], "topics": ["$SYS/x"]})
    assert "$SYS/x" in world.refused(answer, 403, "forbidden")["detail"]


async def status_of(world: Any, token_id: str) -> str:
    return (await world.ask("GET", f"/v2/tokens/{token_id}", key=world.keys["sk"])).json()["status"]


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [
        ("/v2/tokens", {}, "active"),
        ("/v2/tokens", {"replace_existing": True}, "replaced"),
        ("/v2/tokens/create", {}, "replaced"),
        ("/v2/tokens/create", {"replace_existing": False}, "active"),
        ("/v1/create", {}, "replaced"),
        ("/v2/tokens", {"replace_sessions": True}, "replaced"),
    ],
)
async def test_earlier_families_are_replaced_as_the_path_says(
    world: Any, path: str, more: dict[str, bool], status: str
) -> None:
    user = {"user_id": f"replaced-{path}-{more}"}
    first = (await create(world, user)).json()["token_id"]
    await create(world, {**user, **more}, path=path)
    assert await status_of(world, first) == status


async def test_idempotency_key_brings_back_an_equal_token(world: Any) -> None:
    headers = {"Idempotency-Key": "once-1"}
    first = (await create(world, headers=headers)).json()
    again = (await create(world, dict(reversed(REQUEST.items())), headers=headers)).json()
    keyed = {**REQUEST, "secret_key": world.keys["sk"]}
    by_body = (await world.ask("POST", "/v2/tokens", body=keyed, headers=headers)).json()
    for repeat in (again, by_body):
        assert repeat["token_id"] == first["token_id"]
        assert world.claims(repeat["token"]) == world.claims(first["token"])


async def test_idempotency_key_with_another_body_is_409(world: Any) -> None:
    headers = {"Idempotency-Key": "once-2"}
    await create(world, headers=headers)
    world.refused(await create(world, {**REQUEST, "ttl": 60}, headers=headers), 409, "conflict")


async def test_idempotency_key_of_a_revoked_token_is_409(world: Any) -> None:
    headers = {"Idempotency-Key": "once-3"}
    token_id = (await create(world, headers=headers)).json()["token_id"]
    await world.ask("DELETE", f"/v2/tokens/{token_id}", key=world.keys["sk"])
    world.refused(await create(world, headers=headers), 409, "conflict")


async def test_idempotency_key_belongs_to_key_and_path(world: Any) -> None:
    headers = {"Idempotency-Key": "once-4"}
    other = await world.restricted_key(only="tokens:create")
    made = [(await create(world, path=path, headers=headers)).json()["token_id"] for path in CREATE_PATHS]
    made.append(
        (await world.ask("POST", "/v2/tokens", key=other, body=REQUEST, headers=headers)).json()["token_id"]
    )
    assert len(set(made)) == 4


@pytest.mark.parametrize("value", ["", " ", "a b", "é", "a" * 256, "a\x7f"])
async def test_idempotency_key_that_is_not_visible_ascii_is_400(world: Any, value: str) -> None:
    headers = [(b"Idempotency-Key", value.encode("latin-1"))]
    problem = world.refused(await create(world, headers=headers), 400, "invalid_request")
    assert problem["errors"][0]["field"] == "Idempotency-Key"


async def test_two_idempotency_keys_are_400(world: Any) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    world.refused(await create(world, headers=headers), 400, "invalid_request")
