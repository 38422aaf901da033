"""Limits that an operator has set hold as they were set (SECURITY 6.1); the defaults are held elsewhere."""

from __future__ import annotations

import pytest

from tokenmq.mqtt.packets import Publish, Will

both = pytest.mark.parametrize("version", [4, 5])


@both
def test_a_username_as_long_as_was_set_is_looked_at_and_a_longer_one_is_not(make_world, version):
    world = make_world(max_username_bytes=len("someone"))
    assert world.client(version).connect(world.person("alice"))[0].reason_code == 0
    shorter = make_world(max_username_bytes=len("someone") - 1)
    (connack,) = shorter.client(version).connect(shorter.person("alice"))
    assert connack.reason_code == 0x86


@pytest.mark.parametrize(("asked", "waits"), [(2, 2), (60, 10)])
def test_a_will_waits_no_longer_than_was_set(make_world, asked, waits):
    world = make_world(max_will_delay_seconds=10)
    reader = world.joined("bob")
    reader.subscribe("chat/#")
    will = Will("chat/will", b"gone", will_delay_interval=asked)
    world.joined("alice", will=will, session_expiry_interval=600).link.lost()
    world.clock.advance(waits - 1.5)
    world.tick()
    assert reader.received() == []
    world.clock.advance(3)
    world.tick()
    assert [packet.payload for packet in reader.received() if isinstance(packet, Publish)] == [b"gone"]


@pytest.mark.parametrize(("asked", "told"), [(0, 40), (19, 20), (20, None), (40, None), (41, 40)])
def test_a_keep_alive_lies_within_what_was_set(make_world, asked, told):
    world = make_world(min_keep_alive_seconds=20, max_keep_alive_seconds=40)
    client = world.client()
    (connack,) = client.connect(world.person("alice"), keep_alive=asked)
    assert connack.server_keep_alive == told
    assert client.link.connection.expires_at_mono == world.clock.mono + 1.5 * (told or asked)
