"""The built wheel in empty environments: nothing that it needs is missing from its requirements."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("TOKENMQ_", "PYTHON"))
    }
    constraints = str(ROOT / "constraints.txt")
    environment |= {"PIP_CONSTRAINT": constraints, "PIP_BUILD_CONSTRAINT": constraints}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, check=False, **options
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel out of what a fresh clone has: nothing but the committed kinds of file."""
    place = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "src", place / "source" / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place / "source")
    built = run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", place, place / "source")
    assert built.returncode == 0, built.stderr
    (wheel,) = place.glob("tokenmq-*.whl")
    return wheel


def install(place: Path, requirement: str) -> Path:
    """Make an environment that holds one requirement and what that brings; return its folder of programs."""
    assert run(sys.executable, "-m", "venv", "--without-pip", place).returncode == 0
    programs = place / "bin"
    # Of what is installed only a part is imported, so nothing is compiled beforehand.
    pip = (sys.executable, "-m", "pip", "--python", programs / "python")
    installed = run(*pip, "install", "-q", "--no-compile", requirement)
    assert installed.returncode == 0, installed.stderr
    return programs


def test_wheel_with_server_starts_and_serves(
    wheel: Path, tmp_path: Path, start_service: Callable[..., Any]
) -> None:
    programs = install(tmp_path / "env", f"tokenmq[server] @ {wheel.as_uri()}")
    service = start_service(command=[str(programs / "tokenmq")])

    assert service.is_active(service.create_token()["token"])
    assert service.stop() == 0


def test_wheel_alone_is_client_and_command_line(wheel: Path, tmp_path: Path, service: Any) -> None:
    programs = install(tmp_path / "env", f"tokenmq @ {wheel.as_uri()}")
    tokenmq = programs / "tokenmq"

    assert run(tokenmq, "version", cwd=tmp_path).returncode == 0
    imported = "import tokenmq.client.sync, tokenmq.client.http, tokenmq.server_api"
    alone = run(programs / "python", "-W", "error", "-c", imported, cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert "serve" in run(tokenmq, "--help", cwd=tmp_path).stdout
    refused = run(tokenmq, "serve", cwd=tmp_path)
    assert refused.returncode != 0
    assert "tokenmq[server]" in refused.stderr and "Traceback" not in refused.stderr
    # It speaks to a service that runs elsewhere.
    listed = run(
        tokenmq, "org", "list", "--json", "--url", service.http_url, "--key", service.admin_key, cwd=tmp_path
    )
    assert listed.returncode == 0, listed.stderr
    assert service.organization_id in listed.stdout
