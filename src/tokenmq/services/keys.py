"""Servers' keys: made, shown once, looked up in memory, deleted.

The process is the only writer of its store, so all keys are kept in memory, loaded at
start and changed in the step of their commit: authenticating a key is no I/O.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tokenmq.errors import Forbidden, InvalidKey, NotFound
from tokenmq.services.families import Families
from tokenmq.services.key_requests import KeyRequest, check_request
from tokenmq.services.live import Door
from tokenmq.services.paging import Page, Position, check_limit, page_of, read_cursor
from tokenmq.stores.base import EndedFamily, KeyStore, Selection
from tokenmq.tokens import secret
from tokenmq.tokens.records import KeyKind, KeyRecord

__all__ = ["KeyRequest", "CreatedKey", "Revoked", "Keys", "authorise", "require", "require_administrator"]

# Compared with where there is no such key: an unknown id takes as long as a wrong secret.
_NOBODY = bytes(32)
_DELETED = "its key was deleted"


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A new key; `text` exists here and nowhere else."""

    text: str = field(repr=False)
    record: KeyRecord


@dataclass(frozen=True, slots=True)
class Revoked:
    """What a revocation did."""

    revoked: int
    sessions_closed: int


def require(key: KeyRecord, scope: str) -> None:
    """Refuse a key that does not open `scope` (one of `key_requests.SCOPES`).

    `ik` and `sk` keys open everything, `pk` keys nothing.

    Raises: Forbidden.
    """
    if key.kind in (KeyKind.INSTANCE, KeyKind.SECRET):
        return
    if key.kind is not KeyKind.RESTRICTED or scope not in key.scopes:
        raise Forbidden(f"the key lacks the scope {scope}")


def require_administrator(key: KeyRecord) -> None:
    """Refuse every key that is not an instance administrator's (`ik_`).

    Raises: Forbidden.
    """
    if key.kind is not KeyKind.INSTANCE:
        raise Forbidden("this needs an instance administrator's key (ik_)")


def authorise(key: KeyRecord, scope: str, org_id: str) -> None:
    """Refuse a key that does not open `scope` in this organization.

    Raises: Forbidden, NotFound (`organization_not_found`: a foreign one is not there).
    """
    require(key, scope)
    if key.org_id is not None and key.org_id != org_id:
        raise NotFound("there is no such organization", code="organization_not_found")


