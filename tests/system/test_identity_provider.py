"""A real provider on loopback, with discovery and rotation, against the real server and its broker."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tokenmq.client import Client, Denied, TokenError
from tokenmq.tokens import algorithms, base64url, jwk

pytestmark = pytest.mark.system

PATIENCE_SECONDS = 30
PAGE = {"Origin": "http://localhost:3000"}


def codes(where: tuple[str, int], token: dict[str, Any], *filters: str) -> list[int]:
    """Connect, subscribe, leave; return the code of CONNACK, and if it is good those of SUBACK."""
    answers: queue.Queue[list[int]] = queue.Queue()
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id="page",
        protocol=MQTTProtocolVersion.MQTTv5,
        reconnect_on_failure=False,
    )
    credentials = token["mqtt_credentials"]
    client.username_pw_set(credentials["username"], credentials["password"])
    client.on_connect = lambda *given: answers.put([int(given[3].value)])
    client.on_subscribe = lambda *given: answers.put([int(code.value) for code in given[3]])
    client.connect(*where)
    client.loop_start()
    try:
        found = answers.get(timeout=20)
        if found == [0]:
            client.subscribe([(topic_filter, 1) for topic_filter in filters])
            found += answers.get(timeout=20)
        return found
    finally:
        client.disconnect()
        client.loop_stop()


class Idp:
    """Signs tokens, and publishes the keys that it signs with."""

    def __init__(self) -> None:
        idp = self
        self.fetched: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                idp.fetched.append(self.path)
                if self.path == "/.well-known/openid-configuration":
                    told: dict[str, Any] = {"issuer": idp.issuer, "jwks_uri": f"{idp.issuer}/keys"}
                else:
                    told = {"keys": [public for _, public in idp.keys.values()]}
                content = json.dumps(told).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self.keys: dict[str, tuple[Any, dict[str, str]]] = {}
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def new_key(self, algorithm: str, kid: str) -> None:
        private = algorithms.generate(algorithm)
        self.keys[kid] = (private, {**jwk.write(private.public_key()), "kid": kid})

    def token(self, kid: str, key: tuple[Any, dict[str, str]] | None = None, **claims: Any) -> str:
        private, public = key or self.keys[kid]
        now = int(time.time())
        said = {"iss": self.issuer, "aud": "web", "sub": "ann", "iat": now, "exp": now + 300, **claims}
        header = {"alg": public["alg"], "kid": kid, "typ": "JWT"}
        message = b".".join(base64url.encode(json.dumps(part).encode()) for part in (header, said))
        return (message + b"." + base64url.encode(algorithms.signer(private).sign(message))).decode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def idp() -> Iterator[Idp]:
    made = Idp()
    made.new_key("RS256", "first")
    made.new_key("ES256", "second")
    yield made
    made.close()


def set_up(service: Any, idp: Idp) -> str:
    """Let users of a provider whose plan is free into chat/#; returns the provider's path."""
    body = {
        "provider": "oidc",
        "name": "login",
        "issuer": idp.issuer,
        "audience": "web",
        "user_prefix": "o:",
        "mapping": [
            {
                "claim": "plan",
                "equals": "free",
                "grants": [{"permissions": ["publish", "subscribe"], "topics": ["chat/#"]}],
            }
        ],
    }
    refused = service.call("POST", "/v2/providers", json=body)
    assert (refused.status_code, refused.json()["error"]) == (409, "conflict")
    answer = service.call("POST", "/v2/providers", json={**body, "accept_open_policy": True})
    assert answer.status_code == 201, answer.text
    return f"/v2/providers/{answer.json()['id']}"


