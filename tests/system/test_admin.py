"""The administrator's listener of the real server."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def watched(start_service: Callable[..., Any]) -> Any:
    return start_service(TOKENMQ_ADMIN_ENABLED="true", TOKENMQ_ADMIN_PORT="0")


def sample(text: str, name: str) -> float:
    (line,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
    return float(line.rpartition(" ")[2])


def test_metrics_are_served_and_move(watched: Any) -> None:
    url = watched.ready["admin_url"]
    assert url.startswith("http://127.0.0.1:")
    name = 'tokenmq_tokens_total{outcome="issued"}'
    before = httpx2.get(f"{url}/metrics")
    assert before.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    watched.create_token()
    after = httpx2.get(f"{url}/metrics").text
    assert sample(after, name) == sample(before.text, name) + 1
    assert sample(after, "tokenmq_commit_seconds_count") > sample(before.text, "tokenmq_commit_seconds_count")
    assert sample(after, "process_resident_memory_bytes") > 0


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_there_too(watched: Any, path: str) -> None:
    answer = httpx2.get(f"{watched.ready['admin_url']}{path}")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/v2/tokens", "/v2/organizations", "/openapi.json", "/"])
def test_nothing_else_is(watched: Any, path: str) -> None:
    key = {"Authorization": f"Bearer {watched.admin_key}"}
    answer = httpx2.get(f"{watched.ready['admin_url']}{path}", headers=key)
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


def test_metrics_are_nowhere_else(watched: Any) -> None:
    assert watched.call("GET", "/metrics", key=watched.admin_key).status_code == 404


def test_without_a_word_there_is_no_such_listener(service: Any) -> None:
    assert "admin_url" not in service.ready


def test_a_public_address_is_refused_unless_allowed_by_name(
    serve_command: list[str], service_environment: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    environment = service_environment(
        tmp_path / "data", TOKENMQ_ADMIN_ENABLED="true", TOKENMQ_ADMIN_HOST="0.0.0.0", TOKENMQ_ADMIN_PORT="0"
    )
    ran = subprocess.run(
        [*serve_command, "serve", "--json"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.returncode != 0 and ran.stdout == ""
    assert "[admin] allow_plaintext = true" in ran.stderr
