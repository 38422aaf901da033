"""How often a key may be used over HTTP: so many requests a minute, where that is set.

A key begins with a minute's worth, and gets it back over a minute. What is beyond is
refused; nothing is queued.
"""

from __future__ import annotations

from math import ceil

from tokenmq.errors import RateLimited

WINDOW_SECONDS = 60
# Keys whose use is remembered, about 150 bytes each; the one not used for longest is forgotten.
MAX_REMEMBERED = 10_000
_POLICY = "key"


class KeyLimits:
    """Counts requests by key; synchronous, told the time.

    Args:
        per_minute: requests of one key; 0 = as many as it likes.
    """

    def __init__(self, *, per_minute: int) -> None:
        self._per_minute = per_minute
        # By key id: seconds until all is given back, and when that was so.
        self._used: dict[str, tuple[float, float]] = {}

    def take(self, key_id: str, mono: float, *, credential: str = "key") -> None:
        """Count a request.

        Args:
            key_id: names the key, or the family of a token.
            mono: monotonic seconds.
            credential: what it is, for the text of the error.

        Raises: RateLimited; then it is not counted.
        """
        most = self._per_minute
        if not most:
            return
        used, at = self._used.pop(key_id, (0.0, mono))
        owed = max(0.0, used - (mono - at)) + WINDOW_SECONDS / most
        is_allowed = owed <= WINDOW_SECONDS
        if len(self._used) >= MAX_REMEMBERED:
            del self._used[next(iter(self._used))]
        self._used[key_id] = (owed, mono) if is_allowed else (used, at)
        if not is_allowed:
            raise RateLimited(
                f"more than {most} requests a minute with this {credential}",
                retry_after_seconds=ceil(owed - WINDOW_SECONDS),
                quota=most,
                window_seconds=WINDOW_SECONDS,
                policy=_POLICY,
            )
