"""Publish rates of one client: held back first, closed when it lasts (SECURITY 6.1)."""

from __future__ import annotations

from typing import Any

import pytest

from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Disconnect, Pingreq, Pingresp, Publish

both = pytest.mark.parametrize("version", [4, 5])


def burst(number: int, version: int, size: int = 2) -> bytes:
    """Return so many PUBLISH packets as they come in one piece, numbered."""
    packets = [Publish("chat/a", b"%d" % n + b"." * (size - 2), 0) for n in range(10, 10 + number)]
    return b"".join(codec.encode(packet, version) for packet in packets)


def numbers(packets: list[Any]) -> list[int]:
    return [int(packet.payload[:2]) for packet in packets if isinstance(packet, Publish)]


async def listening(instance: Any, version: int = 5) -> tuple[Any, Any]:
    """Return somebody who publishes and somebody who listens."""
    reader = await instance.joined("bob", "chat/#", version=version)
    reader.subscribe("chat/#")
    return await instance.joined("ann", "chat/#", version=version), reader


def wait(instance: Any, seconds: float) -> None:
    for _ in range(int(seconds * 4)):
        instance.clock.advance(0.25)
        instance.tick()


@both
async def test_without_a_rate_nothing_is_held_and_there_are_lanes(instance, version):
    ann, reader = await listening(instance, version)
    assert ann.link.outbox.pace is None
    ann.send_bytes(burst(90, version))
    assert numbers(reader.received()) == list(range(10, 100))
    assert ann.session.lanes


@both
async def test_what_comes_too_fast_waits_in_order_and_its_link_is_not_read(make_instance, version):
    instance = await make_instance(max_publish_messages_per_second=10)
    ann, reader = await listening(instance, version)
    ann.send_bytes(burst(25, version))
    assert numbers(reader.received()) == list(range(10, 20))
    assert not ann.transport.reading
    assert not ann.session.lanes
    wait(instance, 0.5)
    assert numbers(reader.received()) == list(range(20, 25))
    wait(instance, 1)
    assert numbers(reader.received()) == list(range(25, 35))
    assert ann.transport.reading
    assert not ann.closed


async def test_what_still_comes_while_it_is_held_joins_what_waits(make_instance):
    instance = await make_instance(max_publish_messages_per_second=10)
    ann, reader = await listening(instance)
    data = burst(14, 5)
    ann.send_bytes(data[:-5])
    ann.send_bytes(data[-5:])
    assert numbers(reader.received()) == list(range(10, 20))
    wait(instance, 1)
    assert numbers(reader.received()) == list(range(20, 24))


async def test_bytes_have_a_rate_of_their_own_and_one_message_of_any_size_passes(make_instance):
    instance = await make_instance(max_publish_bytes_per_second=1_000)
    ann, reader = await listening(instance)
    ann.send_bytes(burst(3, 5, 5_000))
    assert numbers(reader.received()) == [10]
    wait(instance, 4)
    assert numbers(reader.received()) == []
    wait(instance, 0.25)
    assert numbers(reader.received()) == [11]


@both
async def test_over_the_rate_for_ten_seconds_is_closed_with_0x96(make_instance, version):
    instance = await make_instance(max_publish_messages_per_second=2)
    ann, reader = await listening(instance, version)
    ann.send_bytes(burst(80, version))
    wait(instance, 9.75)
    assert not ann.closed
    wait(instance, 0.5)
    assert ann.closed
    told = [packet for packet in ann.received() if isinstance(packet, Disconnect)]
    if version == 5:
        assert [(packet.reason_code, packet.reason_string) for packet in told] == [
            (0x96, "publishes faster than 2 messages a second")
        ]
    else:
        assert told == []
    # Two at once, then what ten seconds gave; nothing of it is lost or comes twice.
    got = numbers(reader.received())
    assert got == list(range(10, 10 + len(got)))
    assert 20 <= len(got) <= 23


async def test_the_time_that_is_too_long_is_a_setting(make_instance):
    instance = await make_instance(max_publish_messages_per_second=2, max_publish_hold_seconds=1)
    ann, _ = await listening(instance)
    ann.send_bytes(burst(80, 5))
    wait(instance, 0.75)
    assert not ann.closed
    wait(instance, 0.5)
    assert ann.closed


