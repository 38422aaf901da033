"""Identity providers of organizations: set up, listed, changed, deleted.

All of them are in memory, loaded at start and changed in the step of their commit, so
that finding the provider of a token is no I/O.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from tokenmq.errors import Conflict, InvalidRequest, InvalidToken, NotFound
from tokenmq.services import wording
from tokenmq.services.auditing import NO_TRACE, Action, AuditEntry, Trace, entry, of_key
from tokenmq.services.jwks import KeySets
from tokenmq.services.keys import authorise
from tokenmq.services.organizations import Organizations
from tokenmq.services.sealing import Seal
from tokenmq.services.texts import check_text
from tokenmq.services.upstream import Upstream
from tokenmq.stores.provider_store import ProviderStore
from tokenmq.tokens import ids
from tokenmq.tokens.foreign import kinds, rules
from tokenmq.tokens.foreign.configuration import Configuration, ProviderKind, ProviderRecord
from tokenmq.tokens.foreign.kinds import Source
from tokenmq.tokens.records import KeyRecord

# A list of them is answered in one piece.
MAX_PROVIDERS = 32


@dataclass(frozen=True, slots=True)
class ProviderRequest:
    """What is asked for; None = not said.

    Attributes:
        configuration: fields of `Configuration` as in JSON; one that is None gets its default.
        secret: the shared secret.
        drops_secret: it is to go.
        accept_open_policy: enable it although everybody may do everything.
    """

    name: str | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)
    secret: str | None = field(default=None, repr=False)
    drops_secret: bool = False
    enabled: bool | None = None
    accept_open_policy: bool = False


class Providers:
    """All identity providers of the instance."""

    def __init__(
        self,
        store: ProviderStore,
        *,
        organizations: Organizations,
        key_sets: KeySets,
        upstream: Upstream,
        seal: Seal,
    ) -> None:
        self._store = store
        self._organizations = organizations
        self._key_sets = key_sets
        self._upstream = upstream
        self._seal = seal
        self._by_id: dict[str, ProviderRecord] = {}
        self._secrets: dict[str, bytes] = {}
        # A change is read, held against the others, written: two at once would miss each other.
        self._changing = asyncio.Lock()
        organizations.on_deletion(self._drop_organization)

    async def load(self) -> None:
        """Read all providers into memory; secrets that were stored in the open are sealed.

        Raises: UnusableKey (a secret cannot be opened), Unavailable.
        """
        for record in await self._store.load():
            self._take(record)
            if (
                record.secret is not None
                and self._seal.is_closing
                and not self._seal.is_sealed(record.secret)
            ):
                closed = self._seal.close(self._secrets[record.id], record.id)
                await self._store.update(replace(record, secret=closed), applied=self._take)

    def list(self, org_id: str) -> list[ProviderRecord]:
        """Return the providers of an organization, oldest first."""
        return [record for record in self._by_id.values() if record.org_id == org_id]

    def require_enabled(self, provider_id: str) -> ProviderRecord:
        """Let what a provider founded go on only while it is enabled.

        Raises: InvalidToken (it is disabled or deleted).
        """
        record = self._by_id.get(provider_id)
        if record is None or not record.enabled:
            raise InvalidToken("the identity provider of this token is disabled or deleted")
        return record

    def answering(self, org_id: str, issuer: str, provider: str | None) -> tuple[ProviderRecord, Source]:
        """Return the enabled provider that an issuer is of, and where that one's keys are.

        Args:
            org_id: the organization.
            issuer: as the token says, not believed.
            provider: its kind or its id, where the caller names one.

        Raises: NotFound (`provider_not_found`).
        """
        for record in self.list(org_id):
            if not record.enabled or provider not in (None, record.kind, record.id):
                continue
            for source in kinds.sources(record.kind, record.configuration):
                if source.issuer == issuer:
                    return record, source
        raise NotFound(
            "no identity provider of this organization, enabled, issues such tokens",
            code="provider_not_found",
        )

    def secret_of(self, record: ProviderRecord) -> bytes | None:
        """Return the shared secret of a provider; None where its keys are public."""
        return self._secrets.get(record.id)

    async def create(
        self,
        kind: ProviderKind,
        request: ProviderRequest,
        *,
        key: KeyRecord,
        org_id: str,
        now: float,
        trace: Trace = NO_TRACE,
    ) -> ProviderRecord:
        """Set a provider up, durable before it returns; enabled unless it is said otherwise.

        Raises: Forbidden (scope `providers`), InvalidRequest (names each field), Conflict (name
            taken, untouched policy, prefix or issuer of another one), InvalidKey, NotFound,
            Unavailable.
        """
        authorise(key, "providers", org_id)
        if request.name is None:
            raise InvalidRequest(("name", "required"))
        provider_id = ids.new_provider_id(os.urandom(ids.PROVIDER_ID_ENTROPY))
        fresh = ProviderRecord(
            provider_id, org_id, kind, request.name, Configuration(), None, enabled=False, created_at=int(now)
        )
        asked = replace(request, enabled=True) if request.enabled is None else request
        async with self._changing:
            if len(self.list(org_id)) >= MAX_PROVIDERS:
                raise Conflict(f"an organization has at most {MAX_PROVIDERS} identity providers")
            record = self._changed(fresh, asked)
            audit = _noted(Action.PROVIDER_CREATE, record, key, now, trace, asked)
            return await self._store.create(record, made_by=key.id, audit=audit, applied=self._take)

    async def patch(
        self,
        provider_id: str,
        request: ProviderRequest,
        *,
        key: KeyRecord,
        org_id: str,
        now: float,
        trace: Trace = NO_TRACE,
    ) -> ProviderRecord:
        """Change what is named of a provider.

        Raises: as `create`; NotFound (`provider_not_found`).
        """
        authorise(key, "providers", org_id)
        async with self._changing:
            record = self._changed(self._existing(org_id, provider_id), request)
            audit = _noted(Action.PROVIDER_UPDATE, record, key, now, trace, request)
            return await self._store.update(record, audit=audit, applied=self._take)

    async def delete(
        self, provider_id: str, *, key: KeyRecord, org_id: str, now: float, trace: Trace = NO_TRACE
    ) -> None:
        """Delete a provider: no more exchanges, and no refreshes of what it founded.

        Raises: Forbidden, NotFound (`provider_not_found`), Unavailable.
        """
        authorise(key, "providers", org_id)
        async with self._changing:
            record = self._existing(org_id, provider_id)
            audit = _noted(Action.PROVIDER_DELETE, record, key, now, trace)
            await self._store.delete(provider_id, audit=audit, applied=self._drop)

    def _existing(self, org_id: str, provider_id: str) -> ProviderRecord:
        record = self._by_id.get(provider_id)
        if record is None or record.org_id != org_id:
            raise NotFound("there is no such identity provider", code="provider_not_found")
        return record

    def _changed(self, old: ProviderRecord, request: ProviderRequest) -> ProviderRecord:
        """Return a provider as it is to be, held against its kind, the policy and the others.

        Raises: InvalidRequest, Conflict.
        """
        name = old.name if request.name is None else request.name
        check_text("name", name, max_bytes=rules.MAX_NAME_BYTES)
        secret = None if request.drops_secret else old.secret
        if request.secret is not None:
            rules.check_secret(request.secret)
            secret = self._seal.close(request.secret.encode(), old.id)
        configuration = _merged(old.configuration, request.configuration)
        rules.check(old.kind, configuration, has_secret=secret is not None)
        self._check_addresses(old.kind, configuration, has_secret=secret is not None)
        enabled = old.enabled if request.enabled is None else request.enabled
        new = replace(old, name=name, configuration=configuration, secret=secret, enabled=enabled)
        if enabled and not old.enabled:
            self._check_policy(new, accepted=request.accept_open_policy)
        if enabled:
            _check_beside(new, [one for one in self.list(old.org_id) if one.enabled and one.id != old.id])
        return new

    def _check_addresses(self, kind: ProviderKind, configuration: Configuration, *, has_secret: bool) -> None:
        """Refuse an address that nothing would ever be fetched from."""
        if has_secret:
            return
        field_name = {
            ProviderKind.SUPABASE: "project_url",
            ProviderKind.AUTH0: "domain",
            ProviderKind.CLERK: "domains",
            ProviderKind.OIDC: "issuer",
        }.get(kind, "jwks_url")
        if configuration.jwks_url is not None:
            field_name = "jwks_url"
        for source in kinds.sources(kind, configuration):
            if problem := self._upstream.problem(source.url):
                raise InvalidRequest((field_name, problem))

    def _check_policy(self, record: ProviderRecord, *, accepted: bool) -> None:
        if not accepted and self._organizations.policy_is_untouched(record.org_id):
            raise Conflict(
                "the organization's policy still lets everybody do everything, and with a provider everybody "
                "is whoever can sign in there: change the policy, or say accept_open_policy"
            )

    def _take(self, record: ProviderRecord) -> ProviderRecord:
        if record.secret is None:
            self._secrets.pop(record.id, None)
        else:
            self._secrets[record.id] = self._seal.open(record.secret, record.id)
        self._by_id[record.id] = record
        self._key_sets.forget(record.id)
        return record

    def _drop(self, provider_id: str) -> None:
        self._by_id.pop(provider_id, None)
        self._secrets.pop(provider_id, None)
        self._key_sets.forget(provider_id)

    def _drop_organization(self, org_id: str) -> None:
        for record in self.list(org_id):
            self._drop(record.id)


def _noted(
    action: Action,
    record: ProviderRecord,
    key: KeyRecord,
    now: float,
    trace: Trace,
    request: ProviderRequest | None = None,
) -> AuditEntry:
    """Make the entry of a change; it names what was asked, and no value of a configuration."""
    changed = [] if request is None else sorted(request.configuration)
    if request is not None and (request.secret is not None or request.drops_secret):
        changed.append("jwt_secret")
    return entry(
        action,
        f"provider:{record.id}",
        actor=of_key(key),
        org_id=record.org_id,
        now=now,
        trace=trace,
        kind=record.kind.value,
        name=record.name,
        enabled=record.enabled,
        changed=changed or None,
        open_policy_accepted=True if request is not None and request.accept_open_policy else None,
    )


def _merged(old: Configuration, given: Mapping[str, Any]) -> Configuration:
    """Return a configuration with what is given in place of the old; None = its default.

    Raises: InvalidRequest.
    """
    whole = {**msgspec.to_builtins(old), **given}
    try:
        return msgspec.convert(
            {name: value for name, value in whole.items() if value is not None}, Configuration
        )
    except msgspec.ValidationError as error:
        path, words = wording.told(str(error), Configuration)
        raise InvalidRequest((path.removeprefix("."), words)) from None


def _check_beside(record: ProviderRecord, others: Iterable[ProviderRecord]) -> None:
    """Refuse a provider whose users, or whose tokens, could be taken for another's.

    Raises: Conflict.
    """
    enabled = [record, *others]
    if rules.overlapping_prefixes([one.configuration.user_prefix for one in enabled]):
        raise Conflict(
            "of several enabled identity providers each needs its own user_prefix, none of which begins "
            "another one"
        )
    issuers = [source.issuer for one in enabled for source in kinds.sources(one.kind, one.configuration)]
    if len(set(issuers)) < len(issuers):
        raise Conflict("another enabled identity provider has this issuer; one can have several audiences")
