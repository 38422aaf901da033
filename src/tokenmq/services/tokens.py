"""Tokens: issued, listed, looked at, revoked.

The walk of a creation: mint (pure) → sign → store (group commit, which checks the key
once more and replaces earlier families) → memory → answer. Nothing is answered before it
is on the disk; the text of a token is never stored.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from tokenmq.errors import Conflict, InvalidRequest, InvalidToken, NotFound
from tokenmq.limits import MAX_USER_ID_BYTES
from tokenmq.services.families import Families
from tokenmq.services.idempotency import IdempotencyKey, Turns, require_repeatable
from tokenmq.services.keys import Revoked, authorise
from tokenmq.services.live import Door
from tokenmq.services.organizations import Organizations
from tokenmq.services.paging import Page, Position, check_limit, page_of, read_cursor
from tokenmq.services.revocation import RevokeRequest, check_revocation, selection_of
from tokenmq.services.signing import Signing
from tokenmq.services.texts import check_text
from tokenmq.services.token_ids import NAME_ENTROPY, new_token_id
from tokenmq.services.token_views import (
    Introspection,
    IssuedToken,
    Replacing,
    TokenStatus,
    TokenView,
    issued,
    status_of,
)
from tokenmq.services.verifier import Verifier
from tokenmq.stores import base
from tokenmq.stores.base import Creation, EndedFamily, FamilyQuery, IdempotencyRecord, NewFamily, Selection
from tokenmq.tokens import family, ids, jwt
from tokenmq.tokens.claims import Claims
from tokenmq.tokens.minting import MintRequest, NameLimits, mint
from tokenmq.tokens.records import FamilyRecord, KeyRecord, OrganizationRecord
from tokenmq.tokens.subjects import username

__all__ = [
    "Tokens",
    "TokenStatus",
    "TokenView",
    "IssuedToken",
    "Introspection",
    "Replacing",
    "IdempotencyKey",
    "RevokeRequest",
]

_REPLACED = "replaced by a later token"
_REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class _Minted:
    """A token that is signed and not stored yet."""

    text: str = field(repr=False)
    claims: Claims
    family: FamilyRecord


class Tokens:
    """The use cases of tokens."""

    def __init__(
        self,
        store: base.Store,
        *,
        signing: Signing,
        verifier: Verifier,
        families: Families,
        organizations: Organizations,
        door: Door,
        limits: NameLimits,
    ) -> None:
        self._store = store
        self._signing = signing
        self._verifier = verifier
        self._families = families
        self._organizations = organizations
        self._door = door
        self._limits = limits
        self._turns = Turns()

    async def issue(
        self,
        request: MintRequest,
        *,
        key: KeyRecord,
        organization: OrganizationRecord,
        replacing: Replacing,
        idempotency: IdempotencyKey | None,
        now: float,
    ) -> IssuedToken:
        """Make a token, durable before it returns.

        Args:
            request: as asked for.
            key: needs the scope `tokens:create`.
            organization: from `Organizations.resolve(key, …)`.
            replacing: what it replaces.
            idempotency: a repeat returns an equal token (same `jti`, times and scope).
            now: unix seconds.

        Raises: Forbidden, GrantTooWide, InvalidRequest, InvalidKey (the key is gone at the
            commit), NotFound (so is the organization), Conflict (idempotency), ExpiredToken
            (a repeat with under 2 s to live), Unavailable.
        """
        authorise(key, "tokens:create", organization.id)
        if idempotency is None:
            minted = self._mint(request, key, organization, now)
            await self._keep(minted, replacing, None, now)
            return issued(minted.text, minted.family, organization.settings, now)
        scope = idempotency.scope(key.id)
        async with self._turns.of(scope):
            kept = await self._store.idempotency.find(scope, now)
            if kept is None:
                minted = self._mint(request, key, organization, now)
                record = idempotency.record(scope, minted.family)
                if await self._keep(minted, replacing, record, now):
                    return issued(minted.text, minted.family, organization.settings, now)
                # Whoever was first went away before the answer, but not before the commit.
                kept = await self._store.idempotency.find(scope, now)
        return await self._again(organization, idempotency, kept, now)

    async def get(self, token_id: str, *, key: KeyRecord, org_id: str, now: float) -> TokenView:
        """Return one family (scope `tokens:read`).

        Raises: Forbidden, NotFound, Unavailable.
        """
        authorise(key, "tokens:read", org_id)
        record = await self._find(org_id, token_id)
        return TokenView(record, status_of(record, now))

    async def list(
        self,
        *,
        key: KeyRecord,
        org_id: str,
        user_id: str | None,
        status: str | None,
        limit: int | None,
        cursor: str | None,
        now: float,
    ) -> Page[TokenView]:
        """Return families, newest first (scope `tokens:read`).

        Raises: Forbidden, NotFound, InvalidRequest (user, status, limit, cursor), Unavailable.
        """
        authorise(key, "tokens:read", org_id)
        size = check_limit(limit)
        if user_id is not None:
            check_text("user_id", user_id, max_bytes=MAX_USER_ID_BYTES)
        if status is not None and status not in frozenset(TokenStatus):
            raise InvalidRequest(("status", f"wanted one of {', '.join(TokenStatus)}"))
        listing = ("tokens", org_id, user_id, status)
        after = read_cursor(listing, cursor)
        found = await self._store.families.page(FamilyQuery(org_id, user_id, status, now, size + 1, after))
        views = [TokenView(record, status_of(record, now)) for record in found]
        return page_of(views, size, listing, _position)

    async def revoke(self, request: RevokeRequest, *, key: KeyRecord, org_id: str, now: float) -> Revoked:
        """Revoke every matching family that exists at the commit; then close connections.

        Durable, and in force in memory, before it returns. Needs the scope `tokens:revoke`.
        A family that is not there is no error: nothing was revoked.

        Raises: Forbidden, NotFound, InvalidRequest, Unavailable (nothing was changed).
        """
        authorise(key, "tokens:revoke", org_id)
        check_revocation(request)
        selection = selection_of(request, org_id, lambda org, client: self._door.live.opened_by(org, client))
        return await self._revoke(selection, request.reason, now)

    async def delete(self, token_id: str, *, key: KeyRecord, org_id: str, now: float) -> Revoked:
        """Revoke one family (scope `tokens:revoke`).

        Raises: Forbidden, NotFound, Unavailable.
        """
        authorise(key, "tokens:revoke", org_id)
        record = await self._find(org_id, token_id)
        return await self._revoke(Selection(org_id, token_id=record.token_id), None, now)

    def introspect(self, text: str, *, key: KeyRecord, org_id: str, now: float) -> Introspection | None:
        """Return what a token is good for, None for anything that is not good now; no I/O.

        Raises: Forbidden (scope `tokens:read`), NotFound.
        """
        authorise(key, "tokens:read", org_id)
        try:
            claims = self._verifier.read(text, now)
            self._families.require_current(claims, now)
        except InvalidToken:
            return None
        if claims.org != org_id or self._organizations.find(org_id) is None:
            return None
        return Introspection(claims, username(claims.sub, claims.org))

    def _mint(
        self, request: MintRequest, key: KeyRecord, organization: OrganizationRecord, now: float
    ) -> _Minted:
        entropy = os.urandom(ids.JTI_ENTROPY + NAME_ENTROPY)
        claims = mint(
            request,
            key=key,
            org_id=organization.id,
            policy=self._organizations.policy_of(organization.id),
            settings=organization.settings,
            now=now,
            token_id=new_token_id(now, entropy[ids.JTI_ENTROPY :]),
            jti=ids.new_jti(entropy[: ids.JTI_ENTROPY]),
            issuer=self._verifier.issuer,
            limits=self._limits,
        )
        signing_key = self._signing.keyring.current(now)
        record = family.found(
            claims, request, key_id=key.id, kid=signing_key.kid, settings=organization.settings
        )
        return _Minted(jwt.sign(claims, signing_key), claims, record)

    async def _keep(
        self, minted: _Minted, replacing: Replacing, idempotency: IdempotencyRecord | None, now: float
    ) -> bool:
        """Store a token; False when another request with its idempotency scope was first."""
        live = self._door.live
        record = minted.family

        def applied(creation: Creation) -> bool:
            self._families.note_replaced(creation.idle)
            if creation.replaced:
                self._families.mark(creation.replaced, now)
                token_ids = [ended.token_id for ended in creation.replaced]
                live.displace(record.org_id, token_ids, reason=_REPLACED)
            if creation.stored:
                self._verifier.remember(minted.text, minted.claims)
            return creation.stored

        new = NewFamily(record, _in_store(replacing), live.connected, idempotency)
        return await self._store.families.create(new, applied=applied)

    async def _again(
        self,
        organization: OrganizationRecord,
        idempotency: IdempotencyKey,
        kept: IdempotencyRecord | None,
        now: float,
    ) -> IssuedToken:
        """Give the token of an earlier request with the same `Idempotency-Key` once more.

        Raises: Conflict (another body, or it may not be given again), ExpiredToken.
        """
        if kept is None or kept.digest != idempotency.digest:
            raise Conflict("this Idempotency-Key was used for another request")
        record = await self._store.families.get(organization.id, kept.token_id)
        if record is None:
            raise Conflict("this Idempotency-Key was used for another request")
        require_repeatable(record, now)
        signing_key = self._signing.keyring.by_kid(record.kid, now)
        if signing_key is None:
            raise Conflict("the token of this Idempotency-Key was signed with a key that is retired")
        claims = family.claims_of(record, issuer=self._verifier.issuer)
        text = jwt.sign(claims, signing_key)
        self._verifier.remember(text, claims)
        return issued(text, record, organization.settings, now)

    async def _revoke(self, selection: Selection, reason: str | None, now: float) -> Revoked:
        org_id = selection.org_id

        def applied(ended: Sequence[EndedFamily]) -> Revoked:
            self._families.mark(ended, now)
            token_ids = [one.token_id for one in ended]
            if not ended:
                return Revoked(0, 0)
            closed = self._door.live.revoke(
                org_id, token_ids, reason=reason or _REVOKED, keep_retained=selection.keep_retained
            )
            return Revoked(len(ended), closed)

        return await self._store.families.revoke(selection, now=now, reason=reason, applied=applied)

    async def _find(self, org_id: str, token_id: str) -> FamilyRecord:
        # What has not the shape of an id is not worth a look.
        record = await self._store.families.get(org_id, token_id) if ids.is_token_id(token_id) else None
        if record is None:
            raise NotFound("there is no such token")
        return record


def _in_store(replacing: Replacing) -> base.Replacing:
    if replacing.sessions:
        return base.Replacing.ALL
    return base.Replacing.IDLE if replacing.families else base.Replacing.NONE


def _position(view: TokenView) -> Position:
    return view.family.first_issued_at, view.family.token_id
