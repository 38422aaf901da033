"""What is said again on each connection, and what is not."""

from __future__ import annotations

import pytest

from tokenmq.client.states import States
from tokenmq.errors import Denied, NotDelivered


class Broker:
    """What it was told, and what it refuses."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bytes]] = []
        self.refuses: Exception | None = None
        self.denied: list[Denied] = []
        self.states = States(self._send, self.denied.append)

    async def _send(self, topic: str, state: bytes) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.told.append((topic, state))


async def test_the_newest_of_each_topic_is_said_again() -> None:
    broker = Broker()
    for topic, state in (("a", b"1"), ("b", b"2"), ("a", b"3"), ("b", b"")):
        await broker.states.put(topic, state)
    broker.told.clear()
    await broker.states.say_again()
    assert broker.told == [("$presence/a", b"3")]


async def test_without_a_connection_the_next_one_says_it() -> None:
    broker = Broker()
    broker.refuses = NotDelivered("$presence/a", "there is no connection")
    await broker.states.put("a", b"1")
    await broker.states.say_again()
    broker.refuses = None
    await broker.states.say_again()
    assert broker.told == [("$presence/a", b"1")]


async def test_what_is_refused_is_not_said_again() -> None:
    broker = Broker()
    broker.refuses = denied = Denied("publish", "$presence/a", "not there")
    with pytest.raises(Denied):
        await broker.states.put("a", b"1")
    broker.refuses = None
    await broker.states.put("b", b"2")
    broker.refuses = denied
    await broker.states.say_again()
    assert broker.denied == [denied]
    broker.refuses = None
    broker.told.clear()
    await broker.states.say_again()
    assert broker.told == []
