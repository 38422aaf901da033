"""What a limit on one address counts by.

Loopback and trusted proxies have no limit of their own, because many clients stand behind
them. An IPv6 host owns a whole /64, so that is what counts as its address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

# Addresses whose reading is remembered: parsing one costs as much as accepting it.
_REMEMBERED = 10_000


class CountedAddresses:
    """Tells who is counted as one.

    Args:
        trusted_proxies: networks that no limit on an address counts, as 10.0.0.0/8.
    """

    def __init__(self, trusted_proxies: Iterable[str]) -> None:
        self._trusted = tuple(ipaddress.ip_network(text, strict=False) for text in trusted_proxies)
        self.counted = lru_cache(maxsize=_REMEMBERED)(self._counted)

    def is_proxy(self, address: str) -> bool:
        """Tell whether an IP address is that of a trusted proxy."""
        ip = ipaddress.ip_address(address)
        return any(ip in network for network in self._trusted)

    def _counted(self, address: str) -> str | None:
        """Return what an IP address is counted as; None where there is no limit.

        An IPv4 address that came in over IPv6 is counted as IPv4.
        """
        ip = ipaddress.ip_address(address)
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        if ip.is_loopback or any(ip in network for network in self._trusted):
            return None
        if isinstance(ip, ipaddress.IPv6Address):
            return f"{int(ip) >> 64:x}::/64"
        return str(ip)
