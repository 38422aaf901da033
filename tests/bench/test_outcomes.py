import pytest
from bench.harness import Sample
from bench.outcomes import Outcome
from bench.rows import Row, Wanted


def outcome(wanted: Wanted, ours: list[float], peer: list[float], *, factor: float = 1.0) -> Outcome:
    row = Row("key", "a row", lambda _bench, _side: Sample(1.0), wanted, factor=factor)
    found = Outcome(row)
    if ours:
        found.samples["ours"] = [Sample(value) for value in ours]
    if peer:
        found.samples["peer"] = [Sample(value) for value in peer]
    return found


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


def test_a_cell_is_the_median_by_the_factor_of_the_row_or_the_reason() -> None:
    found = outcome(Wanted(), [1024, 4096, 2048], [], factor=1024)
    found.problems["nats"] = "MQTT 3.1.1 only"
    assert [found.cell(side) for side in ("ours", "peer", "nats")] == ["2.0", "-", "MQTT 3.1.1 only"]


def test_the_ratio_by_processor_is_that_of_what_a_second_of_it_does() -> None:
    found = outcome(Wanted(), [], [])
    found.samples = {"ours": [Sample(900.0, None, 0.9)], "peer": [Sample(100.0, None, 0.5)]}
    assert found.by_processor == 5.0
