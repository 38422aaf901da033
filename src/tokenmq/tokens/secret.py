"""The text of a key: shape, checksum, digest, mask.

`sk_` + 57 characters of base62: 8 of id, 43 of secret (256 bits), 6 of CRC-32 over all
that stands before. The checksum tells a typing error from a wrong key without a look-up,
and lets a scanner of repositories be sure that it found one of ours; it protects nothing.
A key is looked up by its id, and SHA-256 of its secret compared in constant time: with
256 random bits no slow hash is needed, and none of their length limits is met.

The mask shows the last four characters, which belong to the checksum: whoever sees it
knows 24 bits about the secret, and 232 are left.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from dataclasses import dataclass, field

from tokenmq.errors import InvalidKey
from tokenmq.tokens.records import KeyKind

# Bytes of entropy that a new key takes: 8 for the id, 32 for the secret.
KEY_ENTROPY = 40

# Bytes of entropy that another secret of a key takes.
SECRET_ENTROPY = 32

# What must never stand in a log: whole keys, and cut ones that still hold secret letters.
PATTERN = re.compile(r"(?:ik|sk|rk|pk)_[0-9A-Za-z]{12,}")

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LENGTH = 8
_SECRET_LENGTH = 43
_CHECK_LENGTH = 6
_ID_ENTROPY = 8
_HINT_LENGTH = 4
_SHAPE = re.compile(
    rf"((ik|sk|rk|pk)_([0-9A-Za-z]{{{_ID_LENGTH}}})([0-9A-Za-z]{{{_SECRET_LENGTH}}}))"
    rf"([0-9A-Za-z]{{{_CHECK_LENGTH}}})"
)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: the only time that its text exists.

    Attributes:
        text: what its owner keeps; shown once.
        id: names it; stored.
        digest: SHA-256 of its secret; stored.
        hint: its last 4 characters; stored, for `mask`.
    """

    text: str = field(repr=False)
    id: str
    digest: bytes = field(repr=False)
    hint: str


@dataclass(frozen=True, slots=True)
class KeyText:
    """What the text of a key says; whether it is true only `verify` can tell."""

    kind: KeyKind
    id: str
    digest: bytes = field(repr=False)


def create(kind: KeyKind, *, entropy: bytes) -> NewKey:
    """Make a key of `entropy`, `KEY_ENTROPY` random bytes.

    The caller makes sure that the id is not taken (47 bits: it hardly ever is).
    """
    if len(entropy) != KEY_ENTROPY:
        raise ValueError(f"entropy of {len(entropy)} bytes, wanted {KEY_ENTROPY}")
    return renew(
        kind, _base62(int.from_bytes(entropy[:_ID_ENTROPY]), _ID_LENGTH), entropy=entropy[_ID_ENTROPY:]
    )


def renew(kind: KeyKind, key_id: str, *, entropy: bytes) -> NewKey:
    """Make another text for the key of an id out of `entropy`, `SECRET_ENTROPY` random bytes."""
    if len(entropy) != SECRET_ENTROPY:
        raise ValueError(f"entropy of {len(entropy)} bytes, wanted {SECRET_ENTROPY}")
    secret = _base62(int.from_bytes(entropy), _SECRET_LENGTH)
    body = f"{kind.value}_{key_id}{secret}"
    text = body + _checksum(body)
    return NewKey(text=text, id=key_id, digest=_digest(secret), hint=text[-_HINT_LENGTH:])


def parse(text: str) -> KeyText:
    """Read the text of a key.

    Raises: InvalidKey when its shape or its checksum is wrong.
    """
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise InvalidKey("key has not the shape of one of ours")
    body, kind, key_id, secret, check = found.groups()
    if check != _checksum(body):
        raise InvalidKey("key has a typing error: its checksum does not fit")
    return KeyText(kind=KeyKind(kind), id=key_id, digest=_digest(secret))


def verify(key: KeyText, digest: bytes) -> bool:
    """Tell whether `key` has the secret whose digest is stored, in constant time."""
    return hmac.compare_digest(key.digest, digest)


def mask(hint: str, kind: KeyKind) -> str:
    """Write a key so that it can be shown: `sk_...x7m4`."""
    return f"{kind.value}_...{hint}"


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("ascii")).digest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode("ascii")), _CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
