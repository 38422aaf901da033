"""Whoever wants to hold a place for nothing: SlowITe, and CONNECTs that leave something behind."""

from __future__ import annotations

import tracemalloc
from random import Random
from typing import Any

import pytest

from tokenmq.broker import revoking
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Connect
from tokenmq.mqtt.wire import packet, write_text, write_variable


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("asked", [0, 301, 65_535])
async def test_v22_a_silent_client_is_gone_in_time_whatever_keep_alive_it_asked_for(
    instance: Any, version: int, asked: int
) -> None:
    longest = 1.5 * instance.settings.max_keep_alive_seconds
    token = await instance.issue("ann")
    client, connack = instance.enter(token, version=version, keep_alive=asked)
    assert connack.reason_code == 0
    # [MQTT-3.2.2-21] 3.1.1 cannot be told, and is held to it all the same.
    assert connack.server_keep_alive == (instance.settings.max_keep_alive_seconds if version == 5 else None)
    instance.clock.advance(longest - 2)
    instance.tick()
    assert not client.closed
    instance.clock.advance(4)
    instance.tick()
    assert client.closed


@pytest.mark.parametrize(
    "sent", [b"", b"\x10", b"\x10\xff\x7f\x00\x04MQTT"], ids=["nothing", "a byte", "a part"]
)
async def test_v22_v41_bytes_that_trickle_in_buy_no_time_before_connect(instance: Any, sent: bytes) -> None:
    client = instance.client()
    if sent:
        client.link.received(sent)
    for _ in range(instance.settings.connect_timeout_seconds + 1):
        instance.clock.advance(1)
        if sent and not client.closed:
            client.link.received(b"\x00" if len(sent) > 1 else b"\x80")
        instance.tick()
    assert client.closed and client.link.outbox.session is None


def bad_will(random: Random, version: int = 5) -> bytes:
    """Make a CONNECT whose will has a property that none may have, or no room for it."""
    bad = random.choice(
        (
            b"\x23\x00\x01",  # a topic alias, which is for PUBLISH
            b"\x01\x02",  # a flag of 2
            b"\x18\x00\x00\x00\x01" * 2,  # twice
            b"\x08" + write_text("a/#"),  # a response topic with a wildcard
            b"\x09\xff\xff" + random.randbytes(200),  # data that ends beyond the packet
            b"\x26" + write_text("k") + b"\x00\x05\xed\xa0\x80xx",  # a surrogate
            bytes((random.randrange(0x2B, 0x7F),)),  # none there is
        )
    )
    will = write_variable(len(bad)) + bad + write_text("chat/x") + write_text("gone")
    head = write_text("MQTT") + bytes((version, 0x06)) + b"\x00\x3c\x00"
    return packet(0x10, head, write_text("c"), will)


async def test_v18_wills_with_bad_properties_leave_nothing_behind(instance: Any) -> None:
    def refuse(count: int) -> None:
        random = Random(18)
        for _ in range(count):
            client = instance.client()
            client.send_bytes(bad_will(random))
            assert client.closed and client.session is None
            client.link.lost()

    refuse(100)
    tracemalloc.start()
    try:
        refuse(100)
        before = tracemalloc.get_traced_memory()[0]
        refuse(1_000)
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # 1,000 of them: 80,000 bytes if nothing but the packet of each stayed.
    assert held < 50_000


@pytest.mark.parametrize("version", [4, 5])
async def test_v74_many_links_that_fight_for_few_client_ids_leave_one_session_each(
    instance: Any, version: int
) -> None:
    """Connect, subscribe, publish, leave and vanish in any order: what is left is what is connected."""
    random = Random(74)
    token = await instance.issue("ann")
    clients: list[Any] = []
    for _ in range(2_000):
        match random.randrange(5):
            case 0 | 1:
                client = instance.client(version)
                connect = Connect(version, f"c{random.randrange(10)}", True, 60)
                connect.username, connect.password = token.username, token.text.encode()
                client.send_bytes(codec.encode(connect, version))
                clients.append(client)
            case 2 if clients:
                chosen = random.choice(clients)
                if not chosen.closed:
                    chosen.subscribe("chat/#", qos=random.randrange(2))
            case 3 if clients:
                chosen = random.choice(clients)
                if not chosen.closed:
                    chosen.publish("chat/x", qos=random.randrange(2))
            case _ if clients:
                gone = clients.pop(random.randrange(len(clients)))
                if not gone.closed and random.random() < 0.5:
                    gone.send_bytes(b"\xe0\x00")
                gone.link.lost()
    broker = instance.hub.broker
    (tenant,) = broker.tenants.values()
    standing = {client.session.client_id for client in clients if not client.closed}
    families = {client.session.identity.token_id for client in clients if not client.closed}
    assert set(tenant.sessions) == standing and len(standing) <= 10
    for client in clients:
        client.link.lost()
    assert not tenant.sessions and not revoking.connected_families(broker, families)
