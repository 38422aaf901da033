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

An operation brings what the audit trail is to say of it. The rows of a group are chained
and written at the end of its transaction: a change and its row are there together or not
at all.

What an operation changes in memory it changes in `applied`, which this task calls right
after the commit: a caller that went away meanwhile cannot keep it from happening.

Who cannot wait (the broker's core, in the middle of a packet) posts an operation, and is
told of its end by a call. Posts stand in the same queue, so one is never committed after
an operation that was handed in later; and they are answered in their order, those that
were refused at once too. An operation that somebody waits for is a request; a post may be
one row or thousands, so posts are counted by the size that they say they have.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from tokenmq import clock
from tokenmq.errors import Conflict, TokenmqError, Unavailable
from tokenmq.histogram import Histogram
from tokenmq.stores.audit import Audit, AuditEntry, entries_of
from tokenmq.stores.sql.chain import Chain
from tokenmq.stores.sql.runner import Runner

Operation = TypeVar("Operation")
Outcome = TypeVar("Outcome")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

# Operations that may wait; more are refused at once. At 4,000 a second, 2.5 s of work.
MAX_WAITING = 10_000
# Size of the posts that may wait; what comes then is refused. At 100,000 a second, 1 s.
MAX_POSTED = 100_000
# A group of this size waits for no more: at 4,000 operations a second, 32 ms.
GATHERED = 128
# Operations of one transaction, and size of its posts: bounds on how long one can take.
# By then a commit of its own costs next to nothing beside the rows.
MAX_GROUP = 1_000
MAX_GROUP_POSTED = 5_000


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
class _Asked:
    """An operation whose answer somebody awaits."""

    work: Work[Any, Any]
    operation: Any
    applied: Callable[[Any], Any]
    answer: asyncio.Future[Any]
    audit: Audit[Any]
    refused: None = None

    def finish(self, outcome: Any) -> None:
        """Apply the outcome and answer, or answer with the error that it is."""
        if isinstance(outcome, TokenmqError):
            self._fail(outcome)
            return
        try:
            result = self.applied(outcome)
        # It is stored and cannot be taken back: whoever asked gets the defect, the others
        # get their answers.
        except Exception as error:
            self._fail(error)
        else:
            with contextlib.suppress(asyncio.InvalidStateError):
                self.answer.set_result(result)

    def _fail(self, error: Exception) -> None:
        with contextlib.suppress(asyncio.InvalidStateError):
            self.answer.set_exception(error)


@dataclass(slots=True, eq=False)
class _Posted:
    """An operation that nobody waits for.

    Attributes:
        refused: set when it is not to be done, and only waits to be told so.
    """

    work: Work[Any, Any]
    operation: Any
    settled: Callable[[Any], None]
    size: int
    refused: Unavailable | None = None
    audit: Audit[Any] = ()

    def finish(self, outcome: Any) -> None:
        """Tell that it is done, or the error that the outcome is."""
        try:
            self.settled(outcome if isinstance(outcome, TokenmqError) else None)
        # A defect of whoever is told must not keep the others from being told.
        except Exception as error:
            context = {"message": "a write's end could not be told", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)


_Entry: TypeAlias = _Asked | _Posted


class GroupWriter:
    """Runs operations in shared transactions.

    Attributes:
        commits: how many groups were committed.
        chain: the end of the audit trail.
        commit_seconds: how long each of them took, from its first statement on.
        failures: how many groups failed.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.chain = Chain()
        self._waiting: deque[_Entry] = deque()
        # Of those that wait: how many somebody awaits, and the size of the posts.
        self._asked = 0
        self._posted = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self.commits = 0
        self.commit_seconds = Histogram()
        self.failures = 0

    @property
    def waiting(self) -> int:
        """How much waits for its commit: operations that somebody awaits, and rows of the others."""
        return self._asked + self._posted

    def start(self) -> None:
        """Begin to work."""
        self._task = asyncio.get_running_loop().create_task(self._work(), name="store writer")

    async def submit(
        self,
        work: Work[Operation, Outcome],
        operation: Operation,
        applied: Callable[[Outcome], Result],
        audit: Audit[Outcome] = (),
    ) -> Result:
        """Do an operation durably and return what `applied` made of its outcome.

        Args:
            work: its kind.
            operation: what to do.
            applied: called with the outcome in the step in which the commit became known.
            audit: what the audit trail says of it, in the same transaction.

        Raises: the operation's own error, Unavailable.
        """
        if self._closing or not self._works():
            raise _closed()
        if self._asked >= MAX_WAITING:
            raise _overloaded()
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._asked += 1
        self._queue(_Asked(work, operation, applied, answer, audit))
        return await answer

    def post(
        self,
        work: Work[Operation, Any],
        operation: Operation,
        settled: Callable[[Any], None],
        *,
        size: int,
        audit: Audit[Any] = (),
    ) -> None:
        """Hand in an operation that nobody waits for; to be called on the event loop.

        Args:
            settled: called with None when it is durable, or with the error when nothing of
                it was done; on the loop, later, in the order in which this kind was posted.
            size: how much it is to do, in rows.
            audit: as of `submit`.
        """
        if not self._works():
            asyncio.get_running_loop().call_soon(settled, _closed())
            return
        if self._closing:
            self._queue(_Posted(work, None, settled, 0, _closed()))
        elif self._posted >= MAX_POSTED:
            self._queue(_Posted(work, None, settled, 0, _overloaded()))
        else:
            self._posted += size
            self._queue(_Posted(work, operation, settled, size, audit=audit))

    def on_loop(self, question: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        """Return a function that an operation may call to ask `question` on the event loop."""
        return self._runner.on_loop(question)

    def stop_taking(self) -> None:
        """Refuse what comes from now on."""
        self._closing = True
        self._wake.set()

    async def close(self) -> None:
        """Finish what was accepted, refuse the rest, end the task."""
        self.stop_taking()
        if self._task is not None:
            await self._task

    def _works(self) -> bool:
        return self._task is not None and not self._task.done()

    def _queue(self, entry: _Entry) -> None:
        self._waiting.append(entry)
        self._wake.set()

    async def _work(self) -> None:
        while not (self._closing and not self._waiting):
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._gather()
                await self._commit(self._take())

    async def _gather(self) -> None:
        """Let the event loop go round as long as each round brings more; a timer never runs.

        A commit costs as much as dozens of its rows, and what is on its way already
        would pay for one of its own.
        """
        size = 0
        while size < self._asked + self._posted < GATHERED:
            size = self._asked + self._posted
            await asyncio.sleep(0)

    def _take(self) -> list[_Entry]:
        """Take the next group: what waits longest, within the bounds of a transaction."""
        group: list[_Entry] = []
        asked = posted = 0
        while self._waiting and asked < MAX_GROUP and posted < MAX_GROUP_POSTED:
            entry = self._waiting.popleft()
            if isinstance(entry, _Posted):
                posted += entry.size
                group.append(entry)
                continue
            asked += 1
            # Whoever gave up before it began wants nothing done.
            if not entry.answer.done():
                group.append(entry)
        self._asked -= asked
        self._posted -= posted
        return group

    async def _commit(self, group: list[_Entry]) -> None:
        group.sort(key=lambda entry: entry.work.order)
        running = [entry for entry in group if entry.refused is None]
        outcomes = iter(await self._run(running) if running else ())
        for entry in group:
            entry.finish(next(outcomes) if entry.refused is None else entry.refused)

    async def _run(self, group: list[_Entry]) -> list[Any]:
        """Run a group in a transaction; return the outcome of each, or why it has none."""
        began = clock.mono()
        try:
            try:
                outcomes = await self._runner.run(partial(_run_together, group, self.chain))
            except IntegrityError:
                outcomes = await self._runner.run(partial(_run_apart, group, self.chain))
        except (SQLAlchemyError, OSError) as error:
            self.chain.lost()
            self.failures += 1
            return _failures(group, "the store failed, nothing was changed", error)
        # Fail closed (SECURITY, ruling 7): a defect in one operation must neither end the
        # writer nor leave anybody waiting. Its cause travels with each answer.
        except Exception as error:
            self.chain.lost()
            self.failures += 1
            return _failures(group, "a write failed, nothing was changed", error)
        self.chain.kept()
        self.commits += 1
        self.commit_seconds.observe(clock.mono() - began)
        return outcomes


def _run_together(group: list[_Entry], chain: Chain, connection: Connection) -> list[Any]:
    outcomes: list[Any] = []
    start = 0
    while start < len(group):
        work = group[start].work
        stop = start + 1
        while stop < len(group) and group[stop].work is work:
            stop += 1
        outcomes += work.run(connection, [entry.operation for entry in group[start:stop]])
        start = stop
    _note(group, outcomes, chain, connection)
    return outcomes


def _run_apart(group: list[_Entry], chain: Chain, connection: Connection) -> list[Any]:
    outcomes: list[Any] = []
    for entry in group:
        try:
            with connection.begin_nested():
                outcomes += entry.work.run(connection, [entry.operation])
        except IntegrityError:
            outcomes.append(entry.work.refused(entry.operation))
    _note(group, outcomes, chain, connection)
    return outcomes


def _note(group: list[_Entry], outcomes: list[Any], chain: Chain, connection: Connection) -> None:
    """Write the audit trail of a group: of each operation that was done, in the order of the group."""
    entries: list[AuditEntry] = []
    for entry, outcome in zip(group, outcomes, strict=True):
        if entry.audit and not isinstance(outcome, TokenmqError):
            entries += entries_of(entry.audit, outcome)
    chain.append(connection, entries)


def _failures(group: list[_Entry], text: str, cause: Exception) -> list[Unavailable]:
    """Return an error for each: who raises it adds its own traceback."""
    failures = [Unavailable(text) for _ in group]
    for failure in failures:
        failure.__cause__ = cause
    return failures


def _closed() -> Unavailable:
    return Unavailable("the store is closed")


def _overloaded() -> Unavailable:
    return Unavailable("the store has more to do than it can")
