"""A real provider on loopback, with discovery and rotation, against the real server and its broker."""

from __future__ import annotations

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

from tokenmq.tokens import algorithms, base64url, jwk

pytestmark = pytest.mark.system

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


def test_user_of_a_provider_connects_and_goes_on_until_it_is_disabled(start_service: Any, idp: Idp) -> None:
    service = start_service(TOKENMQ_PROVIDERS_INSECURE_UPSTREAMS="127.0.0.1")

    def exchange(token: str) -> Any:
        body = {"organization_id": service.organization_id, "token": token}
        return service.call("POST", "/v2/tokens/exchange", key=None, headers=PAGE, json=body)

    def refresh(made: dict[str, Any]) -> Any:
        body = {"token_id": made["token_id"], "current_token_password": made["access_token"]}
        return service.call("POST", "/v2/tokens/refresh", key=None, headers=PAGE, json=body)

    grants = [{"permissions": ["publish", "subscribe"], "topics": ["chat/#"]}]
    body = {
        "provider": "oidc",
        "name": "login",
        "issuer": idp.issuer,
        "audience": "web",
        "user_prefix": "o:",
        "mapping": [{"claim": "plan", "equals": "free", "grants": grants}],
    }
    refused = service.call("POST", "/v2/providers", json=body)
    assert (refused.status_code, refused.json()["error"]) == (409, "conflict")
    answer = service.call("POST", "/v2/providers", json={**body, "accept_open_policy": True})
    assert answer.status_code == 201, answer.text
    provider = f"/v2/providers/{answer.json()['id']}"

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
