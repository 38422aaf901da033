"""When a token is to be renewed, and what becomes of attempts that fail. Pure.

A token is renewed when the service recommends it, never later than at 0.9 of its life,
and up to 0.05 of it earlier by chance, so that clients that started together do not
come back together. Whatever date an answer carries, there are some seconds between two
renewals: a bad date never makes a tight loop.

An attempt that fails for a while is repeated with backoff, for as long as it takes; one
that is refused is not. The state is then `parked`: nothing is due until another token is
taken, and whoever needs one meanwhile asks for it and is told the reason.

Times are the server's, unix seconds (`clocks.ServerClock`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from tokenmq.client.clocks import Backoff
from tokenmq.client.tokens import Token
from tokenmq.errors import TokenError

LATEST_PART: Final = 0.9
JITTER_PART: Final = 0.05
# As the service keeps between an answer and the refresh that it recommends.
LEAST_SECONDS: Final = 5.0
# Whatever else is wrong.
FLOOR_SECONDS: Final = 1.0
# Where the server's clock is not known, a life cannot be told from a long past one by its dates.
LEAST_PART_UNMEASURED: Final = 0.1
# A connection with less to live is not worth making.
MARGIN_SECONDS: Final = 2.0


class Renewal:
    """The schedule of one token after the other.

    Attributes:
        token: the newest one.
        renew_at: when it is to be renewed; None when nothing is due.
    """

    def __init__(self, *, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._backoff = Backoff(chance=chance)
        self.token: Token | None = None
        self.renew_at: float | None = None

    @property
    def failures(self) -> int:
        """How many attempts have failed since the last success."""
        return self._backoff.attempts

    def took(self, token: Token, *, now: float, is_measured: bool = True) -> None:
        """A token was got: schedule its renewal."""
        self.token = token
        self._backoff.succeeded()
        left = max(token.expires_at - now, 0.0)
        life = max(token.life_seconds, left)
        latest = token.expires_at - (1 - LATEST_PART) * life
        wanted = min(token.refresh_recommended_at, latest) - self._chance() * JITTER_PART * life
        least = min(LEAST_SECONDS, left / 2) if is_measured else LEAST_PART_UNMEASURED * life
        self.renew_at = max(wanted, now + max(least, FLOOR_SECONDS))

    def failed(self, error: TokenError, *, now: float) -> None:
        """An attempt has failed: schedule the next, or none when it was refused."""
        wait = self._backoff.failed(error.retry_after_seconds)
        self.renew_at = None if error.is_final else now + wait

    def park(self) -> None:
        """Nothing is due until another token is taken."""
        self.renew_at = None

    def is_due(self, now: float) -> bool:
        """Whether it is time to renew."""
        return self.renew_at is not None and now >= self.renew_at

    def is_past(self, now: float) -> bool:
        """Whether there is no token that a connection could still be made with."""
        return self.token is None or now >= self.token.expires_at - MARGIN_SECONDS
