"""The stand-in for the official client in pages of other origins than the service's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.interop

LIVES = 3
FETCH_SECONDS = 31


@pytest.fixture(scope="module")
def organization(
    slower: Any, tenant: Callable[[Any], Any], origin_of: Callable[[str], str], identity_provider: Any
) -> Any:
    """An organization that lets one site in, with users of an identity provider."""
    organization = tenant(slower.service)
    organization.set(allowed_origins=[origin_of("app.example")])
    organization.call(
        "POST",
        "/v2/providers",
        provider="oidc",
        name="login",
        issuer=identity_provider.issuer,
        audience="app",
        accept_open_policy=True,
    )
    identity_provider.rotate("first", "RS256")
    return organization


def test_page_outlives_three_tokens_on_one_connection_after_its_user_signed_in_elsewhere(
    slower: Any,
    organization: Any,
    identity_provider: Any,
    network: Callable[[Any], Any],
    visit: Callable[[str], Any],
) -> None:
    way = network(slower.service)
    token = identity_provider.sign(sub="alice", iat=int(slower.now()))
    window = visit("app.example")
    window.make(slower.clock, tokenServiceUrl=way.token_service_url)
    window.ask(
        "connectWithToken", {"host": way.host, "organizationId": organization.id, "externalToken": token}
    )
    window.ask("subscribe", "chat/#")
    for life in range(LIVES):
        assert window.ask("transmit", "chat/room1", f"in life {life}", 1)
        assert window.wait_for("message", life + 1)["payload"] == f"in life {life}"
        window.wait_for("tokenRefreshed", life + 1)
    slower.wait_until(slower.now() + 10)  # past the end of the third
    assert window.ask("transmit", "chat/room1", "after it", 1)

    assert len(window.told("online")) == 1
    assert window.told("offline") == window.told("authError") == window.told("tokenError") == []
    assert way.refreshes == LIVES
    # The browser asked first, once a path.
    assert [way.http.sent(b"OPTIONS /v2/tokens/" + name) for name in (b"exchange ", b"refresh ")] == [1, 1]


def test_page_of_an_origin_that_is_not_allowed_reads_why_and_opens_no_websocket(
    slower: Any, organization: Any, visit: Callable[[str], Any], failed: Any
) -> None:
    token = organization.create_token("page")["token"]
    window = visit("attacker.example")
    window.make(slower.clock, tokenServiceUrl=slower.service.http_url)
    config = {"host": slower.service.websocket_url, "organizationId": organization.id, "externalToken": token}
    with pytest.raises(failed, match=r"^the organization does not allow this page's origin$") as refused:
        window.ask("connectWithToken", config)

    assert (refused.value.status, refused.value.type) == (403, "INVALID_RESPONSE")
    assert window.upgrade(slower.service.websocket_url) == "refused"


def test_page_that_another_organization_allows_is_refused_at_connect(
    slower: Any, organization: Any, visit: Callable[[str], Any], failed: Any
) -> None:
    # The demo's organization lets localhost in, so the upgrade is let through.
    token = organization.create_token("page")
    window = visit("localhost")
    window.make(slower.clock)
    credentials = {"username": token["mqtt_username"], "password": token["token"]}

    assert window.upgrade(slower.service.websocket_url) == "open"
    with pytest.raises(failed, match=r"^Authentication failed: incorrect username or password$"):
        window.ask("connect", {"host": slower.service.websocket_url, **credentials})
    assert len(window.told("authError")) == 1


@pytest.mark.timeout(180)
def test_page_exchanges_a_token_that_is_signed_with_the_providers_next_key(
    slower: Any, organization: Any, identity_provider: Any, visit: Callable[[str], Any]
) -> None:
    identity_provider.rotate("second", "ES256")
    # Keys are fetched once in so many seconds, whatever names come.
    if identity_provider.asked:
        time.sleep(max(0, identity_provider.asked[-1] + FETCH_SECONDS - time.monotonic()))
    token = identity_provider.sign(sub="bob", iat=int(slower.now()))
    window = visit("app.example")
    window.make(slower.clock, tokenServiceUrl=slower.service.http_url)
    config = {"host": slower.service.websocket_url, "organizationId": organization.id}
    info = window.ask("connectWithToken", {**config, "externalToken": token})

    assert info["mqttCredentials"]["username"] == f"bob@{organization.id}"
    assert len(window.told("online")) == 1


def test_providers_errors_reach_the_page_by_their_names(
    slower: Any, organization: Any, identity_provider: Any, visit: Callable[[str], Any], failed: Any
) -> None:
    window = visit("app.example")
    window.make(slower.clock, tokenServiceUrl=slower.service.http_url)
    config = {"host": slower.service.websocket_url, "organizationId": organization.id}
    now = int(slower.now())
    for token, expected in (
        (identity_provider.sign(iat=now), (422, "INVALID_RESPONSE")),
        (
            identity_provider.sign(iat=now, sub="carol", iss="http://other.example"),
            (404, "PROVIDER_NOT_FOUND"),
        ),
        (identity_provider.sign(iat=now, sub="carol", exp=now - 3600), (401, "TOKEN_EXPIRED")),
        (identity_provider.sign(iat=now, sub="carol", aud="other"), (401, "AUTH_FAILED")),
    ):
        with pytest.raises(failed) as refused:
            window.ask("connectWithToken", {**config, "externalToken": token})
        assert (refused.value.status, refused.value.type) == expected, str(refused.value)
