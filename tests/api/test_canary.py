"""No key and no token ever comes back in an error, nor stands in a log (SECURITY V-46)."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from structlog.testing import capture_logs

from tokenmq.api.call import Access
from tokenmq.api.table import ENDPOINTS

FIELDS = {
    "POST /v2/tokens": [
        "user_id",
        "user_email",
        "permissions",
        "topics",
        "grants",
        "ttl",
        "client_id",
        "integration_id",
        "organization_id",
        "metadata",
    ],
    "POST /v2/tokens/introspect": ["token", "token_type_hint", "organization_id"],
    "POST /v2/tokens/revoke": ["token_id", "user_id", "all", "issued_before", "reason", "organization_id"],
    "POST /v2/keys": ["kind", "name", "scopes", "permissions", "topics", "expires_at", "organization_id"],
    "POST /v2/organizations": ["name", "settings"],
}


def canaries(secret: str) -> list[str]:
    """Return the parts of a secret that must be nowhere: whoever sees one of them sees too much."""
    middle = secret[12:52]
    return [secret, middle, middle[:20]]


async def secrets_of(world: Any) -> dict[str, str]:
    token = (await world.token(user_id="canary"))["token"]
    return {"key": world.keys["sk"], "unknown key": world.wrong_keys["unknown"], "token": token}


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Return what was logged, but by the test's own client."""
    return "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))


def shapes(secret: str) -> list[object]:
    return [secret, [secret], {secret: secret}, [[secret]], f"chat/{secret}/#/x", f"\n{secret}"]


@pytest.mark.parametrize("call", FIELDS)
async def test_v46_secrets_in_the_wrong_field_do_not_come_back(
    world: Any, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    method, path = call.split()
    key = world.keys["ik"]
    where = {} if "organizations" in path else {"organization_id": world.org_id}
    said = []
    with capture_logs() as logs:
        for secret in (await secrets_of(world)).values():
            bodies = [{**where, field: shape} for field in FIELDS[call] for shape in shapes(secret)]
            bodies += [{**where, secret: 1}, {**where, "user_id": "a", "metadata": 5, f"x{secret}": secret}]
            for body in bodies:
                answer = await world.ask(method, path, key=key, body=body)
                assert answer.status_code != 500
                if answer.status_code >= 400:
                    said.append((secret, answer.text + str(answer.headers)))
    assert said
    everything = repr(logs) + logged(caplog)
    for secret, text in said:
        for part in canaries(secret):
            assert part not in text
            assert part not in everything


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.operation)
async def test_v46_secrets_in_urls_and_headers_do_not_come_back(
    world: Any, endpoint: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    good = await secrets_of(world)
    with capture_logs() as logs:
        for secret in good.values():
            path = re.sub(r"{\w+}", secret, endpoint.path)
            for more in (
                {"params": {secret: secret}},
                {"params": {"organization_id": secret, "cursor": secret, "limit": secret}},
                {
                    "headers": {
                        "Idempotency-Key": f"{secret} {secret}",
                        "X-API-Key": secret,
                        "X-Secret-Key": "x",
                    }
                },
                {"headers": {"Authorization": f"Bearer x{secret}"}},
                {"headers": {"Content-Type": secret}, "raw": secret.encode()},
                {"headers": {"Content-Type": "application/json"}, "raw": f'{{"a": {secret}'.encode()},
            ):
                keyed = (
                    {}
                    if "headers" in more and endpoint.access is not Access.EVERYBODY
                    else {"key": world.keys["ik"]}
                )
                answer = await world.ask(endpoint.method, path, **keyed, **more)
                assert answer.status_code != 500
                if answer.status_code >= 400:
                    for part in canaries(secret):
                        assert part not in answer.text + str(answer.headers)
    for secret in good.values():
        for part in canaries(secret):
            assert part not in repr(logs) + logged(caplog)


async def test_v46_good_calls_log_no_secret(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with capture_logs() as logs:
        made = await world.key(kind="sk", name="logged")
        token = await world.token(key=made["key"], user_id="logged")
        await world.ask("POST", "/v2/tokens/introspect", key=made["key"], body={"token": token["token"]})
        await world.ask(
            "DELETE", f"/v2/keys/{made['id']}", key=world.keys["sk"], params={"revoke_tokens": "true"}
        )
    for secret in (made["key"], token["token"]):
        for part in canaries(secret):
            assert part not in repr(logs) + logged(caplog)
