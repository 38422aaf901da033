"""TLS with the clients that people use: over TCP and WebSocket, both versions of each protocol."""

import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.usefixtures("loopback_origins")
TLS_VERSIONS = pytest.mark.parametrize(
    "tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"]
)


def where_is(service: Any, listener: str) -> tuple[str, int]:
    parts = urlsplit(service.ready[f"{listener}_url"])
    return str(parts.hostname), parts.port or 0


@pytest.fixture
def trust(authority: Any) -> Callable[[ssl.TLSVersion], ssl.SSLContext]:
    """Make the context of a client that trusts the tests' authority, for one version of TLS."""

    def trust(version: ssl.TLSVersion) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=authority.path)
        context.minimum_version = context.maximum_version = version
        return context

    return trust


@pytest.mark.system
@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(("listener", "transport"), [("mqtts", "tcp"), ("wss", "websockets")])
@TLS_VERSIONS
def test_paho_publishes_and_receives(
    secure_service: Any,
    paho: Callable[..., Any],
    trust: Any,
    tls: ssl.TLSVersion,
    listener: str,
    transport: str,
    version: int,
) -> None:
    where = where_is(secure_service, listener)
    token = secure_service.create_token()
    client = paho(token, where=where, transport=transport, version=version, tls=trust(tls))

    assert client.connect() == 0
    assert client.subscribe("chat/room1", qos=1) == [1]
    payload = bytes(range(256)) * 1_000
    assert client.publish("chat/room1", payload) == 0
    assert client.receive() == ("chat/room1", payload)


@pytest.mark.system
@pytest.mark.parametrize(("listener", "transport"), [("mqtts", "tcp"), ("wss", "websockets")])
@TLS_VERSIONS
def test_paho_hears_why_its_connection_ends(
    secure_service: Any,
    paho: Callable[..., Any],
    trust: Any,
    tls: ssl.TLSVersion,
    listener: str,
    transport: str,
) -> None:
    token = secure_service.create_token()
    where = where_is(secure_service, listener)
    client = paho(token, where=where, transport=transport, tls=trust(tls))
    assert client.connect() == 0

    assert secure_service.call("DELETE", f"/v2/tokens/{token['token_id']}").status_code in (200, 204)
    assert client.wait_ended()[1] == 0x87


@pytest.mark.system
def test_servers_key_is_accepted_over_tls(secure_service: Any, paho: Callable[..., Any], trust: Any) -> None:
    client = paho(
        username=f"server@{secure_service.organization_id}",
        password=secure_service.secret_key,
        where=where_is(secure_service, "mqtts"),
        tls=trust(ssl.TLSVersion.TLSv1_3),
    )

    assert client.connect() == 0


@pytest.mark.interop
@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
@pytest.mark.parametrize("tls", ["tlsv1.2", "tlsv1.3"])
def test_mosquitto_publishes_and_receives(
    secure_service: Any, make_mosquitto: Callable[..., Any], authority: Any, version: str, tls: str
) -> None:
    options = ("--cafile", str(authority.path), "--tls-version", tls)
    mosquitto = make_mosquitto(where_is(secure_service, "mqtts"), *options)
    token = secure_service.create_token()
    subscriber = mosquitto.subscribe(token, version, "chat/room1")
    assert subscriber.wait_for("Subscribed (mid: 1): ") == "1"
    published = mosquitto.publish(token, version, "chat/room1", "hello")

    assert published.returncode == 0, published.stderr
    assert subscriber.wait_for("got ") == "chat/room1 hello"


@pytest.mark.interop
def test_mosquitto_without_the_authority_does_not_connect(
    secure_service: Any, make_mosquitto: Callable[..., Any], make_authority: Callable[[str], Any]
) -> None:
    options = ("--cafile", str(make_authority("another").path))
    mosquitto = make_mosquitto(where_is(secure_service, "mqtts"), *options)
    published = mosquitto.publish(secure_service.create_token(), "mqttv5", "chat/room1", "hello")

    assert published.returncode != 0
    assert "TLS" in published.stdout + published.stderr


@pytest.mark.interop
@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("listener", ["mqtts", "wss"])
def test_mqttjs_publishes_and_receives(
    secure_service: Any,
    mqttjs: Callable[..., list[dict[str, Any]]],
    authority: Any,
    listener: str,
    version: int,
) -> None:
    steps = [{"subscribe": "chat/room1"}, {"publish": "chat/room1", "payload": "hello"}, {"receive": 1}]
    url = secure_service.ready[f"{listener}_url"].replace("127.0.0.1", "localhost")
    events = mqttjs(
        url, secure_service.create_token(), steps, authority=authority.path, protocolVersion=version
    )

    assert [event["event"] for event in events] == ["connect", "subscribe", "publish", "message"]
    assert (events[3]["topic"], events[3]["payload"]) == ("chat/room1", "hello")
