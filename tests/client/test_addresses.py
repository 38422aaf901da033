"""Where a broker is, out of what people write."""

import pytest

from tokenmq.client.addresses import Address, addresses_of, parse_url
from tokenmq.errors import InvalidRequest


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
    assert addresses_of(url) == [address]
    assert parse_url(str(address)) == address


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
        "mqtt://x:0",
        "mqtt://x/path",
        "mqtts://x?a=b",
        "wss://x/mqtt#part",
    ],
)
def test_urls_of_another_kind_are_refused(url: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_url(url)


def test_a_bare_host_is_tried_with_tls_and_never_without() -> None:
    assert [str(one) for one in addresses_of("mqtt.example")] == [
        "mqtts://mqtt.example:8883",
        "wss://mqtt.example:443/mqtt",
        "wss://mqtt.example:8084/mqtt",
    ]
    assert all(one.tls for one in addresses_of("10.0.0.1"))


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_url("mqtt://alice:hunter2@x")
    assert "hunter2" not in str(caught.value)


def test_a_query_goes_to_the_server() -> None:
    assert str(parse_url("wss://x/mqtt?signed=1")) == "wss://x:8084/mqtt?signed=1"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_this_machine_is_tried_without_tls_last(host: str) -> None:
    tried = addresses_of(host)
    assert [one.tls for one in tried] == [True, True, True, False, False]
    assert {one.host for one in tried} == {host}


@pytest.mark.parametrize("host", ["", "a b", "a:1883", "user@host", "host/path", "http://x"])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(InvalidRequest):
        addresses_of(host)
