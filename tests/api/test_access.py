"""Every endpoint against every kind of caller."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tokenmq.api.call import Access, Endpoint
from tokenmq.api.table import ENDPOINTS

KEYED = [endpoint for endpoint in ENDPOINTS if endpoint.access is Access.SCOPE]
OF_THE_INSTANCE = [endpoint for endpoint in ENDPOINTS if endpoint.access is Access.INSTANCE]
# Whoever asks these shows nothing; `test_renewal` has those that are about a token.
FOR_EVERYBODY = [
    endpoint
    for endpoint in ENDPOINTS
    if endpoint.access in (Access.EVERYBODY, Access.ANY_KEY) and endpoint.body is None
]

# A good body of every operation that needs one; the rest needs none.
BODIES: dict[str, dict[str, Any]] = {
    "createToken": {"user_id": "ann", "permissions": ["publish"], "topics": ["chat/ann"]},
    "createTokenReplacing": {"user_id": "ann", "permissions": ["publish"], "topics": ["chat/ann"]},
    "createTokenV1": {"user_id": "ann", "permissions": ["publish"], "topics": ["chat/ann"]},
    "introspectToken": {"token": "x"},
    "revokeTokens": {"user_id": "nobody"},
    "createKey": {"kind": "rk", "name": "scoped", "scopes": ["keys"]},
    "putPolicy": {
        "version": "1",
        "rules": [
            {"user": "*", "permissions": ["publish", "subscribe", "history"], "topics": ["#", "$spaces/#"]}
        ],
    },
    "validatePolicy": {"version": "1", "rules": []},
    "simulatePolicy": {"user_id": "ann", "action": "publish", "topic": "a"},
    "createOrganization": {"name": "made by a test"},
    "patchOrganization": {"name": "named by a test"},
    "publish": {"topic": "chat/ann", "payload": "hello"},
    "createProvider": {"provider": "auth0", "domain": "a.example", "audience": "api", "enabled": False},
    "patchProvider": {"enabled": False},
    "putHistoryRules": {"rules": [{"topic": "kept/#", "max_age": 60, "max_messages": 1}]},
}
# A good query, likewise.
QUERIES = {"readHistory": {"topic": "kept/#"}, "eraseHistory": {"topic": "kept/#"}}
# Something of every kind that a path may name, which is not there.
MISSING = {
    "token_id": "tok_" + "a" * 26,
    "key_id": "AAAAAAAA",
    "organization_id": "org_" + "a" * 12,
    "kid": "a" * 43,
    "provider_id": "idp_" + "a" * 26,
    "client_id": "missing/client",
    "username": "missing",
    "topic": "missing/topic",
}
# No two have the same name.
_NAMES = itertools.count()


def named(endpoints: list[Endpoint]) -> Any:
    return pytest.mark.parametrize("endpoint", endpoints, ids=lambda endpoint: endpoint.operation)


async def ask(world: Any, endpoint: Endpoint, key: str | None = None, **query: str) -> Any:
    path = endpoint.path.format(**MISSING)
    body = BODIES.get(endpoint.operation)
    if endpoint.operation == "createProvider" and body is not None:
        body = {**body, "name": f"made by a test {next(_NAMES)}"}
    query = QUERIES.get(endpoint.operation, {}) | query
    return await world.ask(endpoint.method, path, key=key, params=query or None, body=body)


def passes(endpoint: Endpoint, answer: Any) -> bool:
    """Tell whether the caller was let through: objects of the path do not exist here."""
    is_missing = "{" in endpoint.path and 404 in endpoint.errors
    return answer.status_code == (404 if is_missing else endpoint.status)


@named([*KEYED, *OF_THE_INSTANCE])
async def test_without_a_key_is_401(world: Any, endpoint: Endpoint) -> None:
    answer = await ask(world, endpoint)
    world.refused(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


@named([*KEYED, *OF_THE_INSTANCE])
@pytest.mark.parametrize("name", ["mistyped", "unknown", "expired", "deleted", "malformed", "endless"])
async def test_with_a_wrong_key_is_401(world: Any, endpoint: Endpoint, name: str) -> None:
    answer = await ask(world, endpoint, world.wrong_keys[name])
    world.refused(answer, 401, "unauthorized")
    assert world.wrong_keys[name] not in answer.text


@named(KEYED)
async def test_with_a_secret_key_passes(world: Any, endpoint: Endpoint) -> None:
    assert passes(endpoint, await ask(world, endpoint, world.keys["sk"]))


@named(KEYED)
async def test_with_a_publishable_key_is_403(world: Any, endpoint: Endpoint) -> None:
    world.refused(await ask(world, endpoint, world.keys["pk"]), 403, "forbidden")


@named(KEYED)
async def test_with_a_restricted_key_that_has_every_other_scope_is_403(
    world: Any, endpoint: Endpoint
) -> None:
    key = await world.restricted_key(without=endpoint.scope)
    world.refused(await ask(world, endpoint, key), 403, "forbidden")


@named(KEYED)
async def test_with_a_restricted_key_that_has_only_its_scope_passes(world: Any, endpoint: Endpoint) -> None:
    key = await world.restricted_key(only=endpoint.scope)
    assert passes(endpoint, await ask(world, endpoint, key))


@named(KEYED)
async def test_with_an_instance_key_the_organization_must_be_named(world: Any, endpoint: Endpoint) -> None:
    answer = await ask(world, endpoint, world.keys["ik"])
    assert world.refused(answer, 400, "invalid_request")["errors"][0]["field"] == "organization_id"


@named(KEYED)
async def test_with_an_instance_key_and_an_organization_passes(world: Any, endpoint: Endpoint) -> None:
    answer = await ask(world, endpoint, world.keys["ik"], organization_id=world.org_id)
    assert passes(endpoint, answer)


@named(KEYED)
@pytest.mark.parametrize("name", ["org_zzzzzzzzzzzz", "", "null", "../x", "ORG", "%00"])
async def test_v68_with_an_instance_key_and_no_such_organization_is_404(
    world: Any, endpoint: Endpoint, name: str
) -> None:
    answer = await ask(world, endpoint, world.keys["ik"], organization_id=name)
    world.refused(answer, 404, "organization_not_found")


@named(KEYED)
async def test_naming_a_foreign_organization_is_as_naming_none_that_exists(
    world: Any, endpoint: Endpoint
) -> None:
    foreign = await ask(world, endpoint, world.keys["sk"], organization_id=world.other_org_id)
    missing = await ask(world, endpoint, world.keys["sk"], organization_id="org_zzzzzzzzzzzz")
    assert foreign.status_code in (400, 404)
    assert (foreign.status_code, foreign.content) == (missing.status_code, missing.content)


@named(OF_THE_INSTANCE)
@pytest.mark.parametrize("kind", ["sk", "rk", "pk"])
async def test_calls_of_the_instance_are_403_for_keys_of_organizations(
    world: Any, endpoint: Endpoint, kind: str
) -> None:
    world.refused(await ask(world, endpoint, world.keys[kind]), 403, "forbidden")


@named(OF_THE_INSTANCE)
async def test_calls_of_the_instance_pass_with_an_instance_key(world: Any, endpoint: Endpoint) -> None:
    assert passes(endpoint, await ask(world, endpoint, world.keys["ik"]))


@named(FOR_EVERYBODY)
async def test_public_calls_need_no_key(world: Any, endpoint: Endpoint) -> None:
    query = {"organization_id": world.org_id} if endpoint.access is Access.ANY_KEY else {}
    assert passes(endpoint, await ask(world, endpoint, **query))


@pytest.mark.parametrize("name", ["mistyped", "unknown", "expired"])
async def test_a_wrong_key_is_refused_even_where_none_is_needed(world: Any, name: str) -> None:
    answer = await world.ask(
        "GET", "/v2/providers", key=world.wrong_keys[name], params={"organization_id": world.org_id}
    )
    world.refused(answer, 401, "unauthorized")


@pytest.mark.parametrize("header", ["Authorization", "X-Secret-Key", "X-API-Key", "body"])
async def test_the_key_may_stand_in_four_places(world: Any, header: str) -> None:
    key = world.keys["sk"]
    body = {"user_id": "ann", **({"secret_key": key} if header == "body" else {})}
    value = f"bEARer  {key} " if header == "Authorization" else key
    headers = {} if header == "body" else {header: value}
    answer = await world.ask("POST", "/v2/tokens", headers=headers, body=body)
    assert answer.status_code == 200


@pytest.mark.parametrize("second", ["sk_other", "", "pk"])
async def test_two_keys_that_differ_are_400_whichever_is_good(world: Any, second: str) -> None:
    other = world.keys.get(second, second)
    for headers in (
        {"Authorization": f"Bearer {world.keys['sk']}", "X-Secret-Key": other},
        {"X-API-Key": other, "X-Secret-Key": world.keys["sk"]},
    ):
        answer = await world.ask("POST", "/v2/tokens", headers=headers, body={"user_id": "ann"})
        world.refused(answer, 400, "invalid_request")
    body = {"user_id": "ann", "secret_key": other}
    world.refused(
        await world.ask("POST", "/v2/tokens", key=world.keys["sk"], body=body), 400, "invalid_request"
    )


async def test_a_header_with_two_different_keys_is_400(world: Any) -> None:
    headers = [("X-Secret-Key", world.keys["sk"]), ("X-Secret-Key", world.keys["pk"])]
    world.refused(await world.ask("GET", "/v2/tokens", headers=headers), 400, "invalid_request")


async def test_the_same_key_twice_is_one_key(world: Any) -> None:
    body = {"user_id": "ann", "secret_key": world.keys["sk"]}
    headers = [("X-API-Key", world.keys["sk"]), ("X-API-Key", world.keys["sk"])]
    answer = await world.ask("POST", "/v2/tokens", key=world.keys["sk"], headers=headers, body=body)
    assert answer.status_code == 200


async def test_another_scheme_of_authorization_is_not_ours(world: Any) -> None:
    headers = {"Authorization": "Basic dXNlcjpwYXNz", "X-Secret-Key": world.keys["sk"]}
    assert (await world.ask("GET", "/v2/tokens", headers=headers)).status_code == 200
    headers.pop("X-Secret-Key")
    world.refused(await world.ask("GET", "/v2/tokens", headers=headers), 401, "unauthorized")


@pytest.mark.parametrize("value", [5, None, True, [], {}])
async def test_secret_key_that_is_no_text_is_400(world: Any, value: object) -> None:
    answer = await world.ask("POST", "/v2/tokens", body={"user_id": "ann", "secret_key": value})
    assert world.refused(answer, 400, "invalid_request")["errors"][0]["field"] == "secret_key"


async def test_a_key_in_the_url_is_refused_and_not_echoed(world: Any) -> None:
    params = {"secret_key": world.keys["sk"]}
    answer = await world.ask("GET", "/v2/tokens", params=params)
    world.refused(answer, 401, "unauthorized")
    answer = await world.ask("GET", "/v2/tokens", key=world.keys["sk"], params=params)
    assert world.refused(answer, 400, "invalid_request")["errors"][0]["field"] == "secret_key"


async def test_a_user_token_is_no_key(world: Any) -> None:
    token = (await world.token(user_id="ann"))["token"]
    world.refused(await world.ask("GET", "/v2/tokens", key=token), 401, "unauthorized")


async def test_body_and_query_that_name_different_organizations_are_400(world: Any) -> None:
    for second in (world.other_org_id, "org_zzzzzzzzzzzz"):
        answer = await world.ask(
            "POST",
            "/v2/tokens",
            key=world.keys["ik"],
            params={"organization_id": second},
            body={"user_id": "ann", "organization_id": world.org_id},
        )
        world.refused(answer, 400, "invalid_request")


async def test_the_organization_of_the_key_may_be_named(world: Any) -> None:
    body = {"user_id": "ann", "organization_id": world.org_id}
    assert (await world.ask("POST", "/v2/tokens", key=world.keys["sk"], body=body)).status_code == 200
