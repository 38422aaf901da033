"""Programs of the client's page do what it shows, each against the real service."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tokenmq import client
from tokenmq.client import sync

pytestmark = pytest.mark.system

PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", PAGE, re.DOTALL | re.MULTILINE)
PATIENCE_SECONDS = 60


def test_programs_were_found_and_each_shows_what_it_prints() -> None:
    assert len(PROGRAMS) >= 9
    assert all(printed for _, printed in PROGRAMS)


@pytest.mark.parametrize("module", [client, sync])
def test_every_public_name_is_in_a_program_that_runs(module: Any) -> None:
    names = getattr(module, "__all__", ["Client", "TokenSource"])
    shown = "\n".join(program for program, _ in PROGRAMS)
    assert [name for name in names if not re.search(rf"\b{name}\b", shown)] == []


def named(program: str) -> str:
    imported = re.findall(r"^(?:from|import) (?!asyncio|os)([\w.]+)", program, re.MULTILINE)
    return "-".join(imported)


@pytest.mark.parametrize(
    ("program", "printed"),
    PROGRAMS,
    ids=[f"{number}-{named(program)}" for number, (program, _) in enumerate(PROGRAMS)],
)
def test_a_program_of_the_page_prints_what_it_shows(service: Any, program: str, printed: str) -> None:
    host, port = service.mqtt
    here = (
        program.replace("http://127.0.0.1:8080", service.http_url)
        .replace("ws://127.0.0.1:8083/mqtt", service.websocket_url)
        .replace("mqtt://127.0.0.1:1883", f"mqtt://{host}:{port}")
        .replace('"127.0.0.1", 1883', f'"{host}", {port}')
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", here],
        env={**os.environ, "TOKENMQ_KEY": service.secret_key, "TOKENMQ_ORG": service.organization_id},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ran.stdout == printed, ran.stderr
    assert ran.returncode == 0, ran.stderr
