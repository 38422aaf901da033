"""All services over a real store, a broker that only notes what it is told, and short ways."""

import functools
import hashlib
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from tokenmq.access.identity import Renewal
from tokenmq.access.permission import Permission
from tokenmq.services import bootstrap
from tokenmq.services.authenticate import Credentials
from tokenmq.services.bundle import Services
from tokenmq.services.keys import KeyRequest
from tokenmq.services.tokens import IdempotencyKey, IssuedToken, Replacing
from tokenmq.stores.sql import SqlStore
from tokenmq.tokens.minting import MintRequest
from tokenmq.tokens.records import KeyRecord, OrganizationRecord

NOW = 1_800_000_000
NOTHING = Replacing()
BOTH = (Permission.PUBLISH, Permission.SUBSCRIBE)


@dataclass
class Broker:
    """Stands for the running broker: what it is told, and what it says is connected."""

    told: list[tuple[Any, ...]] = field(default_factory=list)
    live: set[str] = field(default_factory=set)
    openers: dict[tuple[str, str], str] = field(default_factory=dict)

    def connected(self, org_id: str, token_ids: Collection[str]) -> set[str]:
        return self.live & set(token_ids)

    def opened_by(self, org_id: str, client_id: str) -> str | None:
        return self.openers.get((org_id, client_id))

    def revoke(self, org_id: str, token_ids: Collection[str], *, reason: str, keep_retained: bool) -> int:
        kept = ("retained kept",) if keep_retained else ()
        self.told.append(("revoke", org_id, sorted(token_ids), reason, *kept))
        return len(self.live & set(token_ids))

    def renew(self, org_id: str, token_id: str, renewal: Renewal) -> int:
        self.told.append(("renew", org_id, token_id, renewal))
        return len(self.live & {token_id})

    def displace(self, org_id: str, token_ids: Collection[str], *, reason: str) -> int:
        self.told.append(("displace", org_id, sorted(token_ids), reason))
        return len(self.live & set(token_ids))

    def end_key(self, org_id: str, key_id: str, *, reason: str) -> int:
        self.told.append(("end_key", org_id, key_id, reason))
        return 1

    def limit_key(self, org_id: str, key_id: str, ends_at: float) -> None:
        self.told.append(("limit_key", org_id, key_id, ends_at))

    def end_organization(self, org_id: str) -> int:
        self.told.append(("end_organization", org_id))
        return 3

    def organization_changed(self, organization: OrganizationRecord) -> None:
        self.told.append(("organization_changed", organization))


@dataclass
class World:
    """An instance with an administrator and an organization `demo` that has a secret key."""

    folder: Path
    open_store: Callable[[], Awaitable[SqlStore]]
    now: int
    services: Services
    broker: Broker
    administrator: KeyRecord
    administrator_text: str
    key: KeyRecord
    key_text: str
    organization: OrganizationRecord

    @property
    def org_id(self) -> str:
        return self.organization.id

    async def issue(
        self,
        user_id: str = "ann",
        *,
        key: KeyRecord | None = None,
        organization: OrganizationRecord | None = None,
        replacing: Replacing = NOTHING,
        idempotency: IdempotencyKey | None = None,
        now: float | None = None,
        **asked: Any,
    ) -> IssuedToken:
        asked = {"permissions": BOTH, "topics": ("chat/#",), **asked}
        return await self.services.tokens.issue(
            MintRequest(user_id=user_id, **asked),
            key=key or self.key,
            organization=organization or self.organization,
            replacing=replacing,
            idempotency=idempotency,
            now=self.now if now is None else now,
        )

    async def create_key(self, kind: str = "sk", *, maker: KeyRecord | None = None, **asked: Any) -> Any:
        return await self.services.keys.create(
            KeyRequest(kind=kind, **{"name": "a key", **asked}),
            key=maker or self.key,
            org_id=self.org_id,
            now=self.now,
        )

    async def other_organization(self, name: str = "other") -> tuple[OrganizationRecord, KeyRecord]:
        organization = await self.services.organizations.create(
            name=name, settings=None, key=self.administrator, now=self.now
        )
        created = await self.services.keys.create(
            KeyRequest(kind="sk", name="other"), key=self.administrator, org_id=organization.id, now=self.now
        )
        return organization, created.record

    def once(self, value: str = "once", *, body: bytes = b"{}", path: str = "/v2/tokens") -> IdempotencyKey:
        return IdempotencyKey(value, path, hashlib.sha256(body).digest())

    def credentials(self, token: IssuedToken | None = None, **changes: Any) -> Credentials:
        shown = Credentials(
            username=token.username if token else None,
            password=token.text.encode() if token else None,
            method=None,
            data=None,
            client_id="c1",
            origin=None,
            trusted_link=True,
        )
        return msgspec.structs.replace(shown, **changes)

    async def restart(self) -> None:
        await self.services.close()
        self.services = await assemble(await self.open_store(), self.now)
        self.services.attach(self.broker)

    def fail_commits(self) -> Any:
        """Let commits fail; returns what ends it."""
        engine = self.services.store.writer._runner._engine  # type: ignore[attr-defined]
        engine = getattr(engine, "sync_engine", engine)

        def refuse(connection: Any) -> None:
            raise OperationalError("COMMIT", {}, Exception("disk I/O error"))

        event.listen(engine, "commit", refuse)
        return lambda: event.remove(engine, "commit", refuse)


async def assemble(store: SqlStore, now: float, **settings: Any) -> Services:
    options = {"issuer": "tokenmq", "algorithm": "ES256", "signing_secret": None, **settings}
    return await Services.assemble(store, now=now, **options)


@pytest.fixture
def open_world(open_folder):
    """The function that opens services over a folder."""

    async def open_world(folder: Path, now: float, **settings: Any) -> Services:
        return await assemble(await open_folder(folder), now, **settings)

    return open_world


@pytest.fixture
def open_world_store(open_folder, tmp_path: Path):
    """What `world` stands on: SQLite, where a module does not say `open_store`."""
    return functools.partial(open_folder, tmp_path / "data")


@pytest.fixture
async def world(open_world_store, tmp_path: Path):
    services = await assemble(await open_world_store(), NOW)
    broker = Broker()
    services.attach(broker)
    administrator = await bootstrap.administrator_key(services, None, now=NOW)
    demo = await bootstrap.demo(services, None, now=NOW)
    world = World(
        folder=tmp_path / "data",
        open_store=open_world_store,
        now=NOW,
        services=services,
        broker=broker,
        administrator=services.keys.authenticate(administrator, NOW),
        administrator_text=administrator,
        key=services.keys.authenticate(demo.secret_key, NOW),
        key_text=demo.secret_key,
        organization=demo.organization,
    )
    yield world
    await world.services.close()
