"""Public keys as JSON Web Keys (RFC 7517, RFC 7518 §6, RFC 8037), and their thumbprints.

What is written has `kty`, `use`, `alg`, `kid` and the public members, nothing private
ever. What is read is held against all of that: point on the curve, size, exponent, one
spelling, and a `kid` that is the thumbprint (RFC 7638), as those of ours are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tokenmq.errors import UnusableKey
from tokenmq.tokens import base64url
from tokenmq.tokens.algorithms import MAX_RSA_BITS, PublicKey, algorithm_of

# RFC 7638 §3.2, RFC 8037 §2: the members that a thumbprint is made of.
_REQUIRED = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}
# RFC 7518 §6.2.2, §6.3.2, §6.4.1, RFC 8037 §2: what only the owner may know.
PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

_COORDINATE_BYTES = 32


def write(key: PublicKey) -> dict[str, str]:
    """Write a public key as a JWK with `kty`, `use`, `alg` and `kid`.

    Raises: UnusableKey for a key that serves none of our algorithms.
    """
    algorithm = algorithm_of(key)
    members = _members(key)
    return {**members, "use": "sig", "alg": algorithm, "kid": thumbprint(members)}


def thumbprint(jwk: Mapping[str, object]) -> str:
    """Return the RFC 7638 thumbprint (SHA-256, base64url) of a JWK.

    Raises: UnusableKey for an unknown `kty` or a missing member.
    """
    required = _REQUIRED.get(str(jwk.get("kty")))
    if required is None or not all(isinstance(jwk.get(name), str) for name in required):
        raise UnusableKey("JWK has an unknown kty or lacks a member")
    # RFC 7638 §3: these members only, in lexicographic order, no white space, UTF-8.
    text = json.dumps({name: jwk[name] for name in required}, separators=(",", ":"), ensure_ascii=False)
    return base64url.encode(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()).decode("ascii")


def read(jwk: Mapping[str, object]) -> PublicKey:
    """Read a public key out of a JWK of ours; unknown members are ignored (RFC 7517 §4).

    Raises: UnusableKey.
    """
    key = public_key(jwk)
    if any(jwk.get(name) != value for name, value in write(key).items()):
        raise UnusableKey("JWK is of another use, algorithm or kid than its key")
    return key


def public_key(jwk: Mapping[str, object]) -> PublicKey:
    """Read the key alone out of anybody's JWK; `use`, `alg` and `kid` are the caller's to look at.

    Raises: UnusableKey: a private member, a kind or curve that we do not know, a weak key,
        a point that is off the curve.
    """
    if not PRIVATE_MEMBERS.isdisjoint(jwk):
        raise UnusableKey("JWK has a private member")
    try:
        key = _public_key(jwk)
    except ValueError:
        raise UnusableKey("JWK holds no valid public key") from None
    algorithm_of(key)
    return key


def read_set(document: object) -> list[PublicKey]:
    """Read the keys of a JWKS; those of a kind unknown to us are passed over (RFC 7517 §5).

    Raises: UnusableKey when it is no JWKS, or a key of a known kind is wrong.
    """
    keys = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(keys, list) or not all(isinstance(jwk, Mapping) for jwk in keys):
        raise UnusableKey("document is no JWK set")
    return [read(jwk) for jwk in keys if str(jwk.get("kty")) in _REQUIRED]


def _members(key: PublicKey) -> dict[str, str]:
    if isinstance(key, ec.EllipticCurvePublicKey):
        numbers = key.public_numbers()
        return {"kty": "EC", "crv": "P-256", "x": _coordinate(numbers.x), "y": _coordinate(numbers.y)}
    if isinstance(key, ed25519.Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": _text(key.public_bytes(Encoding.Raw, PublicFormat.Raw))}
    modulus = key.public_numbers()
    return {"kty": "RSA", "n": _integer(modulus.n), "e": _integer(modulus.e)}


def _public_key(jwk: Mapping[str, object]) -> PublicKey:
    """Build the key; ValueError for what is no key, also a point that is off the curve."""
    kind, curve = jwk.get("kty"), jwk.get("crv")
    if kind == "EC" and curve == "P-256":
        x, y = _bytes(jwk, "x", _COORDINATE_BYTES), _bytes(jwk, "y", _COORDINATE_BYTES)
        numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), ec.SECP256R1())
        return numbers.public_key()
    if kind == "OKP" and curve == "Ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(_bytes(jwk, "x", _COORDINATE_BYTES))
    if kind == "RSA":
        exponent, modulus = _bytes(jwk, "e"), _bytes(jwk, "n")
        if max(len(exponent), len(modulus)) * 8 > MAX_RSA_BITS:
            raise UnusableKey(f"RSA key of over {MAX_RSA_BITS} bits")
        return rsa.RSAPublicNumbers(int.from_bytes(exponent), int.from_bytes(modulus)).public_key()
    raise UnusableKey("JWK has an unknown kty or curve")


def _bytes(jwk: Mapping[str, object], name: str, size: int | None = None) -> bytes:
    text = jwk.get(name)
    data = base64url.decode(text.encode("utf-8", "surrogatepass")) if isinstance(text, str) else None
    if data is None or (size is not None and len(data) != size):
        raise UnusableKey(f"JWK member {name} is missing or malformed")
    return data


def _coordinate(number: int) -> str:
    return _text(number.to_bytes(_COORDINATE_BYTES))


def _integer(number: int) -> str:
    return _text(number.to_bytes((number.bit_length() + 7) // 8))


def _text(data: bytes) -> str:
    return base64url.encode(data).decode("ascii")
