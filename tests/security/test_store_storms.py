"""What one client can make the broker hold or do by way of the store: slow, full, or asked for nothing."""

from __future__ import annotations

import tracemalloc
from typing import Self

import pytest

from tokenmq.errors import Unavailable
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Publish, Subscribe, Unsubscribe, Will
from tokenmq.mqtt.packets.subscribe import Subscription

MIB = 2**20
LASTING = {"clean_start": False, "session_expiry_interval": 600}


class Traced:
    """Counts what is held of what was allocated inside."""

    def __enter__(self) -> Self:
        tracemalloc.start()
        self._before = tracemalloc.get_traced_memory()[0]
        return self

    def __exit__(self, *_: object) -> None:
        self.bytes = tracemalloc.get_traced_memory()[0] - self._before
        tracemalloc.stop()


def held(keeping):
    """Return how many changes wait for a store that refuses everything."""
    return len(keeping._changes) + len(keeping._aside) + len(keeping._again)


# A full disk


@pytest.mark.parametrize(
    "more", [{"qos": 1}, {"qos": 2}, {"qos": 1, "retain": True}, {"qos": 0, "retain": True}], ids=str
)
async def test_n1_a_full_disk_leaves_nothing_behind_of_what_it_refused(instance, more):
    """For hours, a thousand times a second: whatever is noted to be done later must not pile up."""
    reader = await instance.lasting(await instance.issue("cat"), "chat/#", client_id="cat", qos=2)
    client = await instance.lasting(await instance.issue("ann"))
    await instance.kept()
    instance.store.fails = True
    for number in range(500):
        client.publish(f"chat/{number}", b"x", **more)
        if not number % 100:
            await instance.kept()
            instance.tick()
    await instance.kept()
    instance.tick()
    await instance.kept()
    assert held(instance.hub.broker.keeping) <= 5
    codes = {answer.reason_code for answer in client.received() if hasattr(answer, "reason_code")}
    assert codes <= {0x97}
    assert not reader.session.backlog.deliveries
    assert not client.session.unreleased
    instance.store.fails = False
    await instance.publish(client, "chat/a", b"good")
    assert [message.payload for message in reader.messages()] == [b"good"]
    await instance.restart()
    _, connack = instance.enter(await instance.issue("ann"), **LASTING)
    assert connack.session_present


# A slow one


def subscribes(packet_id):
    filters = tuple(Subscription(f"chat/{number:03}/" + "x" * 900, qos=1) for number in range(100))
    return Subscribe(packet_id, filters)


def unsubscribes(packet_id):
    return Unsubscribe(packet_id, tuple(f"chat/{number:03}/" + "x" * 900 for number in range(100)))


@pytest.mark.parametrize("packet", [subscribes, unsubscribes])
async def test_v02_subscribing_is_read_no_faster_than_the_store_takes_it(instance, packet):
    client = await instance.lasting(await instance.issue("ann"))
    client.send(subscribes(1))
    await instance.kept()
    client.received()
    instance.store.waits = True
    sent = 0
    with Traced() as traced:
        while client.transport.reading and sent < 200:
            sent += 1
            client.link.received(codec.encode(packet(sent), 5))
    assert 5 < sent < 20
    assert traced.bytes < 8 * MIB
    instance.store.go_on()
    await instance.kept()
    assert client.transport.reading
    assert len(client.received()) == sent
    assert client.session.waiting_bytes == 0


async def test_v02_what_an_earlier_connection_has_waiting_counts_for_the_next(instance):
    token = await instance.issue("ann")
    client = await instance.lasting(token)
    client.send(subscribes(1))
    await instance.kept()
    instance.store.waits = True
    while client.transport.reading:
        client.link.received(codec.encode(unsubscribes(2), 5))
    client, _ = instance.enter(token, **LASTING)
    client.link.received(b"\xc0\x00")
    assert not client.transport.reading
    instance.store.go_on()
    await instance.kept()
    assert client.transport.reading
    assert client.session.subscriptions == {}


async def test_v02_what_all_have_waiting_for_the_store_is_bounded_together(make_instance):
    instance = await make_instance(max_unstored_bytes=MIB)
    reader = await instance.lasting(await instance.issue("bob"), "chat/#", client_id="bob")
    clients = [await instance.joined("ann", "chat/#", client_id=f"c{number}") for number in range(40)]
    await instance.kept()
    instance.store.waits = True
    sent = 0
    with Traced() as traced:
        for _ in range(20):
            for client in clients:
                if client.transport.reading:
                    sent += 1
                    client.publish("chat/a", bytes(20_000), qos=1)
    # Fifty fill it; whoever had some there by then is stopped at one more.
    assert sent < 52 + len(clients)
    assert not any(client.transport.reading for client in clients)
    assert traced.bytes < 4 * MIB
    # Who has nothing there is not stopped for the others' sake.
    other = await instance.joined("eve", "eve/#")
    other.publish("eve/a")
    assert other.transport.reading
    instance.store.go_on()
    await instance.kept()
    assert all(client.transport.reading for client in clients)
    assert instance.hub.broker.unstored.bytes == 0
    answers = [packet for client in clients for packet in client.received()]
    assert [answer.reason_code for answer in answers] == [0] * sent
    assert len(reader.messages()) == sent


async def test_who_is_not_read_from_for_the_stores_sake_is_not_ended_by_its_keep_alive(instance):
    await instance.lasting(await instance.issue("bob"), "chat/#", client_id="bob")
    client, _ = instance.enter(await instance.issue("ann"), keep_alive=5)
    await instance.kept()
    instance.store.waits = True
    while client.transport.reading:
        client.publish("chat/a", bytes(100_000), qos=1)
    for _ in range(60):
        instance.clock.advance(1)
        instance.tick()
    assert not client.closed
    instance.store.go_on()
    await instance.kept()
    for _ in range(15):
        instance.clock.advance(1)
        instance.tick()
    assert client.closed


