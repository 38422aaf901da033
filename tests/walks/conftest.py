"""A broker without sockets: links with a transport that only remembers, and two users' worth of rights."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from tokenmq import clock
from tokenmq.access.grants import Grant
from tokenmq.access.identity import Identity
from tokenmq.access.permission import Permission
from tokenmq.access.policy import STARTING_POLICY
from tokenmq.access.recording import HistoryRules
from tokenmq.broker.records import (
    DeliveryRecord,
    MessageRecord,
    ReceivedRecord,
    RetainedRecord,
    SessionRecord,
    SubscriptionRecord,
)
from tokenmq.broker.records import Kept as Loaded
from tokenmq.config import BrokerSettings
from tokenmq.errors import BadCredentials, InvalidToken, Unavailable
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Connect, Publish, Subscribe
from tokenmq.mqtt.packets.subscribe import Subscription
from tokenmq.server.hub import Hub
from tokenmq.server.peer import Peer
from tokenmq.services.authenticate import Credentials
from tokenmq.tokens.records import OrganizationSettings

NOW = 1_800_000_000.0


class Clock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.now = NOW
        self.mono = 1_000.0

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.mono += seconds


class Doors:
    """Stands in for the services: who may come in is a table from password to identity."""

    def __init__(self) -> None:
        self.identities: dict[bytes, Identity] = {}
        self.revoked: set[str] = set()
        self.settings = OrganizationSettings()
        self.policy: Any = STARTING_POLICY
        self.history = HistoryRules()

    def connect(self, credentials: Credentials, now: float) -> Identity:
        identity = self.identities.get(credentials.password or credentials.data or b"")
        if identity is None:
            raise BadCredentials("unknown user")
        return identity

    def renew(self, identity: Identity, client_id: str, token: bytes, now: float) -> Identity:
        renewed = self.identities.get(token)
        if renewed is None or identity.is_server or renewed.owner != identity.owner:
            raise InvalidToken("token is no good")
        self.check(renewed, now)
        if renewed.expires_at is not None and now >= renewed.expires_at:
            raise InvalidToken("token has expired")
        return renewed

    def check(self, identity: Identity, now: float) -> None:
        if identity.token_id in self.revoked:
            raise InvalidToken("token revoked")

    def connected(self, identity: Identity, client_id: str) -> None:
        return None

    def settings_of(self, org_id: str) -> OrganizationSettings:
        return self.settings

    def policy_of(self, org_id: str) -> Any:
        return self.policy

    def history_rules_of(self, org_id: str) -> HistoryRules:
        return self.history


class Kept:
    """A store in memory: keeps at once, or when it is told to, or not at all.

    Attributes:
        saves: how many there were.
        most: changes of the greatest one.
    """

    def __init__(self) -> None:
        self.records: dict[Any, Any] = {}
        self.waits = False
        self.fails = False
        self.saves = 0
        self.most = 0
        self._waiting: deque[Any] = deque()

    def save(self, changes: Any, settled: Any) -> None:
        self._waiting.append((list(changes), settled))
        self.saves += 1
        self.most = max(self.most, len(changes))
        if not self.waits:
            self.go_on()

    def go_on(self, count: int = 1_000_000) -> None:
        """Keep what waits, the oldest first."""
        while self._waiting and count:
            count -= 1
            changes, settled = self._waiting.popleft()
            if self.fails:
                settled(Unavailable("the disk is full"))
                continue
            for change in changes:
                if change.record is None:
                    self._drop(change)
                else:
                    self.records[change.kind, change.key] = change.record
            settled(None)

    def _drop(self, change: Any) -> None:
        self.records.pop((change.kind, change.key), None)
        if change.kind is SessionRecord:
            for name, record in list(self.records.items()):
                if getattr(record, "session", None) == change.key:
                    del self.records[name]

    def all(self, kind: Any) -> list[Any]:
        return [record for (of, _), record in self.records.items() if of is kind]

    def load(self) -> Any:
        """What a process that starts now finds; what belongs to nothing is removed."""
        numbers = {record.number for record in self.all(SessionRecord)}
        for name, record in list(self.records.items()):
            if getattr(record, "session", None) not in numbers | {None}:
                del self.records[name]
        for record in self.all(DeliveryRecord):
            if not record.released and (MessageRecord, record.message) not in self.records:
                del self.records[DeliveryRecord, record.key]
        awaited = {record.message for record in self.all(DeliveryRecord)}
        for record in self.all(MessageRecord):
            if record.number not in awaited:
                del self.records[MessageRecord, record.key]
        return Loaded(
            sorted(self.all(SessionRecord), key=lambda one: one.number),
            self.all(SubscriptionRecord),
            sorted(self.all(MessageRecord), key=lambda one: one.number),
            sorted(self.all(DeliveryRecord), key=lambda one: one.position),
            self.all(ReceivedRecord),
            self.all(RetainedRecord),
        )


class Transport:
    """Remembers what was written, whether it is read and whether it was closed."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.writes = 0
        self.closed = False
        self.reads = True

    def write(self, data: bytes) -> None:
        self.written += data
        self.writes += 1

    def close(self) -> None:
        self.closed = True

    def leave(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


class Client:
    """One client on a link of its own."""

    def __init__(self, hub: Hub, version: int, address: str = "127.0.0.1") -> None:
        self.version = version
        self.transport = Transport()
        self.link = hub.make_link(Peer(address, 50_000, "tcp", None, trusted=True))
        self.link.opened(self.transport)
        self._packet_ids = itertools.count(1)

    def send_bytes(self, data: bytes) -> None:
        self.link.received(data)

    def send(self, *packets: Any) -> None:
        self.send_bytes(b"".join(codec.encode(packet, self.version) for packet in packets))

    def connect(self, password: bytes, client_id: str = "c1", **fields: Any) -> list[Any]:
        self.send(
            Connect(
                protocol_version=self.version,
                client_id=client_id,
                username="someone",
                password=password,
                keep_alive=fields.pop("keep_alive", 60),
                **fields,
            )
        )
        return self.received()

    def subscribe(self, *filters: str, qos: int = 0, **options: Any) -> list[Any]:
        identifier = options.pop("subscription_identifier", None)
        self.send(
            Subscribe(
                packet_id=next(self._packet_ids),
                subscriptions=tuple(
                    Subscription(topic_filter, qos=qos, **options) for topic_filter in filters
                ),
                subscription_identifier=identifier,
            )
        )
        return self.received()

    def publish(self, topic: str, payload: bytes = b"hi", qos: int = 0, **fields: Any) -> list[Any]:
        packet_id = fields.pop("packet_id", next(self._packet_ids)) if qos else 0
        self.send(Publish(topic=topic, payload=payload, qos=qos, packet_id=packet_id, **fields))
        return self.received()

    def received(self) -> list[Any]:
        """Return and forget the packets that have come."""
        data = bytes(self.transport.written)
        self.transport.written.clear()
        packets = []
        pos = 0
        while pos < len(data):
            first, start, stop = codec.frame(data, pos, 1 << 28)
            packets.append(codec.decode(first, data, start, stop, self.version, from_client=False))
            pos = stop
        return packets


class World:
    """A hub with people in it."""

    def __init__(self, settings: BrokerSettings, times: Clock) -> None:
        self.doors = Doors()
        self.clock = times
        self.kept = Kept()
        self.settings = settings
        self.hub = Hub(settings, self.doors, self.doors, self.doors, self.kept)
        self.broker = self.hub.broker

    def restart(self) -> None:
        """Begin anew with what is kept, as after `kill -9`."""
        self.hub = Hub(self.settings, self.doors, self.doors, self.doors, self.kept)
        self.broker = self.hub.broker
        self.kept._waiting.clear()
        self.hub.restore(self.kept.load())

    def person(
        self,
        user_id: str,
        *topics: str,
        permissions: tuple[str, ...] = ("publish", "subscribe"),
        org_id: str = "org_aaaaaaaaaaaa",
        life: float | None = 3_600,
        key_id: str | None = None,
        client_id: str | None = None,
    ) -> bytes:
        """Let somebody in; returns the password."""
        password = f"{org_id}/{user_id}/{len(self.doors.identities)}".encode()
        self.doors.identities[password] = Identity(
            org_id=org_id,
            user_id=user_id,
            username=f"{user_id}@{org_id}",
            grants=(Grant(tuple(Permission(p) for p in permissions), topics or ("chat/#",)),),
            expires_at=None if life is None else self.clock.now + life,
            token_id=None if key_id else f"tok_{user_id}_{org_id}",
            jti=None if key_id else "jti",
            gen=0,
            key_id=key_id,
            client_id=client_id,
        )
        return password

    def client(self, version: int = 5) -> Client:
        return Client(self.hub, version)

    def joined(
        self, user_id: str, *topics: str, version: int = 5, client_id: str | None = None, **fields: Any
    ) -> Client:
        """Return a client that is connected as somebody new."""
        client = self.client(version)
        connack = client.connect(self.person(user_id, *topics), client_id or f"c-{user_id}", **fields)
        assert connack[0].reason_code == 0, connack
        return client

    def tick(self) -> None:
        self.hub.tick(self.clock.now, self.clock.mono)


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr(clock, "now", lambda: moved.now)
    monkeypatch.setattr(clock, "mono", lambda: moved.mono)
    return moved


class Timers:
    """Stands in for the loop: what was to be called soon or later, until it is told to."""

    def __init__(self) -> None:
        self.soon: deque[Callable[[], None]] = deque()
        self.later: list[tuple[float, Callable[[], None]]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.later.append((seconds, callback))

    def turn(self) -> None:
        """Do what was to be done soon, and what comes of it."""
        while self.soon:
            self.soon.popleft()()

    def ring(self) -> None:
        """Do what was to be done later, and what comes of it."""
        later, self.later = self.later, []
        for _, callback in later:
            callback()
        self.turn()


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    """Let the hub's timers go off when the test says so."""
    made = Timers()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: made)
    return made


@pytest.fixture
def make_world(times: Clock) -> Callable[..., World]:
    return lambda **settings: World(BrokerSettings(**settings), times)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
