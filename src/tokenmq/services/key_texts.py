"""From the text of a key to its record, without any I/O.

A text that was found right is remembered by its SHA-256, so that the next time costs one
digest; that and nothing else is remembered of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from tokenmq.errors import InvalidKey
from tokenmq.tokens import secret
from tokenmq.tokens.records import KeyRecord

# Compared with where there is no such key: an unknown id takes as long as a wrong secret.
_NOBODY = bytes(32)


class KeyTexts:
    """The texts that were found right."""

    def __init__(self) -> None:
        # Ids by SHA-256 of a whole text.
        self._known: dict[bytes, str] = {}
        # Of these, the ones with a secret that was rotated since: when it ends, unix seconds.
        self._ends: dict[bytes, int] = {}

    def find(self, text: str | bytes, by_id: Mapping[str, KeyRecord]) -> KeyRecord:
        """Return the key of a text; of an earlier secret, with the end of that in place of its own.

        Whether it is over is not looked at.

        Raises: InvalidKey (shape, checksum, unknown, wrong secret; which is not told).
        """
        # Whatever is no ASCII is no key; it only must not stop the digest.
        raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
        digest = hashlib.sha256(raw).digest()
        record = by_id.get(self._known.get(digest, ""))
        if record is None:
            record = self._recognise(raw, digest, by_id)
        if digest in self._ends:
            return replace(record, expires_at=self._ends[digest])
        return record

    def forget(self) -> None:
        """Look at every text anew: a key is gone, or has another secret."""
        self._known.clear()
        self._ends.clear()

    def _recognise(self, raw: bytes, digest: bytes, by_id: Mapping[str, KeyRecord]) -> KeyRecord:
        try:
            shown = secret.parse(raw.decode("ascii"))
        except UnicodeDecodeError:
            raise InvalidKey("key has not the shape of one of ours") from None
        record = by_id.get(shown.id)
        same = secret.verify(shown, _NOBODY if record is None else record.digest)
        earlier = () if record is None else record.earlier
        ends = [one.until for one in earlier if secret.verify(shown, one.digest)]
        # The kind stands in the text, and the checksum is no secret: only the record's counts.
        if not (same or ends) or record is None or record.kind is not shown.kind:
            raise InvalidKey("the key is not known", key_id=shown.id)
        self._known[digest] = record.id
        if not same:
            self._ends[digest] = ends[0]
        return record
