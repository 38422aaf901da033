"""Who is counted as one address, and who is not counted."""

import pytest

from tokenmq.access.addresses import CountedAddresses

ADDRESSES = CountedAddresses(("10.0.0.0/8", "2001:db8:ff::/48"))


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.9.9.9", "::1", "10.1.2.3", "::ffff:10.1.2.3", "2001:db8:ff::1"]
)
def test_loopback_and_trusted_proxies_are_not_counted(address: str) -> None:
    assert ADDRESSES.counted(address) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [("192.0.2.1", "::ffff:192.0.2.1"), ("2001:db8::1", "2001:db8::ffff:1")],
    ids=["IPv4 over IPv6", "one /64"],
)
def test_one_host_is_one_whatever_address_it_takes(one: str, other: str) -> None:
    assert ADDRESSES.counted(one) == ADDRESSES.counted(other) is not None


@pytest.mark.parametrize(("one", "other"), [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8:0:1::1")])
def test_different_hosts_are_different(one: str, other: str) -> None:
    assert ADDRESSES.counted(one) != ADDRESSES.counted(other)
