from pathlib import Path

from bench.harness import Bench, Sample, Side
from bench.outcomes import Outcome
from bench.rows import Row, Wanted

from bench import report


def outcome(*, others: bool) -> Outcome:
    row = Row("key", "a row | of two", lambda _b, _s: Sample(1.0), Wanted(at_least=5), others=others)
    sides: dict[Side, float] = {"ours": 1000.0, "peer": 100.0} | ({"nats": 50.0} if others else {})
    found = Outcome(row, {side: [Sample(value)] for side, value in sides.items()})
    if others:
        found.problems["aedes"] = "MQTT 3.1.1 only"
    return found


def test_the_table_has_figures_ratio_bound_and_verdict() -> None:
    assert report.cells(outcome(others=False)) == (
        "a row | of two", "1,000", "100", "10 (10 to 10)", "-", "≥ 5 x", "yes", "-",
    )  # fmt: skip


def test_other_brokers_stand_in_a_table_of_their_own() -> None:
    shown = report.markdown([outcome(others=True), outcome(others=False)], [("Date", "today")], plot="p.svg")
    assert "| a row \\| of two | 1,000 | 100 | 50.0 | MQTT 3.1.1 only | - |" in shown
    assert shown.count("a row") == 3
    assert "](p.svg)" in shown
    assert shown.startswith("Date: today  \n\n")


def test_without_other_brokers_there_is_one_table() -> None:
    assert "NATS" not in report.text([outcome(others=False)])
    assert "NATS" in report.text([outcome(others=True)])


def test_write_replaces_only_what_is_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "performance.md"
    report.write(page, "first")
    page.write_text("before\n" + page.read_text() + "after\n")
    report.write(page, "second")
    assert page.read_text() == (f"before\n# Performance\n\n{report.BEGIN}\nsecond\n{report.END}\nafter\n")


def test_the_facts_say_how_many_samples_a_figure_is_the_median_of() -> None:
    bench = Bench(Path(), 1.0, 0.4, 5, 1.0, None, None)
    assert report.samples(bench) == (
        "pairs with Mosquitto: 5, of each other broker: 3; 1.0 s each after 0.4 s of warm-up"
    )


def test_the_disk_is_told_and_left_as_it_was(tmp_path: Path) -> None:
    assert report.disk(tmp_path).startswith("4 KiB written and flushed in ")
    assert list(tmp_path.iterdir()) == []
