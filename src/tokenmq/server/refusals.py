"""Refusals of a CONNECT that wait: failed credentials are answered later when there are many.

Nothing more is read from a connection that waits, and it holds nothing but its place. There
are only so many places: when one more is needed, who has waited longest is answered now.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Waiting = TypeVar("Waiting")

# Connections that may wait at once: as many as one address may have.
MAX_WAITING = 1_000


class Refusals(Generic[Waiting]):
    """Answers by who waits for them, the longest-waiting first; told the time."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[Waiting, tuple[float, Callable[[], None]]] = {}

    def hold(self, who: Waiting, until: float, answer: Callable[[], None]) -> None:
        """Hold an answer back until a moment of the monotonic clock."""
        if len(self._waiting) >= MAX_WAITING:
            _, earlier = self._waiting.pop(next(iter(self._waiting)))
            earlier()
        self._waiting[who] = until, answer

    def forget(self, who: Waiting) -> None:
        """Drop the answer to somebody who is gone; nobody waiting is no error."""
        self._waiting.pop(who, None)

    def answer(self, mono: float) -> None:
        """Give the answers whose moment has come."""
        due = [who for who, (until, _) in self._waiting.items() if mono >= until]
        for who in due:
            self._waiting.pop(who)[1]()

    def __len__(self) -> int:
        return len(self._waiting)
