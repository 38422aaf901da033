"""Replies find their requests, and nothing else is taken for one."""

import asyncio

import pytest

from tokenmq.client.messages import Message
from tokenmq.client.requests import Requests
from tokenmq.errors import ConnectError


def reply(correlation: bytes | None, topic: str = "response/c1") -> Message:
    return Message(topic, b"yes", correlation_data=correlation)


async def test_a_reply_is_known_by_topic_and_correlation_data() -> None:
    requests = Requests("response/c1")
    correlation, waiting = requests.begin()
    assert not requests.received(reply(None))
    assert not requests.received(reply(b"other"))
    # Anybody may write any correlation data to any topic; only ours is for replies.
    assert not requests.received(reply(correlation, "chat/room1"))
    assert requests.received(reply(correlation))
    assert (await waiting).payload == b"yes"
    assert not requests.received(reply(correlation))


async def test_a_request_that_nobody_waits_for_has_no_reply() -> None:
    requests = Requests("response/c1")
    correlation, _ = requests.begin()
    requests.forget(correlation)
    requests.forget(correlation)
    assert not requests.received(reply(correlation))
    cancelled, waiting = requests.begin()
    waiting.cancel()
    await asyncio.sleep(0)
    assert not requests.received(reply(cancelled))


async def test_every_request_has_its_own_correlation_data() -> None:
    requests = Requests("response/c1")
    assert len({requests.begin()[0] for _ in range(100)}) == 100


async def test_whoever_waits_for_a_reply_is_told_of_the_end() -> None:
    requests = Requests("response/c1")
    _, reply = requests.begin()
    requests.give_up(ConnectError("closed"))
    with pytest.raises(ConnectError, match="closed"):
        await reply
