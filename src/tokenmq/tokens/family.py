"""A family and its record: how it is founded, and its claims again from what is stored.

Stored are claims and ids, never the text of a token. Whoever is owed the same token
again (a repeated request) gets one with the same claims, signed anew.
"""

from __future__ import annotations

from tokenmq.tokens.claims import Claims, audience
from tokenmq.tokens.minting import MintRequest, subject_of
from tokenmq.tokens.records import FamilyRecord, OrganizationSettings


def found(
    claims: Claims, request: MintRequest, *, key_id: str, kid: str, settings: OrganizationSettings
) -> FamilyRecord:
    """Make the record of a new family out of its first claims and what was asked.

    Args:
        claims: as `minting.mint` gave them for `request`.
        request: as asked.
        key_id: the key that makes it.
        kid: the signing key that signs its first password.
        settings: the organization's; they set the absolute end.
    """
    _, user_email = subject_of(request)
    return FamilyRecord(
        token_id=claims.fam,
        org_id=claims.org,
        user_id=claims.sub,
        user_email=user_email,
        key_id=key_id,
        integration_id=request.integration_id,
        client_id=claims.client_id,
        renewable=request.renewable,
        grants=claims.grants,
        metadata=request.metadata,
        first_issued_at=claims.iat,
        ttl_seconds=claims.exp - claims.iat,
        gen=claims.gen,
        jti=claims.jti,
        kid=kid,
        issued_at=claims.iat,
        expires_at=claims.exp,
        ends_at=claims.iat + settings.family_max_seconds,
    )


def claims_of(record: FamilyRecord, *, issuer: str) -> Claims:
    """Return the claims of a family's newest password, as they were signed."""
    return Claims(
        iss=issuer,
        aud=audience(record.org_id),
        sub=record.user_id,
        org=record.org_id,
        iat=record.issued_at,
        nbf=record.issued_at,
        exp=record.expires_at,
        jti=record.jti,
        fam=record.token_id,
        gen=record.gen,
        grants=record.grants,
        client_id=record.client_id,
    )


def is_extendable(record: FamilyRecord) -> bool:
    """Tell whether a refresh could give the family a later expiry."""
    return record.renewable and record.expires_at < record.ends_at
