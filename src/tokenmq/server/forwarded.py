"""`X-Forwarded-For` and `X-Forwarded-Proto`: who a proxy speaks for in HTTP. Pure.

Each proxy appends the address that it was called from, so the list is read from its end:
those that are proxies of ours are believed, and the first that is none is the client.
What stands before it is the client's own tale.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

from tokenmq.errors import TokenmqError


class BadForwarding(TokenmqError):
    """A forwarding header is not what a proxy writes."""

    code = "bad_forwarding"


def client_address(values: Sequence[str], is_proxy: Callable[[str], bool]) -> str | None:
    """Return the address of the client that a trusted proxy speaks for.

    Args:
        values: all `X-Forwarded-For` headers in the order in which they came.
        is_proxy: tells whether an IP address is that of a proxy of ours.

    Returns: an IP address; None where no header names one that is not a proxy's.
    Raises: BadForwarding for an entry that is no IP address, if it is come to.
    """
    entries = [entry.strip() for value in values for entry in value.split(",")]
    for entry in reversed(entries):
        try:
            address = ipaddress.ip_address(entry)
        except ValueError:
            raise BadForwarding("X-Forwarded-For is no list of IP addresses") from None
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        text = str(mapped or address)
        if not is_proxy(text):
            return text
    return None


def came_over_tls(values: Sequence[str]) -> bool:
    """Tell whether the last `X-Forwarded-Proto`, the nearest proxy's, names a scheme with TLS."""
    return bool(values) and values[-1].rpartition(",")[2].strip().lower() in ("https", "wss")
