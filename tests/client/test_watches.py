"""Watches: one subscription for however many listen, and what each of them is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tokenmq.client.messages import Message
from tokenmq.client.presence import PresenceEvent, PresenceJoin, PresenceSnapshot
from tokenmq.client.watches import CAPACITY, Watches
from tokenmq.errors import ConnectError, Denied


class Broker:
    """What a client's watches ask, and what they are told.

    Attributes:
        asked: filters subscribed to and, with a minus, unsubscribed from.
        refuses: raised by the next subscription.
        answers: subscriptions get an answer at all.
        before_answer: done before a subscription gets it.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refuses: Exception | None = None
        self.answers = True
        self.before_answer: Callable[[], None] = lambda: None
        self.watches = Watches(self._subscribe, lambda text: self.asked.append(f"-{text}"))

    async def _subscribe(self, text: str) -> None:
        self.asked.append(text)
        if not self.answers:
            await asyncio.Event().wait()
        self.before_answer()
        if self.refuses is not None:
            raise self.refuses

    def tell(self, topic: str, event: str, *members: str) -> None:
        listed = [{"member": one, "user_id": one} for one in members]
        told: dict[str, Any] = {"event": event, "members": listed}
        if event != "snapshot":
            told = {"event": event, **listed[0]}
        assert self.watches.received(Message(f"$presence/{topic}", json.dumps(told).encode()))


@pytest.fixture
def broker() -> Broker:
    return Broker()


def members(event: PresenceEvent | None) -> list[str]:
    assert isinstance(event, PresenceSnapshot)
    return [member.id for member in event.members]


async def test_many_listen_by_one_subscription_and_the_last_ends_it(broker: Broker) -> None:
    async with broker.watches.listening("chat/a") as first:
        broker.tell("chat/a", "snapshot", "m1")
        broker.tell("chat/a", "join", "m2")
        async with broker.watches.listening("chat/a") as second:
            assert members(await second.take()) == ["m1", "m2"]
            assert members(await first.take()) == ["m1"]
            assert isinstance(await first.take(), PresenceJoin)
        assert broker.asked == ["$presence/chat/a"]
        assert broker.watches.subscriptions == ["$presence/chat/a"]
    assert broker.asked == ["$presence/chat/a", "-$presence/chat/a"]
    assert broker.watches.subscriptions == []
    assert not broker.watches.received(Message("$presence/chat/a", b"{}"))


async def test_filters_that_overlap_are_told_apart(broker: Broker) -> None:
    async with (
        broker.watches.listening("chat/+") as wide,
        broker.watches.listening("chat/a") as narrow,
    ):
        broker.tell("chat/%2B", "snapshot", "m1", "m2")
        broker.tell("chat/a", "snapshot", "m1")
        assert members(await wide.take()) == ["m1", "m2"]
        assert members(await narrow.take()) == ["m1"]


async def test_a_refused_watch_is_none(broker: Broker) -> None:
    broker.refuses = Denied("subscribe", "$presence/a", "no")
    with pytest.raises(Denied):
        async with broker.watches.listening("a"):
            raise AssertionError
    assert broker.watches.subscriptions == []
    broker.refuses = None
    async with broker.watches.listening("a"):
        broker.tell("a", "snapshot")


async def test_a_watch_that_is_given_up_before_the_answer_is_not_left_with_the_broker(broker: Broker) -> None:
    broker.answers = False
    listening = asyncio.ensure_future(broker.watches.listening("a").__aenter__())
    await asyncio.sleep(0)
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    assert broker.asked == ["$presence/a", "-$presence/a"]
    assert broker.watches.subscriptions == []


async def test_a_client_that_ends_before_the_answer_is_told_why(broker: Broker) -> None:
    broker.refuses = ConnectError("this client was closed")
    broker.before_answer = lambda: broker.watches.close(broker.refuses)
    with pytest.raises(ConnectError, match="this client was closed"):
        async with broker.watches.listening("a"):
            pass


async def test_one_who_is_slow_is_given_a_snapshot_in_place_of_what_was_missed(broker: Broker) -> None:
    async with broker.watches.listening("a") as listener:
        broker.tell("a", "snapshot")
        for number in range(CAPACITY + 5):
            broker.tell("a", "join", f"m{number}")
        # The snapshot and the joins up to the capacity make room for one snapshot; the rest follow it.
        assert len(members(await listener.take())) == CAPACITY
        rest = [await listener.take() for _ in range(5)]
        assert all(isinstance(event, PresenceJoin) for event in rest)


async def test_after_a_lost_connection_a_later_listener_waits_for_the_next_snapshot(broker: Broker) -> None:
    async with broker.watches.listening("a"):
        broker.tell("a", "snapshot", "m1")
        broker.watches.disconnected()
        async with broker.watches.listening("a") as listener:
            taking = asyncio.ensure_future(listener.take())
            await asyncio.sleep(0)
            assert not taking.done()
            broker.tell("a", "snapshot", "m2")
            assert members(await taking) == ["m2"]


def refused(watches: Watches) -> None:
    watches.refused("$presence/a", Denied("subscribe", "$presence/a", "narrowed"))


def failed(watches: Watches) -> None:
    watches.close(ConnectError("gone"))


@pytest.mark.parametrize(("end", "error"), [(refused, Denied), (failed, ConnectError)])
async def test_whoever_listens_is_told_by_what_it_has_ended(
    broker: Broker, end: Callable[[Watches], None], error: type[Exception]
) -> None:
    async with broker.watches.listening("a") as listener:
        broker.tell("a", "snapshot")
        end(broker.watches)
        assert members(await listener.take()) == []
        with pytest.raises(error):
            await listener.take()
    assert broker.asked == ["$presence/a"]


async def test_with_the_client_it_ends(broker: Broker) -> None:
    async with broker.watches.listening("a") as listener:
        taking = asyncio.ensure_future(listener.take())
        await asyncio.sleep(0)
        broker.watches.close(None)
        assert await taking is None


async def test_what_cannot_be_read_harms_nobody(broker: Broker) -> None:
    async with broker.watches.listening("a") as listener:
        assert broker.watches.received(Message("$presence/a", b"\xff"))
        broker.tell("a", "snapshot", "m1")
        assert members(await listener.take()) == ["m1"]


async def test_other_filters_that_are_refused_are_not_presence(broker: Broker) -> None:
    async with broker.watches.listening("a") as listener:
        broker.watches.refused("a", Denied("subscribe", "a", "narrowed"))
        broker.tell("a", "snapshot", "m1")
        assert members(await listener.take()) == ["m1"]
