"""Publishing to and receiving from chat/room1, by the clients that people use."""

from collections.abc import Callable
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

VERSIONS = ["mqttv311", "mqttv5"]


@pytest.mark.system
def test_published_request_gets_a_token_and_its_expiry(service: Any) -> None:
    answer = service.call(
        "POST",
        "/v2/tokens",
        json={
            "organization_id": service.organization_id,
            "user_id": "user-123",
            "permissions": ["publish", "subscribe"],
            "topics": ["chat/#", "notifications/user-123"],
        },
    )

    assert answer.status_code == 200
    body = answer.json()
    assert body["token"].count(".") == 2 and body["expires_at"].endswith("Z")
    assert body["topics"] == ["chat/#", "notifications/user-123"]
    assert body["mqtt_credentials"] == {"username": body["mqtt_username"], "password": body["token"]}
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.interop
@pytest.mark.parametrize("version", VERSIONS)
def test_mosquitto_publishes_and_receives(service: Any, mosquitto: Any, version: str) -> None:
    token = service.create_token()
    subscriber = mosquitto.subscribe(token, version, "chat/room1")
    assert subscriber.wait_for("Subscribed (mid: 1): ") == "1"
    published = mosquitto.publish(token, version, "chat/room1", "hello")

    assert published.returncode == 0, published.stderr
    assert subscriber.wait_for("got ") == "chat/room1 hello"


@pytest.mark.interop
@pytest.mark.parametrize(("version", "code"), [("mqttv311", "128"), ("mqttv5", "135")])
@pytest.mark.parametrize(
    ("granted", "asked"),
    [("chat/#", "#"), ("chat/+", "chat/+/#"), ("chat/+", "chat/#"), ("chat/#", "other/x")],
)
def test_mosquitto_subscribing_wider_than_the_grant_is_refused(
    service: Any, mosquitto: Any, version: str, code: str, granted: str, asked: str
) -> None:
    token = service.create_token(topics=[granted])
    subscriber = mosquitto.subscribe(token, version, asked)

    assert subscriber.wait_for("Subscribed (mid: 1): ") == code


@pytest.mark.interop
def test_mosquitto_publishing_outside_the_grant_is_refused(service: Any, mosquitto: Any) -> None:
    token = service.create_token()

    refused = mosquitto.publish(token, "mqttv5", "other/x", "hello")
    assert "Publish 1 failed: Not authorized" in refused.stderr, refused
    # 3.1.1 has no refusal: acknowledged, dropped.
    assert mosquitto.publish(token, "mqttv311", "other/x", "hello").returncode == 0


@pytest.mark.interop
@pytest.mark.parametrize(("version", "code"), [("mqttv311", 5), ("mqttv5", 0x87)])
def test_mosquitto_with_a_bad_token_is_refused(service: Any, mosquitto: Any, version: str, code: int) -> None:
    token = service.create_token()
    token["token"] = token["token"][:-8] + "AAAAAAAA"

    assert mosquitto.publish(token, version, "chat/room1", "hello").returncode == code


@pytest.mark.interop
@pytest.mark.parametrize(("version", "code"), [("mqttv311", 4), ("mqttv5", 0x86)])
def test_mosquitto_with_a_username_that_is_none_is_refused(
    service: Any, mosquitto: Any, version: str, code: int
) -> None:
    token = service.create_token() | {"mqtt_username": "user-123"}

    assert mosquitto.publish(token, version, "chat/room1", "hello").returncode == code


@pytest.mark.system
@pytest.mark.parametrize("version", [4, 5])
def test_paho_publishes_and_receives(service: Any, paho: Callable[..., Any], version: int) -> None:
    token = service.create_token()
    client = paho(token, version=version)

    assert client.connect() == 0
    assert client.subscribe("chat/room1", qos=1) == [1]
    assert client.publish("chat/room1", "hello") == 0
    assert client.receive() == ("chat/room1", b"hello")
    assert client.publish("chat/room1", "at most once", qos=0) == 0
    assert client.receive() == ("chat/room1", b"at most once")


@pytest.mark.system
def test_paho_gets_the_properties_of_a_message_unchanged(service: Any, paho: Callable[..., Any]) -> None:
    client = paho(service.create_token())
    client.connect()
    client.subscribe("chat/room1", qos=1)
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = [("b", "2"), ("a", "1"), ("b", "2")]
    properties.ContentType = "text/plain"
    properties.CorrelationData = b"\x00\xff"
    properties.ResponseTopic = "chat/answers"
    properties.PayloadFormatIndicator = 1
    properties.MessageExpiryInterval = 60
    client.publish("chat/room1", "hello", properties=properties)

    got = client.messages.get(timeout=10).properties
    assert got.UserProperty == [("b", "2"), ("a", "1"), ("b", "2")]
    assert (got.ContentType, got.CorrelationData, got.ResponseTopic) == (
        "text/plain",
        b"\x00\xff",
        "chat/answers",
    )
    assert (got.PayloadFormatIndicator, got.MessageExpiryInterval) == (1, 60)


