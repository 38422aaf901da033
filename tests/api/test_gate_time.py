"""Requests and routes that take too long."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from tokenmq.api.answer import Answer, send_answer
from tokenmq.api.gate import Gate
from tokenmq.config import HttpSettings
from tokenmq.errors import Conflict


def scope_of(*, method: str = "GET") -> Scope:
    return {
        "type": "http",
        "method": method,
        "path": "/healthz",
        "query_string": b"",
        "scheme": "http",
        "headers": [],
    }


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await send_answer(Answer(b"{}"), scope, send)


class Slow:
    """A request whose route, or whose body, never comes to an end by itself."""

    def __init__(self) -> None:
        self.answered = asyncio.Event()
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        await self.answered.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        if message["type"] == "http.response.body":
            self.answered.set()

    def problem(self) -> dict[str, Any]:
        """Return the error answer that was sent."""
        assert (b"content-type", b"application/problem+json") in self.sent[0]["headers"]
        body = json.loads(self.sent[1]["body"])
        assert body["status"] == self.sent[0]["status"]
        return body


async def test_body_that_does_not_arrive_in_time_is_408() -> None:
    slow = Slow()
    gate = Gate(reading, HttpSettings(request_timeout_seconds=0))
    await gate(scope_of(method="POST"), slow.receive, slow.send)
    assert slow.problem()["status"] == 408
    assert (b"connection", b"close") in slow.sent[0]["headers"]


async def test_route_over_its_time_is_answered_for_and_finishes_unheard() -> None:
    slow = Slow()
    done = []

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        await slow.answered.wait()
        await send_answer(Answer(b"{}"), scope, send)
        done.append(True)

    await Gate(route, HttpSettings(request_timeout_seconds=0))(scope_of(), slow.receive, slow.send)
    assert slow.problem()["status"] == 503
    assert len(slow.sent) == 2
    assert done == [True]


async def test_route_that_fails_after_its_time_is_answered_once() -> None:
    slow = Slow()

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        await slow.answered.wait()
        raise Conflict("too late anyway")

    await Gate(route, HttpSettings(request_timeout_seconds=0))(scope_of(), slow.receive, slow.send)
    assert [message["type"] for message in slow.sent] == ["http.response.start", "http.response.body"]


async def test_answer_under_way_is_not_overtaken_by_its_time() -> None:
    sent: list[Message] = []
    slow = Slow()

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        passed = asyncio.Event()
        asyncio.get_running_loop().call_soon(passed.set)
        await passed.wait()
        await send({"type": "http.response.body", "body": b"{}"})

    async def send(message: Message) -> None:
        sent.append(message)

    await Gate(route, HttpSettings(request_timeout_seconds=0))(scope_of(), slow.receive, send)
    assert [message.get("status", 200) for message in sent] == [200, 200]
