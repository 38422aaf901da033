"""The stand-in for the official client in pages of other origins than the service's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.interop

LIVES = 3


def test_page_outlives_three_tokens_on_one_connection_after_its_user_signed_in_elsewhere(
    slower: Any,
    home: Any,
    identity_provider: Any,
    network: Callable[[Any], Any],
    visit: Callable[[str], Any],
) -> None:
    way = network(slower.service)
    token = identity_provider.sign(sub="alice", iat=int(slower.now()))
    window = visit("app.example")
    window.make(slower.clock, tokenServiceUrl=way.token_service_url)
    window.ask("connectWithToken", {"host": way.host, "organizationId": home.id, "externalToken": token})
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
    slower: Any, home: Any, visit: Callable[[str], Any], failed: Any
) -> None:
    token = home.create_token("page")["token"]
    window = visit("attacker.example")
    window.make(slower.clock, tokenServiceUrl=slower.service.http_url)
    config = {"host": slower.service.websocket_url, "organizationId": home.id, "externalToken": token}
    with pytest.raises(failed, match=r"^the organization does not allow this page's origin$") as refused:
        window.ask("connectWithToken", config)

    assert (refused.value.status, refused.value.type) == (403, "INVALID_RESPONSE")
    assert window.upgrade(slower.service.websocket_url) == "refused"


def test_page_that_another_organization_allows_is_refused_at_connect(
    slower: Any, home: Any, visit: Callable[[str], Any], failed: Any
) -> None:
    # The demo's organization lets localhost in, so the upgrade is let through.
    token = home.create_token("page")
    window = visit("localhost")
    window.make(slower.clock)
    credentials = {"username": token["mqtt_username"], "password": token["token"]}

    assert window.upgrade(slower.service.websocket_url) == "open"
    with pytest.raises(failed, match=r"^Authentication failed: incorrect username or password$"):
        window.ask("connect", {"host": slower.service.websocket_url, **credentials})
    assert len(window.told("authError")) == 1


def test_providers_errors_reach_the_page_by_their_names(
    slower: Any, home: Any, identity_provider: Any, visit: Callable[[str], Any], failed: Any
) -> None:
    window = visit("app.example")
    window.make(slower.clock, tokenServiceUrl=slower.service.http_url)
    config = {"host": slower.service.websocket_url, "organizationId": home.id}
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
