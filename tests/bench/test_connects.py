import io

import pytest
from bench.connects import idle, unmatched
from bench.links import Target

from tokenmq.topics.filter import matches


@pytest.mark.parametrize("topic", ["bench/0", "bench/7/00000", "bench/7/04095", "bench/3/22/levellevel"])
def test_the_filters_of_idle_connections_match_no_topic_of_the_load(topic: str) -> None:
    assert not any(matches(unmatched(number), topic) for number in range(300))


def test_the_filters_of_idle_connections_all_differ() -> None:
    assert len({unmatched(number) for number in range(300)}) == 300


def test_idle_connections_are_told_when_all_are_open_and_closed_at_the_end_of_input(
    reflector_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    released = idle(Target("127.0.0.1", reflector_port), count=3, subscriptions=120, release=io.StringIO())
    assert released == {"mode": "idle", "released": 3}
    assert capsys.readouterr().out == '{"mode": "idle", "held": 3}\n'
