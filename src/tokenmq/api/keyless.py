"""Requests without a key that fail: so many a minute from one address, then 429.

Only a failure is ever answered so: a whole office may share one address, and a good
credential is never refused for the failures of others (SECURITY 6.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tokenmq.access.addresses import CountedAddresses
from tokenmq.api.errors import HttpRefused
from tokenmq.errors import RateLimited, TokenmqError, Unavailable, UnusableKey
from tokenmq.services.rates import Rate

# SECURITY 6.2.
MAX_FAILURES_A_MINUTE = 60
_NOT_THE_CALLERS = (Unavailable, UnusableKey, RateLimited, HttpRefused)


class KeylessFailures:
    """Counts them by address.

    Args:
        addresses: who is counted as one, and who is not.
    """

    def __init__(self, addresses: CountedAddresses) -> None:
        self._addresses = addresses
        self._rate = Rate("failures", quota=MAX_FAILURES_A_MINUTE)

    @contextmanager
    def counted(self, address: str | None, now: float) -> Iterator[None]:
        """Serve a request without a key.

        Args:
            address: the peer's IP address; None if it has none.
            now: unix seconds.

        Raises: RateLimited in place of its own error, when there were too many.
        """
        try:
            yield
        except _NOT_THE_CALLERS:
            raise
        except TokenmqError:
            counted = self._addresses.counted(address) if address else None
            if counted is not None:
                self._rate.check(counted, now, "too many requests of this address have failed")
                self._rate.count(counted, now)
            raise
