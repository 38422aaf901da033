"""Signing keys as the instance administrator sees and changes them, without a restart.

A change of the signing key has three steps, with time between them: `add` publishes a new
key, `use` signs with it once every verifier knows it, `retire` ends the old one once the
last token that it signed has ended. None of them touches a token.
"""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass

from tokenmq.services.auditing import NO_TRACE, Trace
from tokenmq.services.keys import require_administrator
from tokenmq.services.paging import Page, Position, check_limit, page_of, read_cursor
from tokenmq.services.signing import Signing
from tokenmq.tokens.claims import MAX_TIME
from tokenmq.tokens.records import KeyRecord, SigningKeyRecord

_LISTING = ("signing keys",)


class SigningKeyStatus(enum.StrEnum):
    """What a signing key does now."""

    CURRENT = "current"  # signs
    WAITING = "waiting"  # is published and has not signed yet
    FORMER = "former"  # has signed; its tokens verify
    RETIRED = "retired"  # verifies nothing any more


@dataclass(frozen=True, slots=True)
class SigningKeyView:
    """A signing key as lists show it; no private part is in it.

    Attributes:
        current_from: unix seconds since when it signs or signed; None = it never has.
    """

    kid: str
    algorithm: str
    status: SigningKeyStatus
    created_at: int
    current_from: int | None
    retired_at: int | None


class SigningKeys:
    """The use cases of the administrator; each needs an `ik_` key."""

    def __init__(self, signing: Signing) -> None:
        self._signing = signing
        # Who is current is read, then written: two changes at once would lose one.
        self._changing = asyncio.Lock()

    def list(
        self, *, key: KeyRecord, limit: int | None, cursor: str | None, now: float
    ) -> Page[SigningKeyView]:
        """Return the signing keys, oldest first, retired ones included.

        Raises: Forbidden, InvalidRequest (limit or cursor).
        """
        require_administrator(key)
        size = check_limit(limit)
        after = read_cursor(_LISTING, cursor)
        records = sorted(self._signing.records, key=_position)
        rest = [record for record in records if after is None or _position(record) > after]
        page = page_of(rest[: size + 1], size, _LISTING, _position)
        return Page([self._view(record, now) for record in page.items], page.next)

    async def add(
        self,
        algorithm: str | None,
        *,
        current: bool,
        key: KeyRecord,
        now: float,
        trace: Trace = NO_TRACE,
    ) -> SigningKeyView:
        """Make a key and publish it, durable before it returns.

        Args:
            algorithm: None = the configured one.
            current: sign with it from now on, though verifiers that cached the public keys
                do not know it yet.
            key: the caller's.
            now: unix seconds.
            trace: where the request came from.

        Raises: Forbidden, UnusableKey (unknown algorithm), Unavailable.
        """
        require_administrator(key)
        async with self._changing:
            added = await self._signing.add(algorithm, now=now, current=current, key=key, trace=trace)
            return self._view(added, now)

    async def use(self, kid: str, *, key: KeyRecord, now: float, trace: Trace = NO_TRACE) -> SigningKeyView:
        """Sign with this key from now on; what the others signed verifies until its end.

        Raises: Forbidden, NotFound, Conflict (it is retired), Unavailable.
        """
        require_administrator(key)
        async with self._changing:
            used = await self._signing.make_current(kid, now=now, key=key, trace=trace)
            return self._view(used, now)

    async def retire(
        self, kid: str, *, key: KeyRecord, now: float, trace: Trace = NO_TRACE
    ) -> SigningKeyView:
        """Take a key out of use: what it signed is refused from now on.

        Raises: Forbidden, NotFound, Conflict (it is the current one, or retired), Unavailable.
        """
        require_administrator(key)
        async with self._changing:
            retired = await self._signing.retire(kid, now=now, key=key, trace=trace)
            return self._view(retired, now)

    def _view(self, record: SigningKeyRecord, now: float) -> SigningKeyView:
        return SigningKeyView(
            kid=record.kid,
            algorithm=record.algorithm,
            status=self._status(record, now),
            created_at=record.created_at,
            # The first key signs from the beginning of time, one that was only added never does.
            current_from=None
            if record.current_from == MAX_TIME
            else max(record.current_from, record.created_at),
            retired_at=record.retired_at,
        )

    def _status(self, record: SigningKeyRecord, now: float) -> SigningKeyStatus:
        if record.retired_at is not None:
            return SigningKeyStatus.RETIRED
        if record.current_from > now:
            return SigningKeyStatus.WAITING
        current = self._signing.keyring.current(now).kid == record.kid
        return SigningKeyStatus.CURRENT if current else SigningKeyStatus.FORMER


def _position(record: SigningKeyRecord) -> Position:
    return record.created_at, record.kid
