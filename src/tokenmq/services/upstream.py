"""Documents fetched from other servers, without being led anywhere (SECURITY 6.2, J9).

An organization names the address, so it must not reach what only this machine can reach:
https alone, no redirect, no address that is not a public one, and the connection goes to
the very address that was looked at, not to what a second look-up would give. All of it
takes at most five seconds and 256 KiB. No proxy variable is read, no cookie is kept. A
host that is listed as insecure is exempt from https and from public addresses alone.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Sequence
from urllib.parse import SplitResult, urlsplit

import httpx2

from tokenmq.errors import Unavailable
from tokenmq.tokens.foreign.rules import is_web_address

# From the look-up of the name to the last byte.
TIMEOUT_SECONDS = 5.0
MAX_DOCUMENT_BYTES = 256 * 1_024
# Of the time that is left, how much connecting and the handshake may each take.
_CONNECT_SHARE = 0.8

_PORTS = {"http": 80, "https": 443}
# RFC 6052 §2.1: an IPv4 address behind a translator.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_HEADERS = {"Accept": "application/json, application/jwk-set+json", "Accept-Encoding": "identity"}

# Host and port to the addresses behind them, as text.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host.

    Raises: OSError, UnicodeError.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Upstream:
    """Fetches documents.

    Args:
        insecure: hosts, or `host:port`, that may answer without TLS and on any address.
        tls: how certificates are judged; None: by the authorities of this machine.
        resolver: looks up names.
        timeout_seconds: for each document in all.
    """

    def __init__(
        self,
        insecure: Collection[str] = (),
        *,
        tls: ssl.SSLContext | None = None,
        resolver: Resolve = resolve,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._insecure = frozenset(one.lower() for one in insecure)
        self._tls = tls
        self._resolve = resolver
        self._timeout_seconds = timeout_seconds

    def problem(self, url: str) -> str | None:
        """Say why nothing is fetched from an address; None when it may be, as far as it can be told."""
        if not is_web_address(url):
            return "wanted a web address without user or fragment"
        parts = urlsplit(url)
        if self._is_insecure(parts):
            return None
        if parts.scheme != "https":
            return "wanted https"
        try:
            address = ipaddress.ip_address(parts.hostname or "")
        except ValueError:
            return None
        return None if is_public(address) else "wanted a public address"

    async def get(self, url: str) -> bytes:
        """Fetch a document.

        Raises: Unavailable, for whatever goes wrong; it names the host and the reason.
        """
        host = urlsplit(url).hostname
        if problem := self.problem(url):
            raise Unavailable(f"nothing is fetched from {host}: {problem}")
        try:
            async with asyncio.timeout(self._timeout_seconds) as limit:
                return await self._fetch(urlsplit(url), limit)
        except TimeoutError:
            raise Unavailable(f"{host} has not answered within {self._timeout_seconds:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
            raise Unavailable(f"{host} cannot be asked: {error or type(error).__name__}") from error

    async def _fetch(self, parts: SplitResult, limit: asyncio.Timeout) -> bytes:
        host = parts.hostname or ""
        port = parts.port or _PORTS[parts.scheme]
        addresses = await self._resolve(host, port)
        if not self._is_insecure(parts):
            for address in addresses:
                if not is_public(ipaddress.ip_address(address.partition("%")[0])):
                    raise Unavailable(f"{host} has an address that is not a public one")
        transport = httpx2.AsyncHTTPTransport(verify=await self._context(), trust_env=False)
        # A handshake that is cancelled from outside would leave its socket to the collector.
        remaining = (limit.when() or 0) - asyncio.get_running_loop().time()
        patience = httpx2.Timeout(None, connect=max(0.0, remaining) * _CONNECT_SHARE)
        async with httpx2.AsyncClient(transport=transport, trust_env=False, timeout=patience) as client:
            for address in addresses[:-1]:
                try:
                    return await _read(client, parts, address, port)
                except httpx2.ConnectError:
                    continue
            if not addresses:
                raise Unavailable(f"{host} has no address")
            return await _read(client, parts, addresses[-1], port)

    async def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            # Reading all authorities takes long enough to be felt by every connection.
            self._tls = await asyncio.to_thread(httpx2.create_ssl_context, trust_env=False)
        return self._tls

    def _is_insecure(self, parts: SplitResult) -> bool:
        host = parts.hostname or ""
        shown = f"[{host}]" if ":" in host else host
        return not self._insecure.isdisjoint({host, shown, f"{shown}:{parts.port or _PORTS[parts.scheme]}"})


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Tell whether an address is one of the Internet's, also where it stands inside another one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        if not all(is_public(one) for one in inner if one is not None):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast


async def _read(client: httpx2.AsyncClient, parts: SplitResult, address: str, port: int) -> bytes:
    """Ask one address, under the name that was looked up, and read the answer within its limit."""
    shown = f"[{address}]" if ":" in address else address
    target = f"{parts.scheme}://{shown}:{port}{parts.path or '/'}" + (
        f"?{parts.query}" if parts.query else ""
    )
    headers = {**_HEADERS, "Host": parts.netloc}
    # The certificate must be the name's, whatever address is behind it.
    extensions = {"sni_hostname": parts.hostname}
    async with client.stream("GET", target, headers=headers, extensions=extensions) as response:
        # A redirect too: nothing is fetched but what was named.
        if response.status_code != httpx2.codes.OK:
            raise Unavailable(f"{parts.hostname} answered {response.status_code}")
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise Unavailable(f"{parts.hostname} answered compressed, which was not asked for")
        content = bytearray()
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > MAX_DOCUMENT_BYTES:
                raise Unavailable(f"{parts.hostname} answered more than {MAX_DOCUMENT_BYTES} bytes")
        return bytes(content)
