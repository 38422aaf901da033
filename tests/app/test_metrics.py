"""What Prometheus is told: every metric is documented, and each is what it says."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tokenmq.access.grants import Grant
from tokenmq.access.identity import Identity
from tokenmq.access.permission import Permission
from tokenmq.api.tally import Tally
from tokenmq.app.metrics import make_metrics
from tokenmq.config import BrokerSettings
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Connect, Publish, Subscribe
from tokenmq.mqtt.packets.subscribe import Subscription
from tokenmq.server.hub import Hub
from tokenmq.server.peer import Peer
from tokenmq.services import bootstrap
from tokenmq.services.bundle import Services
from tokenmq.services.key_requests import KeyRequest
from tokenmq.services.revocation import RevokeRequest
from tokenmq.services.tokens import Replacing
from tokenmq.stores.sql import SqlStore
from tokenmq.tokens.minting import MintRequest

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
NOW = 1_800_000_000
BOTH = (Permission.PUBLISH, Permission.SUBSCRIBE)


class Transport:
    """Takes whatever is written."""

    def write(self, data: bytes) -> None:
        """Forget it."""

    def close(self) -> None:
        """Do nothing."""

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self) -> None:
        """Do nothing."""


class World:
    """A running instance without sockets, and its metrics."""

    def __init__(self, services: Services, hub: Hub) -> None:
        self.services = services
        self.hub = hub
        self.tally = Tally()
        self.write = make_metrics(hub, services.store, services.keys, self.tally)

    def read(self) -> dict[str, Any]:
        """Return every sample: `name` or `name{label=value}` to its value."""
        found = {}
        for family in text_string_to_metric_families(self.write().decode()):
            for sample in family.samples:
                labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found

    def client(self, username: str, password: bytes, client_id: str, **more: Any) -> Any:
        link = self.hub.make_link(Peer("127.0.0.1", 1, "tcp", None, trusted=True))
        link.opened(Transport())
        packet = Connect(5, client_id, True, 60, username=username, password=password)
        for name, value in more.items():
            setattr(packet, name, value)
        link.received(codec.encode(packet, 5))
        return link


@pytest.fixture
async def world(
    open_folder: Callable[[Path], Awaitable[SqlStore]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    monkeypatch.setattr("tokenmq.clock.now", lambda: float(NOW))
    store = await open_folder(tmp_path / "data")
    services = await Services.assemble(
        store, issuer="tokenmq", algorithm="ES256", signing_secret=None, now=NOW
    )
    broker = (services.authenticator, services.families, services.organizations, store.kept)
    hub = Hub(BrokerSettings(max_queued_messages=3), *broker)
    services.attach(hub)
    yield World(services, hub)
    await services.close()


def names(world: World) -> set[str]:
    return {
        sample.name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        for family in text_string_to_metric_families(world.write().decode())
        for sample in family.samples
    }


async def used(world: World) -> None:
    """Let there be something of every kind."""
    services = world.services
    demo = await bootstrap.demo(services, None, now=NOW)
    key = services.keys.authenticate(demo.secret_key, NOW)
    token = await services.tokens.issue(
        MintRequest(user_id="ann", permissions=BOTH, topics=("chat/#",)),
        key=key,
        organization=demo.organization,
        replacing=Replacing(),
        idempotency=None,
        now=NOW,
    )
    username, password = token.username, token.text.encode()
    world.client(username, b"wrong", "c0")
    link = world.client(username, password, "c1")
    filters = (Subscription("chat/#", qos=0), Subscription("other", qos=0))
    link.received(codec.encode(Subscribe(1, filters), 5))
    for topic in ("chat/a", "chat/a", "other"):
        link.received(codec.encode(Publish(topic, b"x"), 5))
    away = world.client(username, password, "c2", session_expiry_interval=60)
    away.lost()
    link.writing_paused()
    for _ in range(5):
        link.received(codec.encode(Publish("chat/b", b"x"), 5))
    await services.messages.publish("kept", b"x", qos=1, retain=True, key=key, organization=demo.organization)
    world.tally.count("createToken", 200)
    world.tally.count("createToken", 403)
    world.tally.count("createTokenV1", 503)
    world.tally.count("", 404)
    other = await services.tokens.issue(
        MintRequest(user_id="bob"),
        key=key,
        organization=demo.organization,
        replacing=Replacing(),
        idempotency=None,
        now=NOW,
    )
    await services.tokens.revoke(
        RevokeRequest(token_id=other.family.token_id), key=key, org_id=demo.organization.id, now=NOW
    )
    world.hub.lag_seconds.observe(0.003)


async def test_every_metric_is_documented_and_nothing_else_is(world: World) -> None:
    await used(world)
    documented = set(re.findall(r"^\| `((?:tokenmq|process)_\w+)` \|", PAGE.read_text(), re.MULTILINE))
    assert names(world) == documented


async def test_values_of_labels_are_documented(world: World) -> None:
    page = PAGE.read_text()
    await used(world)
    for family in text_string_to_metric_families(world.write().decode()):
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label not in ("le", "version", "operation", "status"):
                    assert f"`{value}`" in page, (sample.name, value)


async def test_metrics_are_what_they_say(world: World) -> None:
    await used(world)
    read = world.read()
    expected = {
        "tokenmq_connections": 1,
        "tokenmq_sessions_away": 1,
        "tokenmq_subscriptions": 1,
        "tokenmq_organizations_active": 1,
        "tokenmq_connects_accepted_total": 2,
        "tokenmq_connects_refused_total{reason=unauthorized}": 1,
        "tokenmq_messages_received_total": 9,
        "tokenmq_messages_delivered_total": 7,
        "tokenmq_publishes_refused_total{reason=rights}": 1,
        "tokenmq_messages_dropped_total{reason=queue_full}": 2,
        "tokenmq_messages_dropped_total{reason=not_taken}": 0,
        "tokenmq_history_lost_total": 7,
        "tokenmq_queued_messages": 3,
        "tokenmq_longest_queue_messages": 3,
        "tokenmq_retained_messages": 1,
        "tokenmq_decisions_total{action=publish,outcome=allowed}": 3,
        "tokenmq_decisions_total{action=publish,outcome=denied}": 1,
        "tokenmq_decisions_total{action=subscribe,outcome=allowed}": 1,
        "tokenmq_decisions_total{action=subscribe,outcome=denied}": 1,
        "tokenmq_tokens_total{outcome=issued}": 1,
        "tokenmq_tokens_total{outcome=refused}": 1,
        "tokenmq_tokens_total{outcome=failed}": 1,
        "tokenmq_tokens_total{outcome=revoked}": 1,
        "tokenmq_http_requests_total{operation=createToken,status=403}": 1,
        "tokenmq_http_requests_total{operation=none,status=404}": 1,
        "tokenmq_commits_failed_total": 0,
        "tokenmq_store_waiting": 0,
        "tokenmq_event_loop_lag_seconds_count": 1,
        "tokenmq_event_loop_lag_seconds_sum": 0.003,
        "tokenmq_event_loop_lag_seconds_bucket{le=0.0025}": 0,
        "tokenmq_event_loop_lag_seconds_bucket{le=0.005}": 1,
        "tokenmq_event_loop_lag_seconds_bucket{le=+Inf}": 1,
        "tokenmq_clock_seconds": NOW,
    }
    assert {name: read.get(name) for name in expected} == expected
    assert read["tokenmq_commit_seconds_count"] >= 4


async def test_messages_that_are_replayed_are_counted(world: World) -> None:
    world.hub.broker.counters.replayed = 3
    assert world.read()["tokenmq_history_replayed_total"] == 3


async def test_keys_that_end_soon_are_counted(world: World) -> None:
    demo = await bootstrap.demo(world.services, None, now=NOW)
    maker = world.services.keys.authenticate(demo.secret_key, NOW)
    assert world.read()["tokenmq_keys_expiring"] == 0
    for days in (10, 20):
        request = KeyRequest("pk", "short", expires_at=NOW + days * 86_400, expires_at_given=True)
        await world.services.keys.create(request, key=maker, org_id=demo.organization.id, now=NOW)
    assert world.read()["tokenmq_keys_expiring"] == 1


async def test_a_clock_that_was_set_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert abs(world.read()["tokenmq_clock_drift_seconds"]) < 60
    monkeypatch.setattr("tokenmq.clock.now", lambda: float(NOW + 3_600))
    assert abs(world.read()["tokenmq_clock_drift_seconds"] - 3_600) < 60


async def test_nothing_that_a_tenant_chooses_is_in_the_metrics(world: World) -> None:
    await used(world)
    identity = Identity(
        org_id=next(iter(world.hub.broker.tenants)),
        user_id="server",
        username="server@x",
        grants=(Grant(BOTH, ("nothing",)),),
        expires_at=None,
        token_id=None,
        jti=None,
        gen=0,
        key_id="canaryke",
        client_id=None,
    )
    assert await world.hub.publish(identity, "canary/topic", b"canary", qos=0, retain=False) is not None
    world.client("canary@org_aaaaaaaaaaaa", b"canary", "canary")
    text = world.write().decode()
    assert "canary" not in text and "chat" not in text and "ann" not in text.replace("channel", "")
    assert identity.org_id not in text
