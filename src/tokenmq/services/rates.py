"""How often something may happen: so many times in a window that slides.

Bounded: of too many names the one that was counted longest ago is forgotten first.
"""

from __future__ import annotations

import math
from collections import deque

from tokenmq.errors import RateLimited

# Names whose events are remembered, at most 2 KiB each.
MAX_REMEMBERED = 10_000


class Rate:
    """One limit, for any number of names; told the time.

    Args:
        policy: what the limit is called in `RateLimit-Policy`, a plain word.
        quota: events in a window, for each name.
        window_seconds: its length.
    """

    def __init__(self, policy: str, *, quota: int, window_seconds: int = 60) -> None:
        self._policy = policy
        self._quota = quota
        self._window = window_seconds
        self._events: dict[str, deque[float]] = {}

    def __len__(self) -> int:
        return len(self._events)

    def check(self, name: str, now: float, message: str) -> None:
        """Refuse when the quota of a name is used up; counts nothing.

        Args:
            name: whose quota.
            now: seconds of whichever clock `count` is told.
            message: what the refusal says.

        Raises: RateLimited.
        """
        events = self._recent(name, now)
        if len(events) < self._quota:
            return
        raise RateLimited(
            message,
            retry_after_seconds=max(1, math.ceil(events[0] + self._window - now)),
            quota=self._quota,
            window_seconds=self._window,
            policy=self._policy,
        )

    def count(self, name: str, now: float) -> None:
        """Count an event of a name; more than the quota are not remembered."""
        events = self._recent(name, now)
        self._events.pop(name, None)
        if len(self._events) >= MAX_REMEMBERED:
            del self._events[next(iter(self._events))]
        if len(events) < self._quota:
            events.append(now)
        self._events[name] = events

    def _recent(self, name: str, now: float) -> deque[float]:
        """Return the events that are in the window; none where the clock was set back."""
        events = self._events.get(name)
        if events is None:
            return deque()
        if events and events[-1] > now:
            events.clear()
        while events and events[0] <= now - self._window:
            events.popleft()
        return events
