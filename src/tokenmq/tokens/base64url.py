"""base64url without padding (RFC 4648 §5, RFC 7515 §2), one spelling per value.

The usual decoders skip characters that are not of the alphabet, accept padding, and
ignore the bits that the last character has over: one value then has many spellings.
"""

from __future__ import annotations

import binascii

ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")
# By length modulo 4: the padding to add, and which last characters have no bits over.
_PADDING = (b"", b"", b"==", b"=")
_LAST = (ALPHABET, b"", ALPHABET[::16], ALPHABET[::4])


def encode(data: bytes) -> bytes:
    """Write `data` as base64url without padding."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=")


def decode(text: bytes) -> bytes | None:
    """Read base64url without padding; None unless it is the one right spelling."""
    if not text:
        return b""
    rest = len(text) % 4
    if text[-1] not in _LAST[rest] or text.translate(None, ALPHABET):
        return None
    return binascii.a2b_base64(text.translate(_FROM_URL) + _PADDING[rest])
