"""What holds up a session's live messages while older ones are sent to it."""

from __future__ import annotations


class Barrier:
    """A place among what waits for a session: nothing behind it goes out while it stands."""

    __slots__ = ()
