"""What must not start: a second process on a data folder, a start on a taken port."""

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.system

Environment = Callable[..., dict[str, str]]


def serve(command: list[str], environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, "serve", "--json"],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_second_process_on_a_data_folder_says_why_it_does_not_start(
    service: Any, serve_command: list[str], service_environment: Environment, tmp_path: Path
) -> None:
    ended = serve(serve_command, service_environment(service.folder), tmp_path)

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert str(service.folder) in ended.stderr
    assert "Traceback" not in ended.stderr
    # The first one is not disturbed.
    assert service.is_active(service.create_token()["token"])


@pytest.mark.parametrize("table", ["HTTP", "MQTT", "WEBSOCKET"])
def test_taken_port_is_named_with_the_setting_that_moves_it(
    table: str, serve_command: list[str], service_environment: Environment, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = service_environment(tmp_path / "data", **{f"TOKENMQ_{table}_PORT": str(port)})
        ended = serve(serve_command, environment, tmp_path)

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert str(port) in ended.stderr and f"TOKENMQ_{table}_PORT" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_public_address_without_tls_needs_permission(
    serve_command: list[str], service_environment: Environment, tmp_path: Path
) -> None:
    environment = service_environment(tmp_path / "data", TOKENMQ_MQTT_HOST="0.0.0.0")
    ended = serve(serve_command, environment, tmp_path)

    assert ended.returncode == 1
    assert "mqtt" in ended.stderr and "allow_plaintext" in ended.stderr


def test_second_start_keeps_everything_and_prints_the_same(start_service: Any) -> None:
    service = start_service()
    token = service.create_token()
    before = (service.organization_id, service.secret_key, service.admin_key)
    service.restart()

    assert (service.organization_id, service.secret_key, service.admin_key) == before
    assert service.is_active(token["token"])
    assert service.folder.stat().st_mode & 0o777 == 0o700
    for file in service.folder.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file.name
