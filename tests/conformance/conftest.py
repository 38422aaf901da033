"""Every store implementation joins in `open_store`, and all tests run on it."""

import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.stores.base import (
    Creation,
    IdempotencyRecord,
    IdempotencyScope,
    NewFamily,
    Replacing,
    Store,
)
from tokenmq.tokens.records import (
    FamilyRecord,
    KeyKind,
    KeyRecord,
    OrganizationRecord,
    OrganizationSettings,
    SigningKeyRecord,
)

NOW = 1_800_000_000
GRANTS = (Grant((Permission.PUBLISH, Permission.SUBSCRIBE), ("chat/#", 'it\'s "here"/ü/{user_id}')),)


@dataclass
class Records:
    """Makes records that are good as they are; every argument changes one attribute."""

    now: int = NOW
    numbers: itertools.count = field(default_factory=lambda: itertools.count(1))

    def organization(self, **changes: Any) -> OrganizationRecord:
        number = next(self.numbers)
        record = OrganizationRecord(f"org_{number:012d}", f"name {number}", OrganizationSettings(), NOW)
        return replace(record, **changes)

    def key(self, org_id: str | None, **changes: Any) -> KeyRecord:
        number = next(self.numbers)
        record = KeyRecord(
            f"{number:08d}", org_id, KeyKind.SECRET, "server", b"\x00\xff" * 16, "x7m4", (), (), NOW
        )
        return replace(record, **changes)

    def family(self, org_id: str, key_id: str, **changes: Any) -> FamilyRecord:
        number = next(self.numbers)
        record = FamilyRecord(
            token_id=f"tok_{number:026d}",
            org_id=org_id,
            user_id="ann",
            user_email="ann@example.org",
            key_id=key_id,
            integration_id=None,
            client_id=None,
            renewable=True,
            grants=GRANTS,
            metadata={"room": 7, "tags": ["ü", None]},
            first_issued_at=NOW,
            ttl_seconds=3_600,
            gen=0,
            jti=f"{number:022d}",
            kid="kid",
            issued_at=NOW,
            expires_at=NOW + 3_600,
            ends_at=NOW + 2_592_000,
        )
        return replace(record, **changes)

    def signing_key(self, kid: str = "kid", **changes: Any) -> SigningKeyRecord:
        record = SigningKeyRecord(kid, "ES256", b"-----PEM", {"kty": "EC", "kid": kid}, NOW, NOW)
        return replace(record, **changes)


def nothing_live(org_id: str, token_ids: Any) -> set[str]:
    return set()


@dataclass
class Filled:
    """A store with one organization and one key, and short ways to write and read families."""

    store: Store
    records: Records
    org_id: str
    key_id: str

    def new(
        self,
        *,
        replacing: Replacing = Replacing.NONE,
        connected: Callable[[str, Any], set[str]] = nothing_live,
        idempotency: IdempotencyRecord | None = None,
        org_id: str | None = None,
        key_id: str | None = None,
        **changes: Any,
    ) -> NewFamily:
        record = self.records.family(
            org_id or self.org_id, self.key_id if key_id is None else key_id, **changes
        )
        return NewFamily(record, replacing, connected, idempotency)

    async def create(self, **changes: Any) -> FamilyRecord:
        new = self.new(**changes)
        await self.store.families.create(new, applied=lambda outcome: outcome)
        return new.record

    async def creation(self, new: NewFamily) -> Creation:
        return await self.store.families.create(new, applied=lambda outcome: outcome)

    async def read(self, token_id: str) -> FamilyRecord:
        record = await self.store.families.get(self.org_id, token_id)
        assert record is not None
        return record

    def idempotent(self, value: str = "once", *, token_id: str = "tok_x", digest: bytes = b"d" * 32) -> Any:
        scope = IdempotencyScope(self.key_id, "/v2/tokens", value)
        return IdempotencyRecord(scope, digest, token_id, NOW + 86_400)


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
async def reopen(open_store: Callable[[], Any]) -> AsyncIterator[Callable[[], Any]]:
    """Open the store, again when it is open already; the contents stay."""
    opened: list[Store] = []

    async def open_again() -> Store:
        if opened:
            await opened.pop().close()
        opened.append(await open_store())
        return opened[0]

    yield open_again
    if opened:
        await opened.pop().close()


@pytest.fixture
async def store(reopen: Callable[[], Any]) -> Store:
    return await reopen()


@pytest.fixture
async def filled(store: Store, records: Records) -> Filled:
    organization = records.organization()
    key = records.key(organization.id)
    await store.organizations.create(organization, applied=lambda outcome: outcome)
    await store.keys.create(key, made_by=None, applied=lambda outcome: outcome)
    return Filled(store, records, organization.id, key.id)
