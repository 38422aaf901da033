"""What has ended is freed as it ends: nothing of a connection or a session waits for the garbage collector.

What lived for a while and is left to the collector lies between what stays until it looks at
everything, which it seldom does: the memory of a broker whose clients come and go grew by that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tokenmq.access.recording import HistoryRule, HistoryRules
from tokenmq.broker.effects import Messages
from tokenmq.broker.records import HistoryRecord
from tokenmq.mqtt.packets import Disconnect, Publish, Pubrec, Will

ORG = "org_aaaaaaaaaaaa"
EXPIRY_SECONDS = 600


def going_on(version: int, seconds: int = EXPIRY_SECONDS) -> dict[str, Any]:
    return {"clean_start": False} | ({"session_expiry_interval": seconds} if version == 5 else {})


def a_connection_is_lost(world: Any, version: int) -> None:
    client = world.joined("alice", version=version)
    for qos in (0, 1, 2):
        client.subscribe(f"chat/{qos}/#", qos=qos)
        client.publish(f"chat/{qos}/a", qos=qos)
        client.publish(f"chat/{qos}/a", qos=qos, retain=True)
    client.link.lost()


def a_client_says_goodbye(world: Any, version: int) -> None:
    client = world.joined("alice", version=version)
    client.subscribe("chat/#", qos=1, no_local=version == 5)
    client.publish("chat/a", qos=1)
    client.send(Disconnect())
    client.link.lost()


def a_connect_is_refused(world: Any, version: int) -> None:
    client = world.client(version)
    client.connect(b"wrong")
    client.link.lost()


def what_is_no_mqtt_comes(world: Any, version: int) -> None:
    client = world.joined("alice", version=version)
    client.send_bytes(b"\x00\x00")
    client.link.lost()


def a_session_is_away_too_long(world: Any, version: int) -> None:
    client = world.joined("bob", version=version, **going_on(version))
    client.subscribe("chat/#", qos=2)
    alice = world.joined("alice", version=version)
    for _ in range(3):
        alice.publish("chat/a", qos=1)
    client.publish("chat/b", qos=2)
    client.link.lost()
    alice.publish("chat/a", qos=2)
    alice.link.lost()
    world.clock.advance(world.settings.max_session_expiry_seconds)
    world.tick()


def a_session_is_begun_anew(world: Any, version: int) -> None:
    password = world.person("bob")
    first = world.client(version)
    first.connect(password, **going_on(version))
    first.subscribe("chat/#", qos=1)
    first.publish("chat/a", qos=1)
    second = world.client(version)
    second.connect(password)
    first.link.lost()
    second.link.lost()


def a_session_goes_on_and_is_revoked(world: Any, version: int) -> None:
    password = world.person("bob")
    first = world.client(version)
    first.connect(password, **going_on(version))
    first.subscribe("chat/#", qos=1)
    first.publish("chat/a", qos=1)
    first.link.lost()
    second = world.client(version)
    second.connect(password, **going_on(version))
    world.hub.revoke(ORG, [f"tok_bob_{ORG}"], reason="revoked", keep_retained=False)
    second.link.lost()


def a_member_of_a_group_goes(world: Any, version: int) -> None:
    members = [world.joined(f"member-{index}", version=version) for index in range(2)]
    for member in members:
        member.subscribe("$share/all/chat/#", qos=1)
    alice = world.joined("alice", version=version)
    for _ in range(4):
        alice.publish("chat/a", qos=1)
    for client in (*members, alice):
        client.link.lost()


def a_will_comes_late(world: Any, version: int) -> None:
    delay = {"will_delay_interval": 60} if version == 5 else {}
    client = world.joined(
        "alice", version=version, will=Will("chat/will", b"gone", 1, **delay), **going_on(version, 90)
    )
    client.link.lost()
    world.clock.advance(world.settings.max_session_expiry_seconds)
    world.tick()


def a_session_is_let_go_of_while_the_store_is_busy(world: Any, version: int) -> None:
    bob = world.joined("bob", version=version, **going_on(version))
    bob.subscribe("chat/#", qos=2)
    world.kept.waits = True
    alice = world.joined("alice", version=version)
    alice.send(*(Publish("chat/a", b"hi", 2, packet_id=packet_id) for packet_id in range(1, 4)))
    alice.link.lost()
    bob.link.lost()
    world.clock.advance(world.settings.max_session_expiry_seconds)
    world.tick()
    world.kept.waits = False
    world.kept.go_on()


SCENES = (
    a_connection_is_lost,
    a_client_says_goodbye,
    a_connect_is_refused,
    what_is_no_mqtt_comes,
    a_session_is_away_too_long,
    a_session_is_begun_anew,
    a_session_goes_on_and_is_revoked,
    a_member_of_a_group_goes,
    a_will_comes_late,
    a_session_is_let_go_of_while_the_store_is_busy,
)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_nothing_that_ends_is_left_to_the_collector(
    world: Any, collected: Any, scene: Callable[[Any, int], None], version: int
) -> None:
    with collected() as found:
        scene(world, version)
    assert found == {}
    assert not any(tenant.sessions for tenant in world.broker.tenants.values())


def test_what_was_there_at_the_start_is_not_left_to_the_collector(world: Any, collected: Any) -> None:
    """The collector of the process never looks at what was there when it began to serve."""
    bob = world.joined("bob", **going_on(5))
    bob.subscribe("chat/#", qos=2)
    bob.link.lost()
    world.joined("alice").publish("chat/a", qos=2)
    world.restart()
    with collected(made_before=True) as found:
        world.clock.advance(world.settings.max_session_expiry_seconds)
        world.tick()
    assert found == {}
    assert not any(tenant.sessions for tenant in world.broker.tenants.values())


@pytest.mark.parametrize("version", [4, 5])
def test_who_was_present_and_who_watched_is_not_left_to_the_collector(
    world: Any, timers: Any, collected: Any, version: int
) -> None:
    def enter(user_id: str) -> Any:
        client = world.client(version)
        permissions = ("publish", "subscribe", "presence")
        client.connect(world.person(user_id, permissions=permissions), user_id)
        return client

    with collected() as found:
        eve, bob, carol = enter("eve"), enter("bob"), enter("carol")
        eve.subscribe("$presence/chat/#", qos=1)
        bob.subscribe("chat/a")
        bob.publish("$presence/chat/a", b'{"status":"here"}')
        timers.ring()
        carol.subscribe("chat/+", qos=1)
        bob.link.lost()
        timers.ring()
        eve.link.lost()
        carol.link.lost()
        timers.ring()
        del eve, bob, carol, enter
    assert found == {}


@pytest.fixture
def recorded(world: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let everything be recorded; returns what the history was asked, and is to answer."""
    world.doors.history = HistoryRules((HistoryRule("chat/#", 86_400, 100),))
    asked: list[Any] = []
    monkeypatch.setattr(world.hub.reader, "load", asked.append)
    world.hub._reserved(1, 1_000)
    return asked


