"""What the services need of a store for the life of families: passwords shown, judged, used up.

Part of `base.FamilyStore`; what `base` says of writes and of `applied` holds here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from tokenmq.access.identity import Renewal
from tokenmq.tokens.claims import Claims
from tokenmq.tokens.family import FamilyUsage, Verdict
from tokenmq.tokens.records import FamilyRecord
from tokenmq.tokens.settings import OrganizationSettings

if TYPE_CHECKING:
    from tokenmq.stores.audit import Audit
    from tokenmq.stores.base import EndedFamily

Result = TypeVar("Result")

# The wire contract: families that were exchanged for passwords of one, and live.
MAX_CHILDREN = 100


@dataclass(frozen=True, slots=True)
class KnownFamily:
    """A family that is not as its claims say, or was connected, as it is taken in at start.

    Attributes:
        newest: its newest password; None while it was never refreshed.
        the others: as in `FamilyRecord`.
    """

    token_id: str
    expires_at: int
    ends_at: int
    renewable: bool
    revoked: bool
    replaced: bool
    sessions_replaced: bool
    newest: Renewal | None
    superseded_at: int | None
    presented: int
    connected: int | None
    clients: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True, slots=True)
class FamilyFacts:
    """What of a family cannot be seen in its passwords; attributes as in `FamilyRecord`."""

    token_id: str
    renewable: bool
    ends_at: int
    is_replaced: bool


@dataclass(frozen=True, slots=True)
class Showing:
    """A genuine password that is shown to be refreshed or exchanged, and what it may become.

    Attributes:
        claims: of the password, whatever its life.
        settings: the organization's.
        usage: what was seen of the family and may not be stored; None = nothing.
        kids: the signing keys that sign what they have signed before once more.
        jti, kid: of the password that is made, if one is.
        now: unix seconds.
        child_id: the id of the child family that is made, if one is; for an exchange.
    """

    claims: Claims
    settings: OrganizationSettings
    usage: FamilyUsage | None
    kids: frozenset[str]
    jti: str
    kid: str
    now: float
    child_id: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """What became of a password that was shown.

    Attributes:
        record: the family as it stands now; with `Verdict.CHILD` the child.
        ended: the families that a reuse has revoked.
    """

    verdict: Verdict
    record: FamilyRecord
    ended: tuple[EndedFamily, ...] = ()


class FamilyLifeStore(Protocol):
    """The life of token families."""

    async def refresh(
        self, showing: Showing, *, audit: Audit[Shown] = (), applied: Callable[[Shown], Result]
    ) -> Result:
        """Judge a password by the family as it is at the commit, and make what it is due.

        One step: `tokens.family.judge_refresh`, then a new generation, the newest minted
        anew, or with `reuse_detection` the revocation of the family with its children. Of
        any number that show the same password at once one makes its successor, and all
        the others repeat that.

        Raises: InvalidToken (there is no such family, or the key that issued it is deleted
            or expired by now).
        """
        ...

    async def exchange(
        self, showing: Showing, *, audit: Audit[Shown] = (), applied: Callable[[Shown], Result]
    ) -> Result:
        """Judge a password by the family as it is at the commit, and make its child family.

        As `refresh`, with `tokens.family.judge_exchange`.

        Raises: InvalidToken; RateLimited (the root has `MAX_CHILDREN` that live).
        """
        ...

    async def note(self, usages: Sequence[FamilyUsage]) -> list[FamilyFacts]:
        """Store what was seen of families, and return what is known of those that are there.

        `presented` and `connected` only ever grow.
        """
        ...

    async def known(self, now: float) -> list[KnownFamily]:
        """Return the families that are revoked, replaced with their sessions, refreshed or connected.

        Those whose newest password expired more than `GRACE_SECONDS` ago are left out.
        """
        ...
