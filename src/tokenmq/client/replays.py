"""How far the history of a subscription has come, so that it can go on from there.

Theory of operation. The broker gives ids in the order in which it sends messages to a
subscription, so on a new session everything up to the newest that has come is here
(`whole_to`), and the next SUBSCRIBE asks for what came after that.

On a session that goes on it is asked too: messages at QoS 0 were not queued, and a replay
that was under way ended with its connection. Then what is queued comes first and what is
replayed after it, whose ids may be smaller. Nobody says where the one ends and the other
begins, so from then on `whole_to` stands still and ids that have come beyond it are
remembered, until there are more of them than both can be. If the connection is lost in between, all
since `whole_to` is asked for again, and what is here already is left out.
"""

from __future__ import annotations

import dataclasses
from typing import Final

# User properties of a SUBSCRIBE that asks for history, and of its answer.
COUNT: Final = "tokenmq-history"
SINCE: Final = "tokenmq-history-since"
AFTER: Final = "tokenmq-history-after"
RECORDED: Final = "tokenmq-history-recorded"

# A replay has 1,000 messages at most, and a queue as many, as a rule.
SETTLED: Final = 2000


@dataclasses.dataclass(slots=True, eq=False)
class Replay:
    """What of its history a subscription begins with, and how far it has come.

    Attributes:
        first: the user properties of the first SUBSCRIBE.
        whole_to: every message up to this id has come, or was not asked for; 0 before the first.
    """

    first: list[tuple[str, str]]
    whole_to: int = 0
    _ahead: set[int] = dataclasses.field(default_factory=set)
    _is_mixed: bool = False
    _owes_gap: bool = False

    def asked(self) -> list[tuple[str, str]]:
        """Return the user properties to subscribe with."""
        return [(AFTER, str(self.whole_to))] if self.whole_to else self.first

    def begins(self, *, session_present: bool) -> None:
        """There is another connection."""
        self._is_mixed = session_present

    def takes(self, number: int, *, is_after_gap: bool = False) -> bool:
        """Note that a message has come; returns whether it had not before."""
        self._owes_gap = self._owes_gap or is_after_gap
        if number <= self.whole_to or number in self._ahead:
            return False
        self._ahead.add(number)
        if not self._is_mixed or len(self._ahead) >= SETTLED:
            self.whole_to = max(self._ahead) if self._is_mixed else number
            self._is_mixed = False
            self._ahead = {one for one in self._ahead if one > self.whole_to}
        return True

    def takes_gap(self) -> bool:
        """Return whether there is a gap that nobody was told of yet; from now on somebody was."""
        owes, self._owes_gap = self._owes_gap, False
        return owes
