"""What is done from time to time: last uses are stored, what is over is let go of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from tokenmq import clock
from tokenmq.errors import Unavailable
from tokenmq.services.families import Families
from tokenmq.services.keys import Keys
from tokenmq.services.periodic import Periodic
from tokenmq.services.refused_keys import RefusedKeys
from tokenmq.stores.base import Store
from tokenmq.timestamps import rfc3339

# How long lists show a family after its end.
DAY_SECONDS = 86_400
KEPT_SECONDS = 7 * DAY_SECONDS
# Rows removed in one operation: it must not hold up the writes of others.
PRUNE_ROWS = 1_000
# Families of which it is stored in one operation who was connected, likewise.
USAGE_ROWS = 500

_log = structlog.get_logger("tokenmq.services")


class Upkeep(Periodic):
    """What every minute brings; `once` is all of it."""

    name = "upkeep"
    failed = "upkeep_failed"

    def __init__(
        self,
        store: Store,
        keys: Keys,
        families: Families,
        refused_keys: RefusedKeys,
        *,
        audit_seconds: int,
        kept_seconds: int = KEPT_SECONDS,
    ) -> None:
        super().__init__()
        self._store = store
        self._refused_keys = refused_keys
        self._audit_seconds = audit_seconds
        self._keys = keys
        self._families = families
        self._kept_seconds = kept_seconds
        # When the end of a key was last logged, by its id.
        self._warned: dict[str, float] = {}

    async def stop(self) -> None:
        """End the task, and store last uses a last time."""
        await super().stop()
        self._refused_keys.turn(clock.now())
        try:
            await self._keys.flush()
            await self._write_usage()
        except Unavailable as error:
            _log.warning("last_uses_lost", reason=str(error))

    async def once(self, now: float) -> None:
        """Do all of it.

        Raises: Unavailable.
        """
        self._families.forget(now)
        self._refused_keys.turn(now)
        self._warn_of_keys(now)
        await self._keys.flush()
        await self._write_usage()
        await _all(lambda: self._store.families.prune(now - self._kept_seconds, limit=PRUNE_ROWS))
        await _all(lambda: self._store.idempotency.prune(now, limit=PRUNE_ROWS))
        await _all(lambda: self._store.audit.prune(now - self._audit_seconds, limit=PRUNE_ROWS))

    async def _write_usage(self) -> None:
        """Store what was seen of families, and learn what the store knows of them.

        Raises: Unavailable; it is tried again next time.
        """
        while usages := self._families.take_usage(USAGE_ROWS):
            try:
                self._families.learn(await self._store.families.note(usages))
            except Unavailable:
                self._families.put_back(usages)
                raise

    def _warn_of_keys(self, now: float) -> None:
        """Log the keys that end soon, each once a day."""
        expiring = {record.id: record for record in self._keys.expiring(now)}
        self._warned = {key_id: at for key_id, at in self._warned.items() if key_id in expiring}
        for key_id, record in expiring.items():
            if now - self._warned.get(key_id, -DAY_SECONDS) < DAY_SECONDS or record.expires_at is None:
                continue
            self._warned[key_id] = now
            _log.warning(
                "key_expires_soon",
                key_id=key_id,
                name=record.name,
                organization_id=record.org_id,
                expires_at=rfc3339(record.expires_at),
            )


async def _all(prune: Callable[[], Awaitable[int]]) -> None:
    while await prune() >= PRUNE_ROWS:
        pass
