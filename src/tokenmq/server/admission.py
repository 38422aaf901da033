"""Who may connect at all: limits that are looked at before anything is read.

Counted together for all listeners: connections in all, connections of one
address, and how fast one address connects. Loopback and trusted proxies have no
limit of their own, because many clients stand behind them. An IPv6 host owns a
whole /64, so that is what counts as its address.
"""

from __future__ import annotations

import enum
import ipaddress
import resource
from functools import lru_cache

from tokenmq.config import BrokerSettings

# Addresses whose connect rate is remembered, about 200 bytes each; the one not seen
# for longest is forgotten first, and then begins with a full burst.
MAX_RATED_ADDRESSES = 10_000
# Descriptors that are not for connections: database, log, HTTP, listeners (SECURITY 6.1).
RESERVED_DESCRIPTORS = 1_000


class Refusal(enum.Enum):
    """Why a connection is not taken."""

    TOO_MANY = "too many connections"
    TOO_FAST = "too many connects in a short time"


class Admission:
    """Counts connections and decides on new ones; synchronous, told the time."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._max_total = settings.max_connections
        self._max_per_address = settings.max_connections_per_address
        self._interval = 1.0 / settings.connect_rate_per_address
        self._tolerance = (settings.connect_burst_per_address - 1) * self._interval
        self._trusted = tuple(ipaddress.ip_network(text, strict=False) for text in settings.trusted_proxies)
        self._key = lru_cache(maxsize=MAX_RATED_ADDRESSES)(self._key_of)
        self._total = 0
        self._counts: dict[str, int] = {}
        # Per address the moment at which its burst is whole again (GCRA's theoretical
        # arrival time): one float stands for a bucket of tokens and its last filling.
        self._whole_at: dict[str, float] = {}

    @property
    def connections(self) -> int:
        """How many have entered and not left."""
        return self._total

    def is_proxy(self, address: str) -> bool:
        """Tell whether an IP address is that of a trusted proxy."""
        if not self._trusted:
            return False
        ip = ipaddress.ip_address(address)
        return any(ip in network for network in self._trusted)

    def enter(self, address: str, mono: float) -> Refusal | None:
        """Count a new connection, or say why it is not taken; then nothing is counted.

        Args:
            address: the peer's IP address.
            mono: monotonic seconds.
        """
        key = self._key(address)
        if self._total >= self._max_total:
            return Refusal.TOO_MANY
        if key is not None:
            if self._counts.get(key, 0) >= self._max_per_address:
                return Refusal.TOO_MANY
            if not self._take_turn(key, mono):
                return Refusal.TOO_FAST
            self._counts[key] = self._counts.get(key, 0) + 1
        self._total += 1
        return None

    def leave(self, address: str) -> None:
        """Count out a connection that had entered."""
        self._total -= 1
        key = self._key(address)
        if key is None:
            return
        left = self._counts[key] - 1
        if left:
            self._counts[key] = left
        else:
            del self._counts[key]

    def move(self, address: str, to: str, mono: float) -> Refusal | None:
        """Count a connection that had entered as one of another address, which was behind the first.

        Returns: why it is not taken; then it is counted out.
        """
        self.leave(address)
        return self.enter(to, mono)

    def _take_turn(self, key: str, mono: float) -> bool:
        whole_at = max(self._whole_at.pop(key, mono), mono)
        allowed = whole_at - mono <= self._tolerance
        if len(self._whole_at) >= MAX_RATED_ADDRESSES:
            del self._whole_at[next(iter(self._whole_at))]
        self._whole_at[key] = whole_at + self._interval if allowed else whole_at
        return allowed

    def _key_of(self, address: str) -> str | None:
        """Return what the limits of one address count by; None where there are none."""
        ip = ipaddress.ip_address(address)
        if ip.is_loopback or self.is_proxy(address):
            return None
        if isinstance(ip, ipaddress.IPv6Address):
            return f"{int(ip) >> 64:x}::/64"
        return address


def room_for_connections(wanted: int) -> int:
    """Raise this process's limit of open files as far as it may go, and count what fits.

    Args:
        wanted: connections that the settings allow.

    Returns: the number of connections to allow: `wanted`, or fewer where the system
        gives fewer descriptors; 1,000 are kept free, a quarter of a very low limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVED_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, soft - min(RESERVED_DESCRIPTORS, soft // 4)))
