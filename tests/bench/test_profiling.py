import pytest
from bench.profiling import Shares
from bench.servers import NotMeasurable

OUTER = "<module> (tokenmq);serve (tokenmq/app/serving.py);Runner.run (asyncio/runners.py)"


def test_a_stack_counts_for_the_function_that_ran_and_its_module() -> None:
    shares = Shares.of(
        [
            f"{OUTER};Link.received (tokenmq/server/link.py);_run (tokenmq/broker/lane.py) 60",
            f"{OUTER};Link.received (tokenmq/server/link.py);forward (tokenmq/broker/lane.py) 20",
            f"{OUTER} 20",
        ]
    )
    assert shares.total == 100
    assert shares.modules == {"tokenmq/broker/lane.py": 80, "event loop, in C": 20}
    assert shares.told(shares.functions)[0] == "  60.0%  _run (tokenmq/broker/lane.py)"


def test_threads_that_wait_for_work_do_not_count() -> None:
    waiting = "_bootstrap (threading.py);run (threading.py);_worker (concurrent/futures/thread.py) 900"
    assert Shares.of([waiting, f"{OUTER} 5"]).total == 5


def test_a_watch_that_saw_nothing_is_told() -> None:
    with pytest.raises(NotMeasurable):
        Shares.of([])
