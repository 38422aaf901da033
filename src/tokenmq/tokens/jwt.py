"""Tokens: claims, signed, in JWS compact serialisation (RFC 7515 §7.1), read strictly.

A thin wrapper of our own over the cryptographic library: the usual JWT libraries accept
a second spelling of a signature, padding, a claim named twice, an `exp` that is a string,
`true` or infinite, UTF-16. Everything that a token of ours never has is refused here.

Order of `read`: size; characters; three parts; header; key by `kid`; signature; claims
as JSON; claims against issuer, audience, organization and time; expiry last, so that only
a genuine token is ever called expired. Nothing of a token is believed before its
signature. Any failure refuses the whole token, in one type of exception.

A token has one spelling: base64url without bits left over, the lower `s` of ECDSA, and
what is signed is fixed by the signature. A cache by digest of the text therefore holds no
token twice; revocation goes by `fam` all the same, never by the text.
"""

from __future__ import annotations

import re

import msgspec

from tokenmq.errors import ExpiredToken, InvalidRequest, InvalidToken, UnusableKey
from tokenmq.limits import MAX_TOKEN_BYTES
from tokenmq.tokens import base64url
from tokenmq.tokens import claims as claims_of_token
from tokenmq.tokens.claims import Claims, strict_json
from tokenmq.tokens.keyring import TYPE, Keyring, SigningKey

# What must never stand in a log: whole tokens, and cut ones; `eyJ` is base64url of `{"`.
PATTERN = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?")

_KID = re.compile(r"[A-Za-z0-9_-]{1,64}")
# RFC 7515 §7.1: header, payload, signature.
_PARTS = 3
_HEADER_MEMBERS = frozenset({"typ", "alg", "kid"})


def sign(claims: Claims, key: SigningKey) -> str:
    """Sign claims; the text is the token.

    Raises:
        InvalidRequest: the token would be over `MAX_TOKEN_BYTES`.
        UnusableKey: only the public part of the key is known.
    """
    if key.signer is None:
        raise UnusableKey("signing key has no private part")
    message = key.header + b"." + base64url.encode(claims_of_token.encode(claims))
    token = message + b"." + base64url.encode(key.signer.sign(message))
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidRequest(
            ("topics", f"token would have {len(token)} bytes, at most {MAX_TOKEN_BYTES} are possible")
        )
    return token.decode("ascii")


class LapsedClaims(msgspec.Struct, frozen=True):
    """What a genuine token says whose life is over; good for a refresh and little else.

    It is no `Claims`, so that nothing takes it for a token that is good.
    """

    claims: Claims


def verify(
    token: str | bytes, keyring: Keyring, *, issuer: str, now: float, org_id: str | None = None
) -> Claims:
    """Read a token and believe it, or refuse it.

    Args: as `read`.

    Raises:
        ExpiredToken: it is genuine and for here, but its life is over.
        InvalidToken: anything else; nothing but these two ever leaves.
    """
    found = read(token, keyring, issuer=issuer, now=now, org_id=org_id)
    if isinstance(found, LapsedClaims):
        raise ExpiredToken("token has expired", found.claims.exp)
    return found


def read(
    token: str | bytes, keyring: Keyring, *, issuer: str, now: float, org_id: str | None = None
) -> Claims | LapsedClaims:
    """Read a token and believe it, or refuse it; one whose life is over is another type.

    Args:
        token: as it was shown; anything at all.
        keyring: the keys that are believed.
        issuer: the only issuer that is believed.
        now: unix seconds; no leeway.
        org_id: the organization that it must be of; None = any.

    Raises: InvalidToken; nothing else ever leaves.

    Source: RFC 7515 §5.2, RFC 7519 §7.2, RFC 8725bis.
    """
    header, payload, signature = _parts(token)
    key = keyring.by_header(header, now)
    if key is None:
        key = _key_of(header, keyring, now)
    signed, given = base64url.decode(payload), base64url.decode(signature)
    if signed is None or given is None:
        raise InvalidToken("token is not base64url in its one spelling")
    if not key.verifier.verify(header + b"." + payload, given):
        raise InvalidToken("token signature is wrong")
    claims = claims_of_token.decode(signed)
    claims_of_token.check(claims, issuer=issuer, now=now, org_id=org_id)
    # RFC 7519 §4.1.4: at `exp` it is too late.
    return LapsedClaims(claims) if now >= claims.exp else claims


def unverified_issuer(token: str) -> str | None:
    """Return what a token says of its issuer, believing nothing: to choose who is to verify it.

    None where it says nothing, or is no token.
    """
    parts = token.split(".")
    payload = base64url.decode(parts[1].encode("utf-8", "replace")) if len(parts) == _PARTS else None
    try:
        members = strict_json(payload or b"")
    # Deep nesting ends in RecursionError.
    except (ValueError, RecursionError):
        return None
    issuer = members.get("iss") if isinstance(members, dict) else None
    return issuer if isinstance(issuer, str) else None


def _parts(token: str | bytes) -> tuple[bytes, bytes, bytes]:
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken(f"token has over {MAX_TOKEN_BYTES} bytes")
    try:
        text = token.encode("ascii") if isinstance(token, str) else token
    except UnicodeEncodeError:
        raise InvalidToken("token has characters that no token has") from None
    dots = text.translate(None, base64url.ALPHABET)
    if dots != b"..":
        if dots.strip(b"."):
            raise InvalidToken("token has characters that no token has")
        raise InvalidToken(f"token has {len(dots) + 1} parts, wanted 3")
    header, payload, signature = text.split(b".")
    return header, payload, signature


def _key_of(header: bytes, keyring: Keyring, now: float) -> SigningKey:
    """Find the key for a header that is not spelled as ours are, if all of it is right."""
    raw = base64url.decode(header)
    try:
        members = strict_json(raw or b"")
    # Deep nesting ends in RecursionError.
    except (ValueError, RecursionError):
        members = None
    # Exactly these: so no crit, b64, zip, jku, jwk, x5u, x5c, and no encryption.
    if not isinstance(members, dict) or members.keys() != _HEADER_MEMBERS:
        raise InvalidToken("token header is not the JSON object that ours are")
    if members["typ"] != TYPE:
        raise InvalidToken("token is of another type")
    kid = members["kid"]
    # A name to look up, never a path or a query.
    key = keyring.by_kid(kid, now) if isinstance(kid, str) and _KID.fullmatch(kid) else None
    if key is None:
        raise InvalidToken("token is signed with no key of ours")
    if members["alg"] != key.algorithm:
        raise InvalidToken("token is signed with another algorithm than its key's")
    return key
