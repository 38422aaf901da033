"""What time it is in the core."""

from __future__ import annotations


class Moment:
    """The time of the entry into the core that is under way.

    Attributes:
        now: unix seconds, set by whoever calls the core.
    """

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0.0
