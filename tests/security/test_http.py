"""The token service seen from outside: what it holds, what it says about itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from uvicorn.server import ServerState

from tokenmq.api.gate import Gate
from tokenmq.api.serving import make_server
from tokenmq.config import HttpSettings


class Opened(asyncio.Transport):
    """A connection on which nothing happens."""

    aborted = False

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None: ...

    def is_closing(self) -> bool:
        return self.aborted


async def test_v02_connections_of_the_token_service_leave_descriptors_for_the_rest():
    """Whoever opens more than there may be is cut; when one goes, the next is served."""
    settings = HttpSettings()
    config = make_server(Gate(None, settings), settings, max_connections=3).config  # type: ignore[arg-type]
    config.load()
    state = ServerState()

    def connect() -> tuple[Any, Opened]:
        protocol = config.http_protocol_class(config=config, server_state=state, app_state={})
        transport = Opened()
        protocol.connection_made(transport)
        return protocol, transport

    opened = [connect() for _ in range(4)]
    assert [transport.aborted for _, transport in opened] == [False, False, False, True]
    for protocol, _ in opened[2:]:
        protocol.connection_lost(None)
    opened[2:] = [connect()]
    assert not opened[2][1].aborted
    for protocol, _ in opened:
        protocol.connection_lost(None)


def test_j19_the_published_keys_are_a_key_set_and_nothing_more(service):
    answer = service.call("GET", "/.well-known/jwks.json", key=None)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert answer.headers["access-control-allow-origin"] == "*"
    (key,) = answer.json()["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "use", "alg", "kid"}


@pytest.mark.parametrize(
    "path", ["/", "/metrics", "/debug", "/debug/vars", "/docs", "/redoc", "/admin", "/v2/config"]
)
def test_v46_v69_nothing_that_tells_of_the_inside_is_public(service, path):
    answer = service.call("GET", path, key=None)
    assert answer.status_code == 404
    assert service.secret_key not in answer.text
    assert "server" not in answer.headers


def test_v46_no_secret_stands_in_the_arguments_or_the_environment_of_the_process(service):
    for name in ("cmdline", "environ"):
        text = Path(f"/proc/{service.process.pid}/{name}").read_bytes().decode("utf-8", "replace")
        assert service.secret_key not in text
        assert service.admin_key not in text


def test_v45_without_a_key_nothing_but_what_is_for_everybody_is_answered(service):
    paths = service.call("GET", "/openapi.json", key=None).json()["paths"]
    open_paths = {"/healthz", "/readyz", "/openapi.json", "/.well-known/jwks.json", "/v2/providers"}
    keyless = {"/v2/tokens/refresh", "/v2/tokens/exchange"}
    for path, operations in paths.items():
        if path in open_paths:
            continue
        for method in operations:
            if path in keyless:
                continue  # what they are about is shown in their bodies
            answer = service.call(method.upper(), path.replace("{", "").replace("}", ""), key=None, json={})
            assert answer.status_code == 401, (method, path, answer.status_code)
            assert answer.json()["error"] == "unauthorized"
