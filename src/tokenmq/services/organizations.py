"""Organizations, all of them in memory with their settings and their policy.

Loaded at start, changed in the step of each commit.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tokenmq.access.origins import matches_origin
from tokenmq.access.policy import Policy, starting_document, starting_policy
from tokenmq.access.recording import HistoryRules
from tokenmq.access.rules import PolicyDocument
from tokenmq.errors import Conflict, Forbidden, InvalidRequest, NotFound
from tokenmq.services.auditing import NO_TRACE, SYSTEM, Action, Trace, entry, of_key
from tokenmq.services.keys import Keys, require_administrator
from tokenmq.services.live import Door
from tokenmq.services.organization_changes import merged_settings, noted, require_sound
from tokenmq.services.paging import Page, Position, check_limit, page_of, read_cursor
from tokenmq.services.texts import check_text
from tokenmq.stores.base import OrganizationStore
from tokenmq.tokens import ids
from tokenmq.tokens.records import KeyRecord, OrganizationRecord, OrganizationSettings

MAX_NAME_BYTES = 255
_NO_HISTORY = HistoryRules()


class Organizations:
    """The tenants of the instance."""

    def __init__(self, store: OrganizationStore, keys: Keys, door: Door) -> None:
        self._store = store
        self._keys = keys
        self._door = door
        self._by_id: dict[str, OrganizationRecord] = {}
        # Most organizations are alike: one policy for all that have the same `$` trees and
        # none of their own, and a union of origins that is short.
        self._starting: dict[tuple[str, ...], Policy] = {}
        self._own: dict[str, tuple[PolicyDocument, Policy]] = {}
        self._origins: frozenset[str] = frozenset()
        # A change is read, merged, written: two at once would lose one.
        self._changing = asyncio.Lock()
        self._deleted: list[Callable[[str], None]] = []

    def on_deletion(self, forget: Callable[[str], None]) -> None:
        """Have `forget` called with the id of each organization whose deletion was just committed."""
        self._deleted.append(forget)

    async def load(self) -> None:
        """Read all organizations into memory.

        Raises: Unavailable: the store fails, or has a policy that is none.
        """
        self._by_id = {record.id: record for record in await self._store.load()}
        for record in self._by_id.values():
            if record.policy is not None:
                require_sound(record.id, record.policy)
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
        record = self._existing(org_id)
        if record.policy is None:
            return self._starting[record.settings.dollar_trees]
        return self._own[org_id][1]

    def policy_document_of(self, org_id: str) -> PolicyDocument:
        """Return that policy as it is written, the starting document explicitly.

        Raises: NotFound (`organization_not_found`).
        """
        record = self._existing(org_id)
        return starting_document(record.settings.dollar_trees) if record.policy is None else record.policy

    def policy_is_untouched(self, org_id: str) -> bool:
        """Tell whether an organization has the starting document still.

        Raises: NotFound (`organization_not_found`).
        """
        return self._existing(org_id).policy is None

    def history_rules_of(self, org_id: str) -> HistoryRules:
        """Return what of an organization's messages is recorded.

        Raises: NotFound (`organization_not_found`).
        """
        return HistoryRules(self._existing(org_id).history)

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
        self,
        *,
        name: str,
        settings: Mapping[str, Any] | None,
        key: KeyRecord,
        now: float,
        trace: Trace = NO_TRACE,
    ) -> OrganizationRecord:
        """Make an organization; `settings` as in JSON, absent fields get their defaults.

        Raises: Forbidden (not an `ik_` key), InvalidRequest, Conflict (name taken), Unavailable.
        """
        require_administrator(key)
        return await self._create(name, settings, of_key(key), now, trace)

    async def create_first(
        self,
        name: str,
        *,
        settings: Mapping[str, Any] | None,
        now: float,
        history: HistoryRules = _NO_HISTORY,
    ) -> OrganizationRecord:
        """Make an organization in nobody's name; for `bootstrap` alone.

        Raises: InvalidRequest, Conflict (name taken), Unavailable.
        """
        return await self._create(name, settings, SYSTEM, now, NO_TRACE, history)

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
        self,
        org_id: str,
        *,
        name: str | None,
        settings: Mapping[str, Any] | None,
        key: KeyRecord,
        now: float,
        trace: Trace = NO_TRACE,
    ) -> OrganizationRecord:
        """Change the name and those settings that are named; None = leave.

        Raises: Forbidden, NotFound, InvalidRequest, Conflict (name taken), Unavailable.
        """
        require_administrator(key)
        if name is not None:
            check_text("name", name, max_bytes=MAX_NAME_BYTES)
        async with self._changing:
            old = self._existing(org_id)
            merged = merged_settings(old.settings, settings or {})
            new = replace(old, name=old.name if name is None else name, settings=merged)
            audit = noted(
                Action.ORGANIZATION_UPDATE,
                new,
                of_key(key),
                now,
                trace,
                changed=sorted(settings or {}) or None,
            )
            return await self._store.update(new, audit=audit, applied=self._change)

    async def set_policy(
        self,
        org_id: str,
        document: PolicyDocument,
        *,
        revision: str | None,
        key: KeyRecord,
        now: float,
        trace: Trace = NO_TRACE,
    ) -> None:
        """Put a policy in force, durable before it returns, in the running broker too.

        The starting document is no policy of its own: with it the organization is untouched again.

        Args:
            org_id: the organization.
            document: without errors (`access.checking`).
            revision: of the document that it takes the place of; None: of whatever there is.
            key: whose change it is.
            now: unix seconds.
            trace: where the request came from.

        Raises: NotFound, Conflict (it would take the place of something else), Unavailable.
        """
        async with self._changing:
            old = self._existing(org_id)
            if revision not in (None, self.policy_document_of(org_id).revision):
                raise Conflict("the policy is not the one of this revision any more: get it again")
            is_starting = document == starting_document(old.settings.dollar_trees)
            new = replace(old, policy=None if is_starting else document)
            audit = entry(
                Action.POLICY_CHANGE,
                f"organization:{org_id}",
                actor=of_key(key),
                org_id=org_id,
                now=now,
                trace=trace,
                rules=len(document.rules),
                revision=document.revision,
            )
            await self._store.update(new, audit=audit, applied=self._change)

    async def set_history(
        self,
        org_id: str,
        rules: HistoryRules,
        *,
        key: KeyRecord,
        now: float,
        trace: Trace = NO_TRACE,
    ) -> None:
        """Say what of an organization's messages is recorded, durable before it returns.

        Args:
            org_id: the organization.
            rules: checked (`services.history`).
            key: whose change it is.
            now: unix seconds.
            trace: where the request came from.

        Raises: NotFound, Unavailable.
        """
        async with self._changing:
            new = replace(self._existing(org_id), history=rules.rules)
            about = f"organization:{org_id}"
            audit = entry(
                Action.HISTORY_RULES_CHANGE,
                about,
                actor=of_key(key),
                org_id=org_id,
                now=now,
                trace=trace,
                rules=len(rules.rules),
            )
            await self._store.update(new, audit=audit, applied=self._change)

    async def delete(self, org_id: str, *, key: KeyRecord, now: float, trace: Trace = NO_TRACE) -> int:
        """Delete an organization with all that is its; return the sessions closed.

        Raises: Forbidden, NotFound, Unavailable.
        """
        require_administrator(key)
        async with self._changing:
            record = self._existing(org_id)
            audit = noted(Action.ORGANIZATION_DELETE, record, of_key(key), now, trace)
            return await self._store.delete(org_id, audit=audit, applied=self._drop)

    async def _create(
        self,
        name: str,
        settings: Mapping[str, Any] | None,
        actor: str,
        now: float,
        trace: Trace,
        history: HistoryRules = _NO_HISTORY,
    ) -> OrganizationRecord:
        check_text("name", name, max_bytes=MAX_NAME_BYTES)
        org_id = ids.new_org_id(os.urandom(ids.ORG_ID_ENTROPY))
        merged = merged_settings(OrganizationSettings(), settings or {})
        record = OrganizationRecord(org_id, name, merged, int(now), history=history.rules)
        audit = noted(
            Action.ORGANIZATION_CREATE, record, actor, now, trace, changed=sorted(settings or {}) or None
        )
        return await self._store.create(record, audit=audit, applied=self._take)

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
        for forget in self._deleted:
            forget(org_id)
        return self._door.live.end_organization(org_id)

    def _derive(self) -> None:
        """Work out what is the same for many organizations."""
        all_settings = [record.settings for record in self._by_id.values()]
        self._origins = frozenset(pattern for one in all_settings for pattern in one.allowed_origins)
        self._starting = {
            trees: self._starting.get(trees) or starting_policy(trees)
            for trees in {one.dollar_trees for one in all_settings}
        }
        self._own = {
            org_id: self._compiled(org_id, record.policy)
            for org_id, record in self._by_id.items()
            if record.policy is not None
        }

    def _compiled(self, org_id: str, document: PolicyDocument) -> tuple[PolicyDocument, Policy]:
        known = self._own.get(org_id)
        return known if known is not None and known[0] is document else (document, Policy(document.rules))


def _missing() -> NotFound:
    return NotFound("there is no such organization", code="organization_not_found")


def _position(record: OrganizationRecord) -> Position:
    return record.created_at, record.id
