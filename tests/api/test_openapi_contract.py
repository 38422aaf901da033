"""The OpenAPI document held against the running application, by generated requests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tokenmq.api.openapi import document
from tokenmq.api.table import ENDPOINTS

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SCHEMA = schemathesis.openapi.from_dict(document(ENDPOINTS))
GRANTS = [
    {"topics": ["a"], "permissions": ["publish"]},
    {"topics": ["b"], "permissions": ["subscribe", "history"]},
]
OF_THE_INSTANCE = ("http://testserver/v2/organizations", "http://testserver/v2/signing-keys")
KEY_HEADERS = {"authorization", "x-secret-key", "x-api-key"}
Ask = Callable[[Any, str], Any]


async def make(world: Any) -> dict[str, str]:
    """Make one of everything that a path can name."""
    token = await world.token(user_id="ann", metadata={"a": [1]}, grants=GRANTS)
    key = await world.key(kind="pk", name="named")
    organization = {"name": "named by the contract test"}
    made = await world.ask("POST", "/v2/organizations", key=world.keys["ik"], body=organization)
    signing = await world.ask("POST", "/v2/signing-keys", key=world.keys["ik"])
    left = {"topic": "left/here", "payload": "x", "retain": True}
    await world.ask("POST", "/v1/publish", key=world.keys["sk"], body=left)
    idp = {"provider": "auth0", "name": "idp", "domain": "a.example", "audience": "api", "enabled": False}
    provider = await world.ask("POST", "/v2/providers", key=world.keys["sk"], body=idp)
    return {
        "token_id": token["token_id"],
        "key_id": key["id"],
        "organization_id": made.json()["id"],
        "kid": signing.json()["kid"],
        "client_id": "a-client",
        "username": "ann",
        "topic": "left/here",
        "provider_id": provider.json()["id"],
    }


@pytest.fixture(scope="module")
def ask(
    open_world: Callable[[Path], AbstractAsyncContextManager[Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ask]:
    """Yield a function that sends a generated case as one of the world's callers."""
    folder = tmp_path_factory.mktemp("contract")
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_world(folder)) as world:
        made = portal.call(make, world)
        turns = itertools.cycle((True, False))

        def send(case: Any, caller: str) -> Any:
            """Send a case; every second one of a caller with a key is about something that is there."""
            wanted = case.as_transport_kwargs(base_url="http://testserver")
            params, url = dict(wanted.get("params") or {}), wanted["url"]
            if caller != "nobody" and next(turns):
                url = "http://testserver" + case.operation.path.format(**made)
            if caller == "ik" and not url.startswith(OF_THE_INSTANCE):
                params["organization_id"] = world.org_id
            headers = {
                name: value for name, value in wanted["headers"].items() if name.lower() not in KEY_HEADERS
            }
            if caller != "nobody":
                headers["X-Secret-Key"] = world.keys[caller]
            body = {"json": wanted["json"]} if "json" in wanted else {"data": wanted.get("data")}
            return portal.call(
                lambda: world.client.request(wanted["method"], url, headers=headers, params=params, **body)
            )

        yield send


@pytest.mark.parametrize("caller", ["nobody", "sk", "ik"])
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.operation)
def test_answers_are_as_the_document_says(ask: Ask, endpoint: Any, caller: str) -> None:
    operation = SCHEMA[endpoint.path][endpoint.method]

    @given(case=operation.as_strategy())
    @settings(
        max_examples=6,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def holds(case: Any) -> None:
        case.validate_response(ask(case, caller), checks=CHECKS)

    holds()
