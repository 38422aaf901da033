"""The time of the server, told by a clock of ours that may be wrong, and backoff.

A token's times are the server's. The difference is measured from the `Date` of its
answers. It is then carried by two clocks: the wall clock goes on while a laptop sleeps
but is set now and then, the monotonic clock is never set but may stop in sleep. The
later of the two is believed: at worst a token is renewed early.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final

# RFC 9110 §5.6.7: a Date is in whole seconds, cut, so half a second is the mean of what is lost.
HALF_OF_A_DATE: Final = 0.5


class Clock:
    """This machine's clocks; tests put their own in their place."""

    def wall(self) -> float:
        """Return unix seconds, as right as this machine's clock is."""
        return time.time()

    def mono(self) -> float:
        """Return seconds of a clock that is never set."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class ServerClock:
    """The server's wall clock, as far as it is known here.

    Attributes:
        is_measured: a `Date` of the server was seen; before that it is our own wall clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.is_measured = False
        self._start(clock.wall())

    def now(self) -> float:
        """Return the server's time, unix seconds."""
        return self._anchor + max(self._clock.wall() - self._wall, self._clock.mono() - self._mono)

    def measure(self, date: float, *, took_seconds: float) -> None:
        """Set it by a `Date` of an answer that came just now, after so long a wait."""
        self.is_measured = True
        self._start(date + HALF_OF_A_DATE + took_seconds / 2)

    def suppose(self, *, issued_at: float, expires_at: float) -> None:
        """Take a token that has just come for living, if this clock says that it cannot be.

        Where no server tells its time this is all that can be known of it.
        """
        if not issued_at <= self.now() < expires_at:
            self._start(issued_at)

    def _start(self, now: float) -> None:
        self._anchor = now
        self._wall = self._clock.wall()
        self._mono = self._clock.mono()


class Backoff:
    """Exponential backoff with full jitter: a random part of a span that doubles."""

    def __init__(
        self,
        *,
        first_seconds: float = 1.0,
        most_seconds: float = 60.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Begin.

        Args:
            first_seconds: the first span.
            most_seconds: the longest span.
            chance: a number from 0 to 1, anew at each call.
        """
        self._first_seconds = first_seconds
        self._most_seconds = most_seconds
        self._chance = chance
        self.attempts = 0

    def failed(self, retry_after_seconds: float | None = None) -> float:
        """Count a failure; return the seconds to wait, at least what the server asked for."""
        span = min(self._first_seconds * 2.0 ** min(self.attempts, 32), self._most_seconds)
        self.attempts += 1
        return (retry_after_seconds or 0.0) + self._chance() * float(span)

    def succeeded(self) -> None:
        """Start anew."""
        self.attempts = 0