def records_of(world: Any, load: Any) -> Any:
    """Answer as the store does."""
    there = world.kept.all(HistoryRecord)
    if isinstance(load.query, Messages):
        return [record for record in there if record.id in load.query.ids]
    return list(reversed(there))


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
@pytest.mark.parametrize("lasts", [False, True])
@pytest.mark.parametrize("version", [4, 5])
def test_who_reads_history_is_not_left_to_the_collector(
    world: Any, timers: Any, recorded: Any, collected: Any, version: int, lasts: bool, steps: int
) -> None:
    """Whether its connection ends before the first answer, in between, or when all was sent."""

    def enter(user_id: str, **more: Any) -> Any:
        client = world.client(version)
        permissions = ("publish", "subscribe", "history")
        client.connect(world.person(user_id, permissions=permissions), user_id, **more)
        return client

    with collected() as found:
        alice, bob = enter("alice"), enter("bob", **(going_on(version) if lasts else {}))
        for number in range(3):
            alice.publish("chat/a", b"%d" % number, qos=2)
        timers.ring()
        world.tick()
        bob.subscribe("$history/2/chat/#", "$history/1/chat/a", qos=2)
        for _ in range(steps):
            if recorded:
                load = recorded.pop(0)
                world.hub._loaded(load, records_of(world, load))
                del load
        alice.publish("chat/a", b"live", qos=2)
        came = [packet for packet in bob.received() if isinstance(packet, Publish)]
        for packet in came[:1]:
            bob.send(Pubrec(packet.packet_id))
        bob.link.lost()
        alice.link.lost()
        recorded.clear()
        world.clock.advance(world.settings.max_session_expiry_seconds)
        world.tick()
        timers.ring()
        del alice, bob, enter
    assert len(came) >= (steps > 1)
    assert found == {}
    assert not any(tenant.sessions for tenant in world.broker.tenants.values())
