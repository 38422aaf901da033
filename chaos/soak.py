"""`make soak`: clients that come and go for an hour; what the server takes of memory must not grow.

A third of the clients have sessions that outlive their connections; with MQTT 5 they begin each second visit
under a new client id, as browsers do. Each stays for a while, publishes at QoS 1 and 2 to its neighbours,
to retained topics and to shared subscriptions, leaves with a DISCONNECT or without, and comes back with a
token of its own; some tokens are revoked while their client is there.

Memory is anonymous memory (`RssAnon`, proc(5)). It settles in the first half, as what has a bound fills:
20,000 tokens that were seen, families until a while after their passwords have expired (these live for
two minutes here, so from then on as many are forgotten as come), routes, SQLite's pages. Then the third
quarter is held against the fourth; what is allowed between them is what a leak of about 200 bytes a visit
comes to. A shorter run shows how it settles, and is judged by faults and defects alone.
"""

import argparse
import asyncio
import contextlib
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.ours import HOST

from chaos.server import Pass, Server
from chaos.state import ClientState
from tokenmq.errors import ProtocolError
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Connack, Connect, Disconnect, Packet, Publish, Subscription, Will

MIB = 1024 * 1024
CLIENTS = 1_000
HOUR = 3_600.0
# What the fourth quarter may have more than the third: the noise of an allocator, not a leak.
ALLOWED_PART = 0.03
# Before that a run is too short to be judged by memory: what has a bound has not filled.
SETTLED_SECONDS = 1_800.0
MAX_PACKET_BYTES = 1 << 20
SESSION_EXPIRY_SECONDS = 120
# How long a visit lasts, and how long a client is away after it, at most.
VISIT_SECONDS, AWAY_SECONDS = 90.0, 30.0
# How long a password is good, longer than a visit. The server remembers its family for another 15 minutes,
# forgets families by ten minutes of their ends, and looks once a minute: 28 minutes in all, at most.
PASSWORD_SECONDS = 120
# In which all come for the first time.
ARRIVING_SECONDS = 3.0
# Between two messages of one client, on average.
PAUSE_SECONDS = 2.0
LOOK_SECONDS = 5.0
REVOKED_PART = 0.02
# Mints at one time: a server that starts is asked by everybody at once.
_MINTS_AT_ONCE = 16
_DEFECTS = ('"event":"defect"', '"event":"request failed"', '"event":"not_stored"')


@dataclass(slots=True)
class Counts:
    """What has happened; it serves all clients as their book, too."""

    visits: int = 0
    published: int = 0
    taken: int = 0
    handed: int = 0
    faults: list[str] = field(default_factory=list)

    def began(self) -> None:
        """Take no note."""

    def resumed(self) -> None:
        """Take no note."""

    def note(self, message: int, what: str, packet_id: int) -> None:
        """Take no note."""

    def acknowledged(self, message: int) -> None:  # noqa: ARG002
        """Count it."""
        self.taken += 1

    def refused(self, message: int, code: int) -> None:  # noqa: ARG002
        """Note it: everything that is published here is allowed."""
        self.wrong(f"a message was refused with {code:#04x}")

    def abandoned(self, message: int) -> None:
        """Take no note."""

    def handed_up(self, packet: Publish) -> None:  # noqa: ARG002
        """Count it."""
        self.handed += 1

    def seen(self, packet: Publish, what: str) -> None:
        """Take no note."""

    def asked(self, subscribe: object) -> None:
        """Take no note."""

    def granted(self, topic_filter: str, code: int) -> None:
        """Note a refusal."""
        if code >= 0x80:
            self.wrong(f"{topic_filter} was refused with {code:#04x}")

    def ended(self, topic_filter: str) -> None:
        """Take no note."""

    def wrong(self, text: str) -> None:
        """Note it, the first few."""
        if len(self.faults) < 20:
            self.faults.append(text)