async def test_a_message_of_a_key_is_refused_while_too_much_waits_for_the_store(make_instance):
    instance = await make_instance(max_unstored_bytes=MIB)
    await instance.lasting(await instance.issue("bob"), "chat/#", client_id="bob")
    ann = await instance.joined("ann", "chat/#")
    await instance.kept()
    instance.store.waits = True
    while ann.transport.reading:
        ann.publish("chat/a", bytes(400_000), qos=1)
    posted = {
        "payload": b"x",
        "qos": 1,
        "retain": False,
        "key": instance.key,
        "organization": instance.organization,
    }
    with pytest.raises(Unavailable):
        await instance.services.messages.publish("chat/a", **posted)
    instance.store.go_on()
    await instance.kept()
    await instance.services.messages.publish("chat/a", **posted)


async def test_v71_an_unsubscribe_of_a_packet_full_of_filters_costs_no_rows(instance):
    client = await instance.lasting(await instance.issue("ann"), "chat/a", "chat/b")
    saved = []
    save = instance.store.save
    instance.store.save = lambda changes, settled: (saved.append(len(changes)), save(changes, settled))
    filters = ("chat/a", *(f"{number:x}" for number in range(100_000)), "chat/a")
    client.send(Unsubscribe(9, filters))
    await instance.kept()
    (answer,) = client.received()
    assert answer.reason_codes == (0, *(0x11,) * 100_001)
    assert sum(saved) == 1
    assert set(client.session.subscriptions) == {"chat/b"}
    await instance.restart()
    client, _ = instance.enter(await instance.issue("ann"), **LASTING)
    assert set(client.session.subscriptions) == {"chat/b"}


async def test_an_unsubscribe_behind_subscribes_of_the_same_filter_that_wait_ends_them_all(instance):
    client = await instance.lasting(await instance.issue("ann"))
    again = Subscribe(1, (Subscription("chat/a", qos=1),))
    instance.store.waits = True
    for packet in (again, Unsubscribe(2, ("chat/a",)), again, Unsubscribe(3, ("chat/a",))):
        client.send(packet)
    instance.store.go_on()
    await instance.kept()
    assert client.session.subscriptions == {}
    await instance.restart()
    client, _ = instance.enter(await instance.issue("ann"), **LASTING)
    assert client.session.subscriptions == {}


# Without any store


async def test_q23_identifiers_that_are_never_released_take_little_and_have_an_end(make_instance):
    instance = await make_instance(receive_maximum=20_000)
    client = await instance.joined("ann")
    packets = [codec.encode(Publish("chat/a", b"", 2, packet_id=number), 5) for number in range(1, 20_002)]
    with Traced() as traced:
        for start in range(0, 20_000, 1_000):
            client.send_bytes(b"".join(packets[start : start + 1_000]))
    assert traced.bytes < 150 * 20_000
    (answer,) = client.send_bytes(packets[-1])
    assert answer.reason_code == 0x93


async def test_a_user_keeps_so_many_wills_as_sessions(make_instance):
    instance = await make_instance(max_sessions_per_user=20)
    token = await instance.issue("ann")
    will = Will("chat/will", bytes(60_000), 1, will_delay_interval=300)
    with Traced() as traced:
        for number in range(200):
            client, _ = instance.enter(token, f"c{number}", will=will, **LASTING)
            client.link.lost()
            await instance.kept()
    assert traced.bytes < 4 * MIB
    tenant = instance.hub.broker.tenants[instance.organization.id]
    assert len(tenant.sessions) == 20
    assert len(instance.hub.broker.lives._wills) == 20


@pytest.mark.parametrize("connected", [False, True])
async def test_a_lasting_session_that_reads_nothing_holds_its_queue_and_no_more(make_instance, connected):
    instance = await make_instance(max_queued_messages=50, max_queued_bytes=100_000, max_inflight=10)
    reader = await instance.lasting(await instance.issue("cat"), "chat/#", client_id="cat")
    talker = await instance.joined("ann")
    if connected:
        reader.link.writing_paused()
    else:
        reader.link.lost()
    for number in range(500):
        talker.publish("chat/a", bytes(3_000), 1)
        if not number % 50:
            await instance.kept()
    await instance.kept()
    tenant = instance.hub.broker.tenants[instance.organization.id]
    backlog = tenant.sessions["cat"].backlog
    assert sum(delivery.message.size for delivery in backlog.deliveries.values()) <= 100_000
    kept = await instance.services.store.kept.load()
    assert len(kept.messages) == len(kept.deliveries) == len(backlog.deliveries)


async def test_v74_a_client_id_that_is_taken_over_again_and_again_leaves_one_session(instance):
    token = await instance.issue("ann")
    await instance.lasting(token, "chat/#", "$share/g/chat/#")
    broker = instance.hub.broker
    with Traced() as traced:
        for _ in range(300):
            client, connack = instance.enter(token, **LASTING)
            assert connack.session_present
            client.messages()
        await instance.kept()
    assert traced.bytes < MIB
    tenant = client.session.tenant
    assert (tenant.connected, tenant.kept, len(tenant.sessions)) == (1, 1, 1)
    assert [len(index) for index in broker.lives._families.values()] == [1]
    assert not broker.lives._former
    assert len(broker.lives._leavings) == 0
