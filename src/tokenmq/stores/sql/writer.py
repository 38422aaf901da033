"""The one writer: concurrent operations share a commit.

Theory of operation. Whoever writes hands in an operation and waits. One task takes all
that queued up while the last commit was on its way to the disk, and what the event loop
has at hand beside it, runs it in one transaction, commits, and answers everybody. So the
more there is to do, the less each commit costs, and nobody waits for a timer.

Inside a group the operations of one kind run together, so that their rows travel in one
statement; the kinds run in a fixed order (`Work.order`). That is a serial order, and as
nobody in the group has had an answer yet, as good as any other.

Most groups are flawless, so a group runs at first without savepoints. If a constraint
stops one, all of it is rolled back and run again, each operation alone and inside a
savepoint: the ones at fault fail, the others do not notice. Anything else that goes
wrong (disk full, connection lost, a defect) fails the group: everybody gets
`Unavailable`, nothing is stored, nothing changes in memory.

What an operation changes in memory it changes in `applied`, which this task calls right
after the commit: a caller that went away meanwhile cannot keep it from happening.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from tokenmq.errors import Conflict, TokenmqError, Unavailable
from tokenmq.stores.sql.runner import Runner

Operation = TypeVar("Operation")
Outcome = TypeVar("Outcome")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

# Operations that may wait; more are refused at once. At 4,000 a second, 2.5 s of work.
MAX_WAITING = 10_000
# A group that has so many waits for no more: at 4,000 a second, 32 ms.
GATHERED = 128
# Operations of one transaction: a bound on how long one can take.
MAX_GROUP = 1_000


def contradiction(operation: object) -> TokenmqError:  # noqa: ARG001
    """Return the error of an operation whose constraints have no better words."""
    return Conflict("this contradicts what is stored")


@dataclass(frozen=True, slots=True)
class Work(Generic[Operation, Outcome]):
    """A kind of operation.

    Attributes:
        order: kinds run in this order within a group.
        run: do a batch of them inside the transaction; one outcome each, in order. An
            error as outcome fails that operation alone; it must have written nothing.
        refused: the error of an operation that a constraint stopped.
    """

    order: int
    run: Callable[[Connection, Sequence[Operation]], Sequence[Outcome | TokenmqError]]
    refused: Callable[[Operation], TokenmqError] = contradiction


@dataclass(slots=True, eq=False)
class _Entry:
    """An operation that waits for its commit."""

    work: Work[Any, Any]
    operation: Any
    applied: Callable[[Any], Any]
    answer: asyncio.Future[Any]


class GroupWriter:
    """Runs operations in shared transactions.

    Attributes:
        commits: how many groups were committed.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._waiting: deque[_Entry] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self.commits = 0

    def start(self) -> None:
        """Begin to work."""
        self._task = asyncio.get_running_loop().create_task(self._work(), name="store writer")

    async def submit(
        self, work: Work[Operation, Outcome], operation: Operation, applied: Callable[[Outcome], Result]
    ) -> Result:
        """Do an operation durably and return what `applied` made of its outcome.

        Raises: the operation's own error, Unavailable.
        """
        if self._closing or self._task is None or self._task.done():
            raise Unavailable("the store is closed")
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("the store has more to do than it can")
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Entry(work, operation, applied, answer))
        self._wake.set()
        return await answer

    def on_loop(self, question: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        """Return a function that an operation may call to ask `question` on the event loop."""
        return self._runner.on_loop(question)

    async def close(self) -> None:
        """Finish what was accepted, refuse the rest, end the task."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task

    async def _work(self) -> None:
        while not (self._closing and not self._waiting):
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._gather()
                size = min(len(self._waiting), MAX_GROUP)
                taken = (self._waiting.popleft() for _ in range(size))
                # Whoever gave up before it began wants nothing done.
                group = [entry for entry in taken if not entry.answer.done()]
                if group:
                    await self._commit(group)

    async def _gather(self) -> None:
        """Let the event loop go round as long as each round brings more; a timer never runs.

        A commit costs as much as dozens of its rows, and what is on its way already
        would pay for one of its own.
        """
        size = 0
        while size < len(self._waiting) < GATHERED:
            size = len(self._waiting)
            await asyncio.sleep(0)

    async def _commit(self, group: list[_Entry]) -> None:
        group.sort(key=lambda entry: entry.work.order)
        try:
            try:
                outcomes = await self._runner.run(partial(_run_together, group))
            except IntegrityError:
                outcomes = await self._runner.run(partial(_run_apart, group))
        except (SQLAlchemyError, OSError) as error:
            _fail(group, Unavailable("the store failed, nothing was changed"), error)
        # Fail closed (SECURITY, ruling 7): a defect in one operation must neither end the
        # writer nor leave anybody waiting. Its cause travels with each answer.
        except Exception as error:
            _fail(group, Unavailable("a write failed, nothing was changed"), error)
        else:
            self.commits += 1
            for entry, outcome in zip(group, outcomes, strict=True):
                _answer(entry, outcome)


def _run_together(group: list[_Entry], connection: Connection) -> list[Any]:
    outcomes: list[Any] = []
    start = 0
    while start < len(group):
        work = group[start].work
        stop = start + 1
        while stop < len(group) and group[stop].work is work:
            stop += 1
        outcomes += work.run(connection, [entry.operation for entry in group[start:stop]])
        start = stop
    return outcomes


def _run_apart(group: list[_Entry], connection: Connection) -> list[Any]:
    outcomes: list[Any] = []
    for entry in group:
        try:
            with connection.begin_nested():
                outcomes += entry.work.run(connection, [entry.operation])
        except IntegrityError:
            outcomes.append(entry.work.refused(entry.operation))
    return outcomes


def _answer(entry: _Entry, outcome: Any) -> None:
    if isinstance(outcome, TokenmqError):
        _settle(entry, outcome)
        return
    try:
        result = entry.applied(outcome)
    # It is stored and cannot be taken back: whoever asked gets the defect, the others
    # get their answers.
    except Exception as error:
        _settle(entry, error)
    else:
        with contextlib.suppress(asyncio.InvalidStateError):
            entry.answer.set_result(result)


def _fail(group: list[_Entry], failure: Unavailable, cause: Exception) -> None:
    for entry in group:
        error = Unavailable(*failure.args)
        error.__cause__ = cause
        _settle(entry, error)


def _settle(entry: _Entry, error: Exception) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):
        entry.answer.set_exception(error)
