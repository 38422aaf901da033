"""Tokens exchanged for tokens of ours: one of our own, or an identity provider's."""

from __future__ import annotations

from tokenmq.errors import InvalidRequest, InvalidToken
from tokenmq.services.auditing import NO_TRACE, Trace
from tokenmq.services.organizations import Organizations
from tokenmq.services.proofs import Proofs
from tokenmq.services.renewal import Renewals
from tokenmq.services.token_views import IssuedToken
from tokenmq.services.tokens import Tokens
from tokenmq.services.verifier import Verifier
from tokenmq.tokens.jwt import unverified_issuer
from tokenmq.tokens.records import KeyRecord, OrganizationRecord


class Exchange:
    """The use case of an exchange."""

    def __init__(
        self,
        renewals: Renewals,
        tokens: Tokens,
        proofs: Proofs,
        verifier: Verifier,
        organizations: Organizations,
    ) -> None:
        self._renewals = renewals
        self._tokens = tokens
        self._proofs = proofs
        self._verifier = verifier
        self._organizations = organizations

    async def exchange(
        self,
        token: str,
        *,
        key: KeyRecord | None,
        organization: OrganizationRecord,
        origin: str | None,
        now: float,
        trace: Trace = NO_TRACE,
        provider: str | None = None,
        integration_id: str | None = None,
        ttl_seconds: int | None = None,
    ) -> IssuedToken:
        """Exchange a token; durable before it returns.

        Args:
            token: one of ours, for a child of its family; or an identity provider's.
            key: the caller's, of this organization; None = it shows none.
            organization: the one that the new token is of.
            origin: of the web page that asks; None = none.
            now: unix seconds.
            trace: where the request came from.
            provider: kind or id of the identity provider; None: the token's issuer says.
            integration_id: for a provider's user, as with a creation.
            ttl_seconds: likewise; needs a key.

        Raises: NotFound (`provider_not_found`), Forbidden (another page's origin), and as
            `Renewals.exchange_own`, or `Proofs.prove` and `Tokens.found`.
        """
        if key is None:
            self._organizations.require_origin(origin, organization.id)
        try:
            shown = self._verifier.read_lapsed(token, now)
        except InvalidToken:
            # Whose it says it is decides who may refuse it, nothing else.
            if unverified_issuer(token) in (None, self._verifier.issuer):
                raise
        else:
            return await self._renewals.exchange_own(shown, organization=organization, now=now, trace=trace)
        if ttl_seconds is not None and key is None:
            raise InvalidRequest(("ttl", "needs a key"))
        user = await self._proofs.prove(organization.id, token, provider=provider, now=now)
        return await self._tokens.found(
            user,
            organization=organization,
            integration_id=integration_id,
            ttl_seconds=ttl_seconds,
            now=now,
            trace=trace,
        )
