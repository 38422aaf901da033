"""Organizations, all of them in memory with their settings and their policy.

Loaded at start, changed in the step of each commit.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from tokenmq.access.origins import matches_origin
from tokenmq.access.policy import Policy, starting_policy
from tokenmq.errors import Forbidden, InvalidRequest, NotFound
from tokenmq.services import wording
from tokenmq.services.keys import Keys, require_administrator
from tokenmq.services.live import Door
from tokenmq.services.paging import Page, Position, check_limit, page_of, read_cursor
from tokenmq.services.texts import check_text
from tokenmq.stores.base import OrganizationStore
from tokenmq.tokens import ids, settings
from tokenmq.tokens.records import KeyRecord, OrganizationRecord, OrganizationSettings

MAX_NAME_BYTES = 255
_FIELDS = frozenset(OrganizationSettings.__struct_fields__)


class Organizations:
    """The tenants of the instance."""

    def __init__(self, store: OrganizationStore, keys: Keys, door: Door) -> None:
        self._store = store
        self._keys = keys
        self._door = door
        self._by_id: dict[str, OrganizationRecord] = {}
        # Most organizations are alike: one policy for all that have the same `$` trees,
        # and a union of origins that is short.
        self._policies: dict[tuple[str, ...], Policy] = {}
        self._origins: frozenset[str] = frozenset()
        # A change is read, merged, written: two at once would lose one.
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Read all organizations into memory.

        Raises: Unavailable.
        """
        self._by_id = {record.id: record for record in await self._store.load()}
        self._derive()

    def resolve(self, key: KeyRecord, organization_id: str | None) -> OrganizationRecord:
        """Return the organization that a call with this key is about.

        Raises:
            InvalidRequest: an `ik_` key names none, another key names a foreign one.
            NotFound (`organization_not_found`): it is not there (any more).
        """
        if key.org_id is None:
            if organization_id is None:
                raise InvalidRequest(("organization_id", "an ik_ key must name the organization"))
            return self._existing(organization_id)
        if organization_id is not None and organization_id != key.org_id:
            raise InvalidRequest(("organization_id", "is not the organization of the key"))
        return self._existing(key.org_id)

    def find(self, org_id: str) -> OrganizationRecord | None:
        """Return an organization, None when there is none of this id."""
        return self._by_id.get(org_id)

    def policy_of(self, org_id: str) -> Policy:
        """Return the policy that cuts the grants of an organization's users.

        Raises: NotFound (`organization_not_found`).
        """
        return self._policies[self._existing(org_id).settings.dollar_trees]

    def settings_of(self, org_id: str) -> OrganizationSettings:
        """Return an organization's settings.

        Raises: NotFound (`organization_not_found`).
        """
        return self._existing(org_id).settings

    def admits_origin(self, origin: str, org_id: str | None = None) -> bool:
        """Tell whether a browser's origin is allowed by this organization, or by any of them."""
        if org_id is None:
            patterns: frozenset[str] | tuple[str, ...] = self._origins
        else:
            record = self._by_id.get(org_id)
            patterns = () if record is None else record.settings.allowed_origins
        return any(matches_origin(pattern, origin) for pattern in patterns)

    def require_origin(self, origin: str | None, org_id: str) -> None:
        """Refuse a web page that an organization does not allow; None is no page.

        Raises: Forbidden.
        """
        if origin is not None and not self.admits_origin(origin, org_id):
            raise Forbidden("the organization does not allow this page's origin")

    async def create(
        self, *, name: str, settings: Mapping[str, Any] | None, key: KeyRecord, now: float
    ) -> OrganizationRecord:
        """Make an organization; `settings` as in JSON, absent fields get their defaults.

        Raises: Forbidden (not an `ik_` key), InvalidRequest, Conflict (name taken), Unavailable.
        """
        require_administrator(key)
        return await self.create_first(name, settings=settings, now=now)

    async def create_first(
        self, name: str, *, settings: Mapping[str, Any] | None, now: float
    ) -> OrganizationRecord:
        """Make an organization in nobody's name; for `bootstrap` alone.

        Raises: InvalidRequest, Conflict (name taken), Unavailable.
        """
        check_text("name", name, max_bytes=MAX_NAME_BYTES)
        org_id = ids.new_org_id(os.urandom(ids.ORG_ID_ENTROPY))
        merged = _merged(OrganizationSettings(), settings or {})
        record = OrganizationRecord(org_id, name, merged, int(now))
        return await self._store.create(record, applied=self._take)

    def get(self, org_id: str, *, key: KeyRecord) -> OrganizationRecord:
        """Return an organization.

        Raises: Forbidden (not an `ik_` key), NotFound (`organization_not_found`).
        """
        require_administrator(key)
        return self._existing(org_id)

    def named(self, name: str) -> OrganizationRecord | None:
        """Return the organization of a name, None when there is none."""
        return next((record for record in self._by_id.values() if record.name == name), None)

    def list(self, *, key: KeyRecord, limit: int | None, cursor: str | None) -> Page[OrganizationRecord]:
        """Return the organizations, oldest first.

        Raises: Forbidden (not an `ik_` key), InvalidRequest (limit or cursor).
        """
        require_administrator(key)
        size = check_limit(limit)
        listing = ("organizations",)
        after = read_cursor(listing, cursor)
        records = sorted(self._by_id.values(), key=_position)
        rest = [record for record in records if after is None or _position(record) > after]
        return page_of(rest[: size + 1], size, listing, _position)

    async def patch(
        self, org_id: str, *, name: str | None, settings: Mapping[str, Any] | None, key: KeyRecord
    ) -> OrganizationRecord:
        """Change the name and those settings that are named; None = leave.

        Raises: Forbidden, NotFound, InvalidRequest, Conflict (name taken), Unavailable.
        """
        require_administrator(key)
        if name is not None:
            check_text("name", name, max_bytes=MAX_NAME_BYTES)
        async with self._changing:
            old = self._existing(org_id)
            merged = _merged(old.settings, settings or {})
            new = replace(old, name=old.name if name is None else name, settings=merged)
            return await self._store.update(new, applied=self._change)

    async def delete(self, org_id: str, *, key: KeyRecord) -> int:
        """Delete an organization with all that is its; return the sessions closed.

        Raises: Forbidden, NotFound, Unavailable.
        """
        require_administrator(key)
        async with self._changing:
            self._existing(org_id)
            return await self._store.delete(org_id, applied=self._drop)

    def _existing(self, org_id: str) -> OrganizationRecord:
        record = self._by_id.get(org_id)
        if record is None:
            raise _missing()
        return record

    def _take(self, record: OrganizationRecord) -> OrganizationRecord:
        self._by_id[record.id] = record
        self._derive()
        return record

    def _change(self, record: OrganizationRecord) -> OrganizationRecord:
        self._take(record)
        self._door.live.organization_changed(record)
        return record

    def _drop(self, org_id: str) -> int:
        self._by_id.pop(org_id, None)
        self._derive()
        self._keys.drop_organization(org_id)
        return self._door.live.end_organization(org_id)

    def _derive(self) -> None:
        """Work out what is the same for many organizations."""
        all_settings = [record.settings for record in self._by_id.values()]
        self._origins = frozenset(pattern for one in all_settings for pattern in one.allowed_origins)
        self._policies = {
            trees: self._policies.get(trees) or starting_policy(trees)
            for trees in {one.dollar_trees for one in all_settings}
        }


def _merged(old: OrganizationSettings, given: Mapping[str, Any]) -> OrganizationSettings:
    """Return settings with those that are given in place of the old ones.

    Raises: InvalidRequest, which names every field that is wrong as far as it can be told.
    """
    unknown = sorted(given.keys() - _FIELDS)
    if unknown:
        raise InvalidRequest(*((f"settings.{name}", "is not a setting") for name in unknown))
    try:
        merged = msgspec.convert({**msgspec.to_builtins(old), **given}, OrganizationSettings)
    except msgspec.ValidationError as error:
        path, words = wording.told(str(error), OrganizationSettings)
        raise InvalidRequest((f"settings{path}", words)) from None
    try:
        settings.check(merged)
    except InvalidRequest as error:
        raise InvalidRequest(*((f"settings.{name}", text) for name, text in error.problems)) from None
    return merged


def _missing() -> NotFound:
    return NotFound("there is no such organization", code="organization_not_found")


def _position(record: OrganizationRecord) -> Position:
    return record.created_at, record.id