@pytest.mark.system
def test_paho_is_refused_filter_by_filter_and_publish_by_publish(
    service: Any, paho: Callable[..., Any]
) -> None:
    client = paho(service.create_token(topics=["chat/+"]))

    assert client.connect() == 0
    assert client.subscribe("#", "chat/room1", "chat/+/#", "chat/+") == [0x87, 0, 0x87, 0]
    assert client.publish("other/x", "hello") == 0x87
    assert client.publish("chat/a/b", "hello") == 0x87
    assert client.publish("chat/a", "hello") == 0


@pytest.mark.system
@pytest.mark.parametrize("method", ["JWT", "OAUTH2-JWT", "CUSTOM-JWT"])
def test_paho_connects_by_authentication_method(service: Any, paho: Callable[..., Any], method: str) -> None:
    token = service.create_token()
    properties = Properties(PacketTypes.CONNECT)
    properties.AuthenticationMethod = method
    properties.AuthenticationData = token["token"].encode()
    client = paho(username=None, password=None, connect={"properties": properties})

    assert client.connect() == 0
    assert client.subscribe("chat/room1") == [0]


@pytest.mark.system
def test_paho_with_an_unknown_authentication_method_is_refused(
    service: Any, paho: Callable[..., Any]
) -> None:
    properties = Properties(PacketTypes.CONNECT)
    properties.AuthenticationMethod = "SCRAM-SHA-1"
    properties.AuthenticationData = b"x"

    assert paho(username=None, password=None, connect={"properties": properties}).connect() == 0x8C


@pytest.mark.system
def test_paho_connects_as_the_server_with_a_secret_key(service: Any, paho: Callable[..., Any]) -> None:
    username = f"server@{service.organization_id}"
    client = paho(username=username, password=service.secret_key)

    assert client.connect() == 0
    assert client.subscribe("#") == [0]
    assert client.publish("anything/at/all", "hello") == 0
    assert client.receive() == ("anything/at/all", b"hello")
    wrong = service.secret_key[:-1] + ("A" if service.secret_key[-1] != "A" else "B")
    assert paho(username=username, password=wrong).connect() == 0x86


@pytest.mark.system
def test_paho_with_another_client_id_than_the_tokens_is_refused(
    service: Any, paho: Callable[..., Any]
) -> None:
    token = service.create_token(client_id="phone-*")

    assert paho(token, client_id="phone-1").connect() == 0
    assert paho(token, client_id="tablet-1").connect() == 0x85


@pytest.mark.interop
@pytest.mark.parametrize("version", [4, 5])
def test_mqttjs_over_websocket_publishes_and_receives(
    service: Any, mqttjs: Callable[..., list[dict[str, Any]]], version: int
) -> None:
    steps = [{"subscribe": "chat/room1"}, {"publish": "chat/room1", "payload": "hello"}, {"receive": 1}]
    events = mqttjs(service.websocket_url, service.create_token(), steps, protocolVersion=version)

    assert [event["event"] for event in events] == ["connect", "subscribe", "publish", "message"]
    assert (events[1]["codes"], events[2]["code"]) == ([1], 0)
    assert (events[3]["topic"], events[3]["payload"]) == ("chat/room1", "hello")


@pytest.mark.interop
def test_mqttjs_over_websocket_is_refused_what_the_token_does_not_give(
    service: Any, mqttjs: Callable[..., list[dict[str, Any]]]
) -> None:
    steps = [{"subscribe": "#"}, {"publish": "other/x", "payload": "hello"}]
    events = mqttjs(service.websocket_url, service.create_token(), steps, protocolVersion=5)

    assert events[1]["codes"] == [0x87]
    assert events[-1]["code"] == 0x87


@pytest.mark.interop
def test_mqttjs_with_a_bad_token_is_refused(
    service: Any, mqttjs: Callable[..., list[dict[str, Any]]]
) -> None:
    token = service.create_token()
    token["token"] = token["token"][:-8] + "AAAAAAAA"
    events = mqttjs(service.websocket_url, token, [], protocolVersion=5)

    assert [(event["event"], event["code"]) for event in events] == [("error", 0x87)]


@pytest.mark.interop
@pytest.mark.parametrize(
    ("origin", "accepted"), [("http://localhost:3000", True), ("https://attacker.example", False)]
)
def test_mqttjs_of_a_page_is_held_against_the_allowed_origins(
    service: Any, mqttjs: Callable[..., list[dict[str, Any]]], origin: str, accepted: bool
) -> None:
    events = mqttjs(
        service.websocket_url, service.create_token(), [], wsOptions={"headers": {"Origin": origin}}
    )

    assert ("connect" in [event["event"] for event in events]) is accepted
