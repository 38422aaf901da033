"""What the services need of a store, as small interfaces, with what is atomic.

Every write is one operation: it is durable when its method returns, wholly or not at
all, and it fails alone. Concurrent operations share a commit, in an order that is some
serial order of them. Each write takes `applied`, a plain function that the store calls
with the outcome in the very step in which the commit became known and whatever became
of the caller; its result is the method's result. So memory changes exactly when the
disk has. An operation that failed calls nothing. (`KeptStore.save` is no such method: the
core waits for nobody.) What is to stand of it in the audit trail goes along as `audit`,
and is there exactly when the change is.

All methods raise `errors.Unavailable` when the store fails: nothing was changed.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from tokenmq.stores.audit import Audit, KeepsAudit
from tokenmq.stores.family_life import FamilyLifeStore
from tokenmq.stores.figures import Writing
from tokenmq.stores.history import KeepsHistory
from tokenmq.stores.kept import KeptStore
from tokenmq.stores.provider_store import KeepsProviders
from tokenmq.tokens.records import FamilyRecord, KeyRecord, OrganizationRecord, SigningKeyRecord

Result = TypeVar("Result")

# The longest that a password past its expiry still matters (`refresh_grace_seconds` at
# most): until then a family's end is remembered.
GRACE_SECONDS = 900


class Replacing(enum.Enum):
    """Which earlier families of the same organization, user and integration end."""

    NONE = "none"
    IDLE = "idle"  # those without a live connection stop refreshing
    ALL = "all"  # all of them, and their passwords open nothing any more


@dataclass(frozen=True, slots=True)
class IdempotencyScope:
    """What an `Idempotency-Key` is unique within: the API key and the path."""

    key_id: str
    path: str
    value: str


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """What a request with an `Idempotency-Key` made.

    Attributes:
        digest: of the request's body.
        token_id: the family it made.
        forget_at: from this second on the value may be used for something else.
    """

    scope: IdempotencyScope
    digest: bytes
    token_id: str
    forget_at: int


@dataclass(frozen=True, slots=True)
class NewFamily:
    """A family to be stored, and what goes with it in the same commit.

    Attributes:
        connected: of these family ids of its organization, which have a live connection
            now; asked on the event loop, inside the commit, with `Replacing.IDLE`.
    """

    record: FamilyRecord
    replacing: Replacing
    connected: Callable[[str, Collection[str]], set[str]]
    idempotency: IdempotencyRecord | None = None


@dataclass(frozen=True, slots=True)
class EndedFamily:
    """A family that is not as its claims say: revoked, or replaced with its sessions.

    Attributes:
        expires_at: expiry of its newest password, unix seconds.
        revoked: False when it was replaced.
    """

    token_id: str
    expires_at: int
    revoked: bool


@dataclass(frozen=True, slots=True)
class Creation:
    """What storing a family did.

    Attributes:
        stored: False when another request with the same idempotency scope was first:
            then nothing was written.
        replaced: the earlier families that a replacement ended, with `Replacing.ALL` only:
            of the others nothing changes for connections.
        idle: the earlier families that a replacement with `Replacing.IDLE` ended.
    """

    stored: bool
    replaced: tuple[EndedFamily, ...] = ()
    idle: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Selection:
    """Families of one organization, by exactly one of the first four, or all.

    Attributes:
        client_id: bound to exactly this client id, and the one that `opened_by` names.
        opened_by: of an organization and a client id, the family that opened its session;
            asked on the event loop, inside the commit.
        issued_before: only those first issued before this, unix seconds.
        keep_retained: let the retained messages that they left stay.
    """

    org_id: str
    token_id: str | None = None
    user_id: str | None = None
    client_id: str | None = None
    key_id: str | None = None
    all: bool = False
    opened_by: Callable[[str, str], str | None] | None = None
    issued_before: float | None = None
    keep_retained: bool = False


@dataclass(frozen=True, slots=True)
class FamilyQuery:
    """A page of an organization's families, newest first.

    Attributes:
        status: `active`, `expired`, `revoked`, `replaced` as of `now`; None = any.
        after: first issue and id of the last one that was seen; None = from the start.
    """

    org_id: str
    user_id: str | None
    status: str | None
    now: float
    limit: int
    after: tuple[int, str] | None = None


class OrganizationStore(Protocol):
    """Organizations."""

    async def load(self) -> list[OrganizationRecord]:
        """Return all of them, oldest first."""
        ...

    async def create(
        self,
        record: OrganizationRecord,
        *,
        audit: Audit[OrganizationRecord] = (),
        applied: Callable[[OrganizationRecord], Result],
    ) -> Result:
        """Store a new one.

        Raises: Conflict (id or name taken).
        """
        ...

    async def update(
        self,
        record: OrganizationRecord,
        *,
        audit: Audit[OrganizationRecord] = (),
        applied: Callable[[OrganizationRecord], Result],
    ) -> Result:
        """Store name, settings, policy and rules of history of an existing one.

        Raises: NotFound (`organization_not_found`), Conflict (name taken).
        """
        ...

    async def delete(
        self, org_id: str, *, audit: Audit[str] = (), applied: Callable[[str], Result]
    ) -> Result:
        """Remove one with its keys and families, and all that is kept for it.

        Its rows of the audit trail stay; who its users are is forgotten.

        Raises: NotFound (`organization_not_found`).
        """
        ...


class KeyStore(Protocol):
    """Keys; a deleted one stays as a row, because families name it."""

    async def load(self) -> list[KeyRecord]:
        """Return all that are not deleted, oldest first."""
        ...

    async def create(
        self,
        record: KeyRecord,
        *,
        made_by: str | None,
        audit: Audit[KeyRecord] = (),
        applied: Callable[[KeyRecord], Result],
    ) -> Result:
        """Store a new one; the key `made_by` must be good at the commit (None: nobody's).

        Raises: InvalidKey (the maker is deleted or expired), NotFound (no such organization).
        """
        ...

    async def delete(
        self,
        key_id: str,
        *,
        now: float,
        revoke: Selection | None,
        reason: str | None,
        audit: Audit[Sequence[EndedFamily]] = (),
        applied: Callable[[Sequence[EndedFamily]], Result],
    ) -> Result:
        """Delete one with its sessions and revoke the families of `revoke`, in one step.

        Raises: NotFound (unknown or deleted).
        """
        ...

    async def rotate(
        self,
        record: KeyRecord,
        *,
        made_by: str,
        audit: Audit[KeyRecord] = (),
        applied: Callable[[KeyRecord], Result],
    ) -> Result:
        """Store secrets, end and `rotated_at` of a known one; the key `made_by` must be good.

        Raises: NotFound (unknown or deleted), InvalidKey (whoever rotates it is deleted or expired).
        """
        ...

    async def touch(self, used: Mapping[str, int]) -> None:
        """Store when keys were last used, by id, unix seconds; unknown ids are passed over."""
        ...


class FamilyStore(FamilyLifeStore, Protocol):
    """Token families."""

    async def create(
        self, new: NewFamily, *, audit: Audit[Creation] = (), applied: Callable[[Creation], Result]
    ) -> Result:
        """Store a family, end those that it replaces, keep its idempotency record: one step.

        Raises: InvalidKey (the issuing key is deleted or expired by now), NotFound (no
            such organization).
        """
        ...

    async def get(self, org_id: str, token_id: str) -> FamilyRecord | None:
        """Return one, None when the organization has none of this id."""
        ...

    async def page(self, query: FamilyQuery) -> list[FamilyRecord]:
        """Return a page of an organization's families, newest first."""
        ...

    async def revoke(
        self,
        selection: Selection,
        *,
        now: float,
        reason: str | None,
        audit: Audit[Sequence[EndedFamily]] = (),
        applied: Callable[[Sequence[EndedFamily]], Result],
    ) -> Result:
        """Mark every selected family that exists and is not revoked, with its children.

        The outcome is these.

        What is kept of their sessions goes in the same step, and their retained messages
        do unless the selection says otherwise.
        """
        ...

    async def prune(self, before: float, *, limit: int) -> int:
        """Remove at most `limit` families that ended before this; return how many.

        One of which something is kept stays: a session, a retained message, a child family.
        As long as that is there it can be revoked.
        """
        ...


class IdempotencyStore(Protocol):
    """What requests with an `Idempotency-Key` made; written by `FamilyStore.create`."""

    async def find(self, scope: IdempotencyScope, now: float) -> IdempotencyRecord | None:
        """Return what a scope made, None when nothing or when it is to be forgotten."""
        ...

    async def prune(self, now: float, *, limit: int) -> int:
        """Remove at most `limit` records that are to be forgotten; return how many."""
        ...


class SigningKeyStore(Protocol):
    """Signing keys."""

    async def load(self) -> list[SigningKeyRecord]:
        """Return all, oldest first."""
        ...

    async def save(
        self,
        record: SigningKeyRecord,
        *,
        audit: Audit[SigningKeyRecord] = (),
        applied: Callable[[SigningKeyRecord], Result],
    ) -> Result:
        """Store a new one, or times and private part of a known one (by `kid`)."""
        ...


class Store(KeepsAudit, KeepsHistory, KeepsProviders, Protocol):
    """All that is kept, open."""

    @property
    def organizations(self) -> OrganizationStore:
        """The organizations."""
        ...

    @property
    def keys(self) -> KeyStore:
        """The keys."""
        ...

    @property
    def families(self) -> FamilyStore:
        """The token families."""
        ...

    @property
    def idempotency(self) -> IdempotencyStore:
        """What requests with an idempotency key made."""
        ...

    @property
    def kept(self) -> KeptStore:
        """What outlives a connection."""
        ...

    @property
    def signing_keys(self) -> SigningKeyStore:
        """The signing keys."""
        ...

    @property
    def writer(self) -> Writing:
        """What writes."""
        ...

    async def ping(self) -> None:
        """Return when the store answers a read.

        Raises: Unavailable.
        """
        ...

    async def close(self) -> None:
        """Finish what was accepted, then let go of everything."""
        ...
