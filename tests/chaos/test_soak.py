"""The judge of a soak, and a soak of a few seconds."""

import asyncio
from pathlib import Path

import pytest
from chaos.soak import HOUR, MIB, Counts, Outcome, run


def outcome(
    memory: list[int],
    *,
    seconds: float = HOUR,
    faults: tuple[str, ...] = (),
    defects: tuple[str, ...] = (),
) -> Outcome:
    return Outcome(seconds, memory, Counts(visits=80, faults=list(faults)), list(defects))


def test_memory_that_settles_is_well() -> None:
    settling = [10, 30, 50, 60, 70, 75, 78, 80, 80, 81, 80, 80, 80, 81, 80, 81]
    assert outcome([mib * MIB for mib in settling]).problems() == []


def test_memory_that_grows_to_the_end_is_found() -> None:
    growing = outcome([(100 + 2 * step) * MIB for step in range(40)])
    assert growing.problems() == ["memory grew from 149.0 to 169.0 MiB"]


def test_what_each_visit_leaves_is_told() -> None:
    assert outcome([step * MIB for step in range(8)]).growth() == 2 * MIB / 20


def test_a_short_run_is_not_judged_by_memory() -> None:
    growing = [(100 + 2 * step) * MIB for step in range(40)]
    assert outcome(growing, seconds=600.0).problems() == []
    assert outcome(growing, seconds=600.0, faults=("refused",)).problems() == ["refused"]


def test_what_clients_and_log_say_is_told() -> None:
    wrong = outcome([MIB] * 8, faults=("refused",), defects=('{"event":"defect"}',))
    assert wrong.problems() == ["refused", '{"event":"defect"}']


@pytest.mark.system
def test_a_few_seconds_of_coming_and_going(tmp_path: Path) -> None:
    few = asyncio.run(run(tmp_path, clients=20, seconds=8.0))
    assert few.counts.faults == []
    assert few.defects == []
    assert few.counts.visits >= 5
    assert few.counts.taken > 0
    assert few.counts.handed > 0
