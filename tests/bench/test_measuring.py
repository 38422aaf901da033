from pathlib import Path

import pytest
from bench.harness import Bench, Sample, Side
from bench.measuring import measure
from bench.rows import Row, Wanted
from bench.servers import NotMeasurable
from bench.wire import BadStream

from bench import report


def bench(pairs: int, *, alone: bool = False) -> Bench:
    return Bench(Path(), 0.1, 0.1, pairs, 1.0, None, None, alone=alone)


@pytest.mark.parametrize("error", [NotMeasurable, BadStream, OSError])
def test_a_side_that_cannot_be_measured_says_why_and_the_others_go_on(error: type[Exception]) -> None:
    def fails(_bench: Bench, side: Side) -> Sample:
        if side == "peer":
            raise error("mosquitto is not installed")
        return Sample(5.0)

    found = measure(bench(2), Row("key", "a row", fails, Wanted(at_least=1)))
    assert len(found.ours) == 2
    assert "mosquitto is not installed" in report.text([found])
    assert found.holds is False


def test_a_side_that_fails_later_on_has_no_figure() -> None:
    taken: list[Side] = []

    def fails(_bench: Bench, side: Side) -> Sample:
        taken.append(side)
        if side == "ours" and taken.count("ours") > 2:
            raise BadStream("lost: sent 10, received 9 of 10")
        return Sample(5.0)

    found = measure(bench(3), Row("key", "a row", fails, Wanted("ours", at_least=1)))
    assert (found.ours, found.problems) == ([], {"ours": "lost: sent 10, received 9 of 10"})
    assert found.holds is False


def test_a_row_that_cannot_be_prepared_takes_no_sample_of_ours() -> None:
    def prepare(_bench: Bench) -> None:
        raise BadStream("a token request was answered 503")

    found = measure(bench(1), Row("key", "a row", lambda _b, _s: Sample(1.0), prepare=prepare))
    assert set(found.samples) == {"peer"}
    assert found.problems == {"ours": "a token request was answered 503"}


def test_pairs_are_interleaved_and_the_first_one_is_not_counted() -> None:
    taken: list[Side] = []

    def note(_bench: Bench, side: Side) -> Sample:
        taken.append(side)
        return Sample(float(len(taken)))

    found = measure(bench(2), Row("key", "a row", note))
    assert taken == ["peer", "ours", "ours", "peer", "peer", "ours"]
    assert [sample.value for sample in found.ours] == [3.0, 6.0]


def test_the_other_brokers_take_three_samples_between_the_pairs() -> None:
    taken: list[Side] = []

    def note(_bench: Bench, side: Side) -> Sample:
        taken.append(side)
        return Sample(1.0)

    row = Row("key", "a row", note, others=True)
    found = measure(bench(5), row)
    assert {side: len(samples) for side, samples in found.samples.items()} == {
        "ours": 5, "peer": 5, "nats": 3, "aedes": 3, "amqtt": 3,
    }  # fmt: skip
    assert taken[:7] == ["peer", "ours", "ours", "peer", "nats", "aedes", "amqtt"]
    taken.clear()
    measure(bench(5, alone=True), row)
    assert set(taken) == {"ours", "peer"}
