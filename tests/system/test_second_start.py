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


@pytest.mark.interop
def test_second_process_on_a_database_says_why_it_does_not_start(
    start_service: Any,
    postgresql: Any,
    serve_command: list[str],
    service_environment: Environment,
    tmp_path: Path,
) -> None:
    url = postgresql.database()
    service = start_service(TOKENMQ_DATABASE_URL=url)
    environment = service_environment(tmp_path / "data", TOKENMQ_DATABASE_URL=url)
    ended = serve(serve_command, environment, tmp_path)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"the database is served by another process, pid {service.process.pid} on " in ended.stderr
    assert "Traceback" not in ended.stderr
    assert service.is_active(service.create_token()["token"])
    assert service.stop() == 0
    # Its data folder has credentials, and no database.
    assert {path.name for path in service.folder.iterdir()} == {"admin.json", "demo.json", "lock"}


@pytest.mark.interop
def test_process_whose_database_another_one_takes_ends_and_says_why(
    start_service: Any, postgresql: Any
) -> None:
    url = postgresql.database()
    service = start_service(TOKENMQ_DATABASE_URL=url)
    postgresql.ask("UPDATE holder SET instance = 'another'", url.rpartition("/")[2])
    assert service.call("POST", "/v2/tokens", json={"user_id": "ann"}).status_code == 503

    assert service.process.wait(30) == 1
    assert "another process has taken the database, so this one ends" in service.log_path.read_text()


def test_database_that_is_not_there_is_told_in_one_sentence_without_the_password(
    serve_command: list[str], service_environment: Environment, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"postgresql://ann:hunter2@127.0.0.1:{port}/tokenmq"
    ended = serve(serve_command, service_environment(tmp_path / "data", TOKENMQ_DATABASE_URL=url), tmp_path)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"tokenmq: the store cannot be opened: database tokenmq at 127.0.0.1:{port}: Connection refused\n"
    )
