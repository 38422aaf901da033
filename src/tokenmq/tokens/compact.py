"""The three parts of a JWS in compact serialisation (RFC 7515 §7.1), and nothing else.

Size and characters come first: nothing is decoded of what is too long, has padding, white
space or braces, or has five parts as encryption does.
"""

from __future__ import annotations

from tokenmq.errors import InvalidToken
from tokenmq.limits import MAX_TOKEN_BYTES
from tokenmq.tokens import base64url


def parts(token: str | bytes) -> tuple[bytes, bytes, bytes]:
    """Return header, payload and signature of a token, still base64url.

    Raises: InvalidToken for what cannot be a compact JWS.
    """
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
