"""The in-memory truth about families that are not as their claims say.

A family that was revoked, or replaced together with its sessions, is in here from the
step in which the commit became known until a while after its newest password would have
expired anyway (a clock that steps back must not bring it back). A family that is not in
here is as its claims say. So a CONNECT needs no I/O.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from tokenmq.access.identity import Identity
from tokenmq.errors import ExpiredToken, InvalidToken
from tokenmq.stores.base import GRACE_SECONDS, EndedFamily

# Families are forgotten by the slot, so that forgetting looks at nothing that stays.
_SLOT_SECONDS = 600


class Families:
    """Revoked and replaced families by id. Not thread-safe: one event loop owns it."""

    def __init__(self) -> None:
        # The words that a person is told, by family.
        self._ended: dict[str, str] = {}
        self._slots: defaultdict[int, list[str]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self._ended)

    def mark(self, ended: Iterable[EndedFamily], now: float) -> None:
        """Take in families that were revoked, or replaced with their sessions.

        Called at start with what the store holds, then in the step of each commit. A
        family that is replaced and then revoked is revoked; never the other way.
        """
        oldest = now - GRACE_SECONDS
        for family in ended:
            known = self._ended.get(family.token_id)
            if family.expires_at <= oldest or (known is not None and not family.revoked):
                continue
            self._ended[family.token_id] = "revoked" if family.revoked else "replaced by a later one"
            if known is None:
                self._slots[int(family.expires_at + GRACE_SECONDS) // _SLOT_SECONDS].append(family.token_id)

    def check(self, identity: Identity, now: float) -> None:
        """Let an identity pass that may be connected now; call it right before admitting.

        Raises: InvalidToken (revoked or replaced), ExpiredToken (its end has come).
        """
        if identity.token_id is not None:
            self.check_family(identity.token_id)
        if identity.expires_at is not None and now >= identity.expires_at:
            raise ExpiredToken("token has expired", int(identity.expires_at))

    def check_family(self, token_id: str) -> None:
        """Let a family pass that is as its claims say.

        Raises: InvalidToken (revoked or replaced).
        """
        why = self._ended.get(token_id)
        if why is not None:
            raise InvalidToken(f"token is {why}")

    def forget(self, now: float) -> None:
        """Let go of families whose newest password expired long ago."""
        over = int(now) // _SLOT_SECONDS
        for slot in [slot for slot in self._slots if slot < over]:
            for token_id in self._slots.pop(slot):
                del self._ended[token_id]
