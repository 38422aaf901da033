import os
from collections.abc import Callable
from pathlib import Path

import pytest
from bench.harness import Bench
from bench.reflector import Reflector
from bench.servers import NotMeasurable, Server


class Here(Server):
    """A reflector in a thread of the test, as a server."""

    name = "here"

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder, cpu=None)
        self.port = port
        self.rested = False

    def pid(self) -> int:
        return os.getpid()

    def rest(self, *, at_most_seconds: float = 20.0) -> None:
        self.rested = True


@pytest.fixture
def here(serve: Callable[[Reflector], int], tmp_path: Path) -> Here:
    return Here(tmp_path, serve(Reflector()))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, 0.1, 0.1, 1, 1.0, None, None)


def test_a_sample_is_the_figure_of_a_generator_that_found_no_fault(bench: Bench, here: Here) -> None:
    sample = bench.load(here, "connect", "--count", "20", figure="per_s")
    assert sample.value > 0
    assert sample.generator_cpu is not None
    assert sample.server_cpu is not None


def test_a_fault_that_the_generator_found_is_told(bench: Bench, here: Here) -> None:
    with pytest.raises(NotMeasurable, match="properties and No Local need --version 5"):
        bench.load(here, "pubsub", "--properties")


def test_a_figure_of_nothing_is_none(bench: Bench, here: Here) -> None:
    with pytest.raises(NotMeasurable, match="nothing arrived"):
        bench.load(here, "pubsub", "--seconds", "0", "--warmup-seconds", "0", figure="p99_us")


def test_connections_are_held_meanwhile_and_their_ends_awaited(bench: Bench, here: Here) -> None:
    with bench.held(here, count=3, subscriptions=2):
        assert not here.rested
    assert here.rested


def test_connections_that_cannot_be_held_are_told(bench: Bench, here: Here, tmp_path: Path) -> None:
    closed = Here(tmp_path, 1)
    with pytest.raises(NotMeasurable, match="refused"), bench.held(closed, count=3):
        pytest.fail("nothing is held")


def test_a_server_that_could_not_be_started_is_not_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def fails(self: Server) -> None:
        tried.append(self.name)
        raise NotMeasurable("no such program")

    monkeypatch.setattr(Server, "start", fails)
    bench.ceiling = True
    for _ in range(2):
        with pytest.raises(NotMeasurable, match="no such program"):
            bench.server("ours")
    assert tried == ["reflector"]
