"""What differs by kind of provider: where its keys are, and what its claims must say.

Every kind fixes an issuer, and all but Clerk an audience, so that no kind's token is
good for another; a test holds each against each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenmq.errors import InvalidToken
from tokenmq.tokens.foreign.configuration import Configuration, ProviderKind

# Where Google publishes the keys of all Firebase projects, as a JWK set.
FIREBASE_JWKS_URL = (
    "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com"
)
_FIREBASE_ISSUER = "https://securetoken.google.com/"
# OpenID Connect Discovery 1.0 §4.
_DISCOVERY = "/.well-known/openid-configuration"
_SUPABASE_AUDIENCE = "authenticated"
# The roles of Supabase's own keys: no user has them.
_SUPABASE_KEYS = frozenset({"anon", "service_role"})


@dataclass(frozen=True, slots=True)
class Source:
    """Where the keys of one issuer are.

    Attributes:
        issuer: exactly as `iss` has it.
        url: of the key set, or of a discovery document that names it.
        discovered: it is the latter.
    """

    issuer: str
    url: str
    discovered: bool = False


def issuer_of(kind: ProviderKind, configuration: Configuration) -> str:
    """Return the provider's issuer; the first one where there are several."""
    return sources(kind, configuration)[0].issuer


def sources(kind: ProviderKind, configuration: Configuration) -> tuple[Source, ...]:
    """Return the issuers that are believed, and where the keys of each are."""
    found: tuple[Source, ...]
    match kind:
        case ProviderKind.SUPABASE:
            base = f"{configuration.project_url}/auth/v1"
            found = (Source(base, f"{base}/.well-known/jwks.json"),)
        case ProviderKind.FIREBASE:
            found = (Source(_FIREBASE_ISSUER + str(configuration.project_id), FIREBASE_JWKS_URL),)
        case ProviderKind.AUTH0:
            base = f"https://{configuration.domain}/"
            found = (Source(base, f"{base}.well-known/jwks.json"),)
        case ProviderKind.CLERK:
            bases = [f"https://{domain}" for domain in configuration.domains]
            found = tuple(Source(base, f"{base}/.well-known/jwks.json") for base in bases)
        case ProviderKind.OIDC:
            issuer = str(configuration.issuer)
            found = (Source(issuer, issuer.rstrip("/") + _DISCOVERY, discovered=True),)
    if configuration.jwks_url is not None:
        return tuple(Source(one.issuer, configuration.jwks_url) for one in found)
    return found


def audiences(kind: ProviderKind, configuration: Configuration) -> tuple[str, ...]:
    """Return the audiences of which a token must name one; none: it must name none."""
    if kind is ProviderKind.SUPABASE:
        return (_SUPABASE_AUDIENCE,)
    if kind is ProviderKind.FIREBASE:
        return (str(configuration.project_id),)
    return configuration.audience


def check_claims(kind: ProviderKind, configuration: Configuration, claims: Mapping[str, Any]) -> None:
    """Hold the claims of a genuine token against what its kind asks for.

    Raises: InvalidToken.
    """
    if configuration.authorized_parties and claims.get("azp") not in configuration.authorized_parties:
        raise InvalidToken("token was given to another application (azp)")
    check = _CHECKS.get(kind)
    if check is not None:
        check(configuration, claims)


def _check_supabase(configuration: Configuration, claims: Mapping[str, Any]) -> None:
    role = claims.get("role")
    if not isinstance(role, str) or role in _SUPABASE_KEYS:
        raise InvalidToken("token is no user's: its role is that of a key, or missing")
    if claims.get("is_anonymous") is True and not configuration.allow_anonymous:
        raise InvalidToken("token is of a user who has not signed in")


def _check_firebase(configuration: Configuration, claims: Mapping[str, Any]) -> None:
    details = claims.get("firebase")
    method = details.get("sign_in_provider") if isinstance(details, dict) else None
    if not isinstance(method, str):
        raise InvalidToken("token does not say how its user signed in")
    if method == "anonymous" and not configuration.allow_anonymous:
        raise InvalidToken("token is of a user who has not signed in")


def _check_auth0(_configuration: Configuration, claims: Mapping[str, Any]) -> None:
    # RFC 9700 §4.15: a client's id must not pass for a user's.
    if claims.get("gty") == "client-credentials":
        raise InvalidToken("token is a program's, not a user's")


def _check_clerk(_configuration: Configuration, claims: Mapping[str, Any]) -> None:
    if claims.get("sts", "active") != "active":
        raise InvalidToken("token is of a session that is not complete")


_CHECKS: dict[ProviderKind, Callable[[Configuration, Mapping[str, Any]], None]] = {
    ProviderKind.SUPABASE: _check_supabase,
    ProviderKind.FIREBASE: _check_firebase,
    ProviderKind.AUTH0: _check_auth0,
    ProviderKind.CLERK: _check_clerk,
}
