"""The lane lets nothing pass that the full path refuses, and goes over no bytes twice."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenmq.broker import lane
from tokenmq.broker.lane import forward
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Disconnect, Puback, Publish, Subscribe
from tokenmq.mqtt.packets.subscribe import Subscription

VERSIONS = pytest.mark.parametrize("version", [4, 5])


async def pair(instance, version=5, qos=1):
    """Return a publisher that has a lane on chat/a, and its one receiver."""
    ann = await instance.joined("ann", "chat/#", version=version)
    bob = await instance.joined("bob", "chat/#", version=version)
    bob.subscribe("chat/#", qos=qos)
    ann.publish("chat/a", b"x")
    bob.received()
    assert ann.session.lanes
    return ann, bob


@VERSIONS
async def test_v16_a_packet_identifier_of_zero_after_many_acknowledgements_costs_one_look(instance, version):
    ann, _ = await pair(instance, version)
    data = b"\x40\x02\x00\x01" * 50_000 + b"\x40\x02\x00\x00"
    began = time.thread_time()
    ann.send_bytes(data)
    assert time.thread_time() - began < 5
    assert ann.closed


async def test_v16_properties_that_change_with_every_packet_cost_one_look(instance):
    ann, _ = await pair(instance)
    kinds = ({"content_type": "aa"}, {"content_type": "bb"})
    for kind in kinds:
        ann.publish("chat/a", b"x", **kind)
    data = b"".join(
        codec.encode(Publish("chat/a", b"x", 1, packet_id=number + 1, **kinds[number % 2]), 5)
        for number in range(10_000)
    )
    began = time.thread_time()
    assert len(ann.send_bytes(data)) == 10_000
    assert time.thread_time() - began < 5


@VERSIONS
@pytest.mark.parametrize("first", [0x30, 0x32])
async def test_no_packet_reaches_beyond_itself(instance, version, first):
    """Lengths that lie: topic, packet identifier or properties that end in the packet after."""
    _, bob = await pair(instance, version)
    for remaining in range(16):
        hostile = instance.client(version)
        token = await instance.issue("ann")
        hostile.connect(token.username, token.text.encode(), f"h-{remaining}")
        hostile.publish("chat/a", b"x")
        bob.received()
        data = bytes((first, remaining)) + b"\x00\x06chat/a\x00\x01\x00\x00payload"
        hostile.link.received(data)
        for message in bob.received():
            assert (message.topic, len(message.payload)) == (
                "chat/a",
                message_bytes(remaining, first, version),
            )


def message_bytes(remaining, first, version):
    return remaining - 8 - (2 if first == 0x32 else 0) - (1 if version == 5 else 0)


streams = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.sampled_from(
            [
                b"\x30\x09\x00\x06chat/ax",
                b"\x30\x0a\x00\x06chat/a\x00x",
                b"\x32\x0b\x00\x06chat/a\x00\x01x",
                b"\x32\x0c\x00\x06chat/a\x00\x01\x00x",
                b"\x32\x0c\x00\x06chat/a\x00\x00\x00x",
                b"\x3a\x0c\x00\x06chat/a\x00\x01\x00x",
                b"\x31\x0a\x00\x06chat/a\x00x",
                b"\x30\x8a\x00\x00\x06chat/a\x00x",
                b"\x30\x0a\x00\x06chat/\xff\x00x",
                b"\x30\x0a\x00\x07chat/a\x00x",
                b"\x30\x0b\x00\x06chat/a\x02\x01\x01",
                b"\x30\x0b\x00\x06chat/a\x02\x01\x01\xff",
                b"\x30\x0d\x00\x06chat/a\x03\x23\x00\x01x",
                b"\x30\x07\x00\x00\x03\x23\x00\x01x",
                b"\x40\x02\x00\x01",
                b"\x40\x02\x00\x00",
                b"\x40\x03\x00\x01\x87",
                b"\xc0\x00",
            ]
        ),
    ),
    min_size=1,
    max_size=8,
).map(b"".join)


@VERSIONS
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=streams, cut=st.integers(0, 60))
async def test_any_bytes_come_to_the_same_with_lanes_and_without(world, version, data, cut):
    """What a hostile publisher sends: every receiver gets the same, and it is closed for the same."""
    results = []
    for forward_with in (forward, lambda data, pos, *rest: pos):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lane, "forward", forward_with)
            ann, bob = world(version), world(version)
            bob.send(Subscribe(1, (Subscription("chat/#", qos=1),)))
            ann.send(Publish("chat/a", b"x"), Publish("chat/a", b"x", content_type="t"))
            bob.received()
            for part in (data[:cut], data[cut:]):
                if part:
                    ann.link.received(part)
            results.append((bytes(bob.transport.written), ann.closed, close_code(ann)))
            for client in (ann, bob):
                client.link.lost()
    assert results[0] == results[1]


def close_code(client):
    return [packet.reason_code for packet in client.received() if isinstance(packet, Disconnect)]


@pytest.fixture
async def world(instance):
    """Connect as somebody new, without waiting for anything."""
    tokens = {name: await instance.issue(name) for name in ("ann", "bob")}
    turn = [0]

    def connect(version):
        turn[0] += 1
        token = tokens["ann" if turn[0] % 2 else "bob"]
        client, connack = instance.enter(token, f"c{turn[0]}", version)
        assert connack.reason_code == 0
        return client

    return connect


@VERSIONS
async def test_v14_a_lane_ends_with_the_receivers_token(instance, version):
    ann, bob = await pair(instance, version)
    await instance.revoke(user_id="bob")
    bob.received()
    ann.publish("chat/a")
    assert bob.topics() == []


@VERSIONS
async def test_v14_a_lane_ends_with_the_publishers_token(instance, version):
    ann, bob = await pair(instance, version)
    await instance.revoke(user_id="ann")
    ann.link.received(codec.encode(Publish("chat/a"), version))
    assert bob.topics() == []


async def test_a_lane_ends_when_a_dollar_tree_is_taken_away(instance):
    ann = await instance.joined("ann", "$spaces/#")
    bob = await instance.joined("bob", "$spaces/#")
    assert bob.subscribe("$spaces/#") == [0]
    ann.publish("$spaces/a")
    assert bob.topics() == ["$spaces/a"]
    await instance.services.organizations.patch(
        instance.organization.id,
        name=None,
        settings={"dollar_trees": []},
        key=instance.admin,
        now=instance.clock.now,
    )
    (answer,) = ann.publish("$spaces/a", qos=1)
    assert answer.reason_code == 0x87
    assert bob.topics() == []


@VERSIONS
async def test_q13_a_lane_ends_when_its_receiver_is_taken_over(instance, version):
    ann, bob = await pair(instance, version)
    token = await instance.issue("bob")
    newcomer, connack = instance.enter(token, "c-bob", version)
    assert connack.reason_code == 0
    bob.received()
    ann.publish("chat/a")
    assert bob.closed
    assert bob.topics() == []
    assert newcomer.topics() == []


async def test_v14_a_publisher_that_has_expired_within_its_chunks_is_heard_no_more(instance):
    ann = await instance.joined("ann", "chat/#", ttl_seconds=60)
    bob = await instance.joined("bob", "chat/#")
    bob.subscribe("chat/#")
    for _ in range(2):
        ann.publish("chat/a")
    assert len(bob.topics()) == 2
    instance.clock.advance(60)
    ann.link.received(codec.encode(Publish("chat/a"), 5))
    assert bob.topics() == []
    assert ann.closed


async def test_q17_an_alias_leaves_no_lane(instance):
    ann, bob = await pair(instance)
    ann.session.lanes.clear()
    ann.publish("chat/a", topic_alias=1)
    ann.publish("", topic_alias=1)
    assert not ann.session.lanes
    assert [message.topic_alias for message in bob.received()] == [None, None]


async def test_v47_a_reserved_user_property_is_refused_with_a_lane_too(instance):
    ann, bob = await pair(instance)
    for _ in range(3):
        (answer,) = ann.publish("chat/a", qos=1, user_properties=(("tokenmq-x", "1"),))
        assert answer.reason_code == 0x87
    assert bob.topics() == []
    assert Puback not in {type(packet) for packet in bob.received()}


async def test_q27_a_payload_that_is_not_the_text_it_says_reaches_nobody_not_even_as_nothing(instance):
    ann, bob = await pair(instance)
    ann.publish("chat/a", b"text", payload_format_indicator=1)
    bob.received()
    session, broker = ann.session, instance.hub.broker
    data = codec.encode(Publish("chat/a", b"\xff", payload_format_indicator=1), 5)
    assert forward(data, 0, session, broker.dirty, broker.counters, broker.recorder, 1 << 20) == 0
    assert (broker.dirty, bob.session.chunks) == ([], [])
    assert [packet.reason_code for packet in ann.send_bytes(data)] == [0x99]
