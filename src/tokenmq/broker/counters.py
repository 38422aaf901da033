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
        overflowed: those of them that a full queue cost.
        crowded_out: of these, what went because all queues together were too large.
        expired: messages whose time was over before they could go out.
        withheld: messages that their receiver had lost the right to by then.
        history_lost: messages that were to be recorded and are not.
        replayed: recorded messages that were sent to those who asked for history.
        connected: CONNECTs accepted.
        revoked: token families whose revocation was heard of.
        refusals: what `refused` is made of, by kind of reason.
        turned_away: CONNECTs that were refused, by the error's code or the reason code's name.
        decisions: what was decided anew, not out of memory: by action, and whether it was allowed.
    """

    __slots__ = (
        "acknowledged",
        "connected",
        "crowded_out",
        "decisions",
        "delivered",
        "dropped",
        "expired",
        "history_lost",
        "overflowed",
        "received",
        "refusals",
        "refused",
        "replayed",
        "revoked",
        "turned_away",
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
        self.history_lost = 0
        self.replayed = 0
        self.overflowed = 0
        self.crowded_out = 0
        self.connected = 0
        self.revoked = 0
        self.refusals: dict[str, int] = {}
        self.turned_away: dict[str, int] = {}
        self.decisions: dict[tuple[str, bool], int] = {}

    def refuse(self, why: str) -> None:
        """Count a PUBLISH that was refused, for a reason of this kind."""
        self.refused += 1
        self.refusals[why] = self.refusals.get(why, 0) + 1

    def turn_away(self, why: str) -> None:
        """Count a CONNECT that was refused."""
        self.turned_away[why] = self.turned_away.get(why, 0) + 1

    def decide(self, action: str, *, allowed: bool) -> None:
        """Count a decision."""
        key = (action, allowed)
        self.decisions[key] = self.decisions.get(key, 0) + 1

    def as_dict(self) -> dict[str, int]:
        """Return all totals by name, without what they are made of."""
        totals = {name: getattr(self, name) for name in self.__slots__}
        return {name: total for name, total in totals.items() if isinstance(total, int)}
