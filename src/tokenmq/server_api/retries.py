"""Which calls are sent again, and when. Pure."""

from __future__ import annotations

from typing import Final

import httpx2

from tokenmq.client.clocks import Backoff
from tokenmq.client.replies import retry_after_of

# A backend that waits longer keeps its own caller waiting.
LONGEST_WAIT_SECONDS: Final = 30.0
# 429 and 503 say that nothing was done; after the others nobody knows.
_NOT_DONE: Final = frozenset({429, 503})
_UNKNOWN: Final = frozenset({500, 502, 504})
# The request was never sent.
_NOT_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class Attempts:
    """The attempts of one call: whether there is another, and how long to wait before it."""

    def __init__(self, *, is_repeatable: bool, retries: int, backoff: Backoff) -> None:
        """Begin.

        Args:
            is_repeatable: doing it twice is doing it once.
            retries: how often it is sent again at most.
        """
        self._is_repeatable = is_repeatable
        self._left = retries
        self._backoff = backoff

    def after(self, outcome: httpx2.Response | httpx2.TransportError) -> float | None:
        """Return the seconds to wait before sending it again; None: this outcome stands."""
        if isinstance(outcome, httpx2.Response):
            is_open = outcome.status_code in _NOT_DONE or (
                self._is_repeatable and outcome.status_code in _UNKNOWN
            )
            retry_after = retry_after_of(outcome)
        else:
            is_open = self._is_repeatable or isinstance(outcome, _NOT_SENT)
            retry_after = None
        if not is_open or self._left <= 0:
            return None
        self._left -= 1
        wait = self._backoff.failed(retry_after)
        return wait if (retry_after or 0) <= LONGEST_WAIT_SECONDS else None
