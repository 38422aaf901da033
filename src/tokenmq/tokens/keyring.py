"""The keys that sign and verify tokens: the newest in force signs, `kid` finds the rest.

A `Keyring` is a value: a key is added, made current or retired by putting another keyring
in its place (`with_key`), so a key changes without a restart and nobody sees it half
done. Keys whose time has not come yet are in the JWKS already: verifiers elsewhere, which
cache it, know a key before its first token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tokenmq.errors import UnusableKey
from tokenmq.tokens import algorithms, base64url, jwk
from tokenmq.tokens.algorithms import PrivateKey, PublicKey, Signer, Verifier
from tokenmq.tokens.records import SigningKeyRecord

# RFC 9068 §2.1: the type of our tokens; whatever else is ever signed has another.
TYPE = "at+jwt"

_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key with its one algorithm and its times.

    Attributes:
        kid: RFC 7638 thumbprint.
        algorithm: `ES256`, `EdDSA` or `RS256`.
        public_jwk: what the JWKS shows of it.
        header: first part of every token that it signs, base64url; always the same.
        verifier: checks signatures.
        signer: makes them; None where only the public key is known.
        private: the key itself, for `to_pem` only; None likewise.
        current_from: unix seconds from which on it signs, unless a later one does.
        retired_at: unix seconds from which on it does nothing; None = never.
    """

    kid: str
    algorithm: str
    public_jwk: Mapping[str, str]
    header: bytes = field(repr=False)
    verifier: Verifier = field(repr=False)
    signer: Signer | None = field(repr=False)
    private: PrivateKey | None = field(repr=False)
    current_from: int
    retired_at: int | None = None

    def in_force(self, now: float) -> bool:
        """Tell whether it verifies at `now`: it is not retired."""
        return self.retired_at is None or now < self.retired_at

    def signs(self, now: float) -> bool:
        """Tell whether it may sign at `now`."""
        return self.signer is not None and self.current_from <= now and self.in_force(now)


class Keyring:
    """The signing keys of an instance; immutable."""

    __slots__ = ("_by_header", "_by_kid", "_newest_first")

    def __init__(self, keys: Iterable[SigningKey] = ()) -> None:
        """Hold `keys`; of two with the same `kid` the later one counts."""
        self._by_kid = {key.kid: key for key in keys}
        self._by_header = {key.header: key for key in self._by_kid.values()}
        self._newest_first = sorted(
            self._by_kid.values(), key=lambda key: (key.current_from, key.kid), reverse=True
        )

    @classmethod
    def from_jwks(cls, document: object) -> Keyring:
        """Hold the public keys of a JWKS: such a keyring verifies and never signs.

        Raises: UnusableKey.
        """
        return cls(_signing_key(key, None, current_from=0, retired_at=None) for key in jwk.read_set(document))

    def current(self, now: float) -> SigningKey:
        """Return the key that signs at `now`: the one whose time came last.

        Raises: UnusableKey when there is none.
        """
        for key in self._newest_first:
            if key.signs(now):
                return key
        raise UnusableKey("no signing key is in force")

    def by_kid(self, kid: str, now: float) -> SigningKey | None:
        """Return the key named `kid` if it verifies at `now`; a look-up, nothing more."""
        key = self._by_kid.get(kid)
        return key if key is not None and key.in_force(now) else None

    def signing_again(self, now: float) -> frozenset[str]:
        """Return the ids of the keys that sign what they have signed before once more."""
        return frozenset(
            key.kid for key in self._by_kid.values() if key.signer is not None and key.in_force(now)
        )

    def by_header(self, header: bytes, now: float) -> SigningKey | None:
        """Return the key whose tokens begin with `header` (base64url), if it verifies at `now`."""
        key = self._by_header.get(header)
        return key if key is not None and key.in_force(now) else None

    def jwks(self, now: float) -> dict[str, list[dict[str, str]]]:
        """Write the public keys that verify at `now`, or will, as a JWK set."""
        return {"keys": [dict(key.public_jwk) for key in self._by_kid.values() if key.in_force(now)]}

    def with_key(self, key: SigningKey) -> Keyring:
        """Return a keyring that also holds `key`, in place of one with the same `kid`."""
        return Keyring((*self._by_kid.values(), key))

    def __len__(self) -> int:
        return len(self._by_kid)


