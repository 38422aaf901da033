"""Tokens exchanged for tokens of ours: one of our own for a child family."""

from __future__ import annotations

from tokenmq.errors import InvalidToken, NotFound
from tokenmq.services.organizations import Organizations
from tokenmq.services.renewal import Renewals
from tokenmq.services.token_views import IssuedToken
from tokenmq.services.verifier import Verifier
from tokenmq.tokens.jwt import unverified_issuer
from tokenmq.tokens.records import KeyRecord, OrganizationRecord


class Exchange:
    """The use case of an exchange."""

    def __init__(self, renewals: Renewals, verifier: Verifier, organizations: Organizations) -> None:
        self._renewals = renewals
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
    ) -> IssuedToken:
        """Exchange a token; durable before it returns.

        Args:
            token: one of ours, or an identity provider's.
            key: the caller's, of this organization; None = it shows none.
            organization: the one that the new token is of.
            origin: of the web page that asks; None = none.
            now: unix seconds.

        Raises: NotFound (`provider_not_found`), Forbidden (another page's origin), and as
            `Renewals.exchange_own`.
        """
        if key is None:
            self._organizations.require_origin(origin, organization.id)
        try:
            shown = self._verifier.read_lapsed(token, now)
        except InvalidToken:
            # Whose it says it is decides who may refuse it, nothing else.
            if unverified_issuer(token) in (None, self._verifier.issuer):
                raise
            raise NotFound(
                "the organization accepts no tokens of this issuer", code="provider_not_found"
            ) from None
        return await self._renewals.exchange_own(shown, organization=organization, now=now)
