"""What a peer does wrong, and that it is closed for it: all malformed vectors on live connections."""

from __future__ import annotations

import json
import pathlib

import pytest

from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Auth, Connect, Disconnect, Pingreq, Publish, Subscribe
from tokenmq.mqtt.packets.subscribe import Subscription

VECTORS = json.loads((pathlib.Path(__file__).parents[2] / "vectors" / "packets.json").read_text("utf-8"))
MALFORMED = [vector for vector in VECTORS["malformed"] if vector["from"] == "client"]
CONNECTS = [vector for vector in MALFORMED if vector["bytes"].startswith("1")]
OTHERS = [vector for vector in MALFORMED if vector not in CONNECTS]
# 3.1.1 has a return code for these two alone: the protocol level, the client id.
RETURN_CODES = {0x84, 0x85}


def named(vectors):
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


# [MQTT-4.13.1-1] [MQTT-4.13.2-1] [MQTT-3.14.1-1] [MQTT-3.15.1-1] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.8.3-5]
# [MQTT-3.10.1-1] [MQTT311-1.5.3-1] [MQTT311-1.5.3-2] [MQTT311-2.2.2-2] [MQTT311-3.3.1-4] [MQTT311-3.6.1-1]
# [MQTT311-3.8.1-1] [MQTT311-3.8.3-4] [MQTT311-3.10.1-1] [MQTT311-3.14.1-1] [MQTT311-4.8.0-1]
@named(OTHERS)
def test_what_is_against_the_protocol_closes_with_its_reason_where_there_is_one(world, vector):
    client = world.joined("alice", "#", version=vector["version"])
    client.send_bytes(bytes.fromhex(vector["bytes"]))
    told = [(type(packet), packet.reason_code) for packet in client.received()]
    assert told == ([(Disconnect, vector["reason_code"])] if vector["version"] == 5 else [])
    assert client.transport.closed


# [MQTT-3.1.2-2] [MQTT-3.1.2-3] [MQTT-3.1.4-1] [MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT-3.2.2-8]
# [MQTT311-3.1.2-1] [MQTT311-3.1.2-2] [MQTT311-3.1.2-3] [MQTT311-3.1.3-8] [MQTT311-3.1.4-1]
# [MQTT311-3.2.2-4] [MQTT311-3.2.2-5] [MQTT311-3.2.2-6]
@named(CONNECTS)
def test_a_connect_against_the_rules_is_closed_and_answered_where_there_is_an_answer(world, vector):
    client = world.client(vector["version"])
    client.send_bytes(bytes.fromhex(vector["bytes"]))
    assert client.transport.closed
    written = bytes(client.transport.written)
    if not written:
        # Not known to be MQTT, or 3.1.1, which closes without a word.
        unknown = vector["bytes"].startswith(("11", "10 00")) or "another protocol" in vector["name"]
        assert unknown or (vector["version"] == 4 and vector["reason_code"] not in RETURN_CODES)
        return
    assert written[2] == 0
    if written[1] == 2:
        assert written[3] == {0x84: 1, 0x85: 2}[vector["reason_code"]]
    else:
        assert written[3] == vector["reason_code"]


# [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-3.14.2-2] [MQTT-4.13.2-1] [MQTT311-4.8.0-1]
@pytest.mark.parametrize("version", [4, 5])
def test_after_our_disconnect_nothing_goes_out_and_the_connection_closes(world, version):
    client, other = world.joined("alice", version=version), world.joined("bob")
    client.subscribe("chat/#", qos=1)
    ping = codec.encode(Pingreq(), version)
    client.send_bytes(b"\x00\x00" + ping)
    sent = client.received()
    assert [(type(p), p.reason_code, p.session_expiry_interval) for p in sent] == (
        [(Disconnect, 0x81, None)] if version == 5 else []
    )
    assert client.transport.closed
    client.send_bytes(ping)
    other.publish("chat/a", qos=1)
    assert client.received() == []


# [MQTT-3.1.0-1] [MQTT-3.2.0-1] [MQTT-3.14.0-1] [MQTT311-3.1.0-1] [MQTT311-3.2.0-1]
@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(
    "packet",
    [Publish("a"), Pingreq(), Disconnect(), Subscribe(1, (Subscription("a"),))],
    ids=lambda packet: type(packet).__name__,
)
def test_before_connect_everything_is_closed_without_a_word(world, version, packet):
    client = world.client(version)
    client.send(packet)
    assert client.transport.closed
    assert client.received() == []


# [MQTT-3.1.0-2] [MQTT311-3.1.0-2]
@pytest.mark.parametrize("version", [4, 5])
def test_a_second_connect_closes(world, version):
    client = world.joined("alice", version=version)
    client.send(Connect(protocol_version=version, client_id="c-alice"))
    assert [packet.reason_code for packet in client.received()] == ([0x82] if version == 5 else [])
    assert client.transport.closed


# [MQTT311-4.8.0-2]
@pytest.mark.parametrize("version", [4, 5])
def test_a_defect_while_a_packet_is_processed_closes(world, monkeypatch, version):
    client = world.joined("alice", version=version)

    def broken(*_):
        raise KeyError("defect")

    monkeypatch.setattr(world.broker, "publish", broken)
    client.send(Publish("chat/a"))
    assert client.transport.closed
    assert [packet.reason_code for packet in client.received()] == ([0x80] if version == 5 else [])


# [MQTT-4.12.0-6] [MQTT-4.12.0-7]
def test_without_a_method_there_is_no_auth_either_way(world):
    client = world.client()
    (connack,) = client.connect(world.person("alice"))
    assert connack.authentication_method is None
    client.send(Auth(reason_code=0x19, authentication_method="JWT"))
    assert [(type(p), p.reason_code) for p in client.received()] == [(Disconnect, 0x82)]
    assert client.transport.closed


# [MQTT-4.12.0-5] [MQTT-4.12.1-2]
def test_the_method_is_repeated_and_re_authentication_that_fails_closes(world):
    client = world.client()
    (connack,) = client.connect(world.person("alice"), authentication_method="JWT", authentication_data=b"t")
    assert connack.authentication_method == "JWT"
    client.send(Auth(reason_code=0x19, authentication_method="JWT", authentication_data=b"t"))
    assert [(type(p), p.reason_code) for p in client.received()] == [(Disconnect, 0x87)]
    assert client.transport.closed


# [MQTT-4.12.0-4]
def test_a_method_that_does_not_convince_is_refused_and_closed(world):
    client = world.client()
    (connack,) = client.connect(b"nobody", authentication_method="JWT", authentication_data=b"nobody")
    assert connack.reason_code == 0x86
    assert client.transport.closed
