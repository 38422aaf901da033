"""CONNECT, CONNACK, keep alive: clause by clause."""

from __future__ import annotations

import string

import pytest

from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Connack, Connect, Disconnect, Pingreq, Pingresp, Publish

LETTERS = string.digits + string.ascii_lowercase + string.ascii_uppercase
BOTH = pytest.mark.parametrize("version", [4, 5])


# [MQTT-3.1.3-5] [MQTT311-3.1.3-5]
@BOTH
@pytest.mark.parametrize("longest", [23, 128])
def test_client_ids_of_1_to_23_letters_and_digits_are_taken(make_world, version, longest):
    world = make_world(max_client_id_bytes=longest)
    password = world.person("alice")
    ids = [LETTERS[:size] for size in range(1, 24)] + [LETTERS[23:46], LETTERS[-23:]]
    assert set("".join(ids)) == set(LETTERS)
    for client_id in ids:
        (connack,) = world.client(version).connect(password, client_id)
        assert connack.reason_code == 0


# [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16] [MQTT311-3.1.3-6]
@BOTH
def test_an_empty_client_id_is_replaced_by_one_of_nobody_else_and_told_in_mqtt_5(world, version):
    password = world.person("alice")
    told = [world.client(version).connect(password, "")[0] for _ in range(3)]
    assert [connack.reason_code for connack in told] == [0] * 3
    names = set(world.broker.tenants["org_aaaaaaaaaaaa"].sessions)
    assert len(names) == 3
    if version == 5:
        assert {connack.assigned_client_identifier for connack in told} == names


def test_a_client_id_that_the_client_chose_is_not_told_back(world):
    (connack,) = world.client().connect(world.person("alice"), "mine")
    assert connack.assigned_client_identifier is None


# [MQTT-3.1.3-8] [MQTT-3.2.2-7] [MQTT311-3.1.3-9] [MQTT311-3.2.2-5]
@BOTH
def test_a_client_id_that_is_refused_is_told_so_and_closed(world, version):
    client = world.client(version)
    client.connect(world.person("alice"), "x" * 129)
    assert client.transport.closed
    again = world.client(version)
    again.send(Connect(version, "x" * 129, username="u", password=b"nobody"))
    written = bytes(again.transport.written)
    assert written[:4] == (b"\x20\x02\x00\x02" if version == 4 else written[:2] + b"\x00\x85")
    assert again.transport.closed


# [MQTT-3.1.4-2] [MQTT-3.1.4-6] [MQTT-3.2.2-6] [MQTT311-3.1.4-5] [MQTT311-3.2.2-4]
@BOTH
def test_who_is_not_let_in_is_closed_and_what_followed_is_not_looked_at(world, version):
    listener = world.joined("bob", "#")
    listener.subscribe("#")
    client = world.client(version)
    connect = Connect(version, "x", clean_start=False, username="u", password=b"wrong")
    client.send(connect, Publish("chat/a", b"sneaked in"), Pingreq())
    (connack,) = client.received()
    assert (connack.reason_code, connack.session_present) == (0x86, False)
    assert client.transport.closed
    assert listener.received() == []


# [MQTT-3.1.4-5] [MQTT-3.2.0-1] [MQTT-3.2.0-2] [MQTT311-3.1.4-4] [MQTT311-3.2.0-1]
@BOTH
def test_an_accepted_connect_gets_one_connack_before_anything_else(world, version):
    password = world.person("alice")
    client = world.client(version)
    client.send(Connect(version, "c", username="someone", password=password), Pingreq(), Pingreq())
    packets = client.received()
    assert [type(packet) for packet in packets] == [Connack, Pingresp, Pingresp]
    assert packets[0].reason_code == 0


# [MQTT-3.1.4-3] [MQTT-3.14.4-2] [MQTT311-3.1.4-2]
@BOTH
def test_the_same_client_id_again_closes_the_earlier_connection(world, version):
    password = world.person("alice")
    first, second = world.client(version), world.client(version)
    first.connect(password, "phone")
    assert second.connect(password, "phone")[0].reason_code == 0
    assert first.transport.closed
    assert [packet.reason_code for packet in first.received()] == ([0x8E] if version == 5 else [])
    assert not second.transport.closed


# [MQTT-3.1.2-28]
@pytest.mark.parametrize("asked", [None, False, True])
def test_response_information_is_never_sent(world, asked):
    (connack,) = world.client().connect(world.person("alice"), request_response_information=asked)
    assert connack.response_information is None


# [MQTT-3.1.2-22] [MQTT-3.2.2-22] [MQTT311-3.1.2-24]
@BOTH
def test_without_a_word_of_ours_the_clients_keep_alive_holds(world, version):
    client = world.client(version)
    (connack,) = client.connect(world.person("alice"), keep_alive=10)
    assert connack.server_keep_alive is None
    world.clock.advance(14.9)
    world.tick()
    assert not client.transport.closed
    world.clock.advance(1.1)
    world.tick()
    assert client.transport.closed


# [MQTT-3.1.2-22]
def test_the_keep_alive_that_was_told_holds_instead(world):
    client = world.client()
    (connack,) = client.connect(world.person("alice"), keep_alive=1)
    assert connack.server_keep_alive == 5
    world.clock.advance(7.4)
    world.tick()
    assert not client.transport.closed
    world.clock.advance(1.1)
    world.tick()
    assert client.transport.closed


# [MQTT-3.12.4-1] [MQTT311-3.12.4-1]
@BOTH
def test_a_ping_is_answered(world, version):
    client = world.joined("alice", version=version)
    client.send(Pingreq())
    assert client.received() == [Pingresp()]


# [MQTT-3.14.4-1] [MQTT311-3.14.4-2]
@BOTH
def test_what_comes_after_a_clients_disconnect_is_not_looked_at(world, version):
    listener = world.joined("bob")
    listener.subscribe("chat/#")
    client = world.joined("alice", version=version)
    client.send_bytes(codec.encode(Disconnect(), version) + codec.encode(Publish("chat/a"), version))
    assert client.transport.closed
    assert client.received() == listener.received() == []


# [MQTT-3.1.2-25]
@pytest.mark.parametrize("qos", [0, 1])
def test_a_message_too_large_for_its_receiver_counts_as_sent(make_world, qos):
    world = make_world(max_inflight=1)
    bob, alice = world.client(), world.joined("alice")
    bob.connect(world.person("bob"), maximum_packet_size=64)
    bob.subscribe("chat/#", qos=qos)
    assert [p.reason_code for p in alice.publish("chat/a", b"x" * 100, qos=1)] == [0]
    alice.publish("chat/a", b"small", qos=1)
    assert [packet.payload for packet in bob.received()] == [b"small"]


# [MQTT-3.1.2-24]
def test_answers_are_no_larger_than_the_client_takes(world):
    client = world.client()
    client.connect(world.person("alice", "chat/a"), maximum_packet_size=30)
    (suback,) = client.subscribe("chat/#", "other/#")
    assert (suback.reason_codes, suback.reason_string) == ((0x87, 0x87), None)
