"""Small secrets at rest: sealed with the secret that encrypts the signing keys, if there is one.

AES-256-GCM under a key that scrypt makes of the passphrase. Each is bound to the record
that it belongs to, so that it opens in no other.
"""

from __future__ import annotations

import functools
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from tokenmq.errors import UnusableKey

_OPEN, _SEALED = b"\x00", b"\x01"
_NONCE_BYTES = 12
# The passphrase is the instance's own; one salt for all its records costs one derivation.
_SALT = b"tokenmq secrets at rest"
# RFC 7914 §2: 16 MiB and some 40 ms, once a process.
_COST, _BLOCK, _PARALLEL = 1 << 14, 8, 1


class Seal:
    """Seals and opens."""

    def __init__(self, secret: str | None) -> None:
        """Use a passphrase; None keeps what comes as it is."""
        self._secret = secret

    @property
    def is_closing(self) -> bool:
        """Whether there is a passphrase."""
        return self._secret is not None

    @staticmethod
    def is_sealed(kept: bytes) -> bool:
        """Tell whether it needs a passphrase to be opened."""
        return kept.startswith(_SEALED)

    def close(self, plain: bytes, owner: str) -> bytes:
        """Write a secret as it is kept in the record of `owner`."""
        if self._secret is None:
            return _OPEN + plain
        nonce = os.urandom(_NONCE_BYTES)
        return _SEALED + nonce + self._cipher.encrypt(nonce, plain, owner.encode())

    def open(self, kept: bytes, owner: str) -> bytes:
        """Read a secret that `close` wrote, whether or not there was a passphrase then.

        Raises: UnusableKey (damaged, another passphrase, another record).
        """
        if kept.startswith(_OPEN):
            return kept[1:]
        nonce, rest = kept[1 : 1 + _NONCE_BYTES], kept[1 + _NONCE_BYTES :]
        if not self.is_sealed(kept) or self._secret is None or not rest:
            raise UnusableKey(
                "a stored secret cannot be opened: it is damaged, or needs the secret of the keys"
            )
        try:
            return self._cipher.decrypt(nonce, rest, owner.encode())
        except InvalidTag:
            raise UnusableKey(
                "a stored secret cannot be opened: it is damaged, or needs another secret"
            ) from None

    @functools.cached_property
    def _cipher(self) -> AESGCM:
        derivation = Scrypt(salt=_SALT, length=32, n=_COST, r=_BLOCK, p=_PARALLEL)
        return AESGCM(derivation.derive((self._secret or "").encode()))
