"""PROXY protocol v2: headers as proxies write them, and everything else."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.server.proxy_header import MAX_HEADER_BYTES, BadProxyHeader, Source, parse_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
UNSPEC, TCP4, UDP4, TCP6, UDP6, UNIX, UNIX_DGRAM = 0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32
ALPN, AUTHORITY, SSL = 0x01, 0x02, 0x20

FOUR = ipaddress.IPv4Address("192.0.2.7").packed + ipaddress.IPv4Address("198.51.100.1").packed
SIX = ipaddress.IPv6Address("2001:db8::7").packed + ipaddress.IPv6Address("2001:db8::1").packed
PORTS = struct.pack("!HH", 50_000, 8883)


def header(family: int, body: bytes = b"", *, command: int = PROXY) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


TLS = tlv(SSL, b"\x01\x00\x00\x00\x00" + tlv(0x21, b"TLSv1.3"))
NO_TLS = tlv(SSL, b"\x00\x00\x00\x00\x00")

GOOD = {
    "tcp4": (header(TCP4, FOUR + PORTS), Source("192.0.2.7", 50_000, secure=False, local=False)),
    "tcp6": (header(TCP6, SIX + PORTS), Source("2001:db8::7", 50_000, secure=False, local=False)),
    "unix": (header(UNIX, bytes(216)), Source(None, 0, secure=False, local=False)),
    "unspec": (header(UNSPEC), Source(None, 0, secure=False, local=False)),
    "local": (header(UNSPEC, command=LOCAL), Source(None, 0, secure=False, local=True)),
    "local with an address": (
        header(TCP4, FOUR + PORTS + TLS, command=LOCAL),
        Source(None, 0, secure=False, local=True),
    ),
    "other TLVs": (
        header(TCP4, FOUR + PORTS + tlv(ALPN, b"mqtt") + tlv(0xE0, b"") + tlv(AUTHORITY, b"x" * 255)),
        Source("192.0.2.7", 50_000, secure=False, local=False),
    ),
    "TLS": (
        header(TCP4, FOUR + PORTS + tlv(ALPN, b"mqtt") + TLS + tlv(0x04, bytes(9))),
        Source("192.0.2.7", 50_000, secure=True, local=False),
    ),
    "TLV of no TLS": (
        header(TCP6, SIX + PORTS + NO_TLS),
        Source("2001:db8::7", 50_000, secure=False, local=False),
    ),
    "TLS from a socket of its machine": (
        header(UNIX, bytes(216) + TLS),
        Source(None, 0, secure=True, local=False),
    ),
}

BAD = {
    "version 1": (b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 8883\r\n", "does not begin with"),
    "CONNECT": (b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00", "does not begin with"),
    "ClientHello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "does not begin with"),
    "signature but for its end": (SIGNATURE[:-1] + b"\r", "does not begin with"),
    "version 3": (header(TCP4, FOUR + PORTS, command=0x31), "version and command are 0x31"),
    "command 2": (header(TCP4, FOUR + PORTS, command=0x22), "version and command are 0x22"),
    "UDP": (header(UDP4, FOUR + PORTS), "0x12, which is no stream"),
    "UDP over IPv6": (header(UDP6, SIX + PORTS), "0x22, which is no stream"),
    "datagrams": (header(UNIX_DGRAM, bytes(216)), "0x32, which is no stream"),
    "unknown family": (header(0x41, bytes(216)), "0x41, which is no stream"),
    "short address": (header(TCP4, FOUR), "the header has 8 bytes, and its addresses alone 12"),
    "address of the other family": (header(TCP6, FOUR + PORTS), "its addresses alone 36"),
    "too long": (SIGNATURE + struct.pack("!BBH", PROXY, TCP4, MAX_HEADER_BYTES + 1), "at most 8192"),
    "TLV beyond the header": (header(TCP4, FOUR + PORTS + b"\x01\x00\x05mqtt"), "a TLV is longer"),
    "half the head of a TLV": (header(TCP4, FOUR + PORTS + b"\x01\x00"), "a TLV is longer"),
    "short TLV of TLS": (header(TCP4, FOUR + PORTS + tlv(SSL, b"\x01\x00\x00\x00")), "too short"),
}


@pytest.mark.parametrize(("data", "source"), GOOD.values(), ids=GOOD)
def test_header_says_where_a_connection_comes_from(data: bytes, source: Source) -> None:
    assert parse_header(data) == (source, len(data))


@pytest.mark.parametrize(("data", "source"), GOOD.values(), ids=GOOD)
def test_what_follows_a_header_is_no_part_of_it(data: bytes, source: Source) -> None:
    assert parse_header(data + data) == (source, len(data))


@pytest.mark.parametrize(("data", "_"), GOOD.values(), ids=GOOD)
def test_every_truncation_waits_for_more(data: bytes, _: Source) -> None:
    assert [parse_header(data[:stop]) for stop in range(len(data))] == [None] * len(data)


@pytest.mark.parametrize(("data", "words"), BAD.values(), ids=BAD)
def test_what_is_no_header_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(BadProxyHeader, match=words):
        parse_header(data)


@pytest.mark.parametrize(("data", "_"), BAD.values(), ids=BAD)
def test_more_bytes_do_not_make_a_header_of_what_is_none(data: bytes, _: str) -> None:
    with pytest.raises(BadProxyHeader):
        parse_header(data + bytes(300))


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_or_wait_or_are_a_header(data: bytes) -> None:
    for given_bytes in (data, SIGNATURE + data, header(TCP4, FOUR + PORTS + data)):
        try:
            found = parse_header(given_bytes)
        except BadProxyHeader:
            continue
        assert found is None or 16 <= found[1] <= len(given_bytes)


@given(
    address=st.ip_addresses(),
    port=st.integers(0, 65_535),
    tlvs=st.lists(st.tuples(st.integers(0, 255).filter(lambda kind: kind != SSL), st.binary(max_size=60))),
    secure=st.booleans(),
)
def test_address_port_and_tls_are_read_back(address: object, port: int, tlvs: object, secure: bool) -> None:
    assert isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address) and isinstance(tlvs, list)
    others = b"".join(tlv(*each) for each in tlvs)
    ends = address.packed * 2 + struct.pack("!HH", port, 1883)
    data = header(
        TCP4 if address.version == 4 else TCP6, ends + others + (TLS if secure else NO_TLS) + others
    )

    assert parse_header(data) == (Source(str(address), port, secure=secure, local=False), len(data))
