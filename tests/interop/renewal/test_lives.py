"""Three stand-ins for the official client live through five lives of their tokens.

The first and the phone lose their connection again and again. The second tab, of the same
user as the first, never does. All of them publish at QoS 1 all the time, and read everybody.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.interop

LIVES = 5
CUT_EVERY_SECONDS = 1.1
NAMES = ("first", "phone", "second tab")


@dataclasses.dataclass
class Life:
    """A stand-in, and what it did.

    Attributes:
        acknowledged: what it published and heard the broker acknowledge.
    """

    client: Any
    network: Any
    acknowledged: list[str] = dataclasses.field(default_factory=list)
    published: int = 0

    def publish(self, topic: str) -> None:
        """Publish the next number; while it is offline the client only queues it."""
        self.published += 1
        if self.client.ask("transmit", topic, str(self.published), 1):
            self.acknowledged.append(str(self.published))

    def received(self, topic: str) -> list[str]:
        """Return what came on a topic, in order, repeats left out."""
        messages = (told for told in self.client.told("message") if told["topic"] == topic)
        return list(dict.fromkeys(told["payload"] for told in messages))


@pytest.fixture(scope="module")
def parent(fast: Any, tenant: Callable[[Any], Any]) -> tuple[Any, dict[str, Any]]:
    """An organization, and a token that its backend made for the phone."""
    organization = tenant(fast.service)
    return organization, organization.create_token("phone", user_email="phone@example.org")


@pytest.fixture(scope="module")
def lives(
    fast: Any,
    official: Callable[[], Any],
    network: Callable[[Any], Any],
    parent: tuple[Any, dict[str, Any]],
) -> dict[str, Life]:
    """Let them live."""
    organization, token = parent
    by_key = {"secretKey": organization.key, "userEmail": "user@example.org"}
    lives = {}
    for name, preset, proof in (
        ("first", "server", by_key),
        ("phone", "mobile", {"externalToken": token["token"]}),
        ("second tab", "desktop", by_key),
    ):
        way = network(fast.service)
        client = official().open(fast.clock, preset=preset, tokenServiceUrl=way.token_service_url)
        client.ask("connectWithToken", {"host": way.host, "organizationId": organization.id, **proof})
        client.ask("subscribe", "log/#")
        lives[name] = Life(client, way)
    live(lives)
    return lives


def live(lives: dict[str, Life]) -> None:
    """Publish and cut until all have lived, and everything acknowledged had time to arrive."""
    next_cut = time.monotonic() + CUT_EVERY_SECONDS
    give_up = time.monotonic() + 60
    while any(len(life.client.told("tokenRefreshed")) < LIVES for life in lives.values()):
        assert time.monotonic() < give_up, {name: life.client.events for name, life in lives.items()}
        for name, life in lives.items():
            life.publish(f"log/{name}")
        if time.monotonic() > next_cut:
            next_cut += CUT_EVERY_SECONDS
            lives["first"].network.websocket.cut()
            lives["phone"].network.websocket.cut()
    while time.monotonic() < give_up and any(missing(lives).values()):
        time.sleep(0.05)


def missing(lives: dict[str, Life]) -> dict[tuple[str, str], set[str]]:
    """Return what was acknowledged and has not arrived, by publisher and receiver."""
    return {
        (sender, receiver): set(lives[sender].acknowledged) - set(lives[receiver].received(f"log/{sender}"))
        for sender in NAMES
        for receiver in NAMES
    }


def test_nothing_that_was_acknowledged_is_lost(lives: dict[str, Life]) -> None:
    assert {pair: lost for pair, lost in missing(lives).items() if lost} == {}
    assert all(len(life.acknowledged) > 5 * LIVES for life in lives.values())


def test_what_a_client_publishes_without_a_cut_arrives_in_order(lives: dict[str, Life]) -> None:
    for name in NAMES:
        numbers = [int(text) for text in lives[name].received("log/second tab")]
        assert numbers == sorted(numbers), name


def test_first_password_opens_every_connection_of_five_lives(lives: dict[str, Life]) -> None:
    for name in ("first", "phone"):
        assert len(lives[name].client.told("online")) > LIVES, name
    assert [life.client.told("authError") for life in lives.values()] == [[], [], []]


def test_session_is_there_after_each_cut(lives: dict[str, Life]) -> None:
    for name in ("first", "phone"):
        _, *again = lives[name].client.told("online")
        assert all(told["sessionPresent"] for told in again), name


def test_each_life_takes_one_refresh(lives: dict[str, Life]) -> None:
    for name in NAMES:
        refreshed = len(lives[name].client.told("tokenRefreshed"))
        assert LIVES <= refreshed <= LIVES + 2, name
        # One more may be under way.
        assert refreshed <= lives[name].network.refreshes <= refreshed + 1, name
        assert lives[name].client.told("tokenError") == [], name


def test_second_tab_of_a_user_ends_nothing_of_the_first(
    lives: dict[str, Life], parent: tuple[Any, dict[str, Any]]
) -> None:
    first, second = (
        {told["tokenId"] for told in lives[name].client.told("tokenRefreshed")}
        for name in ("first", "second tab")
    )
    assert len(first) == len(second) == 1 and first != second
    organization, _ = parent
    for token_id in (*first, *second):
        assert organization.call("GET", f"/v2/tokens/{token_id}")["status"] == "active"


def test_exchanged_token_outlives_its_parent_which_nobody_refreshes(
    lives: dict[str, Life], parent: tuple[Any, dict[str, Any]]
) -> None:
    organization, token = parent
    assert organization.call("GET", f"/v2/tokens/{token['token_id']}")["status"] == "expired"
    (child,) = {told["tokenId"] for told in lives["phone"].client.told("tokenRefreshed")}
    assert child != token["token_id"]
    assert organization.call("GET", f"/v2/tokens/{child}")["status"] == "active"
