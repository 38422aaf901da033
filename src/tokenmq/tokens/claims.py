"""What a token says: the claims, their one spelling in JSON, and what they must fulfil.

RFC 7519 §4.1, with members of our own. `decode` reads JSON into typed claims, refusing
what JSON leaves open; `check` holds them against the place where the token is shown.
Neither knows of signatures: only `jwt.verify` gives claims that may be believed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec

from tokenmq.access.binding import check_template
from tokenmq.access.grants import Grant
from tokenmq.errors import InvalidToken, InvalidTopic
from tokenmq.limits import MAX_STRING_BYTES, MAX_TTL_SECONDS
from tokenmq.tokens.ids import is_jti, is_org_id, is_token_id
from tokenmq.tokens.subjects import text_problem, user_problem

# 2100-01-01T00:00:00Z: a later time is a mistake of units (SECURITY J17).
MAX_TIME = 4_102_444_800
# Refreshes of one family; at one a second for 30 days it would be 2.6 million.
MAX_GENERATION = 2**31 - 1
# The wire contract: a provider's claims that travel with a token, in bytes of JSON.
MAX_ATTRS_BYTES = 1_024


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The claims of one token; the fields stand in the order of the JSON.

    Attributes:
        iss: the setting `issuer`, exactly.
        aud: `mqtt:` and the organization's id, exactly.
        sub: the user's id.
        org: the organization's id.
        iat, nbf, exp: unix seconds; from `exp` on it is too late (RFC 7519 §4.1.4).
        jti: names this one password.
        fam: names the family (`token_id`); revocation goes by it.
        gen: how often the family was refreshed before.
        grants: what it may do, before the organization's policy cuts it.
        client_id: bound to this client id, or to a prefix that ends in `*`.
        attrs: an identity provider's claims that the organization lets through.
    """

    iss: str
    aud: str
    sub: str
    org: str
    iat: int
    nbf: int
    exp: int
    jti: str
    fam: str
    gen: int
    grants: tuple[Grant, ...]
    client_id: str | None = None
    attrs: dict[str, Any] | None = None


_DECODER = msgspec.json.Decoder(Claims)
_ENCODER = msgspec.json.Encoder()


def audience(org_id: str) -> str:
    """Name the broker of one organization, as `aud` does."""
    return f"mqtt:{org_id}"


def encode(claims: Claims) -> bytes:
    """Write claims in their one spelling: order of the fields, no white space."""
    return _ENCODER.encode(claims)


def decode(raw: bytes) -> Claims:
    """Read claims strictly.

    Raises: InvalidToken for JSON that is not UTF-8 or names a member twice, for a
        missing, unknown or null member, and for every wrong type.
    """
    try:
        claims = _DECODER.decode(raw)
    # The decoder's own errors are ValueErrors; deep nesting ends in RecursionError.
    except (ValueError, RecursionError):
        raise InvalidToken("token claims are not the JSON object that ours are") from None
    if _ENCODER.encode(claims) != raw:
        # Another spelling of the same, or something that the decoder let pass.
        _require_equal(claims, raw)
    return claims


def strict_json(raw: bytes) -> object:
    """Read JSON as RFC 8725bis wants it: UTF-8, no BOM, no name twice, finite numbers.

    Raises: ValueError, RecursionError.
    """
    return json.loads(
        raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite
    )


def check(claims: Claims, *, issuer: str, now: float, org_id: str | None) -> None:
    """Hold claims against where and when they are shown; all but `exp` against `now`.

    Args:
        claims: as `decode` gave them.
        issuer: the only issuer that is believed.
        now: unix seconds; there is no leeway.
        org_id: the organization that the token must be of; None = any.

    Raises: InvalidToken.
    """
    if claims.iss != issuer:
        raise InvalidToken("token is of another issuer")
    if not is_org_id(claims.org) or claims.aud != audience(claims.org):
        raise InvalidToken("token is for another audience")
    if org_id is not None and claims.org != org_id:
        raise InvalidToken("token is of another organization")
    _check_times(claims, now)
    _check_names(claims)
    _check_grants(claims.grants)
    if claims.attrs is not None and len(_ENCODER.encode(claims.attrs)) > MAX_ATTRS_BYTES:
        raise InvalidToken("token claim attrs is too large")


def client_id_problem(pattern: str) -> str | None:
    """Say why a token cannot be bound to this client id pattern; None when it can."""
    return text_problem(pattern, max_bytes=MAX_STRING_BYTES)


def _check_times(claims: Claims, now: float) -> None:
    if not 0 <= claims.iat <= claims.nbf < claims.exp < MAX_TIME:
        raise InvalidToken("token times are out of order or out of bounds")
    if claims.exp - claims.iat > MAX_TTL_SECONDS:
        raise InvalidToken("token lives longer than any of ours")
    if claims.nbf > now:
        raise InvalidToken("token is not valid yet")


def _check_names(claims: Claims) -> None:
    if user_problem(claims.sub) is not None:
        raise InvalidToken("token claim sub can be no user's id")
    if not is_jti(claims.jti) or not is_token_id(claims.fam):
        raise InvalidToken("token claims jti and fam are not ids of ours")
    if not 0 <= claims.gen <= MAX_GENERATION:
        raise InvalidToken("token claim gen is out of bounds")
    if claims.client_id is not None and client_id_problem(claims.client_id) is not None:
        raise InvalidToken("token claim client_id can be no client's id")


def _check_grants(grants: tuple[Grant, ...]) -> None:
    # Nothing empty ever means everything, here neither: it is refused.
    if not grants or not all(grant.permissions and grant.topics for grant in grants):
        raise InvalidToken("token has an empty grant")
    try:
        for grant in grants:
            for topic_filter in grant.topics:
                check_template(topic_filter)
    except InvalidTopic:
        raise InvalidToken("token has a grant on a malformed topic filter") from None


def _require_equal(claims: Claims, raw: bytes) -> None:
    try:
        same = strict_json(raw) == strict_json(_ENCODER.encode(claims))
    except (ValueError, RecursionError):
        same = False
    if not same:
        raise InvalidToken("token claims name a member twice, or one that is not ours")


def _unique(pairs: list[tuple[str, object]]) -> Mapping[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is named twice")
    return members


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number
