"""Tokens of 60 s, the shortest there are, while messages flow: nothing is lost, doubled or reconnected.

Everything here runs side by side, for it all waits for the same minutes. In the suite it is one
life; `make lives` takes five, and 20,000 messages.
"""

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from tokenmq.client import Client, Status
from tokenmq.client.clocks import Clock

LIVES = int(os.environ.get("LIVES", "1"))
LIFE_SECONDS = 60
MESSAGES = 4000 * LIVES
# What comes after the last expiry that is to be outlived.
AFTER_SECONDS = 8

pytestmark = [pytest.mark.system, pytest.mark.timeout(LIFE_SECONDS * (LIVES + 2) + 60)]

Make = Callable[..., Any]


class WrongClock(Clock):
    """This machine's clock, had it been set wrong."""

    def __init__(self, wrong_by: float) -> None:
        self.wrong_by = wrong_by

    def wall(self) -> float:
        return time.time() + self.wrong_by


class Lives:
    """What all scenarios need."""

    def __init__(self, service: Any, make_client: Make, connect: Make, proxy_to: Make) -> None:
        self.service = service
        self.make_client = make_client
        self.connect = connect
        self.proxy_to = proxy_to

    async def flow(self, name: str, reader: dict[str, Any], writer: dict[str, Any], **settings: Any) -> None:
        """Messages flow from a client to another past the end of their first tokens, each once."""
        reading, heard_by_reader = self.make_client(**settings)
        writing, heard_by_writer = self.make_client(**settings)
        await self.connect(reading, f"{name}-reader", **reader)
        await self.connect(writing, f"{name}-writer", **writer)
        await reading.subscribe(f"chat/{name}/+")
        sender = asyncio.create_task(self.send(writing, f"chat/{name}"))
        got: list[str] = []
        async for message in reading.messages:
            got.append(message.text)
            if message.text == "end":
                break
        sent = await sender
        assert got == [*map(str, range(sent)), "end"]
        for heard in (heard_by_reader, heard_by_writer):
            assert heard.names().count("token_refreshed") >= LIVES, heard.all
            assert not {"disconnected", "reconnecting", "token_error", "denied", "dropped"} & {*heard.names()}

    async def send(self, client: Client, topic: str) -> int:
        """Publish numbers at QoS 1, evenly over the lives, and then an end; returns how many."""
        begin = time.monotonic()
        whole = LIFE_SECONDS * LIVES + AFTER_SECONDS
        for number in range(MESSAGES):
            result = await client.publish(f"{topic}/{number % 7}", str(number))
            assert result.status is Status.ACKNOWLEDGED
            ahead = begin + whole * number / MESSAGES - time.monotonic()
            if ahead > 0.05:
                await asyncio.sleep(ahead)
        await client.publish(f"{topic}/0", "end")
        return MESSAGES

    async def refreshed_over_http(self) -> None:
        """The token service moves the connections; the clients send no packet for it."""
        await self.flow("http", {"ttl": LIFE_SECONDS}, {"ttl": LIFE_SECONDS})

    async def shown_to_the_broker(self) -> None:
        """The backend gives new families; `$auth/token` moves the connections to them."""

        def of(user: str) -> dict[str, Any]:
            nothing = dict.fromkeys(("secret_key", "permissions", "topics"))
            return {
                **nothing,
                "get_token": lambda: self.service.create_token(user, ttl=LIFE_SECONDS),
            }

        await self.flow("shown", of("shown-reader"), of("shown-writer"))

    async def with_a_wrong_clock(self, wrong_by: float) -> None:
        """A client whose clock is an hour off stays connected like the others."""
        client, heard = self.make_client(clock=WrongClock(wrong_by))
        await self.connect(client, f"wrong{wrong_by:.0f}", ttl=LIFE_SECONDS)
        await asyncio.sleep(LIFE_SECONDS * LIVES + AFTER_SECONDS)
        assert client.is_connected
        assert LIVES <= heard.names().count("token_refreshed") <= 2 * LIVES
        assert heard.names()[0] == "connected"
        assert "disconnected" not in heard.names()

    async def service_away(self) -> None:
        """The token service goes in the first life and comes back when two are over (here: one)."""
        away = LIFE_SECONDS * min(LIVES, 2)
        http = self.service.http_url.removeprefix("http://").split(":")
        proxy = await self.proxy_to(http[0], int(http[1]))
        client, heard = self.make_client(token_service_url=f"http://127.0.0.1:{proxy.port}")
        await self.connect(client, "away", ttl=LIFE_SECONDS)
        await client.subscribe("chat/away")
        await asyncio.sleep(5)
        await proxy.cut()
        await asyncio.sleep(away)
        assert not client.is_connected
        queued = await client.publish("chat/away", "kept")
        assert queued.status is Status.QUEUED
        await proxy.start()
        await heard.wait_for("connected", times=2, within=70)
        assert (await queued.delivered()).status is Status.ACKNOWLEDGED
        async for message in client.messages:
            assert message.text == "kept"
            break
        told = dict(heard.all)
        assert "0xA0" in told["disconnected"]
        assert {what[0].kind for name, what in heard.all if name == "token_error"} == {"network"}


async def test_tokens_end_and_connections_do_not(
    service: Any, make_client: Make, connect: Make, proxy_to: Make
) -> None:
    lives = Lives(service, make_client, connect, proxy_to)
    async with asyncio.TaskGroup() as all_at_once:
        for scenario in (
            lives.refreshed_over_http(),
            lives.shown_to_the_broker(),
            lives.with_a_wrong_clock(-3600),
            lives.with_a_wrong_clock(3600),
            lives.service_away(),
        ):
            all_at_once.create_task(scenario)
