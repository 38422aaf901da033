"""The one writer: shared commits, failures that stay where they belong."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from tokenmq.errors import Conflict, NotFound, Unavailable
from tokenmq.stores.sql import writer as writer_module
from tokenmq.stores.sql.writer import GroupWriter, Work


class Nested:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


class Connection:
    """Stands for a connection: notes what runs on it."""

    def __init__(self):
        self.ran: list[Any] = []

    def begin_nested(self):
        return Nested()


class Runner:
    """Runs work at once, or when it is let; commits fail as told."""

    def __init__(self):
        self.groups: list[Connection] = []
        self.free = asyncio.Event()
        self.free.set()
        self.failure: Exception | None = None

    async def run(self, work: Callable[[Connection], Any]) -> Any:
        connection = Connection()
        self.groups.append(connection)
        outcomes = work(connection)
        await self.free.wait()
        if self.failure is not None:
            raise self.failure
        return outcomes

    def on_loop(self, question):
        return question

    async def close(self):
        pass


def run(connection, operations):
    connection.ran.append(list(operations))
    for operation in operations:
        if operation == "taken":
            raise IntegrityError("insert", {}, Exception("taken"))
        if operation == "defect":
            raise ZeroDivisionError
    return [NotFound("no") if operation == "missing" else operation.upper() for operation in operations]


FIRST = Work(1, run, lambda operation: Conflict(operation))
SECOND = Work(2, run, lambda operation: Conflict(operation))


@pytest.fixture
def runner():
    return Runner()


@pytest.fixture
async def writer(runner):
    writer = GroupWriter(runner)
    writer.start()
    yield writer
    runner.free.set()
    await writer.close()


def applied(outcome):
    return f"applied {outcome}"


async def together(writer, *operations, work=FIRST):
    asked = [writer.submit(work, operation, applied) for operation in operations]
    return await asyncio.gather(*asked, return_exceptions=True)


async def test_operations_that_queue_up_during_a_commit_share_the_next(writer, runner):
    runner.free.clear()
    first = asyncio.ensure_future(writer.submit(FIRST, "a", applied))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = asyncio.ensure_future(together(writer, *"bcdef"))
    await asyncio.sleep(0)
    runner.free.set()
    assert await first == "applied A"
    assert await rest == [f"applied {letter}" for letter in "BCDEF"]
    assert [group.ran for group in runner.groups] == [[["a"]], [list("bcdef")]]
    assert writer.commits == 2


async def test_operations_that_arrive_one_round_of_the_loop_after_the_other_share_a_commit(writer):
    async def arrive(rounds):
        for _ in range(rounds):
            await asyncio.sleep(0)
        return await writer.submit(FIRST, f"o{rounds}", applied)

    await asyncio.gather(*map(arrive, range(5)))
    assert writer.commits == 1


async def test_group_that_is_large_enough_waits_for_no_more(writer, runner, monkeypatch):
    monkeypatch.setattr(writer_module, "GATHERED", 2)

    async def arrive(rounds):
        for _ in range(rounds):
            await asyncio.sleep(0)
        return await writer.submit(FIRST, f"o{rounds}", applied)

    await asyncio.gather(*map(arrive, range(6)))
    assert len(runner.groups) > 1


async def test_kinds_run_in_their_order_each_in_one_batch(writer, runner):
    answers = await asyncio.gather(
        writer.submit(SECOND, "a", applied),
        writer.submit(FIRST, "b", applied),
        writer.submit(SECOND, "c", applied),
        writer.submit(FIRST, "d", applied),
    )
    assert answers == ["applied A", "applied B", "applied C", "applied D"]
    assert runner.groups[0].ran == [["b", "d"], ["a", "c"]]


async def test_outcome_that_is_an_error_fails_its_operation_alone(writer):
    good, missing = await together(writer, "a", "missing")
    assert good == "applied A"
    assert isinstance(missing, NotFound)


async def test_constraint_fails_its_operation_alone_in_a_second_run(writer, runner):
    answers = await together(writer, "a", "taken", "b")
    assert answers[::2] == ["applied A", "applied B"]
    assert isinstance(answers[1], Conflict)
    assert [group.ran for group in runner.groups] == [[["a", "taken", "b"]], [["a"], ["taken"], ["b"]]]


async def test_v102_failed_commit_fails_all_and_applies_nothing(writer, runner):
    runner.failure = OperationalError("COMMIT", {}, Exception("disk I/O error"))
    seen = []
    asked = [writer.submit(FIRST, letter, seen.append) for letter in "abc"]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable] * 3
    assert len({id(answer) for answer in answers}) == 3
    assert seen == []
    assert writer.commits == 0
    # Nothing was used up: the same again succeeds.
    runner.failure = None
    assert await together(writer, "a") == ["applied A"]


async def test_v62_defect_in_an_operation_refuses_and_the_writer_goes_on(writer):
    answers = await together(writer, "a", "defect")
    assert [type(answer) for answer in answers] == [Unavailable] * 2
    assert isinstance(answers[0].__cause__, ZeroDivisionError)
    assert await together(writer, "a") == ["applied A"]


async def test_defect_in_applied_reaches_who_asked_and_no_other(writer):
    def broken(outcome):
        raise ZeroDivisionError

    answers = await asyncio.gather(
        writer.submit(FIRST, "a", broken), writer.submit(FIRST, "b", applied), return_exceptions=True
    )
    assert [type(answers[0]), answers[1]] == [ZeroDivisionError, "applied B"]


async def test_caller_that_goes_away_during_the_commit_does_not_stop_what_is_applied(writer, runner):
    runner.free.clear()
    seen = []
    asked = asyncio.ensure_future(writer.submit(FIRST, "a", seen.append))
    for _ in range(3):
        await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    runner.free.set()
    await together(writer, "b")
    assert seen == ["A"]


async def test_caller_that_goes_away_before_the_commit_begins_wants_nothing(writer, runner):
    runner.free.clear()
    first = asyncio.ensure_future(writer.submit(FIRST, "a", applied))
    for _ in range(3):
        await asyncio.sleep(0)
    asked = asyncio.ensure_future(writer.submit(FIRST, "b", applied))
    await asyncio.sleep(0)
    asked.cancel()
    runner.free.set()
    await first
    await together(writer, "c")
    assert [group.ran for group in runner.groups] == [[["a"]], [["c"]]]


async def test_waiting_is_bounded_and_what_is_too_much_is_refused_at_once(writer, runner, monkeypatch):
    monkeypatch.setattr(writer_module, "MAX_WAITING", 3)
    answers = await together(writer, *"abcde")
    assert answers[:3] == ["applied A", "applied B", "applied C"]
    assert [type(answer) for answer in answers[3:]] == [Unavailable] * 2


async def test_large_queues_are_cut_into_groups(writer, runner, monkeypatch):
    monkeypatch.setattr(writer_module, "MAX_GROUP", 2)
    assert await together(writer, *"abcde") == [f"applied {letter}" for letter in "ABCDE"]
    assert [group.ran for group in runner.groups] == [[["a", "b"]], [["c", "d"]], [["e"]]]


async def test_close_finishes_what_was_accepted_and_refuses_the_rest(runner):
    writer = GroupWriter(runner)
    with pytest.raises(Unavailable):
        await writer.submit(FIRST, "early", applied)
    writer.start()
    asked = asyncio.ensure_future(writer.submit(FIRST, "a", applied))
    await asyncio.sleep(0)
    await writer.close()
    assert await asked == "applied A"
    with pytest.raises(Unavailable):
        await writer.submit(FIRST, "late", applied)


class Told:
    """Notes what posts were told, in its order."""

    def __init__(self, writer):
        self.writer = writer
        self.calls = []

    def post(self, operation, *, size=1, work=FIRST):
        self.writer.post(work, operation, lambda error: self.calls.append((operation, error)), size=size)

    async def after(self, count):
        for _ in range(100):
            if len(self.calls) >= count:
                break
            await asyncio.sleep(0)
        return [(operation, None if error is None else type(error)) for operation, error in self.calls]


@pytest.fixture
def told(writer):
    return Told(writer)


class TestPosts:
    async def test_posts_share_the_commit_with_operations_and_are_told_in_order(self, writer, runner, told):
        asked = asyncio.ensure_future(writer.submit(SECOND, "z", applied))
        await asyncio.sleep(0)
        for letter in "abc":
            told.post(letter)
        assert told.calls == []
        assert await asked == "applied Z"
        assert await told.after(3) == [("a", None), ("b", None), ("c", None)]
        assert [group.ran for group in runner.groups] == [[["a", "b", "c"], ["z"]]]

    async def test_post_is_told_its_own_error_or_that_of_its_group(self, runner, told):
        for operation in ("a", "missing", "b"):
            told.post(operation)
        assert await told.after(3) == [("a", None), ("missing", NotFound), ("b", None)]
        told.calls.clear()
        runner.failure = OperationalError("COMMIT", {}, Exception("disk full"))
        told.post("a")
        told.post("b")
        assert await told.after(2) == [("a", Unavailable), ("b", Unavailable)]
        assert told.calls[0][1] is not told.calls[1][1]

    async def test_defect_in_whoever_is_told_reaches_the_loop_and_no_other(self, writer, told):
        defects = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: defects.append(context))

        def broken(error):
            raise ZeroDivisionError

        writer.post(FIRST, "a", broken, size=1)
        told.post("b")
        assert await told.after(1) == [("b", None)]
        assert [type(context["exception"]) for context in defects] == [ZeroDivisionError]

    async def test_posts_are_bounded_by_their_size_and_refused_in_their_turn(self, told, runner, monkeypatch):
        monkeypatch.setattr(writer_module, "MAX_POSTED", 10)
        for operation, size in (("a", 9), ("b", 500), ("c", 1)):
            told.post(operation, size=size)
        assert await told.after(3) == [("a", None), ("b", None), ("c", Unavailable)]
        # There is room again.
        told.post("d", size=500)
        assert await told.after(4) == [("a", None), ("b", None), ("c", Unavailable), ("d", None)]
        assert [group.ran for group in runner.groups] == [[["a", "b"]], [["d"]]]

    async def test_posts_take_no_room_of_operations(self, writer, told, monkeypatch):
        monkeypatch.setattr(writer_module, "MAX_WAITING", 1)
        for letter in "abc":
            told.post(letter)
        assert await writer.submit(FIRST, "d", applied) == "applied D"

    async def test_large_posts_are_cut_into_groups_without_overtaking(
        self, writer, told, runner, monkeypatch
    ):
        monkeypatch.setattr(writer_module, "MAX_GROUP_POSTED", 10)
        for letter in "abc":
            told.post(letter, size=6)
        asked = asyncio.ensure_future(writer.submit(SECOND, "z", applied))
        await asked
        assert await told.after(3) == [("a", None), ("b", None), ("c", None)]
        assert [group.ran for group in runner.groups] == [[["a", "b"]], [["c"], ["z"]]]

    async def test_before_the_start_and_after_the_close_posts_are_refused_later(self, runner):
        told = Told(GroupWriter(runner))
        told.post("early")
        assert told.calls == []
        assert await told.after(1) == [("early", Unavailable)]
        told.writer.start()
        told.post("a")
        closing = asyncio.ensure_future(told.writer.close())
        await asyncio.sleep(0)
        told.post("late")
        await closing
        told.post("last")
        assert await told.after(4) == [
            ("early", Unavailable),
            ("a", None),
            ("late", Unavailable),
            ("last", Unavailable),
        ]
        assert [group.ran for group in runner.groups] == [[["a"]]]
