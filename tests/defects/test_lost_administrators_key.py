"""`init --rotate` ends the administrator's key that was lost; a plain `init` keeps what works."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tokenmq import clock
from tokenmq.app.assembly import opened, run
from tokenmq.cli import main
from tokenmq.config import Settings
from tokenmq.errors import InvalidKey

ADMIN = Path("tokenmq-data/admin.json")


def key() -> str:
    return json.loads(ADMIN.read_text())["key"]


def works(text: str) -> bool:
    async def asked() -> bool:
        async with opened(Settings()) as services:
            try:
                services.keys.authenticate(text, clock.now())
            except InvalidKey:
                return False
            return True

    return run(asked())


def test_only_the_last_one_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    first = key()
    assert main(["init"]) == 0 and key() == first
    ADMIN.unlink()
    assert main(["init"]) == 0
    second = key()
    assert works(first) and works(second) and first != second
    assert main(["init", "--rotate"]) == 0
    assert [works(one) for one in (first, second, key())] == [False, False, True]
