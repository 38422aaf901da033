"""Signing keys: the stored ones, and the keyring in memory that everybody shares."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tokenmq.errors import Conflict, NotFound
from tokenmq.services.auditing import NO_TRACE, Action, AuditEntry, Trace, entry, of_key
from tokenmq.stores.base import SigningKeyStore
from tokenmq.tokens import keyring as keys
from tokenmq.tokens.claims import MAX_TIME
from tokenmq.tokens.keyring import Keyring
from tokenmq.tokens.records import KeyRecord, SigningKeyRecord


class Signing:
    """The keys that sign tokens."""

    def __init__(self, store: SigningKeyStore, *, secret: str | None) -> None:
        """Hold no keys yet; `load` brings them.

        Args:
            store: where they are kept.
            secret: encrypts the private parts at rest; None = they are kept as they are.
        """
        self._store = store
        self._secret = secret
        self._algorithm = ""
        self._keyring = Keyring()
        self._records: dict[str, SigningKeyRecord] = {}
        self._retired: list[Callable[[], None]] = []

    @property
    def keyring(self) -> Keyring:
        """The keys in force; a value: ask again after each await."""
        return self._keyring

    @property
    def records(self) -> list[SigningKeyRecord]:
        """All keys as they are stored, retired ones included, in no order."""
        return list(self._records.values())

    def on_retirement(self, forget: Callable[[], None]) -> None:
        """Have `forget` called whenever a key is taken out of use."""
        self._retired.append(forget)

    async def load(self, *, algorithm: str, now: float) -> None:
        """Read the stored keys; the very first one is made.

        Args:
            algorithm: of that one, and of every later one that names none.
            now: unix seconds.

        Keys that were stored in the open are encrypted once there is a secret.

        Raises: UnusableKey (damaged, or another secret), Unavailable.
        """
        self._algorithm = algorithm
        for record in await self._store.load():
            self._take(record)
            if self._secret is not None and not keys.is_encrypted(record.private_pem):
                key = keys.from_record(record, secret=None)
                closed = replace(record, private_pem=keys.to_pem(key, self._secret))
                audit = _noted(Action.SIGNING_KEY_ENCRYPT, record.kid, None, now)
                await self._store.save(closed, audit=audit, applied=self._take)
        if not self._records:
            await self.add(None, now=now, current=True)

    async def add(
        self,
        algorithm: str | None,
        *,
        now: float,
        current: bool,
        key: KeyRecord | None = None,
        trace: Trace = NO_TRACE,
    ) -> SigningKeyRecord:
        """Make a key, published at once; `current`: it signs from now on.

        Args:
            algorithm: None = the configured one.
            now: unix seconds.
            current: make it the current one, too.
            key: whose wish it is; None = the program's own.
            trace: where the request came from.

        Raises: UnusableKey (unknown algorithm), Unavailable.
        """
        # A key whose time has not come is published and does not sign. Making an RSA key
        # takes long enough to be felt by every connection.
        current_from = self._next(now) if current else MAX_TIME
        made = await asyncio.to_thread(keys.generate, algorithm or self._algorithm, current_from=current_from)
        record = keys.to_record(made, secret=self._secret, created_at=int(now))
        audit = _noted(
            Action.SIGNING_KEY_ADD, record.kid, key, now, trace, algorithm=record.algorithm, current=current
        )
        return await self._store.save(record, audit=audit, applied=self._take)

    async def make_current(
        self, kid: str, *, now: float, key: KeyRecord | None = None, trace: Trace = NO_TRACE
    ) -> SigningKeyRecord:
        """Sign with this key from now on; what the others signed verifies until its end.

        Times are whole seconds: a second change within one second holds from the next.

        Raises: NotFound, Conflict (retired), Unavailable.
        """
        record = self._find(kid)
        if record.retired_at is not None:
            raise Conflict(f"signing key {kid} is retired")
        changed = replace(record, current_from=self._next(now))
        audit = _noted(Action.SIGNING_KEY_USE, kid, key, now, trace)
        return await self._store.save(changed, audit=audit, applied=self._take)

    async def retire(
        self, kid: str, *, now: float, key: KeyRecord | None = None, trace: Trace = NO_TRACE
    ) -> SigningKeyRecord:
        """Take a key out of use: what it signed is refused from now on.

        Raises: NotFound, Conflict (it is the current one, or retired), Unavailable.
        """
        record = self._find(kid)
        if record.retired_at is not None:
            raise Conflict(f"signing key {kid} is retired already")
        if self._keyring.current(now).kid == kid:
            raise Conflict(f"signing key {kid} is the current one: make another current first")
        audit = _noted(Action.SIGNING_KEY_RETIRE, kid, key, now, trace)
        return await self._store.save(replace(record, retired_at=int(now)), audit=audit, applied=self._retire)

    def _find(self, kid: str) -> SigningKeyRecord:
        record = self._records.get(kid)
        if record is None:
            raise NotFound("there is no such signing key")
        return record

    def _next(self, now: float) -> int:
        """Return a time for a new current key that is later than that of every one before.

        The first of all signs whatever the clock says: a step back must not leave none.
        """
        if not self._records:
            return 0
        times = [record.current_from for record in self._records.values() if record.current_from < MAX_TIME]
        return max([int(now), *(time + 1 for time in times)])

    def _take(self, record: SigningKeyRecord) -> SigningKeyRecord:
        key = keys.from_record(record, secret=self._secret)
        self._records[record.kid] = record
        self._keyring = self._keyring.with_key(key)
        return record

    def _retire(self, record: SigningKeyRecord) -> SigningKeyRecord:
        self._take(record)
        for forget in self._retired:
            forget()
        return record


def _noted(
    action: Action,
    kid: str,
    key: KeyRecord | None,
    now: float,
    trace: Trace = NO_TRACE,
    **details: Any,
) -> AuditEntry:
    return entry(
        action, f"signing_key:{kid}", actor=of_key(key), org_id=None, now=now, trace=trace, **details
    )
