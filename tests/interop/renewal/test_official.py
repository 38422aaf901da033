"""What happens to the official client when something goes wrong, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

pytestmark = pytest.mark.interop

NOT_AUTHORIZED = "Connection refused: Not authorized"
SERVER_BUSY = "Connection refused: Server busy"
STOPPED = "Authentication failed: incorrect username or password"
TRIES = 4


class Scene:
    """A stand-in that is connected through a network of its own.

    Attributes:
        process: what holds it.
        info: what connecting returned.
    """

    def __init__(self, fast: Any, organization: Any, way: Any, process: Any, **proof: Any) -> None:
        self.way = way
        self.process = process
        self.client = process.open(fast.clock, preset="server", tokenServiceUrl=way.token_service_url)
        proof = proof or {"secretKey": organization.key, "userEmail": "user@example.org"}
        config = {"host": way.host, "organizationId": organization.id, **proof}
        self.info: dict[str, Any] = self.client.ask("connectWithToken", config)


@pytest.fixture(scope="module")
def connected(
    fast: Any, organization: Any, network: Callable[[Any], Any], official: Callable[[], Any]
) -> Callable[..., Scene]:
    """Connect a stand-in, with a key unless another proof is given."""
    shared = official()

    def connected(on: Any = fast, org: Any = organization, process: Any = shared, **proof: Any) -> Scene:
        return Scene(on, org, network(on.service), process, **proof)

    return connected


@pytest.fixture(scope="module")
def organization(fast: Any, tenant: Callable[[Any], Any]) -> Any:
    """The organization of these tests."""
    return tenant(fast.service)


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_laptop_that_sleeps_past_the_expiry_comes_back_in_the_grace(
    fast: Any, connected: Callable[..., Scene], official: Callable[[], Any]
) -> None:
    scene = connected(process=official())
    scene.process.sleep()
    fast.wait_until(seconds(scene.info["expiresAt"]) + 20)
    # The token service is not there at once, so that the client tries to connect first.
    scene.way.http.is_down = True
    scene.way.http.cut()
    scene.process.wake()

    assert scene.client.wait_for("refused")["message"] == SERVER_BUSY
    scene.way.http.is_down = False
    scene.client.wait_for("tokenRefreshed")
    scene.client.wait_for("online", 2)
    assert scene.client.told("authError") == []


def test_stolen_old_password_opens_nothing_from_another_client_id(
    fast: Any, connected: Callable[..., Scene], failed: type[Exception]
) -> None:
    scene = connected()
    scene.client.ask("refreshToken")
    thief = scene.process.open(fast.clock, preset="server")
    credentials = scene.info["mqttCredentials"]
    with pytest.raises(failed, match=STOPPED):
        thief.ask("connect", {"host": scene.way.host, **credentials})

    assert [told["message"] for told in thief.told("refused")] == [NOT_AUTHORIZED]
    assert scene.client.ask("transmit", "chat/room1", "still here")
    # Its own way back has the same password, and with the random client id it is the thief's.
    with pytest.raises(failed, match=STOPPED):
        scene.client.ask("forceReconnect")


def test_first_password_opens_no_connection_where_the_organization_says_so(
    fast: Any, tenant: Callable[..., Any], connected: Callable[..., Scene]
) -> None:
    strict = tenant(fast.service)
    strict.set(superseded_reconnect=False)
    scene = connected(org=strict)
    scene.client.ask("refreshToken")
    scene.way.websocket.cut()

    assert scene.client.wait_for("authError")["message"] == NOT_AUTHORIZED
    assert len(scene.client.told("online")) == 1


def test_refresh_whose_answer_is_lost_is_repeated_with_the_same_password(
    organization: Any, connected: Callable[..., Scene]
) -> None:
    scene = connected()
    scene.way.http.is_mute = True
    scene.client.ask("refreshToken")
    assert (scene.way.refreshes, scene.client.told("tokenRefreshed")) == (1, [])
    scene.way.http.is_mute = False
    scene.client.wait_for("tokenRefreshed")
    scene.client.ask("refreshToken")

    assert len(scene.client.told("tokenRefreshed")) == 2
    assert scene.client.told("tokenError") == scene.client.told("authError") == []
    assert organization.call("GET", f"/v2/tokens/{scene.info['tokenId']}")["status"] == "active"


def test_first_password_opens_a_connection_after_the_service_was_killed(
    start_fast: Callable[..., Any], tenant: Callable[..., Any], connected: Callable[..., Scene]
) -> None:
    unhurried = start_fast(1)
    scene = connected(unhurried, tenant(unhurried.service, ttl=3600))
    scene.client.ask("refreshToken")
    unhurried.service.kill()
    unhurried.service.start()
    scene.way.lead_to(unhurried.service)

    scene.client.wait_for("online", 2)
    scene.client.ask("refreshToken")
    assert len(scene.client.told("tokenRefreshed")) == 2
    assert scene.client.told("authError") == []


def test_revoked_client_stops_for_good_and_says_so_once(
    organization: Any, connected: Callable[..., Scene]
) -> None:
    scene = connected()
    organization.call("DELETE", f"/v2/tokens/{scene.info['tokenId']}")

    assert scene.client.wait_for("disconnect")["code"] == 0x87
    assert scene.client.wait_for("authError")["message"] == NOT_AUTHORIZED
    # Its timer goes on all the same, until the last of its tries.
    given_up = scene.client.wait_for("tokenError")
    assert (given_up["type"], given_up["cause"]) == ("REFRESH_FAILED", "AUTH_FAILED")
    assert scene.way.refreshes == TRIES
    assert [len(scene.client.told(event)) for event in ("authError", "reconnecting", "online")] == [1, 1, 1]


@pytest.fixture(scope="module")
def ending(fast: Any, tenant: Callable[..., Any], connected: Callable[..., Scene]) -> dict[str, Scene]:
    """A token that is not renewable, and a family that ends after two minutes, at the same time."""
    organization, short = tenant(fast.service), tenant(fast.service)
    parent = organization.create_token("visitor", renewable=False)
    short.set(max_ttl_seconds=60, family_max_seconds=120)
    return {
        "not renewable": connected(org=organization, externalToken=parent["token"]),
        "family": connected(org=short),
    }


def test_token_that_cannot_be_renewed_is_asked_for_only_at_its_end(ending: dict[str, Scene]) -> None:
    scene = ending["not renewable"]

    assert scene.info["refreshRecommendedAt"] == scene.info["expiresAt"]
    given_up = scene.client.wait_for("tokenError")
    assert (given_up["type"], given_up["cause"]) == ("REFRESH_FAILED", "TOKEN_EXPIRED")
    assert scene.way.refreshes == TRIES
    assert scene.client.wait_for("authError")["message"] == NOT_AUTHORIZED


def test_family_is_refreshed_until_its_end_and_asked_for_no_more_after(ending: dict[str, Scene]) -> None:
    scene = ending["family"]

    given_up = scene.client.wait_for("tokenError")
    assert (given_up["type"], given_up["cause"]) == ("REFRESH_FAILED", "TOKEN_EXPIRED")
    # The second of them gives it what is left of the two minutes.
    assert len(scene.client.told("tokenRefreshed")) == 2
    assert scene.way.refreshes == 2 + TRIES
    assert scene.client.wait_for("authError")["message"] == NOT_AUTHORIZED