class Keys:
    """All keys of the instance."""

    def __init__(self, store: KeyStore, families: Families, door: Door) -> None:
        self._store = store
        self._families = families
        self._door = door
        self._by_id: dict[str, KeyRecord] = {}
        # Ids by SHA-256 of a whole text that was found right; that and nothing else is remembered.
        self._known: dict[bytes, str] = {}
        # Last uses that are not stored yet: unix seconds by id.
        self._used: dict[str, int] = {}

    async def load(self) -> None:
        """Read all keys into memory.

        Raises: Unavailable.
        """
        self._by_id = {record.id: record for record in await self._store.load()}

    def authenticate(self, text: str | bytes, now: float) -> KeyRecord:
        """Return the key whose text this is; synchronous, no I/O.

        Raises: InvalidKey (shape, checksum, unknown, wrong secret, expired, deleted; which is not told).
        """
        # Whatever is no ASCII is no key; it only must not stop the digest.
        raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
        digest = hashlib.sha256(raw).digest()
        record = self._by_id.get(self._known.get(digest, ""))
        if record is None:
            record = self._recognise(raw)
            self._known[digest] = record.id
        if record.expires_at is not None and now >= record.expires_at:
            raise InvalidKey("the key is not known", key_id=record.id)
        self._used[record.id] = int(now)
        return record

    def is_good(self, key_id: str, now: float) -> bool:
        """Tell whether there is this key, neither deleted nor expired."""
        record = self._by_id.get(key_id)
        return record is not None and (record.expires_at is None or now < record.expires_at)

    async def create(self, request: KeyRequest, *, key: KeyRecord, org_id: str, now: float) -> CreatedKey:
        """Make a key for an organization, durable before it returns.

        Args:
            request: as asked for.
            key: the maker; needs the scope `keys`. Nobody makes a key wider than their own.
            org_id: from `Organizations.resolve`.
            now: unix seconds.

        Raises: Forbidden, GrantTooWide, InvalidRequest (names each field), InvalidKey
            (the maker is gone at the commit), NotFound, Unavailable.
        """
        authorise(key, "keys", org_id)
        checked = check_request(request, maker=key, now=now)
        new = self._new(checked.kind)
        record = KeyRecord(
            id=new.id,
            org_id=org_id,
            kind=checked.kind,
            name=request.name,
            digest=new.digest,
            hint=new.hint,
            scopes=checked.scopes,
            grants=checked.grants,
            created_at=int(now),
            expires_at=checked.expires_at,
        )
        stored = await self._store.create(record, made_by=key.id, applied=self._take)
        return CreatedKey(new.text, stored)

    async def create_administrator(self, name: str, *, now: float) -> CreatedKey:
        """Make an instance administrator's key, which never expires; for `bootstrap` alone.

        Raises: Unavailable.
        """
        return await self._create_by_nobody(KeyKind.INSTANCE, name, None, now)

    async def create_first(self, name: str, *, org_id: str, now: float) -> CreatedKey:
        """Make a secret key that never expires; for `bootstrap` alone.

        Raises: NotFound (no such organization), Unavailable.
        """
        return await self._create_by_nobody(KeyKind.SECRET, name, org_id, now)

    async def delete_other_administrators(self, kept: str, *, now: float) -> None:
        """Delete all instance administrators' keys but the one with this id; for `bootstrap` alone.

        Raises: Unavailable (some may be there still).
        """
        administrators = {key.id for key in self._by_id.values() if key.kind is KeyKind.INSTANCE}
        for key_id in administrators - {kept}:

            def applied(_: Sequence[EndedFamily], key_id: str = key_id) -> None:
                self._drop(key_id)

            await self._store.delete(key_id, now=now, revoke=None, reason=_DELETED, applied=applied)

    def list(self, org_id: str, *, key: KeyRecord, limit: int | None, cursor: str | None) -> Page[KeyRecord]:
        """Return the keys of an organization that are not deleted, oldest first.

        Raises: Forbidden, NotFound, InvalidRequest (limit or cursor).
        """
        authorise(key, "keys", org_id)
        size = check_limit(limit)
        listing = ("keys", org_id)
        after = read_cursor(listing, cursor)
        records = sorted(
            (record for record in self._by_id.values() if record.org_id == org_id), key=_position
        )
        rest = [self._with_use(record) for record in records if after is None or _position(record) > after]
        return page_of(rest[: size + 1], size, listing, _position)

    async def delete(
        self, key_id: str, *, key: KeyRecord, org_id: str, revoke_tokens: bool, now: float
    ) -> Revoked:
        """Delete a key, close its server connections, and revoke what it issued if asked.

        Raises: Forbidden, NotFound, Unavailable.
        """
        authorise(key, "keys", org_id)
        if revoke_tokens:
            require(key, "tokens:revoke")
        record = self._by_id.get(key_id)
        if record is None or record.org_id != org_id:
            raise NotFound("there is no such key")

        def applied(ended: Sequence[EndedFamily]) -> Revoked:
            self._drop(key_id)
            self._families.mark(ended, now)
            live = self._door.live
            closed = live.end_key(org_id, key_id, reason=_DELETED)
            if ended:
                token_ids = [family.token_id for family in ended]
                closed += live.revoke(org_id, token_ids, reason=_DELETED, keep_retained=False)
            return Revoked(len(ended), closed)

        revoke = Selection(org_id, key_id=key_id) if revoke_tokens else None
        return await self._store.delete(key_id, now=now, revoke=revoke, reason=_DELETED, applied=applied)

    def drop_organization(self, org_id: str) -> None:
        """Forget the keys of an organization whose deletion was just committed."""
        for key_id in [record.id for record in self._by_id.values() if record.org_id == org_id]:
            self._drop(key_id)

    async def flush(self) -> None:
        """Store when keys were last used, as far as that is not stored.

        Raises: Unavailable; it is tried again next time.
        """
        used = {
            key_id: at
            for key_id, at in self._used.items()
            if (record := self._by_id.get(key_id)) is not None and record.last_used_at != at
        }
        await self._store.touch(used)
        for key_id, at in used.items():
            if (record := self._by_id.get(key_id)) is not None:
                self._by_id[key_id] = replace(record, last_used_at=at)

    def _recognise(self, raw: bytes) -> KeyRecord:
        """Return the key of a text that is shown for the first time.

        Raises: InvalidKey.
        """
        try:
            shown = secret.parse(raw.decode("ascii"))
        except UnicodeDecodeError:
            raise InvalidKey("key has not the shape of one of ours") from None
        record = self._by_id.get(shown.id)
        same = secret.verify(shown, _NOBODY if record is None else record.digest)
        # The kind stands in the text, and the checksum is no secret: only the record's counts.
        if not same or record is None or record.kind is not shown.kind:
            raise InvalidKey("the key is not known", key_id=shown.id)
        return record

    async def _create_by_nobody(self, kind: KeyKind, name: str, org_id: str | None, now: float) -> CreatedKey:
        new = self._new(kind)
        record = KeyRecord(
            id=new.id,
            org_id=org_id,
            kind=kind,
            name=name,
            digest=new.digest,
            hint=new.hint,
            scopes=(),
            grants=(),
            created_at=int(now),
        )
        stored = await self._store.create(record, made_by=None, applied=self._take)
        return CreatedKey(new.text, stored)

    def _new(self, kind: KeyKind) -> secret.NewKey:
        while True:
            new = secret.create(kind, entropy=os.urandom(secret.KEY_ENTROPY))
            if new.id not in self._by_id:
                return new

    def _take(self, record: KeyRecord) -> KeyRecord:
        self._by_id[record.id] = record
        return record

    def _drop(self, key_id: str) -> None:
        self._by_id.pop(key_id, None)
        self._used.pop(key_id, None)
        self._known.clear()

    def _with_use(self, record: KeyRecord) -> KeyRecord:
        at = self._used.get(record.id)
        return record if at is None else replace(record, last_used_at=at)


def _position(record: KeyRecord) -> Position:
    return record.created_at, record.id
