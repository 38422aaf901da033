"""What the core needs of a store: `KeptStore`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tokenmq.broker.records import Change, Kept
from tokenmq.errors import Unavailable


class KeptStore(Protocol):
    """What outlives a connection: sessions, what waits for them, retained messages."""

    async def load(self) -> Kept:
        """Return everything, as of one moment.

        Sessions and messages come by number, deliveries by session and position. What
        belongs to nothing is left out and removed in the same step: deliveries without
        their session, or without their message before they are released, messages that
        nobody waits for, subscriptions and received identifiers without a session; sessions
        and retained messages of an organization that is gone or a family that was revoked,
        sessions of a deleted key.

        Raises: Unavailable.
        """
        ...

    def save(self, changes: Sequence[Change], settled: Callable[[Unavailable | None], None]) -> None:
        """Hand changes over, to be made together or not at all; never waits, never fails.

        `settled` is called on the event loop, never before this returns: with None in the
        step in which the commit became known, with an error when nothing of this save was
        written. The calls come in the order of the saves. A save that failed harms none
        of the others, and is not tried again.
        """
        ...
