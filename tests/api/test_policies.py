"""/v2/acl on the wire."""

from __future__ import annotations

from typing import Any

import pytest

OPEN = [
    {
        "user": "*",
        "permissions": ["publish", "subscribe", "presence", "history"],
        "topics": ["#", "$spaces/#"],
        "effect": "allow",
    },
    {
        "user": "*",
        "permissions": ["subscribe"],
        "topics": ["$notifications/{user_id}/#", "$notifications/channels/#"],
        "effect": "allow",
    },
]
RULE = {"user": "*", "permissions": ["publish"], "topics": ["chat/#"], "effect": "allow"}
STARTING = {"version": "1", "default": "deny", "rules": OPEN}


@pytest.fixture(autouse=True)
async def starting(world: Any) -> None:
    assert (await ask(world, "PUT", body=STARTING)).json()["untouched"]


async def ask(world: Any, method: str, path: str = "", **more: Any) -> Any:
    return await world.ask(method, f"/v2/acl{path}", **({"key": world.keys["sk"]} | more))


async def test_get_shows_the_starting_document_with_a_warning(world: Any) -> None:
    answer = await ask(world, "GET")
    assert answer.status_code == 200
    body = answer.json()
    assert {name: body[name] for name in STARTING} == STARTING
    assert set(body) == {*STARTING, "revision", "untouched", "findings"}
    assert [(one["path"], one["severity"]) for one in body["findings"]] == [("", "warning")]


async def test_put_is_shown_and_holds_for_the_next_token(world: Any) -> None:
    answer = await ask(world, "PUT", body={"version": "1", "rules": [RULE]})
    body = answer.json()
    assert (answer.status_code, body["rules"], body["untouched"], body["findings"]) == (
        200,
        [RULE],
        False,
        [],
    )
    assert (await ask(world, "GET")).json() == body
    refused = await world.ask(
        "POST",
        "/v2/tokens",
        key=world.keys["sk"],
        body={"user_id": "ann", "permissions": ["publish"], "topics": ["other/#"]},
    )
    problem = world.refused(refused, 403, "forbidden")
    assert "publish" in problem["detail"] and "other/#" in problem["detail"]
    made = await world.token(user_id="ann")
    assert (made["permissions"], made["topics"]) == (["publish"], ["chat/#"])
    other = await ask(world, "GET", key=world.keys["other sk"])
    assert other.json()["untouched"]


async def test_what_was_got_can_be_put_and_only_over_what_was_got(world: Any) -> None:
    got = (await ask(world, "GET")).json()
    changed = got | {"rules": [RULE]}
    assert (await ask(world, "PUT", body=changed)).status_code == 200
    world.refused(await ask(world, "PUT", body=changed), 409, "conflict")
    assert (
        await ask(world, "PUT", body=changed | {"revision": (await ask(world, "GET")).json()["revision"]})
    ).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "version"),
        ({"version": "2", "rules": []}, "version"),
        ({"version": "1", "rules": [], "default": "allow"}, "default"),
        ({"version": "1", "rules": [], "global": []}, "global"),
        ({"version": "1", "rules": [RULE, RULE | {"topics": ["a", "a/#/b"]}]}, "rules[1].topics[1]"),
        ({"version": "1", "rules": [RULE | {"user": {"claim": "role", "is": 1}}]}, "rules[0].user.is"),
        ({"version": "1", "rules": [{"user": "*", "permissions": ["publish"]}]}, "rules[0].topics"),
        ({"version": "1", "rules": None}, "rules"),
    ],
)
async def test_put_names_the_place_of_what_is_wrong(world: Any, body: dict[str, Any], field: str) -> None:
    problem = world.refused(await ask(world, "PUT", body=body), 400, "invalid_request")
    assert field in [one["field"] for one in problem["errors"]]
    assert (await ask(world, "GET")).json()["untouched"]


async def test_validate_answers_for_anything_and_changes_nothing(world: Any) -> None:
    answer = await ask(world, "POST", "/validate", body={"version": "1", "rules": [RULE, RULE]})
    assert answer.json() == {
        "valid": True,
        "findings": [
            {
                "path": "rules[1]",
                "severity": "warning",
                "message": "allows nothing: rules[0] before it decides about all of it",
            }
        ],
    }
    answer = await ask(world, "POST", "/validate", body={"global": [], "rules": [{"user": 1}]})
    assert answer.status_code == 200 and not answer.json()["valid"]
    assert [one["path"] for one in answer.json()["findings"]] == [
        "global",
        "version",
        "rules[0].user",
        "rules[0].permissions",
        "rules[0].topics",
    ]
    assert (await ask(world, "GET")).json()["untouched"]


async def test_simulate_in_words(world: Any) -> None:
    await ask(world, "PUT", body={"version": "1", "rules": [RULE]})
    asked = {"user_id": "ann", "action": "publish", "topic": "chat/a"}
    answer = await ask(world, "POST", "/simulate", body=asked)
    assert answer.json() == {
        "allowed": True,
        "decided_by": "rules[0]",
        "explanation": "rules[0] (chat/#) allows everybody publish on chat/a",
    }
    token = (await world.token(user_id="ann", permissions=["publish"], topics=["chat/b"]))["token"]
    answer = await ask(
        world, "POST", "/simulate", body={"token": token, "action": "publish", "topic": "chat/a"}
    )
    assert (answer.json()["allowed"], answer.json()["decided_by"]) == (False, "token")
    foreign = {"token": token, "action": "publish", "topic": "chat/b"}
    refused = await ask(world, "POST", "/simulate", body=foreign, key=world.keys["other sk"])
    world.refused(refused, 401, "unauthorized")
    wrong = await ask(world, "POST", "/simulate", body=asked | {"action": "read"})
    assert world.refused(wrong, 400, "invalid_request")["errors"][0]["field"] == "action"


async def test_a_deny_for_a_claim(world: Any) -> None:
    user = {"claim": "role", "equals": "guest"}
    await ask(world, "PUT", body={"version": "1", "rules": [RULE | {"user": user, "effect": "deny"}, RULE]})
    asked = {"user_id": "ann", "action": "publish", "topic": "chat/a"}
    for claims, allowed in (({"role": ["guest"]}, False), ({"role": "staff"}, True), ({}, True)):
        answer = await ask(world, "POST", "/simulate", body=asked | {"claims": claims})
        assert answer.json()["allowed"] is allowed
    assert (
        'users whose claim role is "guest"'
        in (await ask(world, "POST", "/simulate", body=asked | {"claims": {"role": "guest"}})).json()[
            "explanation"
        ]
    )
