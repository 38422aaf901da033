"""`Idempotency-Key`: the same request again gets the same token, and waits its turn."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tokenmq.errors import Conflict, ExpiredToken, InvalidRequest
from tokenmq.limits import MIN_REMAINING_SECONDS
from tokenmq.stores.base import IdempotencyRecord, IdempotencyScope
from tokenmq.tokens.records import FamilyRecord

# The wire contract: a value is remembered for at most a day; no password lives longer.
REMEMBERED_SECONDS = 86_400

_VALUE = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The `Idempotency-Key` of a request.

    Attributes:
        value: the header's value, 1 to 255 visible ASCII characters.
        path: the path that was asked; keys are scoped to the API key and to it.
        digest: SHA-256 of the body as canonical JSON (sorted members, no whitespace).
    """

    value: str
    path: str
    digest: bytes

    def scope(self, key_id: str) -> IdempotencyScope:
        """Return what it is unique within.

        Raises: InvalidRequest for a malformed value.
        """
        if _VALUE.fullmatch(self.value) is None:
            raise InvalidRequest(("Idempotency-Key", "wanted 1 to 255 visible ASCII characters"))
        return IdempotencyScope(key_id, self.path, self.value)

    def record(self, scope: IdempotencyScope, family: FamilyRecord) -> IdempotencyRecord:
        """Return what is stored beside the family that the request makes."""
        forget_at = family.first_issued_at + REMEMBERED_SECONDS
        return IdempotencyRecord(scope, self.digest, family.token_id, forget_at)


def require_repeatable(family: FamilyRecord, now: float) -> None:
    """Refuse to give the password of generation 0 of a family again when it should not be.

    Raises: Conflict (revoked, replaced, refreshed, over), ExpiredToken (under 2 s to live).
    """
    if family.revoked_at is not None:
        raise Conflict("the token of this Idempotency-Key is revoked")
    if family.replaced_at is not None:
        raise Conflict("the token of this Idempotency-Key is replaced")
    if family.gen != 0:
        raise Conflict("the token of this Idempotency-Key was refreshed since")
    if now >= family.expires_at:
        raise Conflict("the token of this Idempotency-Key has expired")
    if family.expires_at - now < MIN_REMAINING_SECONDS:
        raise ExpiredToken("the token of this Idempotency-Key is about to expire", family.expires_at)


class Turns:
    """One request at a time for each scope; the others wait for it to be through."""

    def __init__(self) -> None:
        self._locks: dict[IdempotencyScope, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, scope: IdempotencyScope) -> AsyncIterator[None]:
        """Wait for the scope's turn and hold it."""
        lock, waiting = self._locks.get(scope, (asyncio.Lock(), 0))
        self._locks[scope] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            waiting = self._locks[scope][1] - 1
            if waiting:
                self._locks[scope] = lock, waiting
            else:
                del self._locks[scope]
