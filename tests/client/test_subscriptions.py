"""The way of messages to those who want them, and when they are acknowledged."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from paho.mqtt.subscribeoptions import SubscribeOptions

from tokenmq.client.messages import Message
from tokenmq.client.replays import Replay
from tokenmq.client.subscriptions import Subscription, Subscriptions
from tokenmq.client.wire import Received
from tokenmq.errors import TokenError


class Receiving:
    """Subscriptions, and what they tell."""

    def __init__(self, **options: Any) -> None:
        self.acknowledged: list[int] = []
        self.dropped = 0
        self.is_up = True
        self.all = Subscriptions(
            acknowledge=self._acknowledge,
            on_dropped=self._note,
            **{"receive_maximum": 4, "capacity": 6, **options},
        )

    def _acknowledge(self, one: Received) -> bool:
        if self.is_up:
            self.acknowledged.append(one.packet_id)
        return self.is_up

    def _note(self, count: int) -> None:
        self.dropped += count

    def add(self, topic_filter: str, callback: Callable[[Message], Any] | None = None) -> Any:
        return self.all.add(topic_filter, SubscribeOptions(qos=1), callback)

    def receive(self, topic: str, packet_id: int = 0, *, qos: int = 1, dup: bool = False) -> None:
        self.all.received(Received(Message(topic, b"", qos=qos, dup=dup), packet_id))

    async def take(self) -> str:
        one = await self.all.messages.take()
        assert one is not None
        return one.message.topic


@pytest.fixture
async def receiving() -> AsyncIterator[Receiving]:
    made = Receiving()
    yield made
    await made.all.close()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_message_is_acknowledged_when_the_next_is_asked_for(receiving: Receiving) -> None:
    receiving.add("a/#")
    receiving.receive("a/1", 1)
    receiving.receive("a/2", 2)
    assert await receiving.take() == "a/1"
    assert receiving.acknowledged == []
    assert await receiving.take() == "a/2"
    assert receiving.acknowledged == [1]
    await receiving.all.close()
    assert receiving.acknowledged == [1, 2]


async def test_callbacks_get_what_matches_and_messages_the_rest(receiving: Receiving) -> None:
    plain: list[str] = []
    later: list[str] = []

    async def called(message: Message) -> None:
        await asyncio.sleep(0)
        later.append(message.topic)

    receiving.add("a/+", lambda message: plain.append(message.topic))
    receiving.add("$share/workers/a/#", called)
    receiving.add("b/#")
    for packet_id, topic in enumerate(("a/1", "a/1/2", "b/1", "c"), 1):
        receiving.receive(topic, packet_id)
    await settle()
    assert plain == ["a/1"]
    assert later == ["a/1", "a/1/2"]
    assert [await receiving.take(), await receiving.take()] == ["b/1", "c"]
    assert receiving.acknowledged == [1, 2, 3]


async def test_a_message_for_a_callback_and_a_plain_subscription_goes_to_both(receiving: Receiving) -> None:
    heard: list[str] = []
    receiving.add("a/#")
    receiving.add("a/b", lambda message: heard.append(message.topic))
    receiving.receive("a/b", 7)
    await settle()
    assert heard == ["a/b"] and receiving.acknowledged == []
    await receiving.take()
    receiving.all.messages.release()
    assert receiving.acknowledged == [7]


async def test_a_callback_that_fails_is_done_with_its_message(receiving: Receiving) -> None:
    heard: list[str] = []

    def failing(message: Message) -> None:
        heard.append(message.topic)
        raise RuntimeError("mine")

    receiving.add("a", failing)
    receiving.receive("a", 1)
    receiving.receive("a", 2)
    await settle()
    assert heard == ["a", "a"] and receiving.acknowledged == [1, 2]


async def test_a_repeat_of_what_is_still_here_is_not_handed_out_twice(receiving: Receiving) -> None:
    receiving.receive("a", 1)
    receiving.receive("b", 2)
    assert await receiving.take() == "a"
    receiving.all.connected(session_present=True)
    receiving.receive("a", 1, dup=True)
    receiving.receive("b", 2, dup=True)
    receiving.receive("c", 3)
    assert [await receiving.take(), await receiving.take()] == ["b", "c"]
    assert receiving.acknowledged == [1, 2]
    # Acknowledged is another matter: that name may be another message's by now.
    receiving.receive("d", 1, dup=True)
    assert await receiving.take() == "d"


async def test_a_repeat_of_what_was_done_with_between_connections_is_not_handed_out_twice(
    receiving: Receiving,
) -> None:
    for packet_id, topic in enumerate("abc", 1):
        receiving.receive(topic, packet_id)
    assert await receiving.take() == "a"
    receiving.is_up = False
    assert [await receiving.take(), await receiving.take()] == ["b", "c"]
    assert receiving.acknowledged == []
    receiving.is_up = True
    receiving.all.connected(session_present=True)
    receiving.receive("a", 1, dup=True)
    # The broker has given this name to another message: it does not wait for "b" any more.
    receiving.receive("d", 2)
    receiving.receive("c", 3, dup=True)
    assert receiving.acknowledged == [1]
    assert await receiving.take() == "d"
    assert receiving.acknowledged == [1, 3]
    receiving.receive("e", 1, dup=True)
    assert await receiving.take() == "e"


async def test_a_new_session_repeats_nothing(receiving: Receiving) -> None:
    receiving.receive("a", 1)
    await receiving.take()
    receiving.is_up = False
    receiving.all.messages.release()
    receiving.is_up = True
    receiving.all.connected(session_present=False)
    receiving.receive("b", 1, dup=True)
    assert await receiving.take() == "b"


async def test_a_callback_for_all_that_is_given_twice_is_called_once_and_leaves_no_task(
    receiving: Receiving,
) -> None:
    before = len(asyncio.all_tasks())
    got: list[str] = []

    def callback(message: Message) -> None:
        got.append(message.topic)

    receiving.all.add_for_all(callback)
    receiving.all.add_for_all(callback)
    assert len(asyncio.all_tasks()) == before + 1
    receiving.receive("a", 1)
    await settle()
    assert got == ["a"]


async def test_in_a_new_session_a_name_is_another_messages(receiving: Receiving) -> None:
    receiving.receive("a", 1)
    receiving.all.connected(session_present=False)
    receiving.receive("b", 1, dup=True)
    assert [await receiving.take(), await receiving.take()] == ["a", "b"]
    assert receiving.acknowledged == []
    receiving.all.messages.release()
    assert receiving.acknowledged == [1]


async def test_for_all_gets_everything_and_spares_messages_that_nobody_reads(receiving: Receiving) -> None:
    heard: list[str] = []

    def hear(message: Message) -> None:
        heard.append(message.topic)

    receiving.all.add_for_all(hear)
    receiving.all.add_for_all(hear)
    receiving.add("a")
    receiving.receive("a", 1)
    await settle()
    assert heard == ["a"] and receiving.acknowledged == [1]
    receiving.all.remove_for_all(hear)
    receiving.receive("a", 2)
    assert await receiving.take() == "a"
    assert heard == ["a"]


async def test_messages_that_nobody_reads_stop_no_callback(receiving: Receiving) -> None:
    receiving.add("plain/#")
    receiving.add("called", lambda _: None)
    for packet_id in range(1, 6):
        receiving.receive(f"plain/{packet_id}", packet_id)
    assert receiving.acknowledged == [1, 2] and receiving.dropped == 2
    assert await receiving.take() == "plain/3"


async def test_without_callbacks_the_broker_is_made_to_wait(receiving: Receiving) -> None:
    receiving.add("plain/#")
    for packet_id in range(1, 5):
        receiving.receive(f"plain/{packet_id}", packet_id)
    assert receiving.acknowledged == [] and receiving.dropped == 0


async def test_past_the_capacity_what_arrives_is_dropped_and_told(receiving: Receiving) -> None:
    for _ in range(9):
        receiving.receive("a", qos=0)
    assert receiving.dropped == 3


async def test_unsubscribing_ends_the_callback_and_what_waits_for_it(receiving: Receiving) -> None:
    heard: list[str] = []
    receiving.add("a", lambda message: heard.append(message.topic))
    receiving.receive("a", 1)
    receiving.all.remove("a")
    receiving.all.remove("never")
    await settle()
    assert heard == [] and receiving.acknowledged == [1]
    receiving.receive("a", 2)
    assert await receiving.take() == "a"


async def test_subscribing_again_replaces_the_callback(receiving: Receiving) -> None:
    heard: list[int] = []
    first = receiving.add("a", lambda _: heard.append(1))
    receiving.add("a", lambda _: heard.append(2))
    receiving.all.forget(first)
    receiving.receive("a", 1)
    await settle()
    assert heard == [2]


async def test_the_same_filter_plain_and_shared_stand_beside_each_other(receiving: Receiving) -> None:
    receiving.add("a")
    receiving.add("$share/g/a")
    receiving.all.remove("$share/g/a")
    receiving.receive("a", 1)
    assert await receiving.take() == "a"
    assert [wish.topic_filter for wish in receiving.all] == ["a"]


async def test_the_end_comes_after_what_is_there() -> None:
    receiving = Receiving()
    receiving.receive("a", 1)
    receiving.all.messages.close(TokenError("auth_failed", "over"))
    assert await receiving.take() == "a"
    with pytest.raises(TokenError, match="over"):
        await receiving.take()
    other = Receiving()
    other.all.messages.close(None)
    assert [message async for message in other.all.messages] == []


def recorded(topic: str, number: str, packet_id: int = 0) -> Received:
    told = (("tokenmq-history-id", number),)
    return Received(Message(topic, number.encode(), qos=1, user_properties=told), packet_id)


async def test_history_goes_on_after_the_last_message_that_has_come(receiving: Receiving) -> None:
    first = [("tokenmq-history", "50")]
    wish = receiving.all.add("chat/+", SubscribeOptions(qos=1), None, Replay(first))
    plain = receiving.add("chat/#")
    assert wish.asked() == first and plain.asked() == []
    for topic, number in (("chat/a", "64"), ("chat/b", "128"), ("chat/a/b", "640"), ("chat/a", "no")):
        receiving.all.received(recorded(topic, number))
    assert wish.asked() == [("tokenmq-history-after", "128")] and plain.asked() == []


async def test_what_has_come_before_is_acknowledged_and_not_handed_out(receiving: Receiving) -> None:
    heard: list[bytes] = []
    receiving.all.add("chat/a", SubscribeOptions(qos=1), None, Replay([]))
    receiving.all.received(recorded("chat/a", "64", 1))
    receiving.all.received(recorded("chat/a", "64", 2))
    assert receiving.acknowledged == [2]
    # Another subscription is another history: what is new to one goes to that one.
    receiving.all.add(
        "chat/+", SubscribeOptions(qos=1), lambda message: heard.append(message.payload), Replay([])
    )
    receiving.all.received(recorded("chat/a", "64", 3))
    receiving.all.received(recorded("chat/a", "128", 4))
    await settle()
    assert heard == [b"64", b"128"] and len(receiving.all.messages) == 2


async def test_a_gap_before_a_message_that_has_come_is_told_by_the_next(receiving: Receiving) -> None:
    receiving.all.add("chat/a", SubscribeOptions(qos=1), None, Replay([]))
    gap = ("tokenmq-history-gap", "true")
    receiving.all.received(recorded("chat/a", "64", 1))
    old = recorded("chat/a", "64", 2)
    old = dataclasses.replace(
        old, message=dataclasses.replace(old.message, user_properties=(*old.message.user_properties, gap))
    )
    receiving.all.received(old)
    for number in ("128", "192"):
        receiving.all.received(recorded("chat/a", number, int(number)))
    taken = [await receiving.all.messages.take() for _ in range(3)]
    told = [(one.message.history_id, one.message.history_gap) for one in taken if one is not None]
    assert told == [(64, False), (128, True), (192, False)]


@pytest.mark.parametrize(("told", "is_recorded"), [((), None), ("true", True), ("false", False)])
def test_an_answer_says_whether_anything_is_recorded(told: Any, is_recorded: bool | None) -> None:
    properties = (("tokenmq-history-recorded", told),) if told else ()
    assert Subscription("a", 1, properties).is_recorded is is_recorded


async def test_a_topic_is_wanted_by_whatever_matches_it(receiving: Receiving) -> None:
    receiving.add("$presence/chat/#")
    assert receiving.all.wants("$presence/chat/a") and not receiving.all.wants("$presence/a")
