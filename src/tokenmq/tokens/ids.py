"""Identifiers, made of random bytes that are passed in; nothing here draws any.

Lower-case base32 (RFC 4648 §6, `a-z2-7`) where people read them, base64url for `jti`.
Each carries at least 128 bits, but for an organization's: that is a name, not a secret,
and its uniqueness is the store's to hold.
"""

from __future__ import annotations

import base64
import re

from tokenmq.tokens import base64url

# Bytes of entropy that each kind takes, exactly.
ORG_ID_ENTROPY = 8
TOKEN_ID_ENTROPY = 16
JTI_ENTROPY = 16

_ORG_ID = re.compile(r"org_[a-z2-7]{12}")
_TOKEN_ID = re.compile(r"tok_[a-z2-7]{26}")
_JTI = re.compile(r"[A-Za-z0-9_-]{22}")


def new_org_id(entropy: bytes) -> str:
    """Make an organization's id: `org_` and 12 characters, 60 bits of `entropy`."""
    return "org_" + _base32(entropy, ORG_ID_ENTROPY)[:12]


def new_token_id(entropy: bytes) -> str:
    """Make a family's id: `tok_` and 26 characters, 128 bits."""
    return "tok_" + _base32(entropy, TOKEN_ID_ENTROPY)


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
    return base64.b32encode(_exactly(entropy, size)).decode("ascii").rstrip("=").lower()


def _exactly(entropy: bytes, size: int) -> bytes:
    if len(entropy) != size:
        raise ValueError(f"entropy of {len(entropy)} bytes, wanted {size}")
    return entropy
