"""One MQTT connection, against a broker that plays a script."""

import socket
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from tokenmq.client.mqtt import Address, Message, MqttClient, parse_url
from tokenmq.errors import BrokerError, InvalidRequest, InvalidTopicFilter, InvalidTopicName, Unreachable

CONNECT, PUBLISH, SUBSCRIBE = 1, 3, 8

ACCEPTED = b"\x20\x03\x00\x00\x00"
ACCEPTED_311 = b"\x20\x02\x00\x00"
PUBLISHED = b"\x40\x02\x00\x01"

Start = Callable[..., Any]


def text(value: str) -> bytes:
    return len(value.encode()).to_bytes(2, "big") + value.encode()


def reason_string(value: str) -> bytes:
    property_ = b"\x1f" + text(value)
    return bytes([len(property_)]) + property_


def packet(first: int, body: bytes) -> bytes:
    return bytes([first, len(body)]) + body


def connecting(url: str, **options: Any) -> MqttClient:
    return MqttClient(url, username="alice@org_x", password="a.b.c", **options)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://broker.example", Address("broker.example", 1883, "/mqtt", websocket=False, tls=False)),
        ("mqtts://broker.example:99", Address("broker.example", 99, "/mqtt", websocket=False, tls=True)),
        ("ws://127.0.0.1", Address("127.0.0.1", 8083, "/mqtt", websocket=True, tls=False)),
        ("wss://[::1]:443/x", Address("::1", 443, "/x", websocket=True, tls=True)),
    ],
)
def test_urls_name_transport_host_port_and_path(url: str, address: Address) -> None:
    assert parse_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:1883",
        "http://x",
        "mqtt://",
        "mqtt://x:port",
        "mqtt://x:70000",
        "mqtt://u:p@x",
        "mqtt://[",
    ],
)
def test_urls_of_another_kind_are_refused(url: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_url(url)


@pytest.mark.parametrize("websocket", [False, True], ids=["tcp", "websocket"])
def test_publish_connects_with_mqtt_5_and_waits_for_the_acknowledgement(
    broker: Start, websocket: bool
) -> None:
    fake = broker((CONNECT, ACCEPTED), (PUBLISH, PUBLISHED), websocket=websocket)
    with connecting(fake.url, client_id="c1") as client:
        outcome = client.publish("chat/room1", b"hello", qos=1)
    fake.finish()
    assert (outcome.reason_code, outcome.name) == (0, "Success")
    (_, connect), publish, disconnect = fake.received
    assert connect.startswith(text("MQTT") + b"\x05\xc2\x00\x3c")
    assert connect.endswith(text("c1") + text("alice@org_x") + text("a.b.c"))
    assert publish == (0x32, text("chat/room1") + b"\x00\x01\x00hello")
    assert disconnect[0] == 0xE0


def test_a_websocket_upgrade_names_path_and_subprotocol_and_no_origin(broker: Start) -> None:
    fake = broker((CONNECT, ACCEPTED), websocket=True)
    with connecting(fake.url):
        pass
    fake.finish()
    assert fake.request.startswith("GET /mqtt HTTP/1.1\r\n")
    assert "Protocol: mqtt" in fake.request
    assert "origin" not in fake.request.lower()


def test_3_1_1_is_spoken_when_asked_for(broker: Start) -> None:
    fake = broker((CONNECT, ACCEPTED_311), (PUBLISH, PUBLISHED))
    with connecting(fake.url, version="3.1.1") as client:
        client.publish("a", b"", qos=1)
    fake.finish()
    assert fake.received[0][1].startswith(text("MQTT") + b"\x04\xc2")


def test_qos_0_does_not_wait(broker: Start) -> None:
    fake = broker((CONNECT, ACCEPTED))
    with connecting(fake.url) as client:
        assert client.publish("a", b"x", qos=0).reason_code == 0
    fake.finish()
    assert fake.received[1][0] == 0x30


def test_a_refused_connection_tells_the_reason_string(broker: Start) -> None:
    body = b"\x00\x87" + reason_string("token expired at 2026-11-24T13:00:00Z")
    fake = broker((CONNECT, packet(0x20, body)))
    with pytest.raises(BrokerError) as caught, connecting(fake.url):
        pass
    assert caught.value.reason_code == 0x87
    assert (
        str(caught.value) == "the broker refused the connection: token expired at 2026-11-24T13:00:00Z (0x87)"
    )


@pytest.mark.parametrize(("code", "reason"), [(4, 0x86), (5, 0x87), (2, 0x85), (3, 0x88)])
def test_a_refusal_of_3_1_1_is_told_as_mqtt_5_does(broker: Start, code: int, reason: int) -> None:
    fake = broker((CONNECT, packet(0x20, bytes([0, code]))))
    with pytest.raises(BrokerError) as caught, connecting(fake.url, version="3.1.1"):
        pass
    assert caught.value.reason_code == reason


def test_a_refused_message_tells_its_reason(broker: Start) -> None:
    body = b"\x00\x01\x87" + reason_string("no grant of publish matches other/x")
    fake = broker((CONNECT, ACCEPTED), (PUBLISH, packet(0x40, body)))
    with (
        connecting(fake.url) as client,
        pytest.raises(
            BrokerError, match=r"the message to other/x: no grant of publish matches other/x \(0x87\)"
        ),
    ):
        client.publish("other/x", b"", qos=1)
    fake.finish()


def test_no_matching_subscribers_is_success_and_told(broker: Start) -> None:
    fake = broker((CONNECT, ACCEPTED), (PUBLISH, packet(0x40, b"\x00\x01\x10\x00")))
    with connecting(fake.url) as client:
        assert client.publish("a", b"", qos=1).reason_code == 0x10
    fake.finish()


def test_the_first_refused_filter_is_raised(broker: Start) -> None:
    body = b"\x00\x01" + reason_string("filter # is wider than grant chat/#") + b"\x01\x87"
    fake = broker((CONNECT, ACCEPTED), (SUBSCRIBE, packet(0x90, body)))
    with connecting(fake.url) as client, pytest.raises(BrokerError) as caught:
        client.subscribe(["chat/#", "#"], qos=1)
    fake.finish()
    assert caught.value.reason_code == 0x87
    assert str(caught.value).startswith("the broker refused the subscription to #: filter # is wider")


@pytest.mark.parametrize("websocket", [False, True], ids=["tcp", "websocket"])
def test_messages_come_in_order_until_the_broker_ends_it(broker: Start, websocket: bool) -> None:
    messages = packet(0x30, text("a") + b"\x00one") + packet(0x33, text("b") + b"\x00\x05\x00two")
    over = packet(0xE0, b"\xa0" + reason_string("token expired at noon"))
    fake = broker(
        (CONNECT, ACCEPTED),
        (SUBSCRIBE, packet(0x90, b"\x00\x01\x00\x01") + messages + over),
        websocket=websocket,
    )
    received = []
    with connecting(fake.url) as client:
        client.subscribe(["#"], qos=1)
        with pytest.raises(BrokerError) as caught:
            deque(map(received.append, client.messages()))
    fake.finish()
    assert received == [Message("a", b"one", 0, retain=False), Message("b", b"two", 1, retain=True)]
    assert str(caught.value) == "disconnected: token expired at noon (0xA0)"
    assert caught.value.reason_code == 0xA0


def test_a_connection_that_just_ends_is_told(broker: Start) -> None:
    fake = broker((CONNECT, ACCEPTED), (SUBSCRIBE, packet(0x90, b"\x00\x01\x00\x01") + packet(0xE0, b"")))
    with connecting(fake.url) as client:
        client.subscribe(["#"], qos=1)
        with pytest.raises(BrokerError):
            next(client.messages())
        with pytest.raises(BrokerError):
            client.subscribe(["#"], qos=1)


def test_nobody_listening_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable, match=f"no broker answers at mqtt://127.0.0.1:{port}"):
        connecting(f"mqtt://127.0.0.1:{port}").connect()


def test_no_answer_in_time_is_unreachable(broker: Start) -> None:
    fake = broker((CONNECT, b""), (PUBLISH, b""))
    with pytest.raises(Unreachable, match="does not answer in time"):
        connecting(fake.url, timeout_seconds=0.01).connect()


def test_topics_that_cannot_be_sent_are_refused(broker: Start) -> None:
    fake = broker((CONNECT, ACCEPTED))
    with connecting(fake.url) as client:
        with pytest.raises(InvalidTopicName):
            client.publish("a/#", b"", qos=1)
        with pytest.raises(InvalidTopicFilter):
            client.subscribe(["a/#/b"], qos=1)
    fake.finish()


def test_tls_checks_certificates() -> None:
    client = connecting("mqtts://127.0.0.1:1")
    context = client._client._ssl_context
    assert context is not None and context.check_hostname and context.verify_mode.name == "CERT_REQUIRED"
