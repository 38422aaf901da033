"""The short forms of `make fuzz` and `make slow`.

Times are held loosely here: tests run on machines that do other things as well.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

PACKETS = 10_000
SOCKETS = 600


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
def test_hostile_packets_do_no_harm(transport: str, capsys: pytest.CaptureFixture[str]) -> None:
    from fuzz.__main__ import main

    options = ["--packets", str(PACKETS // 2), "--seed", "1", "--transport", transport]
    status = main([*options, "--max-p99-ms", "2000", "--max-wait-ms", "10000"])
    assert status == 0, capsys.readouterr().out


def test_v02_v03_v41_v42_sockets_that_never_finish_cost_little_and_keep_nobody_waiting(
    tmp_path: Path,
) -> None:
    from bench.servers import NotMeasurable
    from fuzz.slow import run

    try:
        outcome = run(SOCKETS, 3.0, tmp_path)
    except NotMeasurable as error:
        pytest.skip(str(error))
    assert outcome.problems() == [], outcome.text()
    assert outcome.opened > SOCKETS, "those that are refused at once come back"
