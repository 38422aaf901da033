from pathlib import Path

import pytest
from bench.__main__ import measure
from bench.harness import Bench, Sample, Side
from bench.report import Outcome
from bench.rows import ROWS, Row, Wanted
from bench.servers import NotMeasurable

from bench import report


def row(wanted: Wanted) -> Row:
    return Row("key", "a row", lambda _bench, _side: Sample(1.0), wanted)


def outcome(wanted: Wanted, ours: list[float], peer: list[float]) -> Outcome:
    return Outcome(row(wanted), [Sample(value) for value in ours], [Sample(value) for value in peer])


@pytest.mark.parametrize(
    ("wanted", "ours", "peer", "holds"),
    [
        (Wanted(at_least=5), [10, 60, 40], [10, 10, 10], False),
        (Wanted(at_least=4), [10, 60, 40], [10, 10, 10], True),
        (Wanted(at_most=1.5), [15], [10], True),
        (Wanted("ours", at_least=4000), [3999], [], False),
        (Wanted("ours", at_most=300), [299], [100], True),
        (Wanted(), [1], [1], None),
        (Wanted(at_least=1), [], [10], False),
        (Wanted(at_least=1), [10], [], False),
    ],
)
def test_a_bound_is_held_against_the_median_of_the_pairs(
    wanted: Wanted, ours: list[float], peer: list[float], holds: bool | None
) -> None:
    assert outcome(wanted, ours, peer).holds is holds


def test_a_row_that_could_not_be_measured_says_why() -> None:
    def fails(_bench: Bench, side: Side) -> Sample:
        if side == "peer":
            raise NotMeasurable("mosquitto is not installed")
        return Sample(5.0)

    bench = Bench(Path(), 0.1, 0.1, 2, 1.0, None, None)
    found = measure(bench, Row("key", "a row", fails, Wanted(at_least=1)))
    assert len(found.ours) == 2
    assert "mosquitto is not installed" in report.text([found])
    assert found.holds is False


def test_pairs_are_interleaved_and_the_first_one_is_not_counted() -> None:
    taken: list[Side] = []

    def note(_bench: Bench, side: Side) -> Sample:
        taken.append(side)
        return Sample(float(len(taken)))

    found = measure(Bench(Path(), 0.1, 0.1, 2, 1.0, None, None), Row("key", "a row", note))
    assert taken == ["peer", "ours", "ours", "peer", "peer", "ours"]
    assert [sample.value for sample in found.ours] == [3.0, 6.0]


def test_write_replaces_only_what_is_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "performance.md"
    report.write(page, "first")
    page.write_text("before\n" + page.read_text() + "after\n")
    report.write(page, "second")
    assert page.read_text() == (f"before\n# Performance\n\n{report.BEGIN}\nsecond\n{report.END}\nafter\n")


def test_row_keys_are_unique() -> None:
    assert len({one.key for one in ROWS}) == len(ROWS)
