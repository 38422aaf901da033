"""How connections end: expiry, revocation, keep alive, shutdown; and nothing is left behind."""

from __future__ import annotations

import json

import pytest

from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.packets import Pingreq, Publish

ORG = "org_aaaaaaaaaaaa"


def joined_for(world, seconds, version=5, user_id="alice"):
    client = world.client(version)
    assert client.connect(world.person(user_id, life=seconds), f"c-{user_id}")[0].reason_code == 0
    return client


@pytest.mark.parametrize("version", [4, 5])
def test_v64_a_connection_ends_with_its_token(world, version):
    client = joined_for(world, 60, version)
    world.clock.advance(59.9)
    world.tick()
    assert not client.transport.closed
    world.clock.advance(0.1)
    world.tick()
    assert client.transport.closed
    assert [p.reason_code for p in client.received()] == ([0xA0] if version == 5 else [])


def test_an_expired_connection_cannot_publish_before_the_timer_has_noticed(world):
    listener = world.joined("bob")
    listener.subscribe("chat/#")
    client = joined_for(world, 60)
    world.clock.advance(60)
    client.publish("chat/a", b"too late")
    assert client.transport.closed
    assert listener.received() == []


def test_nothing_is_delivered_to_an_expired_connection(world):
    client = joined_for(world, 60)
    client.subscribe("chat/#")
    world.clock.advance(60)
    world.tick()
    client.received()
    world.joined("bob").publish("chat/a")
    assert client.received() == []


def test_a_clock_that_is_set_back_closes_nobody_and_one_set_forward_expires(world):
    client = joined_for(world, 60)
    world.clock.now -= 3_600
    world.tick()
    assert not client.transport.closed
    world.clock.now += 7_200
    world.tick()
    assert client.received()[0].reason_code == 0xA0


def test_a_server_connection_without_expiry_stays(world):
    client = world.client()
    client.connect(world.person("server", life=None, key_id="k1"))
    for _ in range(10):
        world.clock.now += 86_400
        world.tick()
    assert not client.transport.closed


@pytest.mark.parametrize(("life", "warned_after"), [(3_600, 3_540), (100, 90)])
def test_expiring_is_told_a_minute_or_a_tenth_before(world, life, warned_after):
    client = joined_for(world, life)
    client.subscribe("$auth/events")
    for second in range(life):
        world.clock.advance(1)
        client.send(Pingreq())
        world.tick()
        events = [json.loads(p.payload) for p in client.received() if isinstance(p, Publish)]
        if events:
            assert second + 1 == warned_after
            assert events[0]["event"] == "expiring"
            assert events[0]["seconds_left"] == life - warned_after
            return
    pytest.fail("no warning came")


def test_revocation_closes_at_once_with_0x87(world):
    alice, other = world.joined("alice"), world.joined("bob")
    assert (
        world.hub.revoke(ORG, ["tok_alice_" + ORG, "tok_nobody"], reason="token revoked", keep_retained=False)
        == 1
    )
    (disconnect,) = alice.received()
    assert (disconnect.reason_code, disconnect.reason_string) == (0x87, "token revoked")
    assert alice.transport.closed
    assert not other.transport.closed


def test_displacement_closes_with_0x98(world):
    alice = world.joined("alice")
    assert world.hub.displace(ORG, ["tok_alice_" + ORG], reason="replaced") == 1
    assert alice.received()[0].reason_code == 0x98


def test_a_deleted_key_closes_its_server_connections(world):
    server = world.client()
    server.connect(world.person("server", life=None, key_id="k1"))
    assert world.hub.end_key(ORG, "k2", reason="key deleted") == 0
    assert world.hub.end_key(ORG, "k1", reason="key deleted") == 1
    assert server.received()[0].reason_code == 0x87


def test_a_deleted_organization_closes_its_connections_only(world):
    here = world.joined("alice")
    there = world.client()
    there.connect(world.person("alice", org_id="org_bbbbbbbbbbbb"))
    assert world.hub.end_organization(ORG) == 1
    assert here.transport.closed
    assert not there.transport.closed


def test_live_answers_who_is_connected(world):
    world.joined("alice", client_id="phone")
    assert world.hub.connected(ORG, ["tok_alice_" + ORG, "tok_x"]) == {"tok_alice_" + ORG}
    assert world.hub.opened_by(ORG, "phone") == "tok_alice_" + ORG
    assert world.hub.opened_by(ORG, "tablet") is None
    assert world.hub.opened_by("org_unknown", "phone") is None


def test_q8_keep_alive_ends_at_one_and_a_half_times(world):
    client = world.joined("alice", keep_alive=10)
    world.clock.advance(14.9)
    world.tick()
    assert not client.transport.closed
    client.send(Pingreq())
    client.received()
    world.clock.advance(14.9)
    world.tick()
    assert not client.transport.closed
    world.clock.advance(1.1)
    world.tick()
    assert client.received()[0].reason_code == 0x8D
    assert client.transport.closed


def test_a_connection_without_connect_ends_at_its_time(world):
    client = world.client()
    world.clock.advance(9)
    world.tick()
    assert not client.transport.closed
    world.clock.advance(1.1)
    world.tick()
    assert client.transport.closed
    assert client.received() == []


def test_shutdown_tells_everybody(world):
    clients = [world.joined(f"u{n}") for n in range(3)]
    world.hub.shut_down()
    assert [client.received()[0].reason_code for client in clients] == [0x8B] * 3


def test_a_setting_that_changes_holds_for_live_connections(world):
    import msgspec

    from tokenmq.tokens.records import OrganizationRecord

    alice = world.joined("alice", "$robots/#")
    assert alice.publish("$robots/a", qos=1)[0].reason_code == 0x87
    world.doors.settings = msgspec.structs.replace(world.doors.settings, dollar_trees=("$robots",))
    world.hub.organization_changed(OrganizationRecord(ORG, "a", world.doors.settings, 0))
    reason = alice.publish("$robots/a", qos=1)[0]
    assert "policy" in reason.reason_string or reason.reason_code == 0x10


def test_nothing_is_left_of_sessions_that_ended(world):
    for round_ in range(3):
        clients = [world.joined(f"u{n}", "chat/#", client_id=f"c{round_}-{n}") for n in range(20)]
        for client in clients:
            client.subscribe("chat/#", "chat/a", "chat/+/x")
        clients[0].publish("chat/a")
        for client in clients:
            client.link.lost()
    broker = world.broker
    assert broker.tenants[ORG].sessions == {}
    lives = broker.lives
    assert len(lives._expiries) == len(lives._warnings) == len(lives._leavings) == len(lives._wills) == 0
    assert lives._families == lives._keys == {}
    assert len(broker.tenants[ORG].routes._subscriptions) == 0
    assert len(world.hub._deadlines) == 0


def test_a_protocol_error_is_named_in_mqtt_5_and_closes_in_311(world):
    new, old = world.joined("new"), world.joined("old", version=4)
    new.send_bytes(b"\x32\x05\x00\x01a\x00\x00")
    old.send_bytes(b"\x32\x05\x00\x01a\x00\x00")
    (disconnect,) = new.received()
    assert disconnect.reason_code in (ReasonCode.PROTOCOL_ERROR, ReasonCode.MALFORMED_PACKET)
    assert old.transport.closed
