"""GET /v2/audit, GET /v2/audit/verify, and what requests leave behind."""

from __future__ import annotations

from typing import Any

import pytest


async def listed(world: Any, key: str, **params: str) -> list[dict[str, Any]]:
    answer = await world.ask("GET", "/v2/audit", key=key, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["entries"]


async def test_row_of_a_request_has_its_address_and_id(world: Any) -> None:
    made = await world.ask(
        "POST", "/v2/tokens", key=world.keys["sk"], body={"user_id": "ann", "topics": ["chat/#"]}
    )
    row = (await listed(world, world.keys["sk"], limit="1"))[0]
    assert row["request_id"] == made.headers["x-request-id"]
    assert row["address"] == "127.0.0.1"
    assert (row["action"], row["object"]) == ("issue", f"token:{made.json()['token_id']}")
    assert (row["user_id"], row["organization_id"], row["result"]) == ("ann", world.org_id, "ok")
    assert row["at"] == "2026-11-24T12:00:00Z"
    assert row["details"] == {"ttl": 3600}
    assert len(row["hash"]) == len(row["previous_hash"]) == 64


async def test_each_writing_request_leaves_one_row_with_its_id(world: Any) -> None:
    ik, sk = world.keys["ik"], world.keys["sk"]
    token = await world.token(user_id="bob")
    organization = (await world.ask("POST", "/v2/organizations", key=ik, body={"name": "audited"})).json()
    key = (await world.ask("POST", "/v2/keys", key=sk, body={"kind": "sk", "name": "audited"})).json()
    kid = (await world.ask("POST", "/v2/signing-keys", key=ik)).json()["kid"]
    requests: list[tuple[str, str, str, str, Any]] = [
        ("key_delete", "DELETE", f"/v2/keys/{key['id']}", sk, None),
        ("revoke", "DELETE", f"/v2/tokens/{token['token_id']}", sk, None),
        ("revoke", "POST", "/v2/tokens/revoke", sk, {"user_id": "bob"}),
        ("organization_update", "PATCH", f"/v2/organizations/{organization['id']}", ik, {"name": "again"}),
        ("organization_delete", "DELETE", f"/v2/organizations/{organization['id']}", ik, None),
        ("signing_key_retire", "POST", f"/v2/signing-keys/{kid}/retire", ik, None),
    ]
    for action, method, path, by, body in requests:
        answer = await world.ask(method, path, key=by, body=body)
        assert answer.status_code == 200, answer.text
        row = (await listed(world, ik, limit="1"))[0]
        assert (row["action"], row["request_id"]) == (action, answer.headers["x-request-id"])


async def test_filters_and_pages(world: Any) -> None:
    for number in range(3):
        await world.token(user_id=f"page-{number}")
    sk = world.keys["sk"]
    params = {"action": "issue", "limit": "2", "since": "2026-11-24T12:00:00Z"}
    first = (await world.ask("GET", "/v2/audit", key=sk, params=params)).json()
    assert [row["user_id"] for row in first["entries"]] == ["page-2", "page-1"]
    after = (await world.ask("GET", "/v2/audit", key=sk, params={**params, "cursor": first["next"]})).json()
    assert after["entries"][0]["user_id"] == "page-0"
    assert [row["user_id"] for row in await listed(world, sk, user_id="page-1")] == ["page-1"]
    about = first["entries"][0]["object"]
    assert [row["object"] for row in await listed(world, sk, object=about)] == [about]
    assert await listed(world, sk, user_id="page-1", until="2026-11-24T12:00:00Z") == []
    assert await listed(world, sk, actor="system") == []


@pytest.mark.parametrize("params", [{"action": "nope"}, {"since": "now"}, {"limit": "0"}, {"other": "1"}])
async def test_wrong_query_is_refused(world: Any, params: dict[str, str]) -> None:
    assert (await world.ask("GET", "/v2/audit", key=world.keys["sk"], params=params)).status_code == 400


async def test_administrator_sees_all_or_the_one_that_is_named(world: Any) -> None:
    await world.token(user_id="seen")
    everything = await listed(world, world.keys["ik"], limit="500")
    assert {None, world.org_id, world.other_org_id} <= {row["organization_id"] for row in everything}
    one = await listed(world, world.keys["ik"], organization_id=world.org_id)
    assert {row["organization_id"] for row in one} == {world.org_id}
    unknown = {"organization_id": "org_aaaaaaaaaaaa"}
    assert (await world.ask("GET", "/v2/audit", key=world.keys["ik"], params=unknown)).status_code == 404


async def test_refused_key_leaves_a_row_with_the_request(world: Any) -> None:
    refused = await world.ask("GET", "/v2/keys", key=world.wrong_keys["unknown"])
    assert refused.status_code == 401
    await world.token(user_id="ann")
    rows = await listed(world, world.keys["ik"], action="key_refused", limit="500")
    assert refused.headers["x-request-id"] in {row["request_id"] for row in rows}
    assert world.wrong_keys["unknown"] not in str(rows)


async def test_chain_is_verified(world: Any) -> None:
    await world.token(user_id="ann")
    newest = (await listed(world, world.keys["ik"], limit="1"))[0]
    answer = await world.ask("GET", "/v2/audit/verify", key=world.keys["ik"])
    assert answer.json() == {
        "intact": True,
        "rows": newest["number"],
        "number": newest["number"],
        "hash": newest["hash"],
        "broken_at": None,
        "problem": None,
        "next": None,
    }
    assert (await world.ask("GET", "/v2/audit/verify", key=world.keys["sk"])).status_code == 403
