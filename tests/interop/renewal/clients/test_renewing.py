"""Each way to renew a token, and each revocation afterwards: what the clients see.

The table in docs/conformance.md is made of revocations.json (`make docs`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pytest

pytestmark = pytest.mark.interop

TABLE: dict[str, Any] = json.loads(Path(__file__).with_name("revocations.json").read_bytes())
REAL_TIME = {"origin": 0, "speed": 1}
SOON_MS = 100


class Renewing(Protocol):
    """A client that is connected, and whose token is renewed.

    Attributes:
        client_id: with which it is connected.
        token_id: of the family that it is in.
    """

    client_id: str
    token_id: str

    def renew(self) -> None:
        """Renew the token as this client does."""

    def ended(self) -> str:
        """Wait for the end of its connection, and tell how it came."""

    def again(self) -> str:
        """Tell how the next attempt ended."""

    def publish(self) -> None:
        """Publish something on its first connection, and have it acknowledged."""


class Official:
    """The stand-in for the official client, in Node or in a page."""

    def __init__(self, client: Any, service: Any, organization: Any, key: str, version: int) -> None:
        self._client = client
        self._version = version
        info = client.ask(
            "connectWithToken",
            {
                "host": service.websocket_url,
                "organizationId": organization.id,
                "secretKey": key,
                "userEmail": "user",
            },
        )
        self.client_id: str = info["clientId"]
        self.token_id: str = info["tokenId"]

    def renew(self) -> None:
        self._client.ask("refreshToken")
        self._client.wait_for("tokenRefreshed")

    def ended(self) -> str:
        self._client.wait_for("offline")
        codes = [f"DISCONNECT {told['code']:#x}" for told in self._client.told("disconnect")]
        return codes[0] if codes else "closed"

    def again(self) -> str:
        self._client.wait_for("authError")
        refused = {5: "CONNACK 0x87", 4: "CONNACK 5"}[self._version]
        assert [told["message"] for told in self._client.told("refused")] == [
            "Connection refused: Not authorized"
        ]
        return f"{refused}; `onAuthError` once, no more tries"

    def publish(self) -> None:
        assert self._client.ask("transmit", "chat/room1", "still here", 1)
        assert len(self._client.told("online")) == 1


class ByTopic:
    """paho, which publishes a new token of its user to `$auth/token`."""

    def __init__(
        self, paho: Callable[..., Any], service: Any, organization: Any, key: str, version: int
    ) -> None:
        self._create = lambda: organization.create_token("user", key=key)
        self._version = version
        self.client_id = f"paho-{uuid4().hex}"
        self._token = self._create()
        self._make = lambda: paho(self._token, where=service.mqtt, version=version, client_id=self.client_id)
        self._client = self._make()
        assert self._client.connect() == 0
        self.token_id: str = self._token["token_id"]

    def renew(self) -> None:
        self._token = self._create()
        assert self._client.publish("$auth/token", self._token["token"]) == 0
        self.token_id = self._token["token_id"]

    def ended(self) -> str:
        _, code = self._client.wait_ended()
        return "closed" if code is None else f"DISCONNECT {code:#x}"

    def again(self) -> str:
        code = self._make().connect()
        # paho tells the codes of 3.1.1 in the words of 5.
        return {5: f"CONNACK {code:#x}", 4: {0x87: "CONNACK 5"}.get(code, f"{code:#x}")}[self._version]

    def publish(self) -> None:
        assert self._client.publish("chat/room1", "still here") in (0, 0x10)


class ByAuth:
    """A client over mqtt.js that re-authenticates by AUTH."""

    def __init__(self, driver: Any, service: Any, organization: Any, key: str) -> None:
        self._create = lambda: organization.create_token("user", key=key)
        self._open = driver.open_auth
        self.client_id = f"auth-{uuid4().hex}"
        self._host = service.websocket_url
        self._token = self._create()
        self._client = driver.open_auth()
        assert self._connect(self._client) == 0
        self.token_id: str = self._token["token_id"]

    def _connect(self, client: Any) -> int:
        config = {"host": self._host, "token": self._token["token"], "clientId": self.client_id}
        code: int = client.ask("connect", config)
        return code

    def renew(self) -> None:
        self._token = self._create()
        assert self._client.ask("renew", self._token["token"]) == 0
        self.token_id = self._token["token_id"]

    def ended(self) -> str:
        return f"DISCONNECT {self._client.wait_for('disconnect')['code']:#x}"

    def again(self) -> str:
        return f"CONNACK {self._connect(self._open()):#x}"

    def publish(self) -> None:
        self._client.ask("publish", "chat/room1", "still here")


@pytest.fixture(scope="module")
def driver(official: Callable[[], Any]) -> Any:
    """The process of Node that these tests share."""
    return official()


@pytest.fixture
def connect(request: pytest.FixtureRequest, driver: Any) -> Callable[..., Renewing]:
    """Connect the client of a row to a service, with tokens of an organization that a key makes."""

    def connect(name: str, service: Any, organization: Any, key: str, clock: dict[str, float]) -> Renewing:
        about = (service, organization, key)
        options = {"tokenServiceUrl": service.http_url, "reconnectPeriod": SOON_MS}
        match name:
            case "official" | "official, mobile":
                preset, version = ("desktop", 5) if name == "official" else ("mobile", 4)
                return Official(driver.open(clock, preset=preset, **options), *about, version)
            case "official, page":
                window = request.getfixturevalue("visit")("127.0.0.1")
                window.make(clock, **options)
                return Official(window, *about, 5)
            case "AUTH":
                return ByAuth(driver, *about)
        return ByTopic(request.getfixturevalue("paho"), *about, 5 if name == "paho 5" else 4)

    return connect


@pytest.mark.parametrize("kind", TABLE["revocations"])
@pytest.mark.parametrize("name", TABLE["clients"])
def test_client_whose_token_was_renewed_is_revoked(
    service: Any, tenant: Callable[..., Any], connect: Callable[..., Renewing], name: str, kind: str
) -> None:
    organization = tenant(service, ttl=3600)
    key_id, key = organization.create_key("issuer")
    client = connect(name, service, organization, key, REAL_TIME)
    client.renew()
    what = {
        "token": {"token_id": client.token_id},
        "user": {"user_id": "user"},
        "client id": {"client_id": client.client_id},
        "key": {"key_id": key_id},
        "all": {"all": True},
    }[kind]

    assert organization.call("POST", "/v2/tokens/revoke", **what)["sessions_closed"] == 1
    expected = TABLE["clients"][name]
    assert (client.ended(), client.again()) == (expected["ended"], expected["again"])


def test_every_client_outlives_its_first_token_on_its_first_connection(
    slower: Any, tenant: Callable[..., Any], connect: Callable[..., Renewing]
) -> None:
    organization = tenant(slower.service)
    clients = [
        connect(name, slower.service, organization, organization.key, slower.clock)
        for name in TABLE["clients"]
    ]
    began = slower.now()
    slower.wait_until(began + 20)
    for client in clients:
        client.renew()
    slower.wait_until(began + 65)
    for client in clients:
        client.publish()
