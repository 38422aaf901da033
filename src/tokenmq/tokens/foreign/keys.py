"""A provider's public keys: its JWK set, read strictly (RFC 7517), and a shared secret.

Each key serves exactly one algorithm (RFC 8725bis §3.1), which follows from the key and
never from a token. A key set is somebody else's document: kinds, curves, uses and members
that we do not know are passed over, as RFC 7517 §5 wants, and so is a key that is weak,
malformed or off its curve. None of that harms the others.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tokenmq.errors import UnusableKey
from tokenmq.tokens import algorithms, jwk
from tokenmq.tokens.algorithms import PublicKey, Verifier
from tokenmq.tokens.claims import strict_json

HS256 = "HS256"
# More keys than any provider rotates through.
MAX_KEYS = 64

# A name to look up in a dictionary, never a path or a query. Providers write uuids,
# hexadecimal, base64 with its padding.
KID = re.compile(r"[!-~]{1,128}")
_HALF = 32


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A key that verifies a provider's tokens, with its one algorithm.

    Attributes:
        identity: tells this key from others; equal for the same public key.
    """

    algorithm: str
    verifier: Verifier = field(repr=False, compare=False)
    identity: str


@dataclass(frozen=True, slots=True)
class KeySet:
    """What a provider's key set says.

    Attributes:
        keys: by `kid`, each usable.
        disputed: by `kid`, several usable keys that stand under that one name.
    """

    keys: Mapping[str, ForeignKey]
    disputed: Mapping[str, tuple[ForeignKey, ...]] = field(default_factory=dict)

    def following(self, known: Mapping[str, ForeignKey]) -> dict[str, ForeignKey]:
        """Return the keys that hold once this set has come after those that were known.

        A disputed name goes on standing for the key that it was known for, if that is one
        of them; a new one stands for none.
        """
        held = dict(self.keys)
        for kid, several in self.disputed.items():
            if (before := known.get(kid)) in several and before is not None:
                held[kid] = before
        return held


def read_key_set(raw: bytes) -> KeySet:
    """Read a JWK set as it came over the network.

    Raises: UnusableKey when it is none, or has not one usable key in it.
    """
    try:
        document = strict_json(raw)
    # Not UTF-8, no JSON, a member twice; deep nesting ends in RecursionError.
    except (ValueError, RecursionError):
        raise UnusableKey("key set is not JSON") from None
    jwks = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(jwks, list) or not all(isinstance(one, dict) for one in jwks):
        raise UnusableKey("document is no JWK set")
    if len(jwks) > MAX_KEYS:
        raise UnusableKey(f"key set has more than {MAX_KEYS} keys")
    found: dict[str, dict[str, ForeignKey]] = {}
    for one in jwks:
        kid = one.get("kid")
        if isinstance(kid, str) and KID.fullmatch(kid) and (key := _usable(one)) is not None:
            # The same key twice is one key.
            found.setdefault(kid, {})[key.identity] = key
    if not found:
        raise UnusableKey("key set has no usable key")
    named = {kid: tuple(keys.values()) for kid, keys in found.items()}
    return KeySet(
        keys={kid: keys[0] for kid, keys in named.items() if len(keys) == 1},
        disputed={kid: keys for kid, keys in named.items() if len(keys) > 1},
    )


def shared_secret(secret: bytes) -> ForeignKey:
    """Bind a shared secret to HS256."""
    return ForeignKey(HS256, _Hs256Verifier(secret), HS256)


def _usable(one: Mapping[str, object]) -> ForeignKey | None:
    """Return the key of a JWK that is for verifying signatures; None when it is not for us."""
    if one.get("use", "sig") != "sig":
        return None
    operations = one.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        key = jwk.public_key(one)
        algorithm = algorithms.algorithm_of(key)
        identity = jwk.thumbprint(jwk.write(key))
    except UnusableKey:
        return None
    if one.get("alg", algorithm) != algorithm:
        return None
    return ForeignKey(algorithm, _verifier(key), identity)


def _verifier(key: PublicKey) -> Verifier:
    return _Es256Verifier(key) if isinstance(key, ec.EllipticCurvePublicKey) else algorithms.verifier(key)


class _Es256Verifier:
    """ES256 as others sign it: either spelling of `s`, where ours have the lower one."""

    __slots__ = ("_key", "_scheme")

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key
        self._scheme = ec.ECDSA(hashes.SHA256())

    def verify(self, message: bytes, signature: bytes) -> bool:
        if len(signature) != 2 * _HALF:
            return False
        r, s = int.from_bytes(signature[:_HALF]), int.from_bytes(signature[_HALF:])
        try:
            self._key.verify(encode_dss_signature(r, s), message, self._scheme)
        except InvalidSignature:
            return False
        return True


class _Hs256Verifier:
    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def verify(self, message: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(hmac.digest(self._secret, message, "sha256"), signature)
