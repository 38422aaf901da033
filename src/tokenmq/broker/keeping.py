"""The core's side of the store: what is to be kept, and what waits until it is.

Theory of operation. The core notes changes (`put`, `drop`) and, where something must not
be said before it is on the disk, a function to be called then (`when_kept`). At the end
of every entry into the core its owner takes all of it as one `Batch` and has it kept,
in order and at once; when the store has answered, the batch is `settled`, in the order in
which batches were taken. So an acknowledgement stands behind its commit, and everything
between two entries shares one.

What nobody waits for is housekeeping, such as the end of a delivery that was acknowledged.
It goes along with the next batch that somebody waits for, or with the next tick: it would
not be worth a commit of its own, and until it is kept a restart does again what was done.

If the store fails, nothing of the batch is there. Whoever waits hears it and refuses.
Housekeeping is put aside by key and given to the store again at the next tick, so that what
is kept comes to what the core knows as soon as there is room. Where a later batch says
something newer of the same key, that batch takes it over: it is forgotten if the batch is
kept, and put aside if that fails, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from tokenmq.broker.records import (
    Change,
    DeliveryRecord,
    Key,
    ReceivedRecord,
    Record,
    SessionRecord,
    SubscriptionRecord,
    put,
)

# Housekeeping that waits for company, at most.
_MOST_HOUSEKEEPING = 1_000
# What goes with its session; the session's number is the first part of the key.
_OF_SESSION = (SubscriptionRecord, DeliveryRecord, ReceivedRecord)


class Settled(Protocol):
    """What waits for the store."""

    def __call__(self, *, kept: bool) -> None:
        """Go on; `kept` is False if nothing was stored."""


class Batch:
    """What was noted between two entries into the core.

    Attributes:
        changes: in order.
    """

    __slots__ = ("_inherited", "_keeping", "_owned", "_waiting", "changes")

    def __init__(
        self, keeping: Keeping, changes: list[Change], owned: list[bool], waiting: list[Settled]
    ) -> None:
        self._keeping = keeping
        self.changes = changes
        self._owned = owned
        self._waiting = waiting
        self._inherited: list[Change] = []

    @property
    def housekeeping(self) -> list[Change]:
        """Changes that nobody waits for, those taken over first."""
        own = [change for change, owned in zip(self.changes, self._owned, strict=True) if not owned]
        return self._inherited + own

    def take_over(self, failed: Iterable[Change]) -> list[Change]:
        """Take over changes of an earlier batch that this one replaces; return the others."""
        replaced = _Replaced(self.changes)
        left: list[Change] = []
        for change in failed:
            (self._inherited if change in replaced else left).append(change)
        return left

    def settled(self, *, kept: bool) -> None:
        """Go on with what waited; to be called once, in the order in which batches were taken."""
        self._keeping.settled(self, kept=kept)
        for go_on in self._waiting:
            go_on(kept=kept)


class Keeping:
    """What is to be kept and what waits for it."""

    __slots__ = ("_again", "_aside", "_changes", "_is_due", "_owned", "_under_way", "_waiting")

    def __init__(self) -> None:
        self._changes: list[Change] = []
        self._owned: list[bool] = []
        self._waiting: list[Settled] = []
        self._under_way: deque[Batch] = deque()
        self._aside: dict[tuple[type[Record], Key], Change] = {}
        self._again: list[Callable[[], None]] = []
        self._is_due = False

    def put(self, record: Record, *, owned: bool = False) -> None:
        """Have a record kept.

        Args:
            owned: somebody waits for it and drops it if it fails; else it is tried again.
        """
        self._note(put(record), owned=owned)

    def drop(self, kind: type[Record], key: Key) -> None:
        """Have a record dropped."""
        self._note(Change(kind, key, None), owned=False)

    def when_kept(self, go_on: Settled) -> None:
        """Call when everything noted so far is kept, or is not."""
        self._waiting.append(go_on)

    def try_again(self, step: Callable[[], None]) -> None:
        """Do something at the next tick that the store's failure stopped."""
        self._again.append(step)

    def take(self) -> Batch | None:
        """Return what is to be kept now, None if that is nothing."""
        if not (self._waiting or self._is_due or len(self._changes) >= _MOST_HOUSEKEEPING):
            return None
        self._is_due = False
        if not (self._waiting or self._changes):
            return None
        batch = Batch(self, self._changes, self._owned, self._waiting)
        self._changes, self._owned, self._waiting = [], [], []
        self._under_way.append(batch)
        return batch

    def flush(self) -> None:
        """Have the housekeeping kept now."""
        self._is_due = True

    def tick(self) -> None:
        """Have the housekeeping kept, and try again what has failed."""
        self._is_due = True
        if self._aside:
            self._note_first(self._aside.values())
            self._aside = {}
        again, self._again = self._again, []
        for step in again:
            step()

    def settled(self, batch: Batch, *, kept: bool) -> None:
        """Take a batch's housekeeping back if it failed."""
        self._under_way.popleft()
        if kept:
            return
        failed = batch.housekeeping
        for later in self._under_way:
            failed = later.take_over(failed)
        replaced = _Replaced(self._changes)
        self._note_first([change for change in failed if change in replaced])
        for change in failed:
            if change not in replaced:
                self._forget_aside(change)
                self._aside[change.kind, change.key] = change

    def _note(self, change: Change, *, owned: bool) -> None:
        if self._aside:
            earlier = self._forget_aside(change)
            if earlier is not None and owned:  # it stands if this one fails
                self._changes.append(earlier)
                self._owned.append(False)
        self._changes.append(change)
        self._owned.append(owned)

    def _note_first(self, changes: Collection[Change]) -> None:
        """Note housekeeping that is older than all that is noted."""
        self._changes[:0] = changes
        self._owned[:0] = [False] * len(changes)

    def _forget_aside(self, change: Change) -> Change | None:
        """Take out what a newer change replaces; return what was under its key."""
        if change.kind is SessionRecord and change.record is None:
            for name in [name for name, one in self._aside.items() if _session_of(one) == change.key]:
                del self._aside[name]
        return self._aside.pop((change.kind, change.key), None)


class _Replaced:
    """What changes replace: what is under their keys, and what goes with sessions that they drop."""

    __slots__ = ("_ended", "_names")

    def __init__(self, changes: Iterable[Change]) -> None:
        self._names = {(change.kind, change.key) for change in changes}
        self._ended = {
            change.key for change in changes if change.kind is SessionRecord and change.record is None
        }

    def __contains__(self, change: Change) -> bool:
        return (change.kind, change.key) in self._names or _session_of(change) in self._ended


def _session_of(change: Change) -> int | str | None:
    """Return the number of the session that a change's record goes with, None if it stands alone."""
    key = change.key
    return key[0] if change.kind in _OF_SESSION and isinstance(key, tuple) else None
