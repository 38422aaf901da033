"""What an organization sets up about an identity provider; `rules` says what it must keep.

The names are those of the JSON document of /v2/providers. A shared secret is not in it:
it is kept apart, encrypted, and never shown.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import msgspec

from tokenmq.access.grants import Grant


class ProviderKind(enum.StrEnum):
    """The kinds of identity provider."""

    SUPABASE = "supabase"
    FIREBASE = "firebase"
    AUTH0 = "auth0"
    CLERK = "clerk"
    OIDC = "oidc"


class MappingRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Grants for those whose token has a claim with this value, or a list that has it.

    JSON: `{"claim": "role", "equals": "admin", "grants": [...]}`.
    """

    claim: str
    equals: str | int | bool
    grants: tuple[Grant, ...]


class Configuration(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """How one provider's tokens are checked, and what becomes of their claims.

    A claim is named by its name, or by a path with dots into objects (`app_metadata.role`).

    Attributes:
        project_url: of Supabase, as https://abc.supabase.co.
        project_id: of Firebase.
        domain: of Auth0, as tenant.eu.auth0.com.
        domains: of Clerk, development and production.
        issuer: of another provider, exactly as its tokens have it.
        audience: each good token names one of these; Clerk's name none unless set.
        jwks_url: where its keys are, instead of where this kind has them.
        authorized_parties: what `azp` may be; empty: it is not looked at.
        allow_anonymous: take users that have not signed in (Firebase, Supabase).
        user_prefix: stands before every user id.
        user_id_claim: becomes the user id.
        email_claim: becomes the e-mail.
        required_claims: without one of these there is no token of ours.
        attrs: claims that travel with the token.
        mapping: what a token of ours grants; empty: what the policy grants its user.
    """

    project_url: str | None = None
    project_id: str | None = None
    domain: str | None = None
    domains: tuple[str, ...] = ()
    issuer: str | None = None
    audience: tuple[str, ...] = ()
    jwks_url: str | None = None
    authorized_parties: tuple[str, ...] = ()
    allow_anonymous: bool = False
    user_prefix: str = ""
    user_id_claim: str = "sub"
    email_claim: str = "email"
    required_claims: tuple[str, ...] = ()
    attrs: tuple[str, ...] = ()
    mapping: tuple[MappingRule, ...] = ()


@dataclass(frozen=True, slots=True)
class ProviderRecord:
    """One identity provider of one organization, as it is stored.

    Attributes:
        id: `idp_` and 26 characters of lower-case base32.
        name: what people call it; unique in its organization.
        secret: the shared secret, sealed; None where keys are public.
        enabled: False refuses exchanges, and refreshes of what it founded.
    """

    id: str
    org_id: str
    kind: ProviderKind
    name: str
    configuration: Configuration
    secret: bytes | None = field(repr=False)
    enabled: bool
    created_at: int