def generate(algorithm: str, *, current_from: int) -> SigningKey:
    """Make a new signing key.

    Raises: UnusableKey for an unknown algorithm.
    """
    private = algorithms.generate(algorithm)
    return _signing_key(private.public_key(), private, current_from=current_from, retired_at=None)


def thumbprint(public_jwk: Mapping[str, object]) -> str:
    """Return the RFC 7638 thumbprint of a JWK; `kid` of our keys."""
    return jwk.thumbprint(public_jwk)


def to_pem(key: SigningKey, secret: str | None) -> bytes:
    """Write the private key as PKCS #8, encrypted when there is a secret for it.

    Raises: UnusableKey when there is no private key, or the secret is empty or too long.
    """
    if key.private is None:
        raise UnusableKey("signing key has no private part")
    try:
        encryption = NoEncryption() if secret is None else BestAvailableEncryption(secret.encode())
        return key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    except ValueError:
        raise UnusableKey("the secret for signing keys is empty or too long") from None


def from_pem(
    pem: bytes, secret: str | None, *, current_from: int = 0, retired_at: int | None = None
) -> SigningKey:
    """Read a private key that `to_pem` wrote, or another PKCS #8 one that fits.

    A key that is not encrypted is read whether or not there is a secret: the secret may
    have been configured after the key was made.

    Raises: UnusableKey.
    """
    password = secret.encode() if secret is not None and is_encrypted(pem) else None
    try:
        private = load_pem_private_key(pem, password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UnusableKey("signing key cannot be opened: it is damaged, or needs another secret") from None
    if not isinstance(private, PrivateKey):
        raise UnusableKey("signing key is of a type that signs no tokens")
    return _signing_key(private.public_key(), private, current_from=current_from, retired_at=retired_at)


def is_encrypted(pem: bytes) -> bool:
    """Tell whether a PEM needs a secret."""
    return pem.lstrip().startswith(_ENCRYPTED)


def to_record(key: SigningKey, *, secret: str | None, created_at: int) -> SigningKeyRecord:
    """Write a key as it is stored.

    Raises: UnusableKey, as `to_pem`.
    """
    return SigningKeyRecord(
        kid=key.kid,
        algorithm=key.algorithm,
        private_pem=to_pem(key, secret),
        public_jwk=dict(key.public_jwk),
        created_at=created_at,
        current_from=key.current_from,
        retired_at=key.retired_at,
    )


def from_record(record: SigningKeyRecord, *, secret: str | None) -> SigningKey:
    """Read a key as it is stored.

    Raises: UnusableKey, also when the parts of the record do not belong together.
    """
    key = from_pem(record.private_pem, secret, current_from=record.current_from, retired_at=record.retired_at)
    if (key.kid, key.algorithm, key.public_jwk) != (record.kid, record.algorithm, record.public_jwk):
        raise UnusableKey(f"stored signing key {record.kid!r} is not the key that it says")
    return key


def _signing_key(
    public: PublicKey, private: PrivateKey | None, *, current_from: int, retired_at: int | None
) -> SigningKey:
    public_jwk = jwk.write(public)
    algorithm, kid = public_jwk["alg"], public_jwk["kid"]
    # All three values are of characters that JSON leaves as they are.
    header = f'{{"typ":"{TYPE}","alg":"{algorithm}","kid":"{kid}"}}'
    return SigningKey(
        kid=kid,
        algorithm=algorithm,
        public_jwk=public_jwk,
        header=base64url.encode(header.encode("ascii")),
        verifier=algorithms.verifier(public),
        signer=None if private is None else algorithms.signer(private),
        private=private,
        current_from=current_from,
        retired_at=retired_at,
    )
