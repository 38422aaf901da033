"""A client that does everything right while others do not, in a process of its own.

`python -m fuzz.probe` publishes to itself with QoS 1 at a steady rate on one connection, and
opens a new connection now and then. It runs until its standard input ends and then prints one
JSON object: how long its messages and its connects took, and which messages were lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import dataclass, field

import uvloop

from bench import wire
from fuzz.packets import Credential

MARKER = b"of the probe alone"
TOPIC = "probe/itself"
_MESSAGES_PER_SECOND = 50
_CONNECTS_PER_SECOND = 4
# What has not come after this time is lost.
_LOST_SECONDS = 15.0


class Lost(Exception):
    """The connection of the probe ended, or what it waited for did not come."""


@dataclass(slots=True)
class Record:
    """What the probe has seen; times in seconds."""

    sent: int = 0
    received: int = 0
    message_seconds: list[float] = field(default_factory=list)
    connect_seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class _Client:
    """One connection of MQTT 5."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._rest = bytearray()

    async def frame(self) -> tuple[int, bytes]:
        """Wait for the next packet: its first byte and its body.

        Raises: Lost.
        """
        while (found := wire.read_frame(self._rest, 0, len(self._rest))) is None:
            data = await self._reader.read(65_536)
            if not data:
                raise Lost("the connection of a good client was closed")
            self._rest += data
        first, start, stop = found
        body = bytes(self._rest[start:stop])
        del self._rest[:stop]
        return first, body


async def _open(host: str, port: int, credential: Credential, client_id: str) -> _Client:
    """Connect and be accepted.

    Raises: Lost, OSError.
    """
    reader, writer = await asyncio.open_connection(host, port)
    client = _Client(reader, writer)
    username, password = credential.username.decode(), credential.password.decode()
    writer.write(wire.connect(client_id, version=5, username=username, password=password))
    first, body = await client.frame()
    if first != 0x20 or body[1]:
        raise Lost(f"the CONNECT of a good client was answered {bytes((first,)).hex()} {body.hex()}")
    return client


async def _publish(client: _Client, record: Record) -> None:
    """Publish at a steady rate, until cancelled; each message says when it was due."""
    due = time.perf_counter()
    while True:
        due += 1 / _MESSAGES_PER_SECOND
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        record.sent += 1
        payload = MARKER + record.sent.to_bytes(4, "big") + int(due * 1e6).to_bytes(8, "big")
        packet_id = record.sent % 65_535 + 1
        client.writer.write(wire.publish(TOPIC, payload, qos=1, version=5, packet_id=packet_id))


async def _receive(client: _Client, record: Record) -> None:
    """Take messages, which must be all of ours, in order and once."""
    while True:
        first, body = await client.frame()
        if first >> 4 == wire.PUBLISH:
            message = wire.delivery(first, body, 0, len(body), 5)
            number = int.from_bytes(message.payload[len(MARKER) : len(MARKER) + 4], "big")
            if not message.payload.startswith(MARKER) or number != record.received + 1:
                record.problems.append(f"message {number} after {record.received}: {body[:60].hex()}")
            record.received = number
            due = int.from_bytes(message.payload[-8:], "big") / 1e6
            record.message_seconds.append(time.perf_counter() - due)
            client.writer.write(b"\x40\x02" + message.packet_id.to_bytes(2, "big"))
        elif first >> 4 == wire.DISCONNECT:
            raise Lost(f"a good client was disconnected: {body.hex()}")


async def _reconnect(host: str, port: int, credential: Credential, record: Record) -> None:
    """Connect anew, and again, until cancelled."""
    while True:
        begun = time.perf_counter()
        client = await asyncio.wait_for(_open(host, port, credential, "probe-again"), _LOST_SECONDS)
        record.connect_seconds.append(time.perf_counter() - begun)
        client.writer.write(wire.DISCONNECT_PACKET)
        client.writer.close()
        await asyncio.sleep(1 / _CONNECTS_PER_SECOND)


async def _probe(host: str, port: int, credential: Credential) -> Record:
    record = Record()
    client = await _open(host, port, credential, "probe")
    client.writer.write(wire.subscribe(TOPIC, qos=1, version=5))
    await client.frame()
    print("ready", flush=True)
    publishing = asyncio.create_task(_publish(client, record))
    others = [
        asyncio.create_task(_receive(client, record)),
        asyncio.create_task(_reconnect(host, port, credential, record)),
    ]
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.wait(
        [publishing, *others, asyncio.ensure_future(ended)], return_when=asyncio.FIRST_COMPLETED
    )
    publishing.cancel()
    deadline = time.perf_counter() + _LOST_SECONDS
    while record.received < record.sent and time.perf_counter() < deadline and not others[0].done():
        await asyncio.wait(others[:1], timeout=0.05)
    for task in others:
        task.cancel()
    for outcome in await asyncio.gather(publishing, *others, return_exceptions=True):
        if isinstance(outcome, Exception):
            record.problems.append(f"{type(outcome).__name__}: {outcome}")
    if not ended.done():
        # The thread that reads standard input is waited for at the end of the loop.
        await ended
    return record


def _quantile(times: list[float], share: float) -> float:
    return round(sorted(times)[int((len(times) - 1) * share)] * 1e3, 2) if times else 0.0


def main() -> int:
    """Probe a service; username, tab and password are the first line of standard input."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.probe", description="A good client.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    chosen = parser.parse_args()
    username, password = sys.stdin.readline().rstrip("\n").split("\t")
    credential = Credential(username.encode(), password.encode())
    record = uvloop.run(_probe(chosen.host, chosen.port, credential))
    print(
        json.dumps(
            {
                "sent": record.sent,
                "lost": record.sent - record.received,
                "p50_ms": _quantile(record.message_seconds, 0.5),
                "p99_ms": _quantile(record.message_seconds, 0.99),
                "max_ms": _quantile(record.message_seconds, 1.0),
                "connects": len(record.connect_seconds),
                "connect_max_ms": _quantile(record.connect_seconds, 1.0),
                "problems": record.problems[:10],
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