async def test_the_client_connects_with_a_providers_token_and_stays_until_it_is_disabled(
    start_service: Any, idp: Idp
) -> None:
    service = start_service(TOKENMQ_PROVIDERS_INSECURE_UPSTREAMS="127.0.0.1")
    provider = set_up(service, idp)
    asked: list[str] = []

    async def sign_in() -> str:
        asked.append(idp.token("first", plan="free"))
        return asked[-1]

    errors: asyncio.Queue[TokenError] = asyncio.Queue()
    async with Client(token_service_url=service.http_url) as client, asyncio.timeout(PATIENCE_SECONDS):
        client.on_token_error(lambda error, _: errors.put_nowait(error))
        token = await client.connect_with_token(
            service.ready["mqtt_url"],
            organization_id=service.organization_id,
            external_token=sign_in,
            provider="oidc",
        )
        assert token is not None
        assert (token.username.partition("@")[0], token.topics) == ("o%3Aann", ("chat/#",))
        await client.subscribe("chat/#")
        with pytest.raises(Denied):
            await client.subscribe("news/#")
        # A refresh asks no provider; a family that is revoked does, for one of a new family.
        assert (await client.refresh_token()).token_id == token.token_id and len(asked) == 1
        service.revoke(token_id=token.token_id)
        reconnected = asyncio.Event()
        client.on_connected(lambda _: reconnected.set())
        await reconnected.wait()
        assert client.token is not None and client.token.token_id != token.token_id and len(asked) == 2
        await client.publish("chat/room", "still here")
        async for message in client.messages:
            assert message.text == "still here"
            break
        # Disabled, it renews nothing; the connection goes on to the end of its token.
        service.call("PATCH", provider, json={"enabled": False})
        with pytest.raises(TokenError) as caught:
            await client.refresh_token()
        assert (caught.value.kind, caught.value.is_final) == ("provider_not_found", True)
        assert await errors.get() is caught.value
        await client.publish("chat/room", "and here")


async def test_what_a_provider_has_not_signed_connects_nobody(start_service: Any, idp: Idp) -> None:
    service = start_service(TOKENMQ_PROVIDERS_INSECURE_UPSTREAMS="127.0.0.1")
    set_up(service, idp)
    late = int(time.time()) - 600
    tokens = {
        "forged": idp.token("first", plan="free")[:-8] + "AAAAAAAA",
        "expired": idp.token("first", plan="free", iat=late, exp=late + 60),
        "of nobody's plan": idp.token("first", plan="paid"),
    }
    for what, token in tokens.items():
        async with Client(token_service_url=service.http_url) as client:
            with pytest.raises(TokenError) as caught:
                await client.connect_with_token(
                    service.ready["mqtt_url"],
                    organization_id=service.organization_id,
                    external_token=token,
                )
        expected = "token_expired" if what == "expired" else "auth_failed"
        assert (caught.value.kind, caught.value.is_final) == (expected, True), what
        assert token not in str(caught.value)


def test_user_of_a_provider_connects_and_goes_on_until_it_is_disabled(start_service: Any, idp: Idp) -> None:
    service = start_service(TOKENMQ_PROVIDERS_INSECURE_UPSTREAMS="127.0.0.1")

    def exchange(token: str) -> Any:
        body = {"organization_id": service.organization_id, "token": token}
        return service.call("POST", "/v2/tokens/exchange", key=None, headers=PAGE, json=body)

    def refresh(made: dict[str, Any]) -> Any:
        body = {"token_id": made["token_id"], "current_token_password": made["access_token"]}
        return service.call("POST", "/v2/tokens/refresh", key=None, headers=PAGE, json=body)

    provider = set_up(service, idp)

    for kid in ("first", "second"):
        answer = exchange(idp.token(kid, plan="free"))
        assert answer.status_code == 200, answer.text
    assert idp.fetched == ["/.well-known/openid-configuration", "/keys"]
    assert exchange(idp.token("first", plan="paid")).status_code == 403
    made = answer.json()

    assert codes(service.mqtt, made, "chat/room", "news/#") == [0, 1, 0x87]
    renewed = refresh(made)
    assert renewed.status_code == 200, renewed.text

    # The provider changes its keys. What it has withdrawn is good for nothing after the next fetch.
    old = idp.keys.pop("first")
    idp.new_key("ES256", "third")
    assert service.call("PATCH", provider, json={"name": "renamed"}).status_code == 200
    assert exchange(idp.token("third", plan="free")).status_code == 200
    assert exchange(idp.token("first", key=old, plan="free")).status_code == 401

    # Restarted, it knows the provider and goes on.
    service.restart()
    assert exchange(idp.token("second", plan="free")).status_code == 200
    service.call("PATCH", provider, json={"enabled": False})
    assert exchange(idp.token("second", plan="free")).json()["error"] == "provider_not_found"
    assert refresh(renewed.json()).status_code == 401
    # Disabled is not revoked: what is out lives until its end, unless it is revoked.
    assert codes(service.mqtt, renewed.json(), "chat/room") == [0, 1]
    assert service.revoke(user_id="o:ann")["revoked"] >= 4
    assert codes(service.mqtt, renewed.json(), "chat/room") == [0x87]
