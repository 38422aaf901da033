"""Failed authentications: the more there were, the later the next is answered.

SECURITY 6.1. Counted for each address and for each key that was named, so that whoever
guesses at one key from many addresses is slowed as well. Nothing is ever refused here, and
a credential that is good is never slowed by the failures of others: only the answer to a
failure is held back, by whoever gives it (`server.refusals`, `api.gate`).

A source begins with `failure_burst` failures that cost nothing, and is forgiven
`failure_rate_per_minute` of them a minute. Each beyond that doubles the delay, from a
quarter of a second to `max_failure_delay_seconds`.
"""

from __future__ import annotations

from math import ceil, log2

from tokenmq.access.addresses import CountedAddresses
from tokenmq.config import AuthSettings
from tokenmq.errors import BadCredentials, InvalidKey, InvalidToken, TokenmqError

# Addresses, and keys, whose failures are remembered, about 200 bytes each; the one that
# has not failed for longest is forgotten first.
MAX_REMEMBERED = 10_000
FIRST_DELAY_SECONDS = 0.25


class Tarpit:
    """Counts failures; synchronous, told the time.

    Args:
        settings: how many failures cost nothing, and what the others cost.
        addresses: who is counted as one, and who is not.
    """

    def __init__(self, settings: AuthSettings, addresses: CountedAddresses) -> None:
        self._most = settings.max_failure_delay_seconds
        self._burst = settings.failure_burst
        self._forgiven_per_second = settings.failure_rate_per_minute / 60
        # A source that has gone on for long is let go as soon as one that has just begun.
        doublings = ceil(log2(self._most / FIRST_DELAY_SECONDS)) if self._most else 0
        self._cap = float(self._burst + doublings + 1)
        self._addresses = addresses
        # Per source: failures that are not forgiven, and when that was so.
        self._by_address: dict[str, tuple[float, float]] = {}
        self._by_key: dict[str, tuple[float, float]] = {}

    def delay(self, error: TokenmqError, address: str | None, mono: float) -> float:
        """Count a failure and return how long its answer is to be held back, in seconds.

        Args:
            error: what the credentials are refused with; any other error costs nothing.
            address: the peer's IP address; None if it has none.
            mono: monotonic seconds.
        """
        if not isinstance(error, InvalidToken | InvalidKey | BadCredentials):
            return 0.0
        counted = self._addresses.counted(address) if address else None
        delay = self._note(self._by_address, counted, mono) if counted else 0.0
        key_id = error.key_id if isinstance(error, InvalidKey | BadCredentials) else None
        return max(delay, self._note(self._by_key, key_id, mono)) if key_id else delay

    def _note(self, failures: dict[str, tuple[float, float]], source: str, mono: float) -> float:
        count, at = failures.pop(source, (0.0, mono))
        count = min(max(0.0, count - (mono - at) * self._forgiven_per_second) + 1, self._cap)
        if len(failures) >= MAX_REMEMBERED:
            del failures[next(iter(failures))]
        failures[source] = count, mono
        beyond = ceil(count - self._burst)
        if beyond <= 0:
            return 0.0
        return min(self._most, FIRST_DELAY_SECONDS * (1 << beyond - 1))
