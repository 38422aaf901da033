"""Who may connect at all: limits that are looked at before anything is read.

Counted together for all listeners: connections in all and how fast they come, connections
of one address, and how fast one address connects. Loopback and trusted proxies have no
limit of their own; `access.addresses` says who is counted as one.
"""

from __future__ import annotations

import enum
import resource

from tokenmq.access.addresses import CountedAddresses
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
        self._rate = _Rate(settings.connect_rate_per_address, settings.connect_burst_per_address)
        # At once as many as in a second: a limit on all has no burst of its own.
        self._rate_of_all = (
            _Rate(settings.connect_rate, settings.connect_rate) if settings.connect_rate else None
        )
        self._all_whole_at = 0.0
        addresses = CountedAddresses(settings.trusted_proxies)
        self.is_proxy = addresses.is_proxy
        self._key = addresses.counted
        self._total = 0
        self._counts: dict[str, int] = {}
        # Per address the moment at which its burst is whole again (GCRA's theoretical
        # arrival time): one float stands for a bucket of tokens and its last filling.
        self._whole_at: dict[str, float] = {}

    @property
    def connections(self) -> int:
        """How many have entered and not left."""
        return self._total

    def enter(self, address: str, mono: float) -> Refusal | None:
        """Count a new connection, or say why it is not taken; then nothing is counted.

        Args:
            address: the peer's IP address.
            mono: monotonic seconds.
        """
        key = self._key(address)
        if self._total >= self._max_total:
            return Refusal.TOO_MANY
        if self._rate_of_all is not None and not self._rate_of_all.allows(self._all_whole_at, mono):
            return Refusal.TOO_FAST
        if key is not None:
            if self._counts.get(key, 0) >= self._max_per_address:
                return Refusal.TOO_MANY
            if not self._take_turn(key, mono):
                return Refusal.TOO_FAST
            self._counts[key] = self._counts.get(key, 0) + 1
        if self._rate_of_all is not None:
            self._all_whole_at = self._rate_of_all.after(self._all_whole_at, mono)
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
        allowed = self._rate.allows(whole_at, mono)
        if len(self._whole_at) >= MAX_RATED_ADDRESSES:
            del self._whole_at[next(iter(self._whole_at))]
        self._whole_at[key] = self._rate.after(whole_at, mono) if allowed else whole_at
        return allowed


class _Rate:
    """So many a second, so many of them at once."""

    def __init__(self, per_second: int, burst: int) -> None:
        self._interval = 1.0 / per_second
        # A microsecond: sums of fractions of a second are not exact.
        self._tolerance = (burst - 1) * self._interval + 1e-6

    def allows(self, whole_at: float, mono: float) -> bool:
        """Tell whether one more may come, where the burst is whole again at that moment."""
        return whole_at - mono <= self._tolerance

    def after(self, whole_at: float, mono: float) -> float:
        """Return the moment at which the burst is whole again after one more."""
        return max(whole_at, mono) + self._interval


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
