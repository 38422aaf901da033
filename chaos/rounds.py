"""The rounds of a run: load for a moment, an end without warning, a start; at last everything settles."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

from chaos.cast import AWAY, CHANGING, FICKLE_FILTER, KEPT_TOPICS, WILL_DELAY_SECONDS, Cast
from chaos.client import Client
from chaos.judging import Fault, judge
from chaos.ledger import FOREVER, Ledger, Up, now
from chaos.server import Server

# Bounds of a round's load, seconds; and of a long one, in which a will can come due.
SHORT, LONG = (0.05, 0.4), (1.0, 1.6)
LONG_EVERY = 10
# Nothing comes any more when nothing has come for so long.
QUIET_SECONDS = 1.5
SETTLE_SECONDS = 60.0
# More than any client has waiting here: what a full queue costs is another matter.
SETTINGS = {"TOKENMQ_BROKER_MAX_QUEUED_MESSAGES": "60000", "TOKENMQ_BROKER_MAX_QUEUED_BYTES": str(1 << 29)}
# What the log must not hold.
DEFECTS = ("defect", "Traceback")


class Run:
    """One run.

    Attributes:
        tell: called with a line for people after each round.
    """

    def __init__(self, folder: Path, *, rounds: int, seed: int, tell: Callable[[str], None]) -> None:
        self.server = Server(folder, **SETTINGS)
        self.ledger = Ledger()
        self.cast = Cast(self.ledger, self.server.port, random.Random(f"{seed}-clients"))
        self._rounds = rounds
        self._draw = random.Random(seed)
        self._tell = tell
        self._ready_at = 0.0
        self._revoked: list[tuple[Client, bool]] = []

    async def play(self) -> list[Fault]:
        """Play all rounds, settle, and return what is wrong."""
        try:
            await self.server.prepare()
            await self._start()
            await self.server.make_key()
            await self.cast.gather(self.server.mint)
            for number in range(1, self._rounds + 1):
                await self._round(number)
            await self._settle()
            await self._look_at_the_revoked()
            await self._read_retained()
            await self.cast.dismiss()
            await self.server.stop()
        finally:
            await self.server.close()
        return judge(self.ledger) + self._defects()

    # A round

    async def _round(self, number: int) -> None:
        draw = self._draw
        self.ledger.round = number
        self.cast.publishing = True
        victim = await self._victim(number) if draw.random() < 0.4 else None
        stirring = asyncio.create_task(self._stir())
        await asyncio.sleep(draw.uniform(*(SHORT if number % LONG_EVERY else LONG)))
        if victim is not None:
            victim.page.ending()
            answered = await self.server.revoke(victim.credentials.token_id)
            self._revoked.append((victim, answered))
            if not answered and victim.page.life is not None:
                victim.page.life.uncertain = True
        stirring.cancel()
        how = "SIGTERM" if draw.random() < 0.15 else "SIGKILL"
        await self._end(how)
        if draw.random() < 0.15:
            how += ", and once more as it starts"
            self.server.launch()
            await asyncio.sleep(draw.uniform(0, 1.5))
            await self.server.kill()
        await self._start()
        self.cast.check()
        self._tell(f"round {number}: {how}; {len(self.ledger.messages)} messages")

    async def _start(self) -> None:
        self.server.launch()
        await self.server.ready()
        self._ready_at = now()

    async def _end(self, how: str) -> None:
        self.ledger.ups.append(Up(self._ready_at, now()))
        await (self.server.stop() if how == "SIGTERM" else self.server.kill())

    async def _stir(self) -> None:
        """Let clients come, go and change their minds."""
        draw, clients = self._draw, self.cast.clients
        for name in AWAY:
            clients[name].wanted = draw.random() < 0.25
        for name in ("will-four", "will-five"):
            clients[name].wanted = draw.random() < 0.5
        for client in clients.values():
            if not client.wanted:
                client.drop()
        while True:
            await asyncio.sleep(draw.expovariate(1 / 0.1))
            what = draw.random()
            if what < 0.4:
                clients[draw.choice(sorted(clients))].drop()
            elif what < 0.6:
                fickle = clients["fickle"]
                if FICKLE_FILTER in fickle.state.filters:
                    fickle.unsubscribe(FICKLE_FILTER)
                else:
                    fickle.subscribe(FICKLE_FILTER, qos=2)
            elif what < 0.7:
                clients["renewing"].renew()

    # Revocation

    async def _victim(self, number: int) -> Client:
        """Make a member of the changing group whose token is revoked before the end of the round."""
        client = await self.cast.join(f"victim-{number}", self.server.mint)
        client.subscribe(CHANGING, qos=2)
        client.reads = self._draw.random() < 0.5
        await client.is_connected()
        return client

    async def _look_at_the_revoked(self) -> None:
        """See that nobody of them comes in, and that a new token finds no session."""
        for client, answered in self._revoked:
            if not answered:
                continue
            deadline = now() + SETTLE_SECONDS
            while not client.refusal and now() < deadline:
                await asyncio.sleep(0.01)
            if not client.refusal:
                self.ledger.fault(f"{client.name}: revoked and answered, and let in")
                continue
            client.credentials = await self.server.mint(client.name)
            client.state.established = False
            client.reads = True
            await client.is_connected()
            if client.page.life is not None and client.page.life.ended != FOREVER:
                self.ledger.fault(f"{client.name}: revoked and answered, and its session is there")

    # The end

    async def _settle(self) -> None:
        """Let everybody come, publish nothing more, and wait until nothing comes any more."""
        self.ledger.round = self._rounds + 1
        cast = self.cast
        cast.publishing = False
        for client in cast.clients.values():
            client.wanted = client.name not in ("will-four", "will-five")
            if not client.wanted:
                client.drop()
        deadline = now() + SETTLE_SECONDS
        quiet_from = now() + WILL_DELAY_SECONDS
        amount = -1
        while now() < deadline:
            await asyncio.sleep(0.05)
            cast.check()
            came = sum(len(life.deliveries) for life in self.ledger.lives)
            if came != amount or cast.under_way:
                amount, quiet_from = came, max(quiet_from, now())
            elif now() - quiet_from > QUIET_SECONDS:
                self.ledger.ups.append(Up(self._ready_at, now()))
                return
        self.ledger.fault(
            f"not settled after {SETTLE_SECONDS:.0f} s: {cast.under_way} messages are under way"
        )

    async def _read_retained(self) -> None:
        """Write down what stands on each topic, as somebody sees it who comes new."""
        reader = await self.cast.join("reader", self.server.mint, outlives=False)
        reader.subscribe("kept/+", qos=1, retain_handling=0)
        await reader.is_connected()
        deadline = now() + QUIET_SECONDS
        while now() < deadline and self._found(reader) < KEPT_TOPICS:
            await asyncio.sleep(0.01)
        for delivery in reader.page.life.deliveries if reader.page.life is not None else ():
            self.ledger.readings[self.ledger.messages[delivery.number].topic] = delivery.number

    def _found(self, reader: Client) -> int:
        return len(reader.page.life.deliveries) if reader.page.life is not None else 0

    def _defects(self) -> list[Fault]:
        lines = self.server.log.read_text(errors="replace").splitlines()
        return [
            Fault(f"the log says: {line[:2000]}") for line in lines if any(word in line for word in DEFECTS)
        ]
