"""Who takes part in a run: publishers, subscribers, members of groups, clients with wills."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from chaos.client import Client
from chaos.ledger import Ledger, Will
from chaos.server import Pass
from tokenmq.mqtt.packets import Publish
from tokenmq.mqtt.packets import Will as WillPacket

# Messages that a publisher has under way at most, and seconds between two, about.
MOST_UNDER_WAY = 12
PACE_SECONDS = 0.006
MOST_BYTES = 2_000
LOAD_TOPICS = 4
KEPT_TOPICS = 6
WILL_DELAY_SECONDS = 3
# The group that stays, and the one whose members are revoked.
STAYING, CHANGING = "$share/staying/load/#", "$share/changing/load/#"
FICKLE_FILTER = "load/+/1"


class Subscriber(NamedTuple):
    """A subscriber whose session outlives its connection."""

    name: str
    version: int
    filters: tuple[tuple[str, int], ...]


SUBSCRIBERS = (
    Subscriber("exact-two", 5, (("load/a/0", 2), ("load/b/0", 2), ("load/c/0", 2), ("wills/five", 2))),
    Subscriber("wild-one", 4, (("load/#", 1), ("wills/+", 1))),
    Subscriber("wild-two", 5, (("load/#", 2), ("kept/#", 2), ("wills/#", 2))),
    Subscriber("overlapping", 5, (("load/+/0", 2), ("load/#", 1), ("load/a/+", 1))),
    Subscriber("away-two", 4, (("load/#", 2), ("kept/#", 1), ("wills/#", 2))),
    Subscriber("away-one", 5, (("load/#", 1), ("wills/four", 1))),
    Subscriber("renewing", 5, (("load/#", 2),)),
    Subscriber("fickle", 5, (("load/+/0", 2),)),
    Subscriber("staying-four", 4, ((STAYING, 2),)),
    Subscriber("staying-five", 5, ((STAYING, 2),)),
    Subscriber("staying-six", 5, ((STAYING, 2),)),
    Subscriber("changing-five", 5, ((CHANGING, 2),)),
)
# Name, version, whether its session outlives its connection.
PUBLISHERS = (("a", 5, True), ("b", 4, True), ("c", 5, False), ("d", 4, False))
# Those that are away most of the time.
AWAY = ("away-two", "away-one")


class Cast:
    """Everybody, by name."""

    def __init__(self, ledger: Ledger, port: int, draw: random.Random) -> None:
        self.ledger = ledger
        self.clients: dict[str, Client] = {}
        self.publishing = False
        self._port = port
        self._draw = draw
        self._tasks: list[asyncio.Task[None]] = []

    async def gather(self, mint: Callable[[str], Awaitable[Pass]]) -> None:
        """Make everybody, and return when all subscriptions are in force."""
        for name, version, filters in SUBSCRIBERS:
            client = await self.join(name, mint, version=version)
            for topic_filter, qos in filters:
                client.subscribe(topic_filter, qos=qos)
        for name, version in (("will-four", 4), ("will-five", 5)):
            client = await self.join(name, mint, version=version)
            client.will = self._will_of(client)
            client.on_turn = _confirm
            client.drop()
        for client in self.clients.values():
            await client.is_connected()
        await self._everything_is_granted()
        for name, version, outlives in PUBLISHERS:
            client = await self.join(name, mint, version=version, outlives=outlives)
            self._own(self._publish(client))

    async def join(
        self, name: str, mint: Callable[[str], Awaitable[Pass]], *, version: int = 5, outlives: bool = True
    ) -> Client:
        """Make one more client, and let it live."""
        client = Client(
            self.ledger, self._port, name, await mint(name), version=version, outlives=outlives,
            draw=self._draw,
        )  # fmt: skip
        self.clients[name] = client
        self._own(client.run())
        return client

    async def dismiss(self) -> None:
        """End all tasks, and raise what one of them has died of."""
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    def check(self) -> None:
        """Raise what a task has died of."""
        for task in self._tasks:
            if task.done():
                task.result()

    @property
    def under_way(self) -> int:
        """How many messages of clients that are to be there are not acknowledged for good."""
        return sum(len(client.state.outgoing) for client in self.clients.values() if client.wanted)

    async def _everything_is_granted(self) -> None:
        async with asyncio.timeout(30):
            while not all(
                client.state.established for client in self.clients.values() if client.will is None
            ):
                await asyncio.sleep(0.01)

    def _own(self, life: Awaitable[None]) -> None:
        self._tasks.append(asyncio.ensure_future(life))

    async def _publish(self, client: Client) -> None:
        draw = self._draw
        while True:
            await asyncio.sleep(draw.expovariate(1 / PACE_SECONDS))
            if not self.publishing or len(client.state.outgoing) >= MOST_UNDER_WAY:
                continue
            qos, size = draw.choice((1, 2)), draw.choice((0, 20, MOST_BYTES))
            if draw.random() < 0.1:
                topic = f"kept/{draw.randrange(KEPT_TOPICS)}"
                client.publish(topic, qos=qos, size=draw.choice((size, None)), retain=True)
            else:
                client.publish(f"load/{client.name}/{draw.randrange(LOAD_TOPICS)}", qos=qos, size=size)

    def _will_of(self, client: Client) -> Callable[[], tuple[WillPacket, Will]]:
        def make() -> tuple[WillPacket, Will]:
            delay = WILL_DELAY_SECONDS if client.version == 5 else 0
            will = Will(delay)
            packet = Publish(f"wills/{'five' if delay else 'four'}", qos=self._draw.choice((1, 2)))
            self.ledger.message(client.name, 0, packet, will=will)
            carried = WillPacket(packet.topic, packet.payload, qos=packet.qos)
            if delay:
                carried.will_delay_interval = delay
            return carried, will

        return make


def _confirm(client: Client) -> None:
    """Have something acknowledged on this connection: the server has kept its will by then."""
    if not client.state.confirmed and not client.state.outgoing:
        client.publish("load/wills/0", qos=1, size=0)
