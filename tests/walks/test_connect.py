"""CONNECT: who gets in, who does not, and what the answer says."""

from __future__ import annotations

import pytest

from tokenmq.mqtt.packets import Auth, Connect, Disconnect, Pingreq, Pingresp, Publish, Will


def test_connack_tells_what_is_granted(world):
    client = world.client()
    (connack,) = client.connect(world.person("alice"), session_expiry_interval=60)
    assert connack.reason_code == 0
    assert not connack.session_present
    assert connack.session_expiry_interval is None
    assert connack.maximum_packet_size == 1_048_576
    assert connack.topic_alias_maximum == 16


def test_connack_leaves_out_what_is_as_the_standard_has_it(world):
    (connack,) = world.client().connect(world.person("alice"))
    assert connack.maximum_qos is None
    assert connack.retain_available is None
    assert connack.shared_subscription_available is None
    assert connack.wildcard_subscription_available is None
    assert connack.subscription_identifier_available is None
    assert connack.receive_maximum is None
    assert connack.session_expiry_interval is None


# [MQTT311-3.1.2-24]
@pytest.mark.parametrize(("asked", "held"), [(1, 1), (4, 4), (60, 60), (0, 300), (1_000, 300)])
def test_a_311_client_is_held_to_the_keep_alive_it_asked_for(world, asked, held):
    client = world.client(version=4)
    client.connect(world.person("alice"), keep_alive=asked)
    assert client.link.connection.expires_at_mono == world.clock.mono + 1.5 * held


def test_connack_311_has_session_present_0_for_clean_session_0(world):
    client = world.client(version=4)
    (connack,) = client.connect(world.person("alice"), clean_start=False)
    assert (connack.reason_code, connack.session_present) == (0, False)


@pytest.mark.parametrize(("asked", "told"), [(0, 300), (1, 5), (60, None), (300, None), (301, 300)])
def test_q8_keep_alive_is_capped_and_told(world, asked, told):
    client = world.client()
    (connack,) = client.connect(world.person("alice"), keep_alive=asked)
    assert connack.server_keep_alive == told


def test_q11_empty_client_id_gets_one_of_128_random_bits(world):
    first, second = world.client(), world.client()
    a = first.connect(world.person("alice"), "")[0].assigned_client_identifier
    b = second.connect(world.person("alice"), "")[0].assigned_client_identifier
    assert a != b
    assert len(a) >= 32


def test_client_id_over_the_limit_is_refused_before_authentication(world):
    client = world.client()
    (connack,) = client.connect(b"nobody", "x" * 129)
    assert connack.reason_code == 0x85
    assert "129" in connack.reason_string
    assert client.transport.closed


@pytest.mark.parametrize(("version", "code"), [(5, 0x86), (4, 0x86)])
def test_unknown_user_is_refused_with_0x86(world, version, code):
    client = world.client(version)
    (connack,) = client.connect(b"wrong")
    assert connack.reason_code == code
    assert client.transport.closed


def test_q12_nothing_after_a_refused_connect_is_executed(world):
    listener = world.joined("bob", "#")
    listener.subscribe("#")
    client = world.client()
    from tokenmq.mqtt import codec

    connect = codec.encode(Connect(protocol_version=5, client_id="x", username="u", password=b"wrong"), 5)
    client.send_bytes(connect + codec.encode(Publish(topic="chat/a", payload=b"sneaked in"), 5))
    assert client.received()[0].reason_code == 0x86
    assert listener.received() == []


def test_first_packet_that_is_not_connect_closes_before_the_rest_arrives(world):
    client = world.client()
    client.send_bytes(b"\x30")
    assert client.transport.closed
    assert bytes(client.transport.written) == b""


def test_second_connect_is_a_protocol_error(world):
    client = world.joined("alice")
    client.send(Connect(protocol_version=5, client_id="c-alice"))
    (disconnect,) = client.received()
    assert disconnect.reason_code == 0x82
    assert client.transport.closed


def test_same_user_takes_its_session_over(world):
    password = world.person("alice")
    first, second = world.client(), world.client()
    first.connect(password, "phone")
    assert second.connect(password, "phone")[0].reason_code == 0
    (disconnect,) = first.received()
    assert disconnect.reason_code == 0x8E
    assert first.transport.closed
    assert world.broker.tenants["org_aaaaaaaaaaaa"].sessions["phone"].outbox is second.link.outbox


