"""The OpenAPI document says what the table says, and the table what the router serves."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest

import tokenmq
from tokenmq.api.call import Access
from tokenmq.api.errors import HttpRefused
from tokenmq.api.openapi import document, error_statuses
from tokenmq.api.table import ENDPOINTS

DOCUMENT = document(ENDPOINTS)


async def test_served_document_is_the_one_of_the_table(world: Any) -> None:
    answer = await world.ask("GET", "/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == json.loads(json.dumps(DOCUMENT))
    assert answer.json()["info"]["version"] == tokenmq.__version__


def test_every_route_is_in_the_document_and_nothing_else() -> None:
    described = {
        (path, method.upper()) for path, operations in DOCUMENT["paths"].items() for method in operations
    }
    assert described == {(endpoint.path, endpoint.method) for endpoint in ENDPOINTS}
    assert len(described) == len(ENDPOINTS)


def test_contract_has_these_routes() -> None:
    assert sorted(f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS) == [
        "DELETE /v2/history",
        "DELETE /v2/keys/{key_id}",
        "DELETE /v2/organizations/{organization_id}",
        "DELETE /v2/providers/{provider_id}",
        "DELETE /v2/sessions/{client_id}",
        "DELETE /v2/tokens/{token_id}",
        "DELETE /v2/utilities/retained/{topic}",
        "GET /.well-known/jwks.json",
        "GET /healthz",
        "GET /openapi.json",
        "GET /readyz",
        "GET /v2/acl",
        "GET /v2/audit",
        "GET /v2/audit/verify",
        "GET /v2/history",
        "GET /v2/history/rules",
        "GET /v2/keys",
        "GET /v2/organizations",
        "GET /v2/organizations/{organization_id}",
        "GET /v2/providers",
        "GET /v2/sessions",
        "GET /v2/signing-keys",
        "GET /v2/tokens",
        "GET /v2/tokens/{token_id}",
        "GET /v2/utilities/presence",
        "GET /v2/utilities/presence/{username}",
        "GET /v2/utilities/retained",
        "PATCH /v2/organizations/{organization_id}",
        "PATCH /v2/providers/{provider_id}",
        "POST /v1/create",
        "POST /v1/publish",
        "POST /v2/acl/simulate",
        "POST /v2/acl/validate",
        "POST /v2/keys",
        "POST /v2/keys/{key_id}/rotate",
        "POST /v2/organizations",
        "POST /v2/providers",
        "POST /v2/signing-keys",
        "POST /v2/signing-keys/{kid}/retire",
        "POST /v2/signing-keys/{kid}/use",
        "POST /v2/tokens",
        "POST /v2/tokens/create",
        "POST /v2/tokens/exchange",
        "POST /v2/tokens/introspect",
        "POST /v2/tokens/refresh",
        "POST /v2/tokens/revoke",
        "POST /v2/utilities/users/{username}/terminate",
        "PUT /v2/acl",
        "PUT /v2/history/rules",
    ]


def test_operations_have_different_names() -> None:
    assert len({endpoint.operation for endpoint in ENDPOINTS}) == len(ENDPOINTS)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.operation)
def test_every_operation_names_its_errors_and_its_security(endpoint: Any) -> None:
    operation = DOCUMENT["paths"][endpoint.path][endpoint.method.lower()]
    assert set(operation["responses"]) == {str(endpoint.status), *map(str, error_statuses(endpoint))}
    for name, answer in operation["responses"].items():
        if name != str(endpoint.status):
            error = f"Error{name}" if endpoint.oauth is None else f"OAuthError{name}"
            assert answer == {"$ref": f"#/components/responses/{error}"}
            assert error in DOCUMENT["components"]["responses"]
    if endpoint.access in (Access.EVERYBODY, Access.POSSESSION):
        assert operation["security"] == []
    else:
        schemes = {name for one in operation["security"] for name in one}
        assert schemes == set(DOCUMENT["components"]["securitySchemes"])
    assert ("requestBody" in operation) == (endpoint.body is not None)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.operation)
def test_access_and_scope_belong_together(endpoint: Any) -> None:
    assert endpoint.permission is None or endpoint.access is Access.SCOPE
    scoped = endpoint.access in (Access.SCOPE, Access.SCOPE_OR_ALL)
    assert (endpoint.scope is not None) == scoped


def references(node: object) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if "$ref" in node else set()
        return own.union(*map(references, node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()


def test_every_reference_leads_somewhere() -> None:
    for reference in references(DOCUMENT):
        node = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_error_answers_have_the_shape_that_the_document_shows() -> None:
    from tokenmq.api.errors import problem
    from tokenmq.errors import InvalidRequest

    validator = jsonschema_rs.validator_for(
        {**DOCUMENT["components"]["schemas"]["Problem"], "components": DOCUMENT["components"]}
    )
    for error in (InvalidRequest(("a", "b")), HttpRefused(404, "no")):
        validator.validate(json.loads(problem(error, request_id="r").body))
