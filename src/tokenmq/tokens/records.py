"""What is stored about organizations, keys, token families and signing keys.

Plain values without behaviour: the stores write and read them, the services change them
with `dataclasses.replace`. Times are unix seconds, whole. No record holds the text of a
token or of a key: a token is signed anew from its claims, of a key only the digest stays.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenmq.access.grants import Grant
from tokenmq.access.recording import HistoryRule
from tokenmq.access.rules import PolicyDocument
from tokenmq.tokens.settings import OrganizationSettings

__all__ = [
    "OrganizationRecord",
    "OrganizationSettings",
    "KeyKind",
    "KeyRecord",
    "EarlierSecret",
    "FamilyRecord",
    "SigningKeyRecord",
]


class KeyKind(enum.StrEnum):
    """The four kinds of key; the value stands before the `_` of its text."""

    INSTANCE = "ik"
    SECRET = "sk"
    RESTRICTED = "rk"
    PUBLISHABLE = "pk"


@dataclass(frozen=True, slots=True)
class OrganizationRecord:
    """One tenant.

    Attributes:
        id: `org_` and 12 characters of lower-case base32.
        name: what people call it; unique in the instance.
        policy: its own; None: the starting document, which it has not touched.
        history: the rules of what is recorded of its messages, in their order.
    """

    id: str
    name: str
    settings: OrganizationSettings
    created_at: int
    policy: PolicyDocument | None = None
    history: tuple[HistoryRule, ...] = ()


@dataclass(frozen=True, slots=True)
class EarlierSecret:
    """A secret of a key that was rotated since, and works for a while yet.

    Attributes:
        digest: as of `KeyRecord`.
        until: from this second on it is refused.
    """

    digest: bytes = field(repr=False)
    until: int


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A server's credential.

    Attributes:
        id: the 8 characters of id in its text, unique in the instance.
        org_id: its organization; None for an instance administrator's key.
        digest: SHA-256 of the secret's text, 32 bytes.
        hint: the last 4 characters of its text, for showing it masked.
        scopes: what a restricted key opens; empty for the other kinds.
        grants: the rights that a restricted key may hand out and connect with; empty
            for a restricted key means none, a secret key needs none to have all.
        expires_at: from this second on it is refused; None = never.
        last_used_at: written behind, coarse; None = never used.
        deleted_at: None while it exists.
        rotated_at: when it got its present secret; None = it has had no other.
        earlier: secrets that it had before, newest first; those that are over may be among them.
    """

    id: str
    org_id: str | None
    kind: KeyKind
    name: str
    digest: bytes = field(repr=False)
    hint: str
    scopes: tuple[str, ...]
    grants: tuple[Grant, ...]
    created_at: int
    expires_at: int | None = None
    last_used_at: int | None = None
    deleted_at: int | None = None
    rotated_at: int | None = None
    earlier: tuple[EarlierSecret, ...] = ()


@dataclass(frozen=True, slots=True)
class FamilyRecord:
    """A token and all that refreshing makes of it; what is stored of its newest password.

    Attributes:
        token_id: names the family for life; the claim `fam`.
        user_email: as asked for; shown, never in the token.
        key_id: the key that made it; empty where an identity provider's token did.
        integration_id: label by which `replace_existing` finds earlier ones.
        client_id: the client id it is bound to, exact or a prefix ending in `*`.
        grants: as in the claims of the newest password.
        metadata: the caller's JSON object; shown, never in the token.
        first_issued_at: `iat` of generation 0.
        ttl_seconds: life as first asked; each generation gets it again.
        gen: newest generation, from 0.
        jti: names the newest password.
        kid: the signing key that signs the newest password.
        issued_at, expires_at: `iat` and `exp` of the newest password.
        ends_at: absolute end of the family, whatever is refreshed.
        revoked_at: None while it is not revoked.
        revoked_reason: the caller's words, for people.
        replaced_at: when a later family replaced it (no more refreshes); None = not.
        sessions_replaced: replaced with `replace_sessions`: its passwords open no
            connection any more.
        retained_kept: when it was revoked, its retained messages were to stay.
        parent_id: the family whose password it was exchanged for, if that was one of ours;
            the first of all where that one was a child itself. Revoking it revokes this.
        provider_id: the identity provider whose token it was exchanged for; None = none.
        attrs: that provider's claims which travel with it; None = none.
        superseded_at: when `gen` took the place of the one before; None = never.
        presented: newest generation that was shown to us anywhere; written behind.
        connected: newest generation that a connection has shown; None = it is not known
            that one ever has. Written behind.
        clients: the client ids that it was connected with, at most 16, the latest last, each
            with when that connection ended (None: it had not). Written behind.
    """

    token_id: str
    org_id: str
    user_id: str
    user_email: str
    key_id: str
    integration_id: str | None
    client_id: str | None
    renewable: bool
    grants: tuple[Grant, ...]
    metadata: Mapping[str, Any]
    first_issued_at: int
    ttl_seconds: int
    gen: int
    jti: str
    kid: str
    issued_at: int
    expires_at: int
    ends_at: int
    revoked_at: int | None = None
    revoked_reason: str | None = None
    replaced_at: int | None = None
    sessions_replaced: bool = False
    retained_kept: bool = False
    parent_id: str | None = None
    provider_id: str | None = None
    attrs: Mapping[str, Any] | None = None
    superseded_at: int | None = None
    presented: int = 0
    connected: int | None = None
    clients: tuple[tuple[str, int | None], ...] = ()


@dataclass(frozen=True, slots=True)
class SigningKeyRecord:
    """A key that signs tokens.

    Attributes:
        kid: RFC 7638 thumbprint of the public key.
        algorithm: `ES256`, `EdDSA` or `RS256`; the key is used with no other.
        private_pem: PKCS #8, encrypted when a secret for it is configured.
        public_jwk: the public key as RFC 7517 has it, with `kty`, `use`, `alg`, `kid`.
        current_from: from this second on it signs, unless a later one does.
        retired_at: from this second on it neither signs nor verifies; None = never.
    """

    kid: str
    algorithm: str
    private_pem: bytes = field(repr=False)
    public_jwk: Mapping[str, str]
    created_at: int
    current_from: int
    retired_at: int | None = None
