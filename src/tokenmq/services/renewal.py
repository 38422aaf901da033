"""Passwords that become others: refreshed, or exchanged for a child family.

The walk of a refresh: read the password, expired or not → whose family, and what comes of
it as things stand (`tokens.family`) → ask key and policy again → sign → store, where all of
that is judged once more inside the commit → memory and live connections, in the step of the
commit → answer. A repeat of what was answered before makes nothing and stores nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import structlog

from tokenmq.errors import ExpiredToken, Forbidden, InvalidToken, TokenmqError
from tokenmq.services.auditing import NO_TRACE, USER, Action, AuditEntry, Trace, entry
from tokenmq.services.families import Families
from tokenmq.services.keys import Keys
from tokenmq.services.live import Door
from tokenmq.services.organizations import Organizations
from tokenmq.services.providers import Providers
from tokenmq.services.rates import Rate
from tokenmq.services.signing import Signing
from tokenmq.services.token_ids import new_token_id
from tokenmq.services.token_views import IssuedToken, issued
from tokenmq.services.verifier import Verifier
from tokenmq.stores.base import Store
from tokenmq.stores.family_life import Showing, Shown
from tokenmq.tokens import family, ids, jwt, narrowing
from tokenmq.tokens.claims import Claims
from tokenmq.tokens.family import Verdict
from tokenmq.tokens.jwt import LapsedClaims
from tokenmq.tokens.keyring import SigningKey
from tokenmq.tokens.records import FamilyRecord, OrganizationRecord

# SECURITY 6.2: new generations, and children, of one family in a minute.
MAX_A_MINUTE = 30
REUSED = "a superseded password was used"

_ACTIONS = {
    Verdict.ROTATE: Action.REFRESH,
    Verdict.REMINT: Action.REFRESH,
    Verdict.CHILD: Action.EXCHANGE,
    Verdict.REUSE: Action.REFRESH_REUSE,
}
_MADE = frozenset({Verdict.ROTATE, Verdict.REMINT, Verdict.CHILD})
_log = structlog.get_logger("tokenmq.services")


@dataclass(frozen=True, slots=True)
class _Signed:
    """A password that is signed and may not come to be."""

    text: str = field(repr=False)
    claims: Claims


class Renewals:
    """The use cases of passwords that are shown to become others."""

    def __init__(
        self,
        store: Store,
        *,
        signing: Signing,
        verifier: Verifier,
        families: Families,
        organizations: Organizations,
        keys: Keys,
        providers: Providers,
        door: Door,
    ) -> None:
        self._store = store
        self._signing = signing
        self._verifier = verifier
        self._families = families
        self._organizations = organizations
        self._keys = keys
        self._providers = providers
        self._door = door
        self._generations = Rate("generations", quota=MAX_A_MINUTE)
        self._children = Rate("children", quota=MAX_A_MINUTE)

    async def refresh(
        self, token_id: str, password: str, *, origin: str | None, now: float, trace: Trace = NO_TRACE
    ) -> IssuedToken:
        """Give the next password of a family to whoever holds one; durable before it returns.

        Live connections of the family go on under it, with no packet from their clients.

        Args:
            token_id: the family.
            password: any password of it that was not superseded long ago.
            origin: of the web page that asks; None = none.
            now: unix seconds.
            trace: where the request came from.

        Raises: InvalidToken (not of this family, revoked, replaced, its key is gone; a reuse,
            which revokes the family), ExpiredToken (the family is over), Forbidden (not
            renewable, another page's origin, nothing left by the policy), RateLimited,
            Unavailable (nothing was changed).
        """
        claims = _claims(self._verifier.read_lapsed(password, now))
        if claims.fam != token_id:
            raise InvalidToken("current_token_password is not a password of this token_id")
        organization = self._organization(claims)
        self._organizations.require_origin(origin, organization.id)
        record = await self._record(claims, now)
        showing = self._showing(claims, organization, now)
        signable = record.kid in showing.kids
        verdict = family.judge_refresh(
            claims.gen, record, settings=organization.settings, now=now, signable=signable
        )
        if verdict not in (Verdict.REUSE, Verdict.ROTATE, Verdict.REMINT, Verdict.REPEAT):
            raise _refusal(verdict, record)
        new = None
        if verdict is not Verdict.REUSE:
            self._ask_again(record, organization, now)
            if verdict is Verdict.REPEAT:
                return self._repeat(record, organization, now)
            if verdict is Verdict.ROTATE:
                self._generations.check(token_id, now, "this token is refreshed too often")
            renewed = family.renewed(record, verdict, jti=showing.jti, kid=showing.kid, now=now)
            new = self._sign(renewed, self._signing.keyring.current(now))
        outcome = await self._store.families.refresh(
            showing,
            audit=lambda shown: _noted(shown, now, trace),
            applied=lambda shown: self._apply(shown, new, now),
        )
        return self._answer(outcome, new, organization, now)

    async def exchange_own(
        self,
        shown: Claims | LapsedClaims,
        *,
        organization: OrganizationRecord,
        now: float,
        trace: Trace = NO_TRACE,
    ) -> IssuedToken:
        """Make a child family for whoever holds a password of ours; durable before it returns.

        Args:
            shown: from `Verifier.read_lapsed`.
            organization: the one that the caller names.
            now: unix seconds.
            trace: where the request came from.

        Raises: InvalidToken (another organization's, revoked, replaced, its key is gone; a
            reuse, which revokes the family), ExpiredToken (the password has expired, or the
            family is over), Forbidden (nothing left by the policy), RateLimited (too many,
            or too often), Unavailable (nothing was changed).
        """
        claims = _claims(shown)
        if claims.org != organization.id:
            raise InvalidToken("token is of another organization")
        record = await self._record(claims, now)
        verdict = family.judge_exchange(
            claims.gen, record, settings=organization.settings, now=now, expired=claims is not shown
        )
        if verdict not in (Verdict.REUSE, Verdict.CHILD):
            raise _refusal(verdict, record)
        new = None
        showing = self._showing(claims, organization, now)
        if verdict is Verdict.CHILD:
            self._ask_again(record, organization, now)
            self._children.check(family.root_of(record), now, "this token is exchanged too often")
            child = family.child_of(
                record, token_id=showing.child_id, jti=showing.jti, kid=showing.kid, now=now
            )
            new = self._sign(child, self._signing.keyring.current(now))
        outcome = await self._store.families.exchange(
            showing,
            audit=lambda shown: _noted(shown, now, trace),
            applied=lambda shown: self._apply(shown, new, now),
        )
        self._families.note_shown(claims)
        return self._answer(outcome, new, organization, now)

    def _organization(self, claims: Claims) -> OrganizationRecord:
        organization = self._organizations.find(claims.org)
        if organization is None:
            raise InvalidToken("token is of an organization that is not there")
        return organization

    async def _record(self, claims: Claims, now: float) -> FamilyRecord:
        """Return the family of a password, with what was seen of it.

        Raises: InvalidToken, ExpiredToken (it was over so long ago that it was removed).
        """
        record = await self._store.families.get(claims.org, claims.fam)
        if record is not None:
            return family.used(record, self._families.usage_of(claims.fam))
        if now >= claims.exp:
            raise ExpiredToken("token family is over", claims.exp)
        raise InvalidToken("there is no such token family")

    def _ask_again(self, record: FamilyRecord, organization: OrganizationRecord, now: float) -> None:
        """Hold a family against its key or its provider, and the policy, as they are now.

        Raises: InvalidToken (the key is deleted or expired, the provider disabled), Forbidden.
        """
        if record.provider_id is not None:
            self._providers.require_enabled(record.provider_id)
        elif not self._keys.is_good(record.key_id, now):
            raise InvalidToken("the key that issued this token is deleted or expired")
        policy = self._organizations.policy_of(organization.id)
        subject = narrowing.known_subject(record.user_id, record.org_id, record.client_id, record.attrs)
        # What it only narrows is cut at use, as after any change of the policy.
        if not narrowing.leaves_any(record.grants, policy, subject):
            raise Forbidden("the policy leaves nothing of this token")

    def _showing(self, claims: Claims, organization: OrganizationRecord, now: float) -> Showing:
        keyring = self._signing.keyring
        return Showing(
            claims=claims,
            settings=organization.settings,
            usage=self._families.usage_of(claims.fam),
            kids=keyring.signing_again(now),
            jti=ids.new_jti(os.urandom(ids.JTI_ENTROPY)),
            kid=keyring.current(now).kid,
            now=now,
            child_id=new_token_id(now),
        )

    def _sign(self, record: FamilyRecord, key: SigningKey) -> _Signed:
        claims = family.claims_of(record, issuer=self._verifier.issuer)
        return _Signed(jwt.sign(claims, key), claims)

    def _apply(self, shown: Shown, new: _Signed | None, now: float) -> Shown:
        """Change memory and live connections as the store has just changed."""
        record = shown.record
        live = self._door.live
        if shown.ended:
            self._families.mark(shown.ended, now)
            token_ids = [ended.token_id for ended in shown.ended]
            live.revoke(record.org_id, token_ids, reason=REUSED, keep_retained=False)
        if shown.verdict is Verdict.REUSE:
            _log.warning(
                "reuse_detected",
                org_id=record.org_id,
                token_id=record.token_id,
                generation=record.gen,
                revoked=len(shown.ended),
            )
        if shown.verdict not in _MADE:
            return shown
        if new is not None and new.claims.jti == record.jti:
            self._verifier.remember(new.text, new.claims)
        if shown.verdict is Verdict.CHILD:
            self._children.count(family.root_of(record), now)
            return shown
        if shown.verdict is Verdict.ROTATE:
            self._generations.count(record.token_id, now)
        newest = self._families.renew(record)
        if newest is not None:
            live.renew(record.org_id, record.token_id, newest)
        return shown

    def _answer(
        self, shown: Shown, new: _Signed | None, organization: OrganizationRecord, now: float
    ) -> IssuedToken:
        """Answer with what came of a password at its commit.

        Raises: InvalidToken, ExpiredToken, Forbidden.
        """
        record = shown.record
        if shown.verdict is Verdict.REPEAT:
            return self._repeat(record, organization, now)
        if shown.verdict not in _MADE:
            raise _refusal(shown.verdict, record)
        claims = family.claims_of(record, issuer=self._verifier.issuer)
        if new is not None and new.claims == claims:
            return issued(new.text, record, organization.settings, now)
        return self._repeat(record, organization, now)

    def _repeat(self, record: FamilyRecord, organization: OrganizationRecord, now: float) -> IssuedToken:
        """Answer with the newest password of a family, signed once more.

        Raises: InvalidToken (it has ended, or the key has been retired, since it was read).
        """
        self._families.check_family(record.token_id)
        key = self._signing.keyring.by_kid(record.kid, now)
        if key is None:
            raise InvalidToken("token was signed with a key that is retired")
        again = self._sign(record, key)
        self._verifier.remember(again.text, again.claims)
        return issued(again.text, record, organization.settings, now)


def _noted(shown: Shown, now: float, trace: Trace) -> tuple[AuditEntry, ...]:
    """Return what says a refresh, an exchange or a reuse to the audit trail; a repeat changes nothing."""
    action = _ACTIONS.get(shown.verdict)
    if action is None:
        return ()
    record = shown.record
    told = entry(
        action,
        f"token:{record.token_id}",
        actor=USER,
        org_id=record.org_id,
        user_id=record.user_id,
        now=now,
        trace=trace,
        generation=record.gen,
        parent=record.parent_id if shown.verdict is Verdict.CHILD else None,
        revoked=len(shown.ended) or None,
    )
    return (told,)


def _claims(shown: Claims | LapsedClaims) -> Claims:
    return shown.claims if isinstance(shown, LapsedClaims) else shown


def _refusal(verdict: Verdict, record: FamilyRecord) -> TokenmqError:
    """Return the error that a password is refused with."""
    if verdict is Verdict.OVER:
        return ExpiredToken("token family is over: make a new token", record.expires_at)
    if verdict is Verdict.EXPIRED:
        return ExpiredToken("token has expired: refresh it", record.expires_at)
    if verdict is Verdict.NOT_RENEWABLE:
        return Forbidden("this token is not renewable")
    if verdict is Verdict.REUSE:
        return InvalidToken("this password was superseded; whoever holds the newest may refresh")
    return InvalidToken(f"token is {verdict.value}")
