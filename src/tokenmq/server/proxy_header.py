"""The PROXY protocol, version 2: who a connection is from that a proxy passes on. Pure.

Source: HAProxy's proxy-protocol.txt, §2.2 (binary header) and §2.2.6 (TLVs). Version 1
is not spoken. Of the TLVs, PP2_TYPE_SSL is read; the others are stepped over.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from tokenmq.errors import TokenmqError

# Address and TLVs of a header: the widest address has 216 bytes, and a client's
# certificate, the largest thing that proxies put into a TLV, a few thousand.
MAX_HEADER_BYTES = 8 * 1024

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
# Signature, version and command, family and protocol, length.
_FIXED_BYTES = 16
_LOCAL, _PROXY = 0x20, 0x21
_UNSPEC, _TCP4, _TCP6, _UNIX_STREAM = 0x00, 0x11, 0x21, 0x31
# Bytes of the addresses of each family that a stream can have.
_ADDRESS_BYTES = {_UNSPEC: 0, _TCP4: 12, _TCP6: 36, _UNIX_STREAM: 216}
_TLV_HEAD_BYTES = 3
_PP2_TYPE_SSL = 0x20
# Its `client` byte and `verify`; sub-TLVs follow.
_SSL_BYTES = 5
_PP2_CLIENT_SSL = 0x01


class BadProxyHeader(TokenmqError):
    """What a connection begins with is no PROXY protocol v2 header that is taken here."""

    code = "bad_proxy_header"


class Source(NamedTuple):
    """Where a connection comes from, as its proxy says.

    Attributes:
        address: the client's IP address; None = the proxy's own, or one that has none.
        port: its port.
        secure: it speaks TLS to the proxy.
        local: the proxy speaks for itself, as for a health check.
    """

    address: str | None
    port: int
    secure: bool
    local: bool


def parse_header(data: bytes) -> tuple[Source, int] | None:
    """Read a header from the beginning of a connection.

    Returns: what it says, and its length in bytes; None if more bytes are needed.
    Raises: BadProxyHeader as soon as the bytes can not become a header.
    """
    if not _SIGNATURE.startswith(data[: len(_SIGNATURE)]):
        raise BadProxyHeader("the connection does not begin with a PROXY protocol v2 header")
    if len(data) > len(_SIGNATURE) and data[12] not in (_LOCAL, _PROXY):
        raise BadProxyHeader(f"version and command are 0x{data[12]:02x}, which is not version 2")
    if len(data) < _FIXED_BYTES:
        return None
    length = int.from_bytes(data[14:16])
    if length > MAX_HEADER_BYTES:
        raise BadProxyHeader(f"the header has {length} bytes, at most {MAX_HEADER_BYTES} are accepted")
    stop = _FIXED_BYTES + length
    if len(data) < stop:
        return None
    body = data[_FIXED_BYTES:stop]
    if data[12] == _LOCAL:
        # §2.2: the receiver must discard what it says of addresses.
        return Source(None, 0, secure=False, local=True), stop
    return _source(data[13], body), stop


def _source(family: int, body: bytes) -> Source:
    size = _ADDRESS_BYTES.get(family)
    if size is None:
        raise BadProxyHeader(f"family and protocol are 0x{family:02x}, which is no stream")
    if len(body) < size:
        raise BadProxyHeader(f"the header has {len(body)} bytes, and its addresses alone {size}")
    secure = _speaks_tls(body[size:])
    if family == _TCP4:
        return Source(
            str(ipaddress.IPv4Address(body[:4])), int.from_bytes(body[8:10]), secure=secure, local=False
        )
    if family == _TCP6:
        return Source(
            str(ipaddress.IPv6Address(body[:16])), int.from_bytes(body[32:34]), secure=secure, local=False
        )
    return Source(None, 0, secure=secure, local=False)


def _speaks_tls(tlvs: bytes) -> bool:
    """Walk over all TLVs; tell whether one says that the client speaks TLS."""
    secure = False
    pos = 0
    while pos < len(tlvs):
        start = pos + _TLV_HEAD_BYTES
        stop = start + int.from_bytes(tlvs[pos + 1 : start])
        if start > len(tlvs) or stop > len(tlvs):
            raise BadProxyHeader("a TLV is longer than the header")
        if tlvs[pos] == _PP2_TYPE_SSL:
            if stop - start < _SSL_BYTES:
                raise BadProxyHeader("the SSL TLV is too short")
            secure = bool(tlvs[start] & _PP2_CLIENT_SSL)
        pos = stop
    return secure
