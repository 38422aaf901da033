"""The OpenAPI 3.1 document, made of the table of endpoints and their types.

Nothing here is written by hand that another place knows: bodies and answers come from
the types, statuses from what an endpoint needs.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

import tokenmq
from tokenmq.api.call import Access, Endpoint
from tokenmq.api.errors import MEDIA_TYPE, Problem
from tokenmq.api.oauth import OAuthProblem

_JSON, _FORM = "application/json", "application/x-www-form-urlencoded"
_REF = "#/components/schemas/{name}"
_KEY_SCHEMES: dict[str, dict[str, str]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key. It may also stand as `secret_key` in a body.",
    },
    "secretKey": {"type": "apiKey", "in": "header", "name": "X-Secret-Key"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_ERROR_HEADERS: dict[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
    503: ("Retry-After",),
}
# What any request may meet, whatever it asks for.
_ALWAYS = (414, 431, 500, 503)
_PARAMETER_SCHEMA = {"type": "string", "minLength": 1}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A repeat with the same key, path and body brings back an equal token.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Describe the endpoints."""
    kinds = [kind for endpoint in endpoints for kind in _kinds(endpoint)]
    _, schemas = msgspec.json.schema_components([*dict.fromkeys(kinds), Problem], ref_template=_REF)
    queries = {endpoint.query: _query_parameters(endpoint.query) for endpoint in endpoints}
    statuses = sorted({status for endpoint in endpoints for status in error_statuses(endpoint)})
    of_forms = sorted({status for one in endpoints if one.oauth for status in error_statuses(one)})
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        operation = _operation(endpoint, queries[endpoint.query])
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tokenmq",
            "version": tokenmq.__version__,
            "summary": "Short-lived, scoped tokens for MQTT",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {name: _tidy(schema) for name, schema in schemas.items()},
            "responses": {
                **{f"Error{status}": _error(status) for status in statuses},
                **{f"OAuthError{status}": _error(status, forms=True) for status in of_forms},
            },
            "securitySchemes": _KEY_SCHEMES,
        },
    }


def error_statuses(endpoint: Endpoint) -> list[int]:
    """Return every status other than the good one that this endpoint can answer with."""
    statuses = {*_ALWAYS, *endpoint.errors}
    if endpoint.access is not Access.EVERYBODY:
        statuses |= {400, 401, 403, 429}
    if endpoint.access in (Access.SCOPE, Access.SCOPE_OR_ALL, Access.ANY_KEY):
        statuses.add(404)
    if endpoint.body is not None:
        statuses |= {400, 408, 413, 415}
    if endpoint.idempotent:
        statuses.add(409)
    return sorted(statuses)


def _kinds(endpoint: Endpoint) -> Iterable[Any]:
    if endpoint.body is not None:
        yield endpoint.body
    if endpoint.oauth is not None:
        yield endpoint.oauth
        yield OAuthProblem
    if endpoint.answer is not dict:
        yield endpoint.answer


def _operation(endpoint: Endpoint, query: list[dict[str, Any]]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.operation,
        "summary": endpoint.summary,
        "tags": [endpoint.handler.__module__.rpartition(".")[2]],
        "parameters": [*_path_parameters(endpoint.path), *query],
        "responses": {
            str(endpoint.status): {
                "description": HTTPStatus(endpoint.status).phrase,
                "content": {endpoint.media_type.decode(): {"schema": _schema_of(endpoint.answer)}},
            },
            **{
                str(status): {"$ref": f"#/components/responses/{_error_name(endpoint, status)}"}
                for status in error_statuses(endpoint)
            },
        },
        "security": _security(endpoint),
    }
    if endpoint.access in (Access.SCOPE, Access.SCOPE_OR_ALL):
        operation["description"] = f"An `rk_` key needs the scope `{endpoint.scope}`."
        if endpoint.permission is not None:
            words = f" A user's token may stand in its place: it shows what `{endpoint.permission}` opens."
            operation["description"] += words
    elif endpoint.access is Access.INSTANCE:
        operation["description"] = "Only with an `ik_` key."
    if endpoint.idempotent:
        operation["parameters"].append(_IDEMPOTENCY_KEY)
    if endpoint.body is not None:
        bodies = {_JSON: endpoint.body}
        if form := endpoint.oauth or (endpoint.body if endpoint.form else None):
            bodies[_FORM] = form
        operation["requestBody"] = {
            "required": endpoint.body_required,
            "content": {media_type: {"schema": _schema_of(body)} for media_type, body in bodies.items()},
        }
    return operation


def _security(endpoint: Endpoint) -> list[dict[str, list[str]]]:
    if endpoint.access in (Access.EVERYBODY, Access.POSSESSION):
        return []
    schemes: list[dict[str, list[str]]] = [{name: []} for name in _KEY_SCHEMES]
    return [*schemes, {}] if endpoint.access is Access.ANY_KEY else schemes


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": _PARAMETER_SCHEMA} for name in names]


def _query_parameters(query: type[msgspec.Struct]) -> list[dict[str, Any]]:
    _, schemas = msgspec.json.schema_components([query], ref_template=_REF)
    described = schemas[query.__name__]
    return [
        {"name": name, "in": "query", "required": name in described["required"], "schema": schema}
        for name, schema in described["properties"].items()
    ]


def _schema_of(kind: Any) -> dict[str, Any]:
    return {"type": "object"} if kind is dict else {"$ref": _REF.format(name=kind.__name__)}


def _error_name(endpoint: Endpoint, status: int) -> str:
    return f"Error{status}" if endpoint.oauth is None else f"OAuthError{status}"


def _error(status: int, *, forms: bool = False) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE.decode(): {"schema": _schema_of(Problem)}},
    }
    if forms:
        answer["content"][_JSON] = {"schema": _schema_of(OAuthProblem)}
    if status in _ERROR_HEADERS:
        answer["headers"] = {name: {"schema": {"type": "string"}} for name in _ERROR_HEADERS[status]}
    return answer


def _tidy(schema: dict[str, Any]) -> dict[str, Any]:
    """Take the source's indentation out of a description."""
    return (
        {**schema, "description": inspect.cleandoc(schema["description"])}
        if "description" in schema
        else schema
    )
