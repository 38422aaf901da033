"""Messages on their way out, over a connection that is none."""

import asyncio
from typing import Any

import pytest

from tokenmq.client.messages import Status
from tokenmq.client.outbox import WINDOW, Outbox
from tokenmq.client.wire import Outcome
from tokenmq.errors import Denied, InvalidTopicName, NotDelivered

SUCCESS = Outcome(0, "Success")
NO = Outcome(0x87, "Not authorized", "no grant")
UNKNOWN_PACKET = Outcome(0x92, "Packet identifier not found")


class Sender:
    """A connection that keeps what was sent."""

    def __init__(self) -> None:
        self.is_up = True
        self.unwritten = 0
        self.sent: list[tuple[str, int]] = []

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool, properties: Any) -> int:
        if topic == "bad":
            raise InvalidTopicName(topic, "bad")
        self.sent.append((topic, qos))
        return len(self.sent)

    @property
    def topics(self) -> list[str]:
        return [topic for topic, _ in self.sent]


class Publishing:
    """An outbox, and shorter words for what is done with it."""

    def __init__(self, *, capacity: int = 3, drops_oldest: bool = True) -> None:
        self.denied: list[Denied] = []
        self.box = Outbox(capacity=capacity, drops_oldest=drops_oldest, on_denied=self.denied.append)

    def connect(self, *, receive_maximum: int = 65535) -> Sender:
        sender = Sender()
        self.box.connected(sender, receive_maximum=receive_maximum)
        return sender

    def disconnect(self, sender: Sender) -> None:
        sender.is_up = False
        self.box.disconnected()

    async def publish(self, topic: str, qos: int = 1) -> Any:
        return await self.box.publish(topic, b"", qos=qos, retain=False, properties={})

    async def begin(self, topic: str, qos: int = 1) -> asyncio.Task[Any]:
        task = asyncio.create_task(self.publish(topic, qos))
        await asyncio.sleep(0)
        return task


async def test_qos_1_returns_when_it_is_acknowledged() -> None:
    one = Publishing()
    sender = one.connect()
    task = await one.begin("a")
    assert sender.sent == [("a", 1)] and not task.done()
    one.box.acknowledged(1, Outcome(0x10, "No matching subscribers"))
    result = await task
    assert (result.status, result.reason_code, result.has_no_subscribers) == (Status.ACKNOWLEDGED, 0x10, True)
    assert await result.delivered() is result


async def test_qos_0_is_sent_and_nobody_answers() -> None:
    one = Publishing()
    one.connect()
    result = await one.publish("a", qos=0)
    assert (result.status, result.reason_code) == (Status.SENT, None)


async def test_a_refusal_is_raised_with_its_reason() -> None:
    one = Publishing()
    one.connect()
    task = await one.begin("a")
    one.box.acknowledged(1, NO)
    with pytest.raises(Denied) as caught:
        await task
    assert (caught.value.action, caught.value.topic, caught.value.reason, caught.value.reason_code) == (
        "publish",
        "a",
        "no grant",
        0x87,
    )
    assert not one.denied


async def test_a_refused_pubrec_shows_in_pubcomp() -> None:
    one = Publishing()
    one.connect()
    task = await one.begin("a", qos=2)
    one.box.acknowledged(1, UNKNOWN_PACKET)
    with pytest.raises(Denied):
        await task


async def test_after_a_lost_connection_the_same_code_only_says_that_nobody_knows() -> None:
    one = Publishing()
    sender = one.connect()
    task = await one.begin("a", qos=2)
    one.disconnect(sender)
    one.connect()
    one.box.acknowledged(1, UNKNOWN_PACKET)
    assert (await task).status is Status.UNKNOWN


async def test_without_a_connection_it_is_queued_and_goes_out_later_in_order() -> None:
    one = Publishing()
    queued = [await one.publish(topic) for topic in "abc"]
    assert [result.status for result in queued] == [Status.QUEUED] * 3 and one.box.queued == 3
    sender = one.connect()
    assert sender.topics == ["a", "b", "c"]
    for packet_id in (1, 2, 3):
        one.box.acknowledged(packet_id, SUCCESS)
    assert [(await result.delivered()).status for result in queued] == [Status.ACKNOWLEDGED] * 3


async def test_a_full_queue_gives_up_the_oldest() -> None:
    one = Publishing()
    first, *_ = [await one.publish(topic) for topic in "abcd"]
    with pytest.raises(NotDelivered, match="the oldest"):
        await first.delivered()
    assert one.connect().topics == ["b", "c", "d"]


async def test_a_full_queue_refuses_the_new_one_if_it_is_told_to() -> None:
    one = Publishing(drops_oldest=False)
    for topic in "abc":
        await one.publish(topic)
    with pytest.raises(NotDelivered, match="full with 3"):
        await one.publish("d")
    assert one.connect().topics == ["a", "b", "c"]


async def test_without_a_queue_nothing_is_kept() -> None:
    with pytest.raises(NotDelivered, match="nothing is queued"):
        await Publishing(capacity=0).publish("a")


async def test_a_queued_message_that_is_refused_is_told_by_event_and_by_its_result() -> None:
    one = Publishing()
    queued = await one.publish("a")
    one.connect()
    one.box.acknowledged(1, NO)
    assert [denied.topic for denied in one.denied] == ["a"]
    with pytest.raises(Denied):
        await queued.delivered()


