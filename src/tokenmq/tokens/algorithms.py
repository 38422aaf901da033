"""The three signature algorithms, each bound to one key (RFC 7518 §3, RFC 8037).

A key serves exactly one algorithm (RFC 8725bis §3.1): what stands in a token's header
selects nothing here. There is no `none`, no HMAC, no encryption.

Signatures have one spelling. An ECDSA signature (r, s) has the twin (r, n - s), which
every library accepts: ours are written with the lower s, and the twin is refused.
"""

from __future__ import annotations

from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from tokenmq.errors import UnusableKey

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

ES256 = "ES256"
EDDSA = "EdDSA"  # On the wire so, not "Ed25519": PyJWT and others know only this name.
RS256 = "RS256"
ALGORITHMS = (ES256, EDDSA, RS256)

# RFC 7518 §3.3 asks for at least 2048; beyond 8192 a verification costs milliseconds.
MIN_RSA_BITS = 2_048
MAX_RSA_BITS = 8_192
_RSA_EXPONENT = 65_537

# SEC 2 §2.4.2: the order of P-256.
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_ES256_SIGNATURE_BYTES = 64


class Verifier(Protocol):
    """One public key with its one algorithm."""

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether `signature` is of `message`, in its one spelling."""
        ...


class Signer(Protocol):
    """One private key with its one algorithm."""

    def sign(self, message: bytes) -> bytes:
        """Sign `message`; the signature as it stands in a token."""
        ...


def generate(algorithm: str) -> PrivateKey:
    """Make a new private key; its randomness is the cryptographic library's.

    Raises: UnusableKey for an algorithm that is none of `ALGORITHMS`.
    """
    if algorithm == ES256:
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == EDDSA:
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == RS256:
        return rsa.generate_private_key(public_exponent=_RSA_EXPONENT, key_size=MIN_RSA_BITS)
    raise UnusableKey(f"algorithm {algorithm!r} is none of {', '.join(ALGORITHMS)}")


def signer(key: PrivateKey) -> Signer:
    """Bind a private key to its algorithm."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _Es256Signer(key)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return _EdDsaSigner(key)
    return _Rs256Signer(key)


def verifier(key: PublicKey) -> Verifier:
    """Bind a public key to its algorithm."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _Es256Verifier(key)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return _EdDsaVerifier(key)
    return _Rs256Verifier(key)


def algorithm_of(key: PublicKey) -> str:
    """Name the one algorithm that a key serves.

    Raises: UnusableKey for a key on another curve, or a weak one.
    """
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, ec.SECP256R1):
            raise UnusableKey(f"elliptic curve {key.curve.name}, wanted P-256")
        return ES256
    if isinstance(key, ed25519.Ed25519PublicKey):
        return EDDSA
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise UnusableKey(f"RSA key of {key.key_size} bits, wanted {MIN_RSA_BITS} to {MAX_RSA_BITS}")
    if key.public_numbers().e != _RSA_EXPONENT:
        raise UnusableKey(f"RSA key with another public exponent than {_RSA_EXPONENT}")
    return RS256


class _Es256Signer:
    __slots__ = ("_key", "_scheme")

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self._scheme = ec.ECDSA(hashes.SHA256())

    def sign(self, message: bytes) -> bytes:
        r, s = decode_dss_signature(self._key.sign(message, self._scheme))
        # RFC 7518 §3.4: r and s as 32 bytes each, big endian.
        return r.to_bytes(32) + min(s, P256_ORDER - s).to_bytes(32)


class _Es256Verifier:
    __slots__ = ("_key", "_scheme")

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key
        self._scheme = ec.ECDSA(hashes.SHA256())

    def verify(self, message: bytes, signature: bytes) -> bool:
        if len(signature) != _ES256_SIGNATURE_BYTES:
            return False
        s = int.from_bytes(signature[32:])
        if s > P256_ORDER // 2:
            return False
        try:
            self._key.verify(encode_dss_signature(int.from_bytes(signature[:32]), s), message, self._scheme)
        except InvalidSignature:
            return False
        return True


class _EdDsaSigner:
    __slots__ = ("_key",)

    def __init__(self, key: ed25519.Ed25519PrivateKey) -> None:
        self._key = key

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


class _EdDsaVerifier:
    __slots__ = ("_key",)

    def __init__(self, key: ed25519.Ed25519PublicKey) -> None:
        self._key = key

    def verify(self, message: bytes, signature: bytes) -> bool:
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


class _Rs256Signer:
    __slots__ = ("_key",)

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message, padding.PKCS1v15(), hashes.SHA256())


class _Rs256Verifier:
    __slots__ = ("_key",)

    def __init__(self, key: rsa.RSAPublicKey) -> None:
        self._key = key

    def verify(self, message: bytes, signature: bytes) -> bool:
        try:
            self._key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True
