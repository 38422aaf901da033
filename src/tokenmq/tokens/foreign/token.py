"""A provider's token: a compact JWS, believed or refused.

`announce` reads what a token says about who signed it, before anything is believed:
good for finding the provider and the key, and for nothing else. `verify` takes the key
that was found and gives claims that may be believed. Order: size; characters; three
parts; header; the algorithm of the key; signature; claims as JSON; issuer, audience,
times; what its kind asks for; expiry last.

Source: RFC 7515 §5.2, RFC 7519 §7.2, RFC 8725bis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tokenmq.errors import ExpiredToken, InvalidToken
from tokenmq.tokens import base64url, compact
from tokenmq.tokens.claims import MAX_TIME, strict_json
from tokenmq.tokens.foreign import kinds
from tokenmq.tokens.foreign.configuration import Configuration, ProviderKind
from tokenmq.tokens.foreign.keys import KID, ForeignKey

# The wire contract: how far a provider's clock may be from ours.
LEEWAY_SECONDS = 30

# Members by which a token would choose its own key, extend the rules, or be packed.
_REFUSED_MEMBERS = frozenset(
    {"jku", "jwk", "x5u", "x5c", "crit", "zip", "b64", "enc", "epk", "p2c", "p2s", "apu", "apv"}
)
# RFC 7519 §5.1, RFC 9068 §2.1; other types are for other uses (J11).
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})


@dataclass(frozen=True, slots=True)
class Announced:
    """What a token says about itself, not believed.

    Attributes:
        issuer: its claim `iss`.
        kid: its key's name; None where it names none.
    """

    issuer: str
    algorithm: str
    kid: str | None


@dataclass(frozen=True, slots=True)
class ForeignClaims:
    """The claims of a token that was believed; only `verify` makes them.

    Attributes:
        values: all claims, as JSON has them.
        expires_at: `exp`, unix seconds.
    """

    values: Mapping[str, Any] = field(repr=False)
    expires_at: int


def announce(token: str | bytes) -> Announced:
    """Read who a token says it is from.

    Raises: InvalidToken for what no provider's token can be.
    """
    header, payload, _ = compact.parts(token)
    algorithm, kid = _read_header(header)
    issuer = _read_claims(payload).get("iss")
    if not isinstance(issuer, str):
        raise InvalidToken("token names no issuer")
    return Announced(issuer, algorithm, kid)


def verify(
    token: str | bytes,
    key: ForeignKey,
    *,
    kind: ProviderKind,
    configuration: Configuration,
    issuer: str,
    now: float,
) -> ForeignClaims:
    """Believe a token, or refuse it.

    Args:
        token: as it was shown; anything at all.
        key: the one that `announce` led to.
        kind, configuration: of the provider.
        issuer: the provider's, whose key it is.
        now: unix seconds; a leeway of `LEEWAY_SECONDS` holds.

    Raises:
        ExpiredToken: it is genuine and for here, but its life is over.
        InvalidToken: anything else.
    """
    header, payload, signature = compact.parts(token)
    algorithm, _ = _read_header(header)
    if algorithm != key.algorithm:
        raise InvalidToken("token is signed with another algorithm than its key's")
    given = base64url.decode(signature)
    if given is None:
        raise InvalidToken("token is not base64url in its one spelling")
    if not key.verifier.verify(header + b"." + payload, given):
        raise InvalidToken("token signature is wrong")
    claims = _read_claims(payload)
    if claims.get("iss") != issuer:
        raise InvalidToken("token is of another issuer")
    _check_audience(claims, kinds.audiences(kind, configuration))
    expires_at = _check_times(claims, now)
    kinds.check_claims(kind, configuration, claims)
    if now >= expires_at + LEEWAY_SECONDS:
        raise ExpiredToken("the identity provider's token has expired", expires_at)
    return ForeignClaims(claims, expires_at)


def _read_header(part: bytes) -> tuple[str, str | None]:
    """Return algorithm and name of the key of a header.

    Members that we do not know are ignored (RFC 7515 §4), but for those that would mean
    something to whoever believes them.
    """
    members = _object(part, "header")
    if not _REFUSED_MEMBERS.isdisjoint(members):
        raise InvalidToken("token header has a member that is not accepted")
    kind = members.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise InvalidToken("token is of another type")
    algorithm, kid = members.get("alg"), members.get("kid")
    if not isinstance(algorithm, str):
        raise InvalidToken("token names no algorithm")
    if kid is not None and not (isinstance(kid, str) and KID.fullmatch(kid)):
        raise InvalidToken("token names its key in a way that none is named")
    return algorithm, kid


def _read_claims(part: bytes) -> dict[str, Any]:
    return _object(part, "claims")


def _object(part: bytes, what: str) -> dict[str, Any]:
    raw = base64url.decode(part)
    if raw is None:
        raise InvalidToken("token is not base64url in its one spelling")
    try:
        # It refuses lone surrogates, which the strict reader lets through.
        msgspec.json.decode(raw)
        members = strict_json(raw)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise InvalidToken(f"token {what} is no JSON object, or names a member twice")
    return members


def _check_audience(claims: Mapping[str, Any], wanted: tuple[str, ...]) -> None:
    named = claims.get("aud")
    audience = [named] if isinstance(named, str) else named
    if not wanted and audience is None:
        return
    if not isinstance(audience, list) or not any(one in wanted for one in audience if isinstance(one, str)):
        raise InvalidToken("token is for another audience")


def _check_times(claims: Mapping[str, Any], now: float) -> int:
    """Hold all times but the expiry against now; return that."""
    expires_at = _time(claims, "exp")
    if expires_at is None:
        raise InvalidToken("token has no expiry")
    for name in ("nbf", "iat"):
        moment = _time(claims, name)
        if moment is not None and moment > now + LEEWAY_SECONDS:
            raise InvalidToken("token is not valid yet")
    # OpenID Connect Core §2, and Firebase: when the user signed in.
    signed_in = _time(claims, "auth_time")
    if signed_in is not None and signed_in > now + LEEWAY_SECONDS:
        raise InvalidToken("token is of a sign-in that has not been yet")
    return expires_at


def _time(claims: Mapping[str, Any], name: str) -> int | None:
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    # A boolean is an int to Python, and no time (J17).
    if type(value) is not int or not 0 <= value < MAX_TIME:
        raise InvalidToken(f"token claim {name} is no whole number of seconds within bounds")
    return value
