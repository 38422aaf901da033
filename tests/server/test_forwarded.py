"""Whom a proxy speaks for in HTTP."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.server.forwarded import BadForwarding, came_over_tls, client_address


def is_proxy(address: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network("10.0.0.0/8") or address == "2001:db8::1"


@pytest.mark.parametrize(
    ("values", "address"),
    [
        (["192.0.2.7"], "192.0.2.7"),
        (["192.0.2.7, 10.0.0.2"], "192.0.2.7"),
        (["192.0.2.7", "10.0.0.2,10.0.0.3"], "192.0.2.7"),
        (["192.0.2.7, 2001:db8::1"], "192.0.2.7"),
        (["2001:db8::7 , 10.0.0.2"], "2001:db8::7"),
        (["::ffff:192.0.2.7"], "192.0.2.7"),
        (["192.0.2.7, ::ffff:10.0.0.2"], "192.0.2.7"),
        (["10.0.0.2"], None),
        # What stands before the first that is no proxy of ours anybody may have written.
        (["127.0.0.1, 198.51.100.9"], "198.51.100.9"),
        (["10.0.0.9, 198.51.100.9, 10.0.0.2"], "198.51.100.9"),
        (["unknown, 198.51.100.9"], "198.51.100.9"),
        (["127.0.0.1", "198.51.100.9"], "198.51.100.9"),
    ],
)
def test_last_that_is_no_proxy_is_the_client(values: list[str], address: str | None) -> None:
    assert client_address(values, is_proxy) == address


@pytest.mark.parametrize(
    "value", ["", "unknown", "192.0.2.7:50000", "192.0.2.7,", "192.0.2.7, x, 10.0.0.2", "٣.1.1.1"]
)
def test_what_is_no_list_of_addresses_is_refused(value: str) -> None:
    with pytest.raises(BadForwarding):
        client_address([value], is_proxy)


@given(st.lists(st.text(max_size=60), max_size=4))
def test_any_texts_give_an_address_that_is_no_proxy_or_are_refused(values: list[str]) -> None:
    try:
        found = client_address(values, is_proxy)
    except BadForwarding:
        return
    assert found is None or (ipaddress.ip_address(found) and not is_proxy(found))


@pytest.mark.parametrize(
    ("values", "secure"),
    [
        ([], False),
        (["https"], True),
        (["WSS"], True),
        (["http"], False),
        (["http, https"], True),
        (["https", "http"], False),
        (["https,http"], False),
        ([""], False),
        (["httpsx"], False),
    ],
)
def test_nearest_proxy_says_whether_the_client_speaks_tls(values: list[str], secure: bool) -> None:
    assert came_over_tls(values) is secure
