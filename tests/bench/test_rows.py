from pathlib import Path

import pytest
from bench.__main__ import options, timetable
from bench.harness import Bench
from bench.rows import ROWS


def bench(*, alone: bool = False) -> Bench:
    return Bench(Path(), 1.0, 0.4, 5, 1.0, None, None, alone=alone)


def test_row_keys_are_unique() -> None:
    assert len({one.key for one in ROWS}) == len(ROWS)


def test_all_rows_together_take_about_twenty_two_minutes_at_most() -> None:
    assert sum(row.seconds_of(bench()) for row in ROWS) <= 22 * 60


def test_other_brokers_take_their_time_only_where_they_are_measured() -> None:
    row = next(row for row in ROWS if row.others)
    assert row.seconds_of(bench(alone=True)) < row.seconds_of(bench())


def test_the_timetable_names_every_row_and_the_whole() -> None:
    lines = timetable(bench(), ROWS).splitlines()
    assert [line.split()[0] for line in lines] == [*(row.key for row in ROWS), "all"]


def test_only_chooses_rows_and_quick_leaves_out_the_long_ones() -> None:
    assert [row.key for row in options(["--only", "qos1,held"]).rows] == ["qos1", "held"]
    assert not any(row.extra for row in options(["--quick"]).rows)
    assert len(options([]).rows) == len(ROWS)


@pytest.mark.parametrize("arguments", [["--only", "qos9"], ["--profile", "qos9"], ["--pairs", "0"]])
def test_a_wrong_choice_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options(arguments)
    assert "error" in capsys.readouterr().err
