"""What waits for everybody together is bounded, and a flood takes from whom it is for (SECURITY 6.1)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokenmq.broker import due, queued
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Puback, Pubcomp, Publish, Pubrec

MIB = 2**20
both = pytest.mark.parametrize("version", [4, 5])


def flood(client: Any, count: int, size: int, topic: str = "chat/a", qos: int = 0) -> list[Any]:
    answers = []
    for number in range(count):
        answers += client.publish(topic, b"%04d" % number + bytes(size), qos=qos)
    return answers


def numbers(client: Any) -> list[int]:
    return [int(packet.payload[:4]) for packet in client.messages()]


def counted_anew(broker: Any) -> int:
    """Count from nothing what all queues hold: each entry, and what several hold once."""
    total, shared = 0, {}
    for tenant in broker.tenants.values():
        for session in tenant.sessions.values():
            for waiting in session.queue:
                shared[id(waiting.run)] = len(waiting.run)
                total += queued._ENTRY_BYTES
            for _, message in session.backlog.due if session.backlog is not None else ():
                shared[id(message)] = message.size + due.MESSAGE_BYTES
                total += due.ENTRY_BYTES
    return total + sum(shared.values())


async def stuck(instance: Any, user_id: str, *, qos: int = 0, topic: str = "chat/#", **more: Any) -> Any:
    """Return a listener whose link takes no bytes."""
    client = await instance.joined(user_id, topic, **more)
    client.subscribe(topic, qos=qos)
    client.link.writing_paused()
    return client


@both
async def test_the_oldest_go_and_are_counted_and_told_and_no_publisher_is_refused(make_instance, version):
    instance = await make_instance(max_all_queued_bytes=MIB)
    slow = await stuck(instance, "bob", version=version)
    slow.link.writing_resumed()
    slow.subscribe("$auth/events")
    slow.link.writing_paused()
    ann = await instance.joined("ann", "chat/#", version=version)
    answers = flood(ann, 40, 64 * 1024, qos=1)
    assert len(answers) == 40
    assert all(getattr(answer, "reason_code", 0) == 0 for answer in answers)
    broker = instance.hub.broker
    assert broker.queues.bytes <= MIB
    lost = broker.counters.crowded_out
    assert lost == broker.counters.overflowed == 25
    slow.received()
    slow.link.writing_resumed()
    instance.tick()
    messages = slow.messages()
    assert [int(m.payload[:4]) for m in messages if m.topic == "chat/a"] == list(range(25, 40))
    events = [json.loads(m.payload) for m in messages if m.topic == "$auth/events"]
    assert events == [{"event": "dropped", "count": 25}]
    assert broker.queues.bytes == 0


async def test_sessions_without_a_connection_give_too_in_memory_and_in_the_store(make_instance):
    instance = await make_instance(max_all_queued_bytes=MIB)
    reader = await instance.lasting(await instance.issue("bob"), "chat/#", client_id="bob")
    reader.link.lost()
    ann = await instance.joined("ann", "chat/#")
    flood(ann, 40, 64 * 1024, qos=1)
    await instance.kept()
    broker = instance.hub.broker
    assert broker.counters.crowded_out == 25
    assert 0 < broker.queues.bytes <= MIB
    await instance.restart()
    assert 0 < instance.hub.broker.queues.bytes <= MIB
    reader = await instance.lasting(await instance.issue("bob"), client_id="bob")
    assert numbers(reader) == list(range(25, 40))


async def test_what_is_kept_is_within_the_limit_after_a_restart_with_a_lower_one(make_instance):
    instance = await make_instance(max_all_queued_bytes=4 * MIB)
    reader = await instance.lasting(await instance.issue("bob"), "chat/#", client_id="bob")
    reader.link.lost()
    flood(await instance.joined("ann", "chat/#"), 40, 64 * 1024, qos=1)
    instance.settings = type(instance.settings)(max_all_queued_bytes=MIB)
    await instance.restart()
    assert 0 < instance.hub.broker.queues.bytes <= MIB
    reader = await instance.lasting(await instance.issue("bob"), client_id="bob")
    assert numbers(reader) == list(range(25, 40))


async def test_a_flood_costs_no_other_organization_anything(make_instance):
    instance = await make_instance(max_all_queued_bytes=MIB)
    organization, key = await instance.other_organization()
    victim = await stuck(instance, "vic", organization=organization, key=key)
    flood(await instance.joined("eve", "chat/#", organization=organization, key=key), 8, 50_000)
    for name in ("b1", "b2", "b3"):
        await stuck(instance, name, topic=f"{name}/#")
    ann = await instance.joined("ann", "b1/#", "b2/#", "b3/#")
    for name in ("b1", "b2", "b3"):
        flood(ann, 20, 30_000, topic=f"{name}/a")
    assert instance.hub.broker.counters.crowded_out
    victim.link.writing_resumed()
    assert numbers(victim) == list(range(8))


async def test_one_message_for_many_slow_receivers_counts_once(make_instance):
    instance = await make_instance(max_all_queued_bytes=MIB)
    slow = [await stuck(instance, f"u{number}") for number in range(10)]
    flood(await instance.joined("ann", "chat/#"), 9, 100_000)
    assert instance.hub.broker.counters.dropped == 0
    for client in slow:
        client.link.writing_resumed()
        assert numbers(client) == list(range(9))


@both
async def test_a_receiver_whose_whole_queue_has_gone_gets_what_comes_next(make_instance, version):
    """Its window is full, so nothing but a PUBACK would set it going; then there is nothing to send."""
    instance = await make_instance(max_all_queued_bytes=MIB, max_inflight=1)
    slow = await instance.joined("bob", "chat/#", version=version)
    slow.subscribe("chat/#", qos=1)
    ann = await instance.joined("ann", "chat/#", version=version)
    flood(ann, 2, 1_000_000, qos=1)
    other = await stuck(instance, "eve", topic="other/#")
    flood(await instance.joined("dan", "other/#"), 1, 600_000, topic="other/a")
    assert not slow.session.queue
    (first,) = [packet for packet in slow.received() if isinstance(packet, Publish)]
    slow.send(Puback(first.packet_id))
    ann.publish("chat/a", b"0009", qos=1)
    assert numbers(slow) == [9]
    other.link.writing_resumed()
    assert numbers(other) == [0]


async def test_a_message_too_large_for_the_queue_keeps_nothing_behind_it(make_instance):
    instance = await make_instance(max_queued_bytes=2_048, max_inflight=1)
    slow = await instance.joined("bob", "chat/#")
    slow.subscribe("chat/#", qos=1)
    ann = await instance.joined("ann", "chat/#")
    flood(ann, 2, 4_000, qos=1)
    (first,) = [packet for packet in slow.received() if isinstance(packet, Publish)]
    slow.send(Puback(first.packet_id))
    ann.publish("chat/a", b"0009", qos=1)
    assert numbers(slow) == [9]


async def test_whatever_happens_to_a_queue_it_is_counted_as_it_is(make_instance):
    """Through everything that puts in and takes out: the sum is that of a count from nothing."""
    instance = await make_instance(max_queued_messages=12, max_inflight=2)
    broker = instance.hub.broker
    ann = await instance.joined("ann", "chat/#", "other/#")
    slow = await stuck(instance, "bob", qos=1)
    narrow = await instance.joined("dan", "chat/#", "other/#")
    narrow.subscribe("chat/#", "other/#", qos=1)
    away = await instance.lasting(await instance.issue("cat"), "chat/#", client_id="cat", qos=2)
    away.link.lost()

    async def hold() -> None:
        await instance.kept()
        assert broker.queues.bytes == counted_anew(broker)

    async def fill() -> None:
        for number in range(8):
            ann.publish("chat/a", b"x" * 50, qos=number % 3, message_expiry_interval=5 + number)
            ann.send_bytes(b"".join(codec.encode(Publish("chat/b", b"y", 0), 5) for _ in range(5)))
            ann.publish("other/a", b"z", qos=1)
            await hold()

    await fill()
    assert broker.queues.bytes
    assert broker.counters.overflowed
    slow.link.writing_resumed()
    await hold()
    narrow.send(*[Puback(p.packet_id) for p in narrow.received() if isinstance(p, Publish) and p.qos])
    await hold()
    instance.clock.advance(7)
    narrow.send(*[Puback(p.packet_id) for p in narrow.received() if isinstance(p, Publish) and p.qos])
    await hold()
    slow.link.writing_paused()
    await fill()
    await instance.change(dollar_trees=[])
    await hold()
    away = await instance.lasting(await instance.issue("cat", "chat/b"), client_id="cat")
    await hold()
    away.link.lost()
    for client in (slow, narrow):
        client.link.lost()
        await hold()
    ended = await instance.services.sessions.end_user(
        "cat", key=instance.key, org_id=instance.organization.id, now=instance.clock.now
    )
    assert ended == 1
    await hold()
    assert broker.queues.bytes == 0
    assert not instance.hub.broker.tenants[instance.organization.id].share._held


# Bytes on the way to one session


@pytest.mark.parametrize("qos", [1, 2])
async def test_what_is_held_until_it_is_acknowledged_is_bounded_in_bytes(make_instance, qos):
    instance = await make_instance(max_inflight_bytes=3_000)
    reader = await instance.lasting(await instance.issue("bob"), "chat/#", client_id="bob", qos=qos)
    ann = await instance.joined("ann", "chat/#")
    for number in range(7):
        await instance.publish(ann, "chat/a", b"%04d" % number + bytes(990), qos=qos)
    first = reader.messages()
    assert [int(message.payload[:4]) for message in first] == [0, 1, 2]
    assert reader.session.backlog._inflight_bytes == 3_000
    for message in first[:2]:
        reader.send(*[Puback(message.packet_id)] if qos == 1 else [Pubrec(message.packet_id)])
        await instance.kept()
        reader.after += reader.send(Pubcomp(message.packet_id)) if qos == 2 else []
    assert reader.session.backlog._inflight_bytes == 3_000
    assert len(reader.session.inflight) == 3
    # What comes back begins anew, under the same limit.
    reader.link.lost()
    reader = await instance.lasting(await instance.issue("bob"), client_id="bob")
    assert numbers(reader) == [2, 3, 4]
    assert reader.session.backlog._inflight_bytes == 3_000


async def test_one_message_goes_however_large_it_is(make_instance):
    instance = await make_instance(max_inflight_bytes=1_024)
    reader = await instance.lasting(await instance.issue("bob"), "chat/#", client_id="bob", qos=1)
    ann = await instance.joined("ann", "chat/#")
    message_bytes = len("chat/a") + 100_000
    for number in range(3):
        await instance.publish(ann, "chat/a", b"%04d" % number + bytes(99_996))
    for number in range(3):
        (message,) = reader.messages()
        assert int(message.payload[:4]) == number
        assert reader.session.backlog._inflight_bytes == message_bytes
        reader.after = reader.send(Puback(message.packet_id))
    assert reader.session.backlog._inflight_bytes == 0
