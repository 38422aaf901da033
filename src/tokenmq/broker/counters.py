"""What the core counts, for metrics and for the comparison of its two paths."""

from __future__ import annotations


class Counters:
    """Totals since the start; each only grows.

    Attributes:
        received: PUBLISH packets taken in, whatever became of them.
        delivered: PUBLISH packets appended for receivers.
        acknowledged: PUBACKs and PUBCOMPs taken in.
        refused: PUBLISH packets that were not allowed or not acceptable.
        dropped: messages that a full queue or a peer's packet limit cost a receiver.
        expired: messages whose time was over before they could go out.
        withheld: messages that their receiver had lost the right to by then.
        connected: CONNECTs accepted.
    """

    __slots__ = (
        "acknowledged",
        "connected",
        "delivered",
        "dropped",
        "expired",
        "received",
        "refused",
        "withheld",
    )

    def __init__(self) -> None:
        self.received = 0
        self.delivered = 0
        self.acknowledged = 0
        self.refused = 0
        self.dropped = 0
        self.expired = 0
        self.withheld = 0
        self.connected = 0

    def as_dict(self) -> dict[str, int]:
        """Return all totals by name."""
        return {name: getattr(self, name) for name in self.__slots__}
