"""TLS of the whole program: the token service, a renewal, and what stops a start."""

import json
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

pytestmark = pytest.mark.system


def shown_name(url: str, authority: Any) -> str:
    """Connect and return whose certificate is shown; a certificate of another authority fails."""
    parts = urlsplit(url)
    context = ssl.create_default_context(cafile=authority.path)
    with (
        socket.create_connection((parts.hostname, parts.port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as sock,
    ):
        shown = sock.getpeercert()
    assert shown is not None
    return str(dict(part for rdn in shown["subject"] for part in rdn)["commonName"])  # type: ignore[misc]


def test_all_listeners_are_told(secure_service: Any) -> None:
    named = {
        name: urlsplit(url).scheme for name, url in secure_service.ready.items() if name.endswith("_url")
    }

    assert named == {
        "http_url": "http",
        "https_url": "https",
        "mqtt_url": "mqtt",
        "mqtts_url": "mqtts",
        "websocket_url": "ws",
        "wss_url": "wss",
    }
    assert secure_service.ready["wss_url"].endswith("/mqtt")


def test_token_service_answers_over_tls_and_asks_browsers_to_stay_with_it(
    secure_service: Any, authority: Any
) -> None:
    context = ssl.create_default_context(cafile=authority.path)
    with httpx2.Client(verify=context, trust_env=False) as client:
        for path in ("/readyz", "/.well-known/jwks.json", "/nothing"):
            answer = client.get(f"{secure_service.ready['https_url']}{path}")
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
        answer = client.post(
            f"{secure_service.ready['https_url']}/v2/tokens",
            headers={"Authorization": f"Bearer {secure_service.secret_key}"},
            json={"user_id": "alice", "permissions": ["publish"], "topics": ["chat/#"]},
        )
    assert (answer.status_code, answer.http_version) == (200, "HTTP/1.1")
    assert "Strict-Transport-Security" not in secure_service.call("GET", "/readyz").headers


def test_client_that_speaks_no_tls_is_refused_and_told_of(secure_service: Any) -> None:
    parts = urlsplit(secure_service.ready["mqtts_url"])
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as sock:
        sock.sendall(b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00")
        port = sock.getsockname()[1]
        while sock.recv(100):
            pass
    lines = [json.loads(line) for line in secure_service.log_path.read_text().splitlines()]
    (told,) = [line for line in lines if line["event"] == "tls_refused" and line["port"] == port]
    assert (told["level"], told["address"]) == ("info", "127.0.0.1")
    assert told["reason"]


@pytest.mark.parametrize("by_signal", [True, False], ids=["SIGHUP", "by itself"])
def test_renewed_certificate_is_shown_and_live_connections_stay(
    start_service: Callable[..., Any], authority: Any, tmp_path: Path, by_signal: bool
) -> None:
    path = tmp_path / "server.pem"
    path.write_bytes(authority.issue("before").read_bytes())
    service = start_service(
        TOKENMQ_TLS_CERTIFICATE=str(path),
        TOKENMQ_MQTTS_HOST="127.0.0.1",
        TOKENMQ_MQTTS_PORT="0",
        TOKENMQ_MQTT_ENABLED="false",
        TOKENMQ_WSS_ENABLED="false",
    )
    url = service.ready["mqtts_url"]
    context = ssl.create_default_context(cafile=authority.path)
    parts = urlsplit(url)
    raw = socket.create_connection((parts.hostname, parts.port), timeout=30)
    with context.wrap_socket(raw, server_hostname="localhost") as live:
        assert shown_name(url, authority) == "before"
        path.write_bytes(authority.issue("after").read_bytes())
        if by_signal:
            service.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 30
        while shown_name(url, authority) == "before":
            assert time.monotonic() < deadline
        # PINGREQ before CONNECT: the broker reads, and ends the connection in its own way.
        live.sendall(b"\xc0\x00")
        assert live.recv(1) == b""
    assert "certificate_loaded" in service.log_path.read_text()
    assert service.stop() == 0


def test_certificate_that_cannot_be_used_stops_the_start(
    tmp_path: Path, serve_command: list[str], service_environment: Callable[..., dict[str, str]]
) -> None:
    ended = subprocess.run(
        [*serve_command, "serve", "--demo"],
        env=service_environment(tmp_path / "data", TOKENMQ_TLS_CERTIFICATE=str(tmp_path / "none.pem")),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"tls.certificate (TOKENMQ_TLS_CERTIFICATE): {tmp_path}/none.pem cannot be read" in ended.stderr
    assert "Traceback" not in ended.stderr
