"""Which lines of a log say that something of ours is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.server import Watched

FINE = (
    b'{"event":"connect_refused","client_id":"defect \\"event\\":\\"defect\\"","reason":"request failed"}\n'
)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        b'{"exception":"KeyError","event":"defect","level":"error"}\n',
        b'{"event":"request failed","level":"error"}\n',
        b"Traceback (most recent call last):\n",
        b"Exception in callback Link.received()\n",
        b"Task exception was never retrieved\n",
    ],
)
def test_defects_are_found_once_among_what_is_fine(watched: Watched, tmp_path: Path, line: bytes) -> None:
    log = tmp_path / "tokenmq.log"
    log.write_bytes(FINE + line[:10])
    assert watched.new_defects() == []
    log.write_bytes(FINE + line + FINE)
    assert watched.new_defects() == [line.decode().rstrip()]
    assert watched.new_defects() == []
