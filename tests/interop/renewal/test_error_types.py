"""What the official client makes of each error of the token service, by the requests that it sends.

409 `conflict` is not among them: it takes an `Idempotency-Key`, which that client never sends.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.interop

MAX_CHILDREN = 100


@pytest.fixture(scope="module")
def organization(fast: Any, tenant: Callable[[Any], Any]) -> Any:
    """The organization of these tests."""
    return tenant(fast.service)


@pytest.fixture(scope="module")
def fails(
    fast: Any, organization: Any, official: Callable[[], Any], failed: type[Exception]
) -> Callable[..., Any]:
    """Return the error of `connectWithToken`, after a look at how it was told."""
    driver = official()

    def fails(*, url: str = "", **config: Any) -> Any:
        client = driver.open(fast.clock, tokenServiceUrl=url or fast.service.http_url)
        host = fast.service.websocket_url
        with pytest.raises(failed) as caught:
            client.ask("connectWithToken", {"host": host, "organizationId": organization.id, **config})
        error = caught.value
        assert [told["type"] for told in client.told("tokenError")] == [error.type]
        # A sentence of ours, and not what the client says for want of one.
        assert str(error) not in ("", "Request failed") and "[object" not in str(error)
        return error

    return fails


def test_wrong_key_is_auth_failed(fails: Callable[..., Any], organization: Any) -> None:
    error = fails(secretKey=organization.key[:-1] + "_", userEmail="user@example.org")
    assert (error.status, error.type) == (401, "AUTH_FAILED")


def test_token_that_is_none_is_auth_failed(fails: Callable[..., Any], organization: Any) -> None:
    token = organization.create_token("user")["token"]
    error = fails(externalToken=token[:-8] + "AAAAAAAA")
    assert (error.status, error.type) == (401, "AUTH_FAILED")


def test_expired_token_is_token_expired(fails: Callable[..., Any], fast: Any, organization: Any) -> None:
    token = organization.create_token("user")["token"]
    fast.wait_until(fast.now() + 62)
    error = fails(externalToken=token)
    assert (error.status, error.type) == (401, "TOKEN_EXPIRED")


def test_unknown_organization_is_org_not_found(fails: Callable[..., Any], organization: Any) -> None:
    token = organization.create_token("user")["token"]
    error = fails(organizationId="org_aaaaaaaaaaaa", externalToken=token)
    assert (error.status, error.type) == (404, "ORG_NOT_FOUND")


def test_service_url_with_a_slash_behind_it_is_answered_in_json(
    fails: Callable[..., Any], fast: Any, organization: Any
) -> None:
    error = fails(url=f"{fast.service.http_url}/", secretKey=organization.key, userEmail="user@example.org")
    assert (error.status, error.type) == (404, "ORG_NOT_FOUND")


def test_unusable_email_is_an_invalid_response(fails: Callable[..., Any], organization: Any) -> None:
    error = fails(secretKey=organization.key, userEmail="user\n@example.org")
    assert (error.status, error.type) == (400, "INVALID_RESPONSE")


def test_publishable_key_is_an_invalid_response(fails: Callable[..., Any], organization: Any) -> None:
    key = organization.call("POST", "/v2/keys", kind="pk", name="page")["key"]
    error = fails(secretKey=key, userEmail="user@example.org")
    assert (error.status, error.type) == (403, "INVALID_RESPONSE")


def test_too_many_children_of_a_token_are_rate_limited(
    fails: Callable[..., Any], fast: Any, organization: Any
) -> None:
    token = organization.create_token("user", ttl=3600)["token"]
    fields = {"organization_id": organization.id, "token": token}
    for _ in range(MAX_CHILDREN):
        fast.service.call("POST", "/v2/tokens/exchange", key=None, json=fields)
    error = fails(externalToken=token)
    assert (error.status, error.type) == (429, "RATE_LIMITED")


def test_store_that_takes_nothing_is_an_invalid_response(
    fails: Callable[..., Any], fast: Any, organization: Any
) -> None:
    with contextlib.closing(sqlite3.connect(Path(fast.service.folder) / "tokenmq.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        error = fails(secretKey=organization.key, userEmail="user@example.org")
    assert (error.status, error.type) == (503, "INVALID_RESPONSE")


def test_service_that_is_not_there_is_a_network_error(
    fails: Callable[..., Any], fast: Any, network: Callable[[Any], Any], organization: Any
) -> None:
    way = network(fast.service)
    way.http.is_down = True
    error = fails(url=way.token_service_url, secretKey=organization.key, userEmail="user@example.org")
    assert (error.status, error.type) == (None, "NETWORK_ERROR")