async def test_what_is_sent_waits_through_lost_connections() -> None:
    one = Publishing()
    sender = one.connect()
    task = await one.begin("a")
    one.disconnect(sender)
    await asyncio.sleep(0)
    assert not task.done() and one.box.unacknowledged == 1
    again = one.connect()
    # The connection's session sends it again, not the outbox.
    assert again.sent == []
    one.box.acknowledged(1, SUCCESS)
    assert (await task).status is Status.ACKNOWLEDGED


async def test_one_less_than_the_receive_maximum_is_unacknowledged() -> None:
    one = Publishing()
    sender = one.connect(receive_maximum=3)
    tasks = [await one.begin(topic) for topic in "abcd"]
    assert sender.topics == ["a", "b"]
    one.box.acknowledged(1, SUCCESS)
    assert sender.topics == ["a", "b", "c"]
    one.box.acknowledged(2, SUCCESS)
    one.box.acknowledged(3, SUCCESS)
    one.box.acknowledged(4, SUCCESS)
    await asyncio.gather(*tasks)


async def test_more_than_can_wait_waits_outside() -> None:
    one = Publishing()
    sender = one.connect(receive_maximum=2)
    tasks = [asyncio.create_task(one.publish(str(n))) for n in range(WINDOW + 10)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert one.box.queued == WINDOW
    for packet_id in range(1, WINDOW + 11):
        one.box.acknowledged(packet_id, SUCCESS)
        for _ in range(3):
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert sorted(sender.topics) == sorted(str(n) for n in range(WINDOW + 10))


async def test_a_caller_that_is_cancelled_takes_back_what_was_not_sent() -> None:
    one = Publishing()
    sender = one.connect(receive_maximum=1)
    first, second = await one.begin("a"), await one.begin("b")
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    one.box.acknowledged(1, SUCCESS)
    await first
    assert sender.topics == ["a"]


async def test_a_topic_that_cannot_be_sent_is_raised() -> None:
    one = Publishing()
    one.connect()
    with pytest.raises(InvalidTopicName):
        await one.publish("bad")


async def test_holding_sends_nothing_new_until_the_next_connection() -> None:
    one = Publishing()
    sender = one.connect()
    before = await one.begin("before")
    holding = asyncio.create_task(one.box.hold(5))
    await asyncio.sleep(0)
    during = await one.begin("during")
    assert sender.topics == ["before"] and not holding.done()
    one.box.acknowledged(1, SUCCESS)
    await asyncio.gather(holding, before)
    again = one.connect()
    assert again.topics == ["during"]
    one.box.acknowledged(1, SUCCESS)
    assert (await during).status is Status.ACKNOWLEDGED


async def test_holding_ends_by_itself() -> None:
    one = Publishing()
    one.connect()
    task = await one.begin("a")
    await one.box.hold(0)
    assert not task.done()
    one.box.acknowledged(1, SUCCESS)
    await task


async def test_send_now_goes_past_the_queue() -> None:
    one = Publishing()
    sender = one.connect(receive_maximum=2)
    tasks = [await one.begin("a"), await one.begin("b")]
    now = asyncio.create_task(one.box.send_now("$auth/token", b""))
    await asyncio.sleep(0)
    assert sender.topics == ["a", "$auth/token"]
    one.box.acknowledged(2, NO)
    with pytest.raises(Denied):
        await now
    one.box.give_up("over")
    assert all(isinstance(one, NotDelivered) for one in await asyncio.gather(*tasks, return_exceptions=True))
    with pytest.raises(NotDelivered):
        await one.box.send_now("$auth/token", b"")


async def test_send_now_waits_for_the_only_place_there_is() -> None:
    one = Publishing()
    sender = one.connect(receive_maximum=1)
    task = await one.begin("a")
    now = asyncio.create_task(one.box.send_now("$auth/token", b""))
    await asyncio.sleep(0)
    assert sender.topics == ["a"]
    one.box.acknowledged(1, SUCCESS)
    await task
    await asyncio.sleep(0)
    assert sender.topics == ["a", "$auth/token"]
    one.box.acknowledged(2, SUCCESS)
    await now


async def test_qos_0_waits_while_too_much_is_not_written_yet() -> None:
    one = Publishing()
    sender = one.connect()
    sender.unwritten = WINDOW
    task = await one.begin("a", qos=0)
    assert sender.sent == [] and not task.done()
    sender.unwritten -= 1
    one.box.written()
    assert (await task).status is Status.SENT


async def test_who_publishes_in_a_loop_without_a_connection_lets_others_run() -> None:
    one = Publishing()
    ran = asyncio.Event()
    asyncio.get_running_loop().call_soon(ran.set)
    while not ran.is_set():
        await one.publish("a")


async def test_after_the_end_nothing_is_queued() -> None:
    one = Publishing()
    one.box.give_up("the client was closed")
    with pytest.raises(NotDelivered, match="the client was closed"):
        await one.publish("a")


async def test_a_waiting_that_ends_says_whether_the_message_was_sent() -> None:
    one = Publishing()
    sender = one.connect(receive_maximum=2)
    publish = one.box.publish
    told: Any = {"qos": 1, "retain": False, "properties": {}, "timeout_seconds": 0.01}
    with pytest.raises(TimeoutError, match=r"to a in 0\.01 s: it was sent and may yet arrive"):
        await publish("a", b"", **told)
    with pytest.raises(TimeoutError, match=r"to b .* not sent and will not be"):
        await publish("b", b"", **told)
    one.box.acknowledged(1, SUCCESS)
    assert sender.topics == ["a"]
