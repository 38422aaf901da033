"""An identity provider's token against a user of ours: who it proves, or why it does not."""

from __future__ import annotations

from tokenmq.errors import InvalidToken
from tokenmq.services.jwks import KeySets
from tokenmq.services.providers import Providers
from tokenmq.tokens.foreign import token as foreign_token
from tokenmq.tokens.foreign.configuration import ProviderRecord
from tokenmq.tokens.foreign.keys import ForeignKey, shared_secret
from tokenmq.tokens.foreign.kinds import Source
from tokenmq.tokens.foreign.token import Announced
from tokenmq.tokens.foreign.user import ProvenUser, prove


class Proofs:
    """Finds the provider of a token, its key, and what it proves."""

    def __init__(self, providers: Providers, key_sets: KeySets) -> None:
        self._providers = providers
        self._key_sets = key_sets

    async def prove(self, org_id: str, token: str, *, provider: str | None, now: float) -> ProvenUser:
        """Return the user whom a provider's token proves.

        Nothing is stored. The provider is enabled in the step in which this returns;
        `Providers.require_enabled` tells whether it still is.

        Args:
            org_id: the organization whose providers count.
            token: anything at all.
            provider: the provider's kind or id; None: the token's issuer says.
            now: unix seconds.

        Raises: NotFound (`provider_not_found`), InvalidToken, ExpiredToken, ClaimMissing,
            Forbidden (the mapping gives nothing), Unavailable (the provider's keys).
        """
        said = foreign_token.announce(token)
        record, source = self._providers.answering(org_id, said.issuer, provider)
        key = await self._key(record, source, said)
        if self._providers.require_enabled(record.id) != record:
            raise InvalidToken("the identity provider was changed meanwhile")
        claims = foreign_token.verify(
            token,
            key,
            kind=record.kind,
            configuration=record.configuration,
            issuer=source.issuer,
            now=now,
        )
        return prove(claims, record)

    async def _key(self, record: ProviderRecord, source: Source, said: Announced) -> ForeignKey:
        secret = self._providers.secret_of(record)
        if secret is not None:
            # There is one, so it needs no name.
            return shared_secret(secret)
        if said.kid is None:
            raise InvalidToken("token does not name its key")
        return await self._key_sets.find(record.id, source, said.kid)
