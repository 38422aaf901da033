"""From the text of a token to claims that may be believed; known texts cost no signature.

Texts that this process has signed or verified are remembered by their SHA-256, in whole:
a shortened digest could be made to collide. What is remembered is that the signature is
right, nothing else: time, family, username and client id are looked at each time.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from tokenmq.errors import ExpiredToken, InvalidToken
from tokenmq.limits import MAX_TOKEN_BYTES
from tokenmq.services.signing import Signing
from tokenmq.tokens import jwt
from tokenmq.tokens.claims import Claims
from tokenmq.tokens.jwt import LapsedClaims

# One costs about 1.5 KiB. As many as there are connections by default: after a lost
# network all come back with tokens that are known.
DEFAULT_REMEMBERED = 20_000


class Verifier:
    """Reads tokens of this instance."""

    def __init__(self, signing: Signing, *, issuer: str, remembered: int = DEFAULT_REMEMBERED) -> None:
        self.issuer = issuer
        self._signing = signing
        self._limit = remembered
        # Oldest first. A plain dict would walk over all that was let go before it finds the oldest.
        self._known: OrderedDict[bytes, Claims] = OrderedDict()
        signing.on_retirement(self._known.clear)

    def read(self, token: str | bytes, now: float) -> Claims:
        """Believe a token, or refuse it.

        Raises: InvalidToken, ExpiredToken; of families it knows nothing.
        """
        found = self.read_lapsed(token, now)
        if isinstance(found, LapsedClaims):
            raise ExpiredToken("token has expired", found.claims.exp)
        return found

    def read_lapsed(self, token: str | bytes, now: float) -> Claims | LapsedClaims:
        """Believe a token, in another type if its life is over, or refuse it.

        For refresh, exchange and the way back of a connection; everybody else asks `read`.

        Raises: InvalidToken; of families it knows nothing.
        """
        # A text over the limit is not worth a digest; `verify` says so.
        if len(token) > MAX_TOKEN_BYTES:
            return jwt.read(token, self._signing.keyring, issuer=self.issuer, now=now)
        digest = _digest(token)
        claims = self._known.get(digest)
        if claims is None:
            found = jwt.read(token, self._signing.keyring, issuer=self.issuer, now=now)
            self._keep(digest, found.claims if isinstance(found, LapsedClaims) else found)
            return found
        if now >= claims.exp:
            return LapsedClaims(claims)
        if claims.nbf > now:
            raise InvalidToken("token is not valid yet")
        return claims

    def remember(self, token: str, claims: Claims) -> None:
        """Take note of a token that was just signed."""
        self._keep(_digest(token), claims)

    def _keep(self, digest: bytes, claims: Claims) -> None:
        while len(self._known) >= self._limit:
            self._known.popitem(last=False)
        self._known[digest] = claims


def _digest(token: str | bytes) -> bytes:
    # Whatever is no ASCII is no token; it only must not stop the digest.
    raw = token.encode("utf-8", "replace") if isinstance(token, str) else token
    return hashlib.sha256(raw).digest()
