"""The real server held against its own OpenAPI document, and nothing foreign in any answer (SECURITY V-68).

Generated requests, good and bad ones, as nobody, as two organizations and as the administrator.
Where a path names something, it is by turns what was generated, the caller's own, and
another organization's.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.specs.openapi import checks as openapi_checks

from tokenmq.api.call import Access
from tokenmq.api.openapi import document
from tokenmq.api.table import ENDPOINTS
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Connect

pytestmark = pytest.mark.system

SCHEMA = schemathesis.openapi.from_dict(document(ENDPOINTS))
# A good request by the document may be refused all the same: what depends on two fields, or on
# what is stored, a schema cannot say.
NOT_HELD = {openapi_checks.positive_data_acceptance}
# What is known of a generated path says nothing of one that was put in its place.
OF_THE_GENERATED = {
    openapi_checks.negative_data_rejection,
    openapi_checks.missing_required_header,
    openapi_checks.unsupported_method,
}
TURNS = ("generated", "own", "foreign")
LISTS = ("/v2/keys", "/v2/tokens", "/v2/sessions", "/v2/utilities/retained")
CALLERS = ("nobody", "first", "second", "administrator")


class Tenant:
    """An organization with something of everything in it, all of it marked."""

    def __init__(self, service: Any, mark: str, org_id: str, key: str) -> None:
        self.mark = mark
        self.org_id = org_id
        self.key = key

        def make(method: str, path: str, *, by: str = key, **body: Any) -> dict[str, Any]:
            answer = service.call(method, path, key=by, json=body)
            assert answer.is_success, answer.text
            made: dict[str, Any] = answer.json()
            return made

        by = {"by": service.admin_key}
        token = make("POST", "/v2/tokens", user_id=f"{mark}-user", metadata={"a": mark}, topics=["#"])
        make("POST", "/v1/publish", topic=f"{mark}/topic", payload=mark, retain=True)
        self.objects = {
            "token_id": token["token_id"],
            "key_id": make("POST", "/v2/keys", kind="pk", name=mark)["id"],
            "organization_id": make("POST", "/v2/organizations", name=f"{mark} inc", **by)["id"],
            "kid": make("POST", "/v2/signing-keys", **by)["kid"],
            "provider_id": make(
                "POST",
                "/v2/providers",
                provider="auth0",
                name=mark,
                domain=f"{mark}.example",
                audience="api",
                enabled=False,
            )["id"],
            "client_id": f"{mark}-client",
            "username": "ann",  # whatever is asked for comes back
            "topic": f"{mark}/topic",
        }
        self._connect(service, token, f"{mark}-client")
        for path in LISTS:  # else nothing foreign could be seen in the others'
            assert mark in service.call("GET", path, key=key).text, path

    def _connect(self, service: Any, token: dict[str, Any], client_id: str) -> None:
        """Leave a session that waits for its client."""
        username, password = token["mqtt_username"], token["mqtt_password"].encode()
        packet = Connect(5, client_id, False, 60, username=username, password=password)
        packet.session_expiry_interval = 3_600
        with socket.create_connection(service.mqtt, timeout=10) as connection:
            connection.sendall(codec.encode(packet, 5))
            assert connection.recv(4)[3] == 0


@pytest.fixture(scope="module")
def world(start_service: Callable[..., Any]) -> tuple[Any, dict[str, Tenant]]:
    service = start_service()
    tenants = {"first": Tenant(service, "aardvark", service.organization_id, service.secret_key)}
    tenants["second"] = Tenant(service, "bumblebee", *service.create_organization("bumblebee"))
    return service, tenants


def credentials(service: Any, tenants: dict[str, Tenant], caller: str) -> dict[str, str]:
    if caller == "nobody":
        return {}
    key = service.admin_key if caller == "administrator" else tenants[caller].key
    return {"X-Secret-Key": key}


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.operation)
def test_v68_answers_are_as_the_document_says_and_hold_nothing_foreign(
    world: tuple[Any, dict[str, Tenant]], endpoint: Any, caller: str
) -> None:
    service, tenants = world
    own, foreign = tenants["first"], tenants["second"]
    if caller == "second":
        own, foreign = foreign, own
    operation = SCHEMA[endpoint.path][endpoint.method]
    headers = credentials(service, tenants, caller)
    good = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    bad = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @given(case=st.one_of(good, bad), turn=st.sampled_from(TURNS))
    @settings(
        max_examples=6,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def holds(case: Any, turn: str) -> None:
        excluded = set(NOT_HELD)
        if case.path_parameters and turn != "generated":
            objects = (own if turn == "own" else foreign).objects
            case.path_parameters = {name: objects[name] for name in case.path_parameters}
            excluded |= OF_THE_GENERATED
        case.headers = {
            name: value for name, value in (case.headers or {}).items() if name == "Idempotency-Key"
        }
        if caller == "administrator" and endpoint.access is Access.SCOPE and isinstance(case.query, dict):
            case.query.setdefault("organization_id", own.org_id)
        answer = case.call(base_url=service.http_url, headers=headers)
        case.validate_response(
            answer,
            checks=[check for check in CHECKS.get_all() if check not in excluded],
            headers=headers,
            transport_kwargs={"base_url": service.http_url, "headers": headers},
        )
        if caller in tenants:
            assert foreign.mark not in answer.text and foreign.org_id not in answer.text
            if case.path_parameters and turn == "foreign" and 404 in endpoint.errors:
                assert answer.status_code >= 400

    holds()