class Visitor:
    """One client that comes and goes until it is cancelled."""

    def __init__(
        self, server: Server, counts: Counts, index: int, clients: int, minting: asyncio.Semaphore
    ) -> None:
        self._server = server
        self._counts = counts
        self._minting = minting
        self._draw = random.Random(index)
        self._index = index
        self._clients = clients
        self._version = 4 + index % 2
        self._outlives = index % 3 == 0
        self._name = f"soak-{index}"
        self._state = self._new_state()
        self._messages = 0
        self._writer: asyncio.StreamWriter | None = None

    async def live(self) -> None:
        """Come and go."""
        await asyncio.sleep(self._draw.uniform(0, ARRIVING_SECONDS))
        while True:
            if self._outlives and self._version == 5 and self._draw.random() < 0.5:
                self._name = f"soak-{self._index}-{self._draw.getrandbits(64):016x}"
                self._state = self._new_state()
            async with self._minting:
                pass_ = await self._server.mint(f"user-{self._index}", ttl_seconds=PASSWORD_SECONDS)
            self._counts.visits += 1
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._visit(pass_)
            self._state.disconnected()
            await asyncio.sleep(self._draw.uniform(0, AWAY_SECONDS))

    def _new_state(self) -> ClientState:
        state = ClientState(self._counts, version=self._version, outlives=self._outlives)
        for topic_filter in (
            f"load/{self._index}/#",
            f"load/{(self._index + 1) % self._clients}/a",
            "$share/g/load/+/s",
        ):
            state.subscribe(Subscription(topic_filter, 1 + self._index % 2))
        return state

    async def _visit(self, pass_: Pass) -> None:
        reader, writer = await asyncio.open_connection(HOST, self._server.port)
        self._writer = writer
        ends = self._draw.random()
        try:
            self._send([self._connect(pass_)])
            reading = asyncio.create_task(self._read(reader))
            publishing = asyncio.create_task(self._publish())
            try:
                await asyncio.wait(
                    (reading, publishing),
                    timeout=self._draw.uniform(1, VISIT_SECONDS),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if ends < REVOKED_PART:
                    await self._server.revoke(pass_.token_id)
                    self._state = self._new_state()
                elif ends < 0.6:
                    self._send([Disconnect()])
            finally:
                for task in (reading, publishing):
                    task.cancel()
                for result in await asyncio.gather(reading, publishing, return_exceptions=True):
                    if isinstance(result, ProtocolError):
                        self._counts.wrong(f"the server sent what is not MQTT: {result}")
        finally:
            self._writer = None
            if ends < 0.8:
                writer.close()
            else:
                writer.transport.abort()

    def _connect(self, pass_: Pass) -> Connect:
        packet = Connect(
            protocol_version=self._version,
            client_id=self._name,
            clean_start=self._state.clean_start,
            keep_alive=60,
            username=pass_.username,
            password=pass_.password,
            will=Will(f"wills/{self._index}", b"gone", 1),
        )
        if self._version == 5 and self._outlives:
            packet.session_expiry_interval = SESSION_EXPIRY_SECONDS
        return packet

    async def _publish(self) -> None:
        while True:
            await asyncio.sleep(self._draw.expovariate(1 / PAUSE_SECONDS))
            if not self._state.connected or len(self._state.outgoing) > 50:
                continue
            self._messages += 1
            self._counts.published += 1
            target = self._draw.randrange(self._clients)
            kind = self._draw.choice(("a", "b", "s", "retained"))
            packet = Publish(
                f"load/{target}/{kind}",
                self._draw.randbytes(self._draw.choice((16, 64, 1_024))),
                self._draw.choice((1, 2)),
                kind == "retained",
            )
            self._send(self._state.publish(self._messages, packet))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        data = b""
        while chunk := await reader.read(65_536):
            data += chunk
            position = 0
            while (found := codec.frame(data, position, MAX_PACKET_BYTES)) is not None:
                first, start, position = found
                packet = codec.decode(first, data, start, position, self._version, from_client=False)
                if isinstance(packet, Connack) and packet.reason_code:
                    self._counts.wrong(f"CONNECT was refused with {packet.reason_code:#04x}")
                    return
                self._send(self._state.received(packet))
                if isinstance(packet, Connack):
                    self._state.clean_start = not self._outlives
            data = data[position:]

    def _send(self, packets: Iterable[Packet]) -> None:
        if self._writer is not None:
            for packet in packets:
                self._writer.write(codec.encode(packet, self._version))


@dataclass(slots=True)
class Outcome:
    """An hour, or as long as it was: memory in bytes, one figure each `LOOK_SECONDS`."""

    seconds: float
    memory: list[int]
    counts: Counts
    defects: list[str]

    def quarters(self) -> list[float]:
        """Return the medians of the four quarters."""
        size = max(1, len(self.memory) // 4)
        return [statistics.median(self.memory[part * size : (part + 1) * size] or [0]) for part in range(4)]

    def growth(self) -> float:
        """Return by how many bytes a visit the fourth quarter has more than the third."""
        *_, third, fourth = self.quarters()
        return (fourth - third) / max(1, self.counts.visits / 4)

    def problems(self) -> list[str]:
        """Say what was not as it must be."""
        *_, third, fourth = self.quarters()
        wrong = [*self.counts.faults, *self.defects]
        if self.seconds / 2 >= SETTLED_SECONDS and fourth > third * (1 + ALLOWED_PART):
            wrong.append(f"memory grew from {third / MIB:.1f} to {fourth / MIB:.1f} MiB")
        return wrong

    def text(self) -> str:
        """Tell it in three lines."""
        counts = self.counts
        medians = ", ".join(f"{quarter / MIB:.1f}" for quarter in self.quarters())
        return (
            f"{self.seconds:,.0f} s: {counts.visits:,} visits, {counts.published:,} messages published, "
            f"{counts.taken:,} acknowledged, {counts.handed:,} handed up\n"
            f"memory of the server, medians of the quarters: {medians} MiB, "
            f"most {max(self.memory) / MIB:.1f} MiB; last against third {self.growth():+,.0f} bytes a visit"
        )


async def run(folder: Path, *, clients: int, seconds: float) -> Outcome:
    """Start a server with its defaults and let clients come and go.

    Raises: Broken.
    """
    server = Server(folder)
    counts, minting = Counts(), asyncio.Semaphore(_MINTS_AT_ONCE)
    memory: list[int] = []
    try:
        await server.prepare()
        server.launch()
        await server.ready()
        await server.make_key()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(Visitor(server, counts, index, clients, minting).live())
                for index in range(clients)
            ]
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                await asyncio.sleep(min(LOOK_SECONDS, seconds / 40))
                memory.append(server.memory_bytes())
            for task in tasks:
                task.cancel()
        await server.stop()
    finally:
        await server.close()
    lines = server.log.read_text(errors="replace").splitlines()
    defects = [line[:500] for line in lines if any(defect in line for defect in _DEFECTS)]
    return Outcome(seconds, memory, counts, defects[:20])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and judge."""
    parser = argparse.ArgumentParser(prog="python -m chaos.soak", description="Clients that come and go.")
    parser.add_argument("--clients", type=int, default=CLIENTS, help="in all (%(default)s)")
    parser.add_argument("--seconds", type=float, default=HOUR, help="how long (%(default)s)")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="tokenmq-soak-") as name:
        outcome = asyncio.run(run(Path(name), clients=chosen.clients, seconds=chosen.seconds))
    print(outcome.text())
    wrong = outcome.problems()
    for problem in wrong:
        print(f"WRONG: {problem}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
