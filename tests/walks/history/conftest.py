"""A world in which messages are recorded: the store's half of history, over what was kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tokenmq.access.recording import HistoryRule, HistoryRules
from tokenmq.broker.effects import Heads, Lost
from tokenmq.broker.reading import Unread
from tokenmq.broker.records import HistoryRecord
from tokenmq.mqtt.packets import Publish, Suback, Subscribe
from tokenmq.mqtt.packets.subscribe import Subscription
from tokenmq.topics.filter import matches

ORG = "org_aaaaaaaaaaaa"
ALL = ("publish", "subscribe", "history")


@dataclass(frozen=True)
class Head:
    id: int
    topic: str
    at: float
    expires_at: float | None
    size: int


class History:
    """A world, and the history of it: answers at once, or when it is told to, or not at all.

    Nothing is ever removed from what was kept: what is trimmed is found out when it is asked for.
    """

    def __init__(self, world: Any, *rules: HistoryRule) -> None:
        self.world = world
        self.waits = False
        self.fails = False
        self.has_ids = True
        self._next = 1
        self._waiting: deque[Any] = deque()
        self.rule(*rules)
        self._attach()

    def rule(self, *rules: HistoryRule) -> None:
        """Put rules in force."""
        self.world.doors.history = HistoryRules(rules)
        hub = self.world.hub
        for org_id in hub.broker.tenants:
            hub.broker.set_rules(org_id, hub.rules_of(org_id))
        hub.settle()

    def obey(self, policy: Any) -> None:
        """Put a policy in force."""
        self.world.doors.policy = policy
        self.rule(*self.world.doors.history.rules)

    def restart(self) -> None:
        """Begin anew with what is kept, as after `kill -9`."""
        self.world.restart()
        self._attach()

    def _attach(self) -> None:
        self._waiting.clear()
        self.hub = self.world.hub
        self.hub.reader = self
        self.hub._going_on = True
        self.reserve(100_000)

    # What the hub asks its reader for

    def reserve(self, count: int) -> None:
        first, self._next = self._next, self._next + count
        self.hub._reserved(first if self.has_ids else None, count)

    def load(self, load: Any) -> None:
        self._waiting.append(load)
        if not self.waits:
            self.go_on()

    def go_on(self, count: int = 1_000_000) -> None:
        """Answer what waits, the oldest first."""
        while self._waiting and count:
            count -= 1
            load = self._waiting.popleft()
            self.hub._loaded(load, Unread("the disk is full") if self.fails else self._answer(load.query))

    def turn(self) -> None:
        """Let those go on who are to get more."""
        while self.hub.broker.unfinished:
            self.hub.go_on()
            self.hub._going_on = True

    def tick(self) -> None:
        """Let two seconds pass: what waits to be recorded is taken then."""
        self.world.clock.advance(2)
        self.world.tick()

    # What is there

    def kept(self) -> list[HistoryRecord]:
        """Return all that was kept, trimmed or not, in the order of their ids."""
        return sorted(self.world.kept.all(HistoryRecord), key=lambda record: record.id)

    def there(self) -> list[HistoryRecord]:
        """Return what can be read, in the order of its ids."""
        by_topic: dict[tuple[str, str], list[HistoryRecord]] = {}
        for record in self.kept():
            by_topic.setdefault((record.org_id, record.topic), []).append(record)
        left = [record for records in by_topic.values() for record in records[-records[-1].most :]]
        return sorted(left, key=lambda record: record.id)

    def _answer(self, query: Any) -> Any:
        there = [record for record in self.there() if record.org_id == query.org_id]
        if isinstance(query, Heads):
            found = [
                Head(one.id, one.topic, one.at, one.expires_at, len(one.payload))
                for one in there
                if matches(query.topic_filter, one.topic)
                and query.after < one.id < query.before
                and (query.since is None or one.at >= query.since)
            ]
            return found[: -query.limit - 1 : -1]
        ids = {record.id: record for record in there}
        if isinstance(query, Lost):
            if query.after not in ids or ids[query.after].at < query.since:
                return True
            return any(
                matches(query.topic_filter, one.topic)
                and ((one.id not in ids and one.id > query.after) or one.lost > query.after)
                for one in self.kept()
            )
        return [ids[one] for one in query.ids if one in ids]

    # People

    def joined(
        self, user_id: str, *topics: str, permissions: tuple[str, ...] = ALL, version: int = 5, **fields: Any
    ) -> Any:
        client = self.world.client(version)
        password = self.world.person(user_id, *topics, permissions=permissions)
        connack = client.connect(password, fields.pop("client_id", f"c-{user_id}"), **fields)
        assert connack[0].reason_code == 0, connack
        return client

    def read(
        self, client: Any, *filters: str, qos: int = 0, **properties: Any
    ) -> tuple[Suback, list[Publish]]:
        """Subscribe with user properties; return SUBACK and what came behind it."""
        names = {
            "count": "tokenmq-history",
            "since": "tokenmq-history-since",
            "after": "tokenmq-history-after",
        }
        options = {name: properties.pop(name) for name in list(properties) if name not in names}
        identifier = options.pop("subscription_identifier", None)
        packet = Subscribe(
            packet_id=next(client._packet_ids),
            subscriptions=tuple(Subscription(one, qos=qos, **options) for one in filters),
            subscription_identifier=identifier,
            user_properties=tuple((names[name], str(value)) for name, value in properties.items()),
        )
        client.send(packet)
        self.turn()
        suback, *messages = client.received()
        assert isinstance(suback, Suback)
        return suback, messages


@pytest.fixture
def make_history(make_world: Callable[..., Any]) -> Callable[..., History]:
    return lambda *rules, **settings: History(make_world(**settings), *rules)


@pytest.fixture
def history(make_history: Callable[..., History]) -> History:
    """A world under one rule: `chat/#`, a day, 100 a topic."""
    return make_history(HistoryRule("chat/#", 86_400, 100))
