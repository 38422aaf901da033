"""What of its messages an organization has recorded: the rules of its history.

A rule says which topics, for how long, how many messages of each, and whether a message is
acknowledged only when it is recorded. On a topic the first matching rule holds; a topic
that no rule matches is not recorded, and what is recorded of it is not readable any more.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tokenmq.topics.filter import matches, overlaps


class HistoryRule(msgspec.Struct, frozen=True):
    """One rule of an organization's history.

    Attributes:
        topic: a Topic Filter, without `$share`; the topics that it matches are recorded.
        max_age: seconds for which a message can be read.
        max_messages: of one topic, at one time; the oldest goes.
        durable: a message at QoS 1 or 2 is acknowledged when it is recorded, on the disk.
    """

    topic: str
    max_age: int
    max_messages: int
    durable: bool = False


class HistoryRules:
    """The rules of one organization, in their order.

    Attributes:
        rules: as they were written.
    """

    __slots__ = ("rules",)

    def __init__(self, rules: Iterable[HistoryRule] = ()) -> None:
        self.rules = tuple(rules)

    def __bool__(self) -> bool:
        return bool(self.rules)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HistoryRules) and self.rules == other.rules

    def __hash__(self) -> int:
        return hash(self.rules)

    def of_topic(self, topic: str) -> HistoryRule | None:
        """Return the rule that holds for a Topic Name, None where it is not recorded."""
        return next((rule for rule in self.rules if matches(rule.topic, topic)), None)

    def touches(self, topic_filter: str) -> bool:
        """Tell whether any topic that a plain filter matches may be recorded."""
        return any(overlaps(rule.topic, topic_filter) for rule in self.rules)