async def test_who_keeps_to_the_rate_after_a_burst_is_not_closed(make_instance):
    instance = await make_instance(max_publish_messages_per_second=4)
    ann, reader = await listening(instance)
    ann.send_bytes(burst(10, 5))
    for _ in range(40):
        wait(instance, 0.5)
        ann.send_bytes(burst(1, 5))
    assert not ann.closed
    assert len(numbers(reader.received())) == 50
    # Over its rate for nine seconds, within it for one, over it for nine.
    for _ in range(2):
        ann.send_bytes(burst(36, 5))
        wait(instance, 9)
        assert not ann.closed
        wait(instance, 1)


@both
async def test_a_held_link_is_not_ended_by_its_keep_alive(make_instance, version):
    instance = await make_instance(max_publish_bytes_per_second=100, max_publish_hold_seconds=60)
    token = await instance.issue("ann", "chat/#")
    ann, _ = instance.enter(token, "c-ann", version, keep_alive=5)
    ann.send_bytes(burst(1, version, 4_000) + burst(1, version) + codec.encode(Pingreq(), version))
    wait(instance, 30)
    assert not ann.closed
    assert ann.received() == []
    wait(instance, 9.5)
    assert ann.received() == [Pingresp()]
    wait(instance, 7)
    assert not ann.closed
    wait(instance, 1)
    assert ann.closed


async def test_a_large_message_alone_keeps_nobody_from_anything(make_instance):
    """It is over the rate, but nothing waits: no packet of another kind does, and nothing is closed."""
    instance = await make_instance(max_publish_bytes_per_second=100)
    ann, _ = await listening(instance)
    ann.send_bytes(burst(1, 5, 8_000))
    assert ann.send(Pingreq()) == [Pingresp()]
    wait(instance, 30)
    assert not ann.closed
    assert ann.transport.reading


async def test_an_organization_may_set_a_lower_rate_and_it_holds_at_once(make_instance):
    instance = await make_instance(max_publish_messages_per_second=20)
    ann, reader = await listening(instance)
    await instance.change(max_publish_messages_per_second=5)
    ann.send_bytes(burst(30, 5))
    assert len(numbers(reader.received())) == 5
    await instance.change(max_publish_messages_per_second=1_000)
    wait(instance, 0.25)
    assert len(numbers(reader.received())) == 20
    assert not ann.transport.reading


async def test_a_rate_of_an_organization_comes_and_goes_with_lanes_and_what_waits(instance):
    ann, reader = await listening(instance)
    ann.send_bytes(burst(30, 5))
    assert ann.session.lanes
    await instance.change(max_publish_messages_per_second=5)
    reader.received()
    ann.send_bytes(burst(30, 5))
    assert len(numbers(reader.received())) == 5
    await instance.change(max_publish_messages_per_second=0)
    wait(instance, 0.25)
    assert len(numbers(reader.received())) == 25
    assert ann.transport.reading
    ann.send_bytes(burst(2, 5))
    assert ann.session.lanes


async def test_a_servers_connection_has_no_rate(make_instance):
    instance = await make_instance(max_publish_messages_per_second=1)
    key = await instance.make_key()
    server = instance.client()
    assert server.connect(f"server@{instance.organization.id}", key.text.encode()).reason_code == 0
    assert server.link.outbox.pace is None


async def test_the_end_of_a_held_link_leaves_nothing_behind(make_instance):
    instance = await make_instance(max_publish_messages_per_second=1)
    ann, reader = await listening(instance)
    ann.send_bytes(burst(5, 5))
    ann.link.lost()
    wait(instance, 5)
    assert numbers(reader.received()) == [10]
    assert not instance.hub.slowed._links


async def test_a_rate_and_a_slow_store_hold_together(make_instance):
    """What waits for the store is our affair: that time counts for nothing."""
    instance = await make_instance(max_publish_messages_per_second=2, max_unstored_bytes_per_connection=1_024)
    reader = await instance.lasting(await instance.issue("bob"), "chat/#", client_id="bob", qos=1)
    ann = await instance.joined("ann", "chat/#")
    await instance.kept()
    instance.store.waits = True
    packets = [Publish("chat/a", b"x" * 900, 1, packet_id=n) for n in range(1, 6)]
    ann.send_bytes(b"".join(codec.encode(packet, 5) for packet in packets))
    wait(instance, 30)
    assert not ann.closed
    assert not ann.transport.reading
    instance.store.go_on()
    await instance.kept()
    for _ in range(4):
        wait(instance, 1)
        await instance.kept()
    assert len(reader.messages()) == 5
    assert ann.transport.reading
