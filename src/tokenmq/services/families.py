"""The in-memory truth about families that are not as their claims say.

In here is every family that was revoked, replaced together with its sessions, refreshed,
or seen connected, from the step in which the commit (or the connection) became known until a
while after its newest password would have expired anyway (a clock that steps back must not
bring it back). A family that is not in here is as its claims say. So a CONNECT needs no I/O.

What is only seen (which generation was shown, from which client ids) is written behind:
`take_usage` gives it away from time to time, and a refresh takes it along (`usage_of`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from tokenmq.access.identity import Identity, Renewal
from tokenmq.errors import ExpiredToken, InvalidToken
from tokenmq.services.remembered import Remembered, Stay
from tokenmq.stores.base import GRACE_SECONDS, EndedFamily
from tokenmq.stores.family_life import FamilyFacts, KnownFamily
from tokenmq.tokens.claims import Claims
from tokenmq.tokens.family import FamilyUsage, renewal_of
from tokenmq.tokens.jwt import LapsedClaims
from tokenmq.tokens.records import FamilyRecord
from tokenmq.tokens.settings import OrganizationSettings

# Families are forgotten by the slot, so that forgetting looks at nothing that stays.
_SLOT_SECONDS = 600
_REVOKED = "revoked"
_REPLACED = "replaced by a later one"


class Families:
    """What is known of families, by id. Not thread-safe: one event loop owns it.

    Args:
        started_at: unix seconds when this process began. What was seen of a family before
            may not have been stored: it counts as having been connected.
    """

    def __init__(self, started_at: float = 0) -> None:
        self._started_at = started_at
        # The words that a person is told, by family.
        self._ended: dict[str, str] = {}
        self._ended_slots: defaultdict[int, list[str]] = defaultdict(list)
        self._known: dict[str, Remembered] = {}
        self._known_slots: defaultdict[int, list[str]] = defaultdict(list)
        # Of these something was seen that is not stored, the one that waits longest first.
        self._unwritten: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._ended) + len(self._known)

    # What the store tells

    def load(self, known: Iterable[KnownFamily], now: float) -> None:
        """Take in what the store holds, at start; whoever was connected has left by now."""
        for family in known:
            if family.revoked or family.sessions_replaced:
                self.mark([EndedFamily(family.token_id, family.expires_at, family.revoked)], now)
                continue
            entry = self._entry(family.token_id, family.expires_at)
            entry.newest = family.newest
            entry.superseded_at = family.superseded_at
            entry.presented = family.presented
            entry.connected = family.connected
            entry.was_connected = True
            entry.renewable, entry.ends_at = family.renewable, family.ends_at
            entry.is_replaced = family.replaced
            entry.clients = _stays(family, int(now))

    def mark(self, ended: Iterable[EndedFamily], now: float) -> None:
        """Take in families that were revoked, or replaced with their sessions.

        Called in the step of each commit. A family that is replaced and then revoked is
        revoked; never the other way.
        """
        oldest = now - GRACE_SECONDS
        for family in ended:
            known = self._ended.get(family.token_id)
            if family.expires_at <= oldest or (known is not None and not family.revoked):
                continue
            self._ended[family.token_id] = _REVOKED if family.revoked else _REPLACED
            self._known.pop(family.token_id, None)
            self._unwritten.pop(family.token_id, None)
            if known is None:
                self._ended_slots[_slot(family.expires_at)].append(family.token_id)

    def note_replaced(self, token_ids: Iterable[str]) -> None:
        """Take in families that a later one has replaced; their sessions go on."""
        for token_id in token_ids:
            entry = self._known.get(token_id)
            if entry is not None:
                entry.is_replaced = True

    def renew(self, record: FamilyRecord) -> Renewal | None:
        """Take in a family that was refreshed, in the step of its commit.

        Returns: its newest password, for its connections; None if it has ended since.
        """
        if record.token_id in self._ended:
            return None
        entry = self._entry(record.token_id, record.expires_at)
        entry.newest = renewal_of(record)
        entry.expires_at = record.expires_at
        entry.superseded_at = record.superseded_at
        entry.presented = max(entry.presented, record.presented)
        entry.connected = record.connected if entry.connected is None else entry.connected
        entry.was_connected = entry.was_connected or record.first_issued_at < self._started_at
        entry.renewable, entry.ends_at = record.renewable, record.ends_at
        entry.is_replaced = record.replaced_at is not None
        entry.tried_since = None
        if not entry.clients:
            entry.clients = _stays(record, int(self._started_at))
        return entry.newest

    def learn(self, facts: Iterable[FamilyFacts]) -> None:
        """Take in what the store knows of families that were only seen connected."""
        for fact in facts:
            entry = self._known.get(fact.token_id)
            if entry is not None:
                entry.renewable, entry.ends_at = fact.renewable, fact.ends_at
                entry.is_replaced = entry.is_replaced or fact.is_replaced

    # What connections and callers show

    def connect(
        self, shown: Claims | LapsedClaims, client_id: str, settings: OrganizationSettings, now: float
    ) -> Renewal | None:
        """Judge the password of a CONNECT, which changes nothing yet.

        Args:
            shown: from `Verifier.read_lapsed`.
            client_id: the client's.
            settings: its organization's.
            now: unix seconds.

        Returns: the newest password of its family where that one's scope and expiry hold;
            None = what is shown is good as it is.
        Raises: InvalidToken, ExpiredToken; FamilyLapsed (the client is to try again).
        """
        claims = shown.claims if isinstance(shown, LapsedClaims) else shown
        self.check_family(claims.fam)
        entry = self._known.get(claims.fam)
        if entry is not None:
            return entry.connect(claims, client_id, settings, now)
        if claims is not shown:
            raise ExpiredToken("token has expired", claims.exp)
        return None

    def connected(self, identity: Identity, client_id: str) -> Stay | None:
        """Take note of a connection that was let in; None for a server's.

        Returns: what `left` is to be called with when it ends.
        """
        token_id = identity.token_id
        if token_id is None:
            return None
        gen = identity.gen if identity.shown_gen is None else identity.shown_gen
        entry = self._entry(token_id, identity.expires_at or 0)
        if entry.connected is None or gen > entry.connected:
            entry.connected = gen
        if gen > entry.presented:
            entry.presented = gen
        stay = Stay(token_id, client_id)
        entry.note_client(stay)
        self._unwritten[token_id] = None
        return stay

    def left(self, stay: Stay, now: float) -> None:
        """Take note of a connection that has ended."""
        stay.left_at = int(now)
        if stay.token_id in self._known:
            self._unwritten[stay.token_id] = None

    def require_current(self, claims: Claims, now: float) -> Renewal | None:
        """Let a password pass that is good outside of CONNECT: AUTH, bearer, introspection.

        Unexpired, and the newest of its family, or the one before as long as that may still
        be refreshed. The newest counts as shown from here on.

        Returns: the newest password of its family where that is a later one.
        Raises: InvalidToken, ExpiredToken.
        """
        self.check_family(claims.fam)
        if now >= claims.exp:
            raise ExpiredToken("token has expired", claims.exp)
        entry = self._known.get(claims.fam)
        if entry is None:
            return None
        if entry.require_current(claims, now):
            self._unwritten[claims.fam] = None
        newest = entry.newest
        return newest if newest is not None and newest.gen > claims.gen else None

    def note_shown(self, claims: Claims) -> None:
        """Take note of a password that was shown and was good; the newest counts as arrived."""
        entry = self._known.get(claims.fam)
        if entry is not None and claims.gen > entry.presented:
            entry.presented = claims.gen
            self._unwritten[claims.fam] = None

    def check(self, identity: Identity, now: float) -> None:
        """Let an identity pass that may be connected now; call it right before admitting.

        Raises: InvalidToken (revoked or replaced), ExpiredToken (its end has come).
        """
        if identity.token_id is not None:
            self.check_family(identity.token_id)
        if identity.expires_at is not None and now >= identity.expires_at:
            raise ExpiredToken("token has expired", int(identity.expires_at))

    def check_family(self, token_id: str) -> None:
        """Let a family pass that has neither been revoked nor replaced with its sessions.

        Raises: InvalidToken.
        """
        why = self._ended.get(token_id)
        if why is not None:
            raise InvalidToken(f"token is {why}")

    # What is written behind, and forgotten

    def usage_of(self, token_id: str) -> FamilyUsage | None:
        """Return what was seen of a family; None = nothing."""
        entry = self._known.get(token_id)
        return None if entry is None else entry.usage(token_id)

    def take_usage(self, limit: int) -> list[FamilyUsage]:
        """Return what was seen of at most `limit` families and is not stored; it counts as stored."""
        token_ids = [token_id for token_id, _ in zip(self._unwritten, range(limit), strict=False)]
        usages = []
        for token_id in token_ids:
            del self._unwritten[token_id]
            usages.append(self._known[token_id].usage(token_id))
        return usages

    def put_back(self, usages: Sequence[FamilyUsage]) -> None:
        """Have written once more what could not be."""
        for usage in usages:
            if usage.token_id in self._known:
                self._unwritten[usage.token_id] = None

    def forget(self, now: float) -> None:
        """Let go of families whose newest password expired long ago."""
        over = int(now) // _SLOT_SECONDS
        for slot in [slot for slot in self._ended_slots if slot < over]:
            for token_id in self._ended_slots.pop(slot):
                del self._ended[token_id]
        for slot in [slot for slot in self._known_slots if slot < over]:
            for token_id in self._known_slots.pop(slot):
                self._forget(token_id, over)

    def _forget(self, token_id: str, over: int) -> None:
        """Forget a family, or when its time has come, if it was refreshed meanwhile."""
        entry = self._known.get(token_id)
        if entry is None:
            return
        later = _slot(entry.expires_at)
        if later >= over:
            self._known_slots[later].append(token_id)
            return
        del self._known[token_id]
        self._unwritten.pop(token_id, None)

    def _entry(self, token_id: str, expires_at: float) -> Remembered:
        entry = self._known.get(token_id)
        if entry is None:
            entry = self._known[token_id] = Remembered(expires_at)
            self._known_slots[_slot(expires_at)].append(token_id)
        return entry


def _stays(family: KnownFamily | FamilyRecord, ended_at: int) -> tuple[Stay, ...]:
    """Return what is stored of its connections; those that had not ended did then."""
    return tuple(
        Stay(family.token_id, client_id, ended_at if left_at is None else left_at)
        for client_id, left_at in family.clients
    )


def _slot(expires_at: float) -> int:
    return int(expires_at + GRACE_SECONDS) // _SLOT_SECONDS
