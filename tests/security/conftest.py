"""The whole of one instance without sockets: real store, services, hub and links; only the wire is played."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tokenmq import clock
from tokenmq.access.decide import Scope
from tokenmq.access.grants import Grant
from tokenmq.access.identity import Identity
from tokenmq.access.permission import Permission
from tokenmq.broker.subscription import Subscription as Stored
from tokenmq.config import BrokerSettings
from tokenmq.errors import Unavailable
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Connect, Publish, Subscribe
from tokenmq.mqtt.packets.subscribe import Subscription
from tokenmq.server.hub import Hub
from tokenmq.server.peer import Peer
from tokenmq.services import bootstrap
from tokenmq.services.bundle import Services
from tokenmq.services.keys import CreatedKey, KeyRequest
from tokenmq.services.revocation import RevokeRequest
from tokenmq.services.tokens import IssuedToken, Replacing
from tokenmq.stores.sql import SqlStore
from tokenmq.tokens.minting import MintRequest
from tokenmq.tokens.records import KeyRecord, OrganizationRecord

NOW = 1_800_000_000.0
BOTH = (Permission.PUBLISH, Permission.SUBSCRIBE)
OpenStore = Callable[[], Awaitable[SqlStore]]


class Clock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.now = NOW
        self.mono = 1_000.0

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.mono += seconds


@dataclass
class Transport:
    """Remembers what a link did with its network connection."""

    written: bytearray = field(default_factory=bytearray)
    closed: bool = False
    reading: bool = True

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def leave(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Client:
    """One client on a link of its own."""

    def __init__(self, hub: Hub, version: int, *, origin: str | None = None, trusted: bool = True) -> None:
        self.version = version
        self.transport = Transport()
        self.link = hub.make_link(Peer("192.0.2.7", 50_000, "tcp", origin, trusted=trusted))
        self.link.opened(self.transport)
        self.after: list[Any] = []
        self._packet_ids = itertools.count(1)

    @property
    def closed(self) -> bool:
        return self.transport.closed

    @property
    def session(self) -> Any:
        return self.link.outbox.session

    def send_bytes(self, data: bytes) -> list[Any]:
        if not self.closed:
            self.link.received(data)
        return self.received()

    def send(self, *packets: Any) -> list[Any]:
        return self.send_bytes(b"".join(codec.encode(packet, self.version) for packet in packets))

    def connect(
        self, username: str | None, password: bytes | None, client_id: str = "c1", **more: Any
    ) -> Any:
        """Send CONNECT; return the CONNACK, None if there was none; what came after it is `after`."""
        packet = Connect(self.version, client_id, True, 60, username=username, password=password)
        for name, value in more.items():
            setattr(packet, name, value)
        connack, *self.after = self.send(packet) or [None]
        return connack

    def subscribe(self, *filters: str, qos: int = 0) -> list[int]:
        """Send SUBSCRIBE; return the reason codes."""
        subscriptions = tuple(Subscription(topic_filter, qos=qos) for topic_filter in filters)
        answers = self.send(Subscribe(next(self._packet_ids), subscriptions))
        self.after = answers[1:]
        return list(answers[0].reason_codes)

    def publish(self, topic: str, payload: bytes = b"hi", qos: int = 0, **more: Any) -> list[Any]:
        packet_id = next(self._packet_ids) if qos else 0
        return self.send(Publish(topic, payload, qos, packet_id=packet_id, **more))

    def received(self) -> list[Any]:
        """Return and forget the packets that have come."""
        data = bytes(self.transport.written)
        self.transport.written.clear()
        packets = []
        pos = 0
        while pos < len(data):
            found = codec.frame(data, pos, 1 << 28)
            assert found is not None
            first, start, stop = found
            packets.append(codec.decode(first, data, start, stop, self.version, from_client=False))
            pos = stop
        return packets

    def topics(self) -> list[str]:
        """Return and forget the topics of the messages that have come."""
        return [packet.topic for packet in self.messages()]

    def messages(self) -> list[Publish]:
        """Return and forget the messages that have come, the last CONNACK's and SUBACK's followers first."""
        packets, self.after = [*self.after, *self.received()], []
        return [packet for packet in packets if isinstance(packet, Publish)]


class Store:
    """What is kept, by way of a door that can be held shut, or refuse."""

    def __init__(self, kept: Any) -> None:
        self.waits = False
        self.fails = False
        self._kept = kept
        self._waiting: list[Any] = []

    def save(self, changes: Any, settled: Callable[[Any], None]) -> None:
        self._waiting.append((changes, settled))
        if not self.waits:
            self.go_on()

    def go_on(self) -> None:
        """Hand in what waits."""
        self.waits = False
        waiting, self._waiting = self._waiting, []
        for changes, settled in waiting:
            if self.fails:
                asyncio.get_running_loop().call_soon(settled, Unavailable("the disk is full"))
            else:
                self._kept.save(changes, settled)


class Instance:
    """Store, services and broker of one instance, an administrator, and an organization `demo`.

    Args:
        records: under the demo's rule, a day of `chat/#`. What is recorded has no lanes.
    """

    def __init__(
        self, open_store: OpenStore, times: Clock, settings: BrokerSettings, *, records: bool = False
    ) -> None:
        self._open_store = open_store
        self._records = records
        self.clock = times
        self.settings = settings

    async def open(self) -> None:
        store = await self._open_store()
        self.services = await Services.assemble(
            store, issuer="tokenmq", algorithm="ES256", signing_secret=None, now=self.clock.now
        )
        services = self.services
        self.store = Store(services.store.kept)
        self.hub = Hub(
            self.settings,
            services.authenticator,
            services.families,
            services.organizations,
            self.store,
            history=services.store.history if self._records else None,
        )
        await self.hub.begin_history()
        services.attach(self.hub)
        self.hub.restore(await services.store.kept.load())

    async def kept(self) -> None:
        """Have everything kept that is to be."""
        keeping = self.hub.broker.keeping
        while True:
            done = asyncio.Event()
            keeping.when_kept(lambda *, kept, done=done: done.set())
            self.hub.settle()
            await done.wait()
            if not (keeping._under_way or keeping._changes):
                return

    async def turns(self) -> None:
        """Let everything that is done in turns come to its end."""
        broker = self.hub.broker
        while broker.unfinished or self.hub._going_on:
            done = asyncio.Event()
            asyncio.get_running_loop().call_soon(done.set)
            await done.wait()

    async def replayed(self) -> None:
        """Let everything come that is asked of the history."""
        asking = self.hub.reader._tasks
        while True:
            done = asyncio.Event()
            self.hub.after_saves(done.set)
            await done.wait()
            if asking:
                await asyncio.wait(asking)
                continue
            await self.turns()
            if not asking:
                return

    async def close(self) -> None:
        await self.hub.reader.close()
        await self.services.close()

    async def begin(self) -> None:
        await self.open()
        now = self.clock.now
        self.admin_text = await bootstrap.administrator_key(self.services, None, now=now)
        demo = await bootstrap.demo(self.services, None, now=now)
        self.admin = self.services.keys.authenticate(self.admin_text, now)
        self.key_text: str = demo.secret_key
        self.key = self.services.keys.authenticate(self.key_text, now)
        self.organization: OrganizationRecord = demo.organization
        if not self._records:
            org_id = self.organization.id
            await self.services.history.put_rules((), key=self.key, org_id=org_id, now=now)

    async def restart(self) -> None:
        await self.kept()
        await self.close()
        await self.open()

    async def issue(
        self,
        user_id: str = "ann",
        *topics: str,
        key: KeyRecord | None = None,
        organization: OrganizationRecord | None = None,
        **asked: Any,
    ) -> IssuedToken:
        asked = {"permissions": BOTH, "topics": topics or ("chat/#",), **asked}
        return await self.services.tokens.issue(
            MintRequest(user_id=user_id, **asked),
            key=key or self.key,
            organization=organization or self.organization,
            replacing=Replacing(),
            idempotency=None,
            now=self.clock.now,
        )

    async def make_key(self, kind: str = "sk", **asked: Any) -> CreatedKey:
        request = KeyRequest(kind=kind, **{"name": "a key", **asked})
        org_id = self.organization.id
        return await self.services.keys.create(request, key=self.key, org_id=org_id, now=self.clock.now)

    async def other_organization(self, name: str = "other") -> tuple[OrganizationRecord, KeyRecord]:
        services, now = self.services, self.clock.now
        organization = await services.organizations.create(name=name, settings=None, key=self.admin, now=now)
        request = KeyRequest(kind="sk", name="other")
        created = await services.keys.create(request, key=self.admin, org_id=organization.id, now=now)
        return organization, created.record

    async def revoke(self, **asked: Any) -> Any:
        return await self.services.tokens.revoke(
            RevokeRequest(**asked), key=self.key, org_id=self.organization.id, now=self.clock.now
        )

    def client(self, version: int = 5, **more: Any) -> Client:
        return Client(self.hub, version, **more)

    def enter(
        self, token: IssuedToken, client_id: str = "c1", version: int = 5, **more: Any
    ) -> tuple[Client, Any]:
        """Return a client and the CONNACK that its token got."""
        client = self.client(version)
        return client, client.connect(token.username, token.text.encode(), client_id, **more)

    async def joined(
        self, user_id: str = "ann", *topics: str, client_id: str | None = None, version: int = 5, **asked: Any
    ) -> Client:
        """Return a client that is connected as somebody."""
        token = await self.issue(user_id, *topics, **asked)
        client, connack = self.enter(token, client_id or f"c-{user_id}", version)
        assert connack.reason_code == 0, connack
        return client

    async def lasting(
        self, token: IssuedToken, *filters: str, client_id: str = "c1", qos: int = 1, **more: Any
    ) -> Client:
        """Return a client whose session outlives its connection, with these subscriptions."""
        more = {"clean_start": False, "session_expiry_interval": 600, **more}
        client, connack = self.enter(token, client_id, **more)
        assert connack.reason_code == 0, connack
        if filters:
            subscriptions = tuple(Subscription(topic_filter, qos=qos) for topic_filter in filters)
            client.send(Subscribe(1, subscriptions))
            await self.kept()
            (suback, *client.after) = client.received()
            assert list(suback.reason_codes) == [qos] * len(filters), suback
        return client

    async def publish(self, client: Client, topic: str, payload: bytes = b"hi", **more: Any) -> list[Any]:
        """Publish at QoS 1 if nothing else is said; return the answers when all is kept."""
        answers = client.publish(topic, payload, **{"qos": 1, **more})
        await self.kept()
        return answers + client.received()

    async def change(self, organization: OrganizationRecord | None = None, **settings: Any) -> None:
        """Change settings of an organization."""
        org_id = (organization or self.organization).id
        await self.services.organizations.patch(
            org_id, name=None, settings=settings, key=self.admin, now=self.clock.now
        )

    def tick(self) -> None:
        self.hub.tick(self.clock.now, self.clock.mono)


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr(clock, "now", lambda: moved.now)
    monkeypatch.setattr(clock, "mono", lambda: moved.mono)
    return moved


@pytest.fixture
async def make_instance(
    open_folder: Callable[[Path], Awaitable[SqlStore]], tmp_path: Path, times: Clock
) -> AsyncIterator[Callable[..., Awaitable[Instance]]]:
    made: list[Instance] = []

    async def make(*, records: bool = False, **settings: Any) -> Instance:
        open_store = functools.partial(open_folder, tmp_path / f"data{len(made)}")
        instance = Instance(open_store, times, BrokerSettings(**settings), records=records)
        made.append(instance)
        await instance.begin()
        return instance

    yield make
    for instance in made:
        await instance.close()


@pytest.fixture
async def instance(make_instance: Callable[..., Awaitable[Instance]]) -> Instance:
    return await make_instance()


@dataclass
class _Receiver:
    """What a route asks of a session."""

    scope: Any
    version: int = 5
    max_packet_bytes: int = 1 << 28

    __hash__ = object.__hash__


@pytest.fixture
def subscriptions() -> Callable[[int], list[Any]]:
    """Make that many sessions' subscriptions to chat/#."""

    def make(count: int) -> list[Any]:
        identity = Identity(
            "org_aaaaaaaaaaaa",
            "ann",
            "ann@org_aaaaaaaaaaaa",
            (Grant(BOTH, ("chat/#",)),),
            None,
            None,
            None,
            0,
            None,
            None,
        )
        scope = Scope(identity, policy=None, client_id="c1")
        options = {"qos": 0, "no_local": False, "retain_as_published": False, "identifier": 0}
        receivers: list[Any] = [_Receiver(scope) for _ in range(count)]
        return [Stored(receiver, "chat/#", **options) for receiver in receivers]

    return make
