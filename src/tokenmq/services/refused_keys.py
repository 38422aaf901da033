"""Refused keys in the audit trail: each of them, up to so many a minute, then their number.

Whoever tries keys must neither fill the store nor go unseen. Rows are written behind, by
whatever commits next.
"""

from __future__ import annotations

from tokenmq.errors import BadCredentials, InvalidKey, TokenmqError
from tokenmq.services.auditing import SYSTEM, Action, Trace, entry
from tokenmq.services.keys import Keys
from tokenmq.stores.audit import AuditStore

# What stands in place of a key's id where many are told of in one row.
MANY = "key:*"


class RefusedKeys:
    """Notes refusals; synchronous, told the time.

    Args:
        store: the audit trail.
        keys: they know whose a key is.
        per_minute: rows of one minute; of what is beyond one row tells the number.
    """

    def __init__(self, store: AuditStore, keys: Keys, *, per_minute: int) -> None:
        self._store = store
        self._keys = keys
        self._per_minute = per_minute
        self._minute = 0
        self._noted = 0
        self._more = 0

    def note(self, error: TokenmqError, *, now: float, trace: Trace) -> None:
        """Note a refusal, if it is one of a key that has the shape of ours.

        Args:
            error: what is refused with; any other error is passed over.
            now: unix seconds.
            trace: where it came from.
        """
        key_id = error.key_id if isinstance(error, InvalidKey | BadCredentials) else None
        if key_id is None:
            return
        if now // 60 != self._minute:
            self.turn(now)
        if self._noted >= self._per_minute:
            self._more += 1
            return
        self._noted += 1
        told = entry(
            Action.KEY_REFUSED,
            f"key:{key_id}",
            actor=SYSTEM,
            org_id=self._keys.organization_of(key_id),
            now=now,
            result=error.code,
            trace=trace,
        )
        self._store.note((told,))

    def turn(self, now: float) -> None:
        """Begin a new minute; of the one before, tell how many had no row."""
        if self._more:
            told = entry(
                Action.KEY_REFUSED,
                MANY,
                actor=SYSTEM,
                org_id=None,
                now=now,
                result=InvalidKey.code,
                count=self._more,
            )
            self._store.note((told,))
        self._minute, self._noted, self._more = int(now // 60), 0, 0
