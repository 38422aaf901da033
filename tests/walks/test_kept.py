"""What must not be said before it is kept, and what order holds whatever happens meanwhile."""

import pytest

from tokenmq.broker.records import DeliveryRecord, SessionRecord
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Connack, Connect, Puback, Pubcomp, Publish, Pubrec, Pubrel

KEPT = {"clean_start": False, "session_expiry_interval": 3_600}


def comes_back(world, password, client_id, **fields):
    """Connect anew, and return the client and what came at once."""
    client = world.client()
    return client, client.connect(password, client_id, **{**KEPT, **fields})


@pytest.fixture
def alice(world):
    """A password of somebody whose session is kept, with a subscription."""
    password = world.person("alice")
    client, _ = comes_back(world, password, "c-alice")
    client.subscribe("chat/#", qos=2)
    return password


def test_connack_of_a_session_that_is_kept_waits_for_the_store(world):
    world.kept.waits = True
    client, packets = comes_back(world, world.person("bob"), "c-bob")
    client.publish("chat/a", qos=1)
    assert packets == [] and client.received() == []
    world.kept.go_on()
    assert [type(packet) for packet in client.received()] == [Connack, Puback]


def test_nothing_more_is_read_while_connack_waits_however_its_piece_ends(world, alice):
    world.kept.waits = True
    for rest in (b"", b"\x40\x02\x00\x09", b"\x32"):  # nothing, an acknowledgement, half a packet
        client = world.client()
        data = codec.encode(
            Connect(protocol_version=5, client_id="c-alice", username="a", password=alice, **KEPT), 5
        )
        client.send_bytes(data + rest)
        assert not client.transport.reads
        world.kept.go_on()
        assert client.transport.reads


def test_connack_goes_out_at_once_where_nothing_is_kept(world):
    world.kept.waits = True
    assert world.client().connect(world.person("bob"), "c-bob")[0].reason_code == 0


def test_messages_wait_behind_the_connack_of_a_session_that_goes_on(world, alice):
    world.joined("bob").publish("chat/a", qos=1)
    world.kept.waits = True
    client, packets = comes_back(world, alice, "c-alice")
    world.joined("carol").publish("chat/b", qos=0)
    assert packets == [] and client.received() == []
    world.kept.go_on()
    connack, *messages = client.received()
    assert connack.session_present
    assert sorted(message.topic for message in messages) == ["chat/a", "chat/b"]


def test_a_crash_before_the_end_of_a_session_is_kept_leaves_its_client_without_an_answer(world, alice):
    world.joined("bob").publish("chat/a", qos=2)
    world.kept.waits = True
    _, packets = comes_back(world, alice, "c-alice", clean_start=True)
    assert packets == []
    world.kept.waits = False
    world.restart()
    client, packets = comes_back(world, alice, "c-alice", clean_start=True)
    assert [packet.session_present for packet in packets] == [False]
    world.restart()
    client, packets = comes_back(world, alice, "c-alice")
    assert [packet.session_present for packet in packets] == [True]
    assert client.received() == [] and not world.kept.all(DeliveryRecord)


def test_who_is_taken_over_before_connack_gets_none(world, alice):
    world.kept.waits = True
    first, _ = comes_back(world, alice, "c-alice")
    second, _ = comes_back(world, alice, "c-alice")
    world.kept.go_on()
    assert first.received() == [] and first.transport.closed
    assert [packet.session_present for packet in second.received()] == [True]


def test_connack_goes_out_although_the_store_fails(world):
    world.kept.fails = True
    _, packets = comes_back(world, world.person("bob"), "c-bob")
    assert [packet.reason_code for packet in packets] == [0]
    world.kept.fails = False
    world.tick()
    assert [record.client_id for record in world.kept.all(SessionRecord)] == ["c-bob"]


def test_a_new_connection_brings_no_pubrel_before_it_is_kept(world, alice):
    client, _ = comes_back(world, alice, "c-alice")
    world.joined("bob").publish("chat/a", qos=2)
    (message,) = client.received()
    world.kept.waits = True
    client.send(Pubrec(message.packet_id))
    client, _ = comes_back(world, alice, "c-alice")
    assert client.received() == []
    world.kept.go_on(1)
    assert client.received() == []
    world.kept.go_on()
    assert [type(packet) for packet in client.received()] == [Connack, Pubrel]


def test_a_pubrel_that_comes_again_ends_one_message_only(world):
    password = world.person("bob")
    client, _ = comes_back(world, password, "c-bob")
    client.publish("chat/a", qos=2, packet_id=1)
    world.kept.waits = True
    client.send(Pubrel(1))
    client, _ = comes_back(world, password, "c-bob")
    client.send(Pubrel(1))
    world.kept.go_on(1)  # the first PUBREL
    world.kept.go_on(1)  # CONNECT
    assert [type(packet) for packet in client.received()] == [Connack, Pubcomp]
    client.publish("chat/b", qos=2, packet_id=1)
    world.kept.go_on()
    assert [type(packet) for packet in client.received()] == [Pubrec]


def test_a_message_begun_twice_keeps_its_place(world, alice):
    password = world.person("dave")
    dave, _ = comes_back(world, password, "c-dave")
    bob = world.joined("bob")
    world.kept.waits = True
    dave.subscribe("chat/#", qos=1)
    bob.publish("chat/a", b"first", qos=1)  # not for dave yet
    world.kept.go_on(1)
    bob.publish("chat/a", b"second", qos=1)  # for dave from the start
    world.kept.waits = False
    world.kept.go_on()
    dave.received()
    dave, (_, *again) = comes_back(world, password, "c-dave")
    assert [(message.payload, message.dup) for message in again] == [(b"first", True), (b"second", True)]
    assert all(isinstance(message, Publish) for message in again)