def test_v38_another_users_client_id_is_refused_and_the_session_untouched(world):
    first, second = world.client(), world.client()
    first.connect(world.person("alice"), "phone")
    first.subscribe("chat/#")
    (connack,) = second.connect(world.person("mallory"), "phone")
    assert connack.reason_code == 0x85
    assert not first.transport.closed
    world.joined("bob").publish("chat/a", b"still there")
    assert [p.payload for p in first.received()] == [b"still there"]


def test_a_token_bound_to_the_client_id_wins_over_another_user(world):
    first, second = world.client(), world.client()
    first.connect(world.person("squatter"), "sensor-7")
    (connack,) = second.connect(world.person("device", client_id="sensor-7"), "sensor-7")
    assert connack.reason_code == 0
    assert first.received()[0].reason_code == 0x8E


def test_a_token_bound_to_a_prefix_does_not_win(world):
    first, second = world.client(), world.client()
    first.connect(world.person("squatter"), "sensor-7")
    (connack,) = second.connect(world.person("device", client_id="sensor-*"), "sensor-7")
    assert connack.reason_code == 0x85


def test_a_refused_newcomer_does_not_end_the_session_it_wanted(world):
    password = world.person("alice")
    first, second = world.client(), world.client()
    first.connect(password, "phone")
    second.connect(password, "phone", will=Will("other/a", b"x"))
    assert not first.transport.closed


def test_q10_authentication_method_is_repeated(world):
    client = world.client()
    (connack,) = client.connect(world.person("alice"), authentication_method="JWT", authentication_data=b"t")
    assert connack.authentication_method == "JWT"


def test_re_authentication_closes_with_a_reason(world):
    client = world.client()
    client.connect(world.person("alice"), authentication_method="JWT", authentication_data=b"t")
    client.send(Auth(reason_code=0x19, authentication_method="JWT", authentication_data=b"t"))
    assert client.received()[0].reason_code == 0x87
    assert client.transport.closed


def test_auth_with_another_method_is_a_protocol_error(world):
    client = world.joined("alice")
    client.send(Auth(reason_code=0x19, authentication_method="JWT", authentication_data=b"t"))
    assert client.received()[0].reason_code == 0x82


def test_revoked_between_check_and_admission_is_refused(world):
    password = world.person("alice")
    world.doors.revoked.add("tok_alice_org_aaaaaaaaaaaa")
    (connack,) = world.client().connect(password)
    assert connack.reason_code == 0x87
    assert connack.reason_string == "token revoked"


def test_v62_an_exception_in_authentication_refuses(world, monkeypatch):
    def broken(credentials, now):
        raise KeyError("defect")

    monkeypatch.setattr(world.doors, "connect", broken)
    client = world.client()
    client.connect(b"whatever")
    assert client.transport.closed
    assert client.link.outbox.session is None


def test_ping_is_answered(world):
    client = world.joined("alice")
    client.send(Pingreq())
    assert client.received() == [Pingresp()]


def test_disconnect_ends_the_session_without_an_answer(world):
    client = world.joined("alice")
    client.subscribe("chat/#")
    client.send(Disconnect())
    assert client.received() == []
    assert client.transport.closed
    assert world.broker.tenants["org_aaaaaaaaaaaa"].sessions == {}


def test_bytes_after_disconnect_are_not_looked_at(world):
    from tokenmq.mqtt import codec

    listener = world.joined("bob")
    listener.subscribe("chat/#")
    client = world.joined("alice")
    client.send_bytes(codec.encode(Disconnect(), 5) + codec.encode(Publish(topic="chat/a"), 5))
    assert listener.received() == []


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_v88_any_portions_of_bytes_mean_the_same(world, size):
    from tokenmq.mqtt import codec

    listener = world.joined("bob")
    listener.subscribe("chat/#")
    password = world.person("alice")
    client = world.client()
    stream = codec.encode(
        Connect(protocol_version=5, client_id="x", username="u", password=password), 5
    ) + b"".join(codec.encode(Publish(topic="chat/a", payload=b"%d" % n * 50), 5) for n in range(20))
    for at in range(0, len(stream), size):
        client.send_bytes(stream[at : at + size])
    assert [p.payload for p in listener.received()] == [b"%d" % n * 50 for n in range(20)]
