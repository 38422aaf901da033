"""How long a start takes that has much to read, from exec to the first CONNACK.

The store is filled by its own `save`. Measured is from exec on, with an attempt to connect every few
milliseconds; the session that connects then gets its messages, which must be all there, in order.
"""

import asyncio
import socket
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from bench.ours import HOST

from chaos.client import MAX_PACKET_BYTES
from chaos.server import START_SECONDS, Broken, Pass, Server
from tokenmq.access.grants import Grant
from tokenmq.access.identity import Identity
from tokenmq.access.permission import Permission
from tokenmq.broker.records import (
    DeliveryRecord,
    MessageRecord,
    Record,
    SessionRecord,
    SubscriptionRecord,
    put,
)
from tokenmq.errors import Unavailable
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Connack, Connect, Packet, Puback, Publish
from tokenmq.stores.sql.store import SqlStore

SESSIONS = 1_000
SUBSCRIPTIONS_EACH = 5
MESSAGES_EACH = 100
PAYLOAD_BYTES = 100
EXPIRY_SECONDS = 3_600
# The session that is gone on with: neither the first that is read nor the last.
CHOSEN = SESSIONS // 2
# Records that are handed to the store at once.
BATCH = 2_000
AGAIN_SECONDS = 0.005


class Started(NamedTuple):
    """What a start took.

    Attributes:
        connack_seconds: from exec to the first CONNACK.
        cpu_seconds: of processor time that the server had had by then: what the same start takes on a machine
            that does nothing else.
        drained_seconds: from exec until everything that waited had come.
    """

    connack_seconds: float
    cpu_seconds: float
    drained_seconds: float


class Measured(NamedTuple):
    """Starts with much to read, and the processor time of the best of as many with nothing."""

    started: list[Started]
    empty_cpu_seconds: float


async def measure(folder: Path, *, times: int = 1) -> Measured:
    """Take the time of some starts, fill the folder, and start as often, each time with another session.

    Raises: Broken if a session is not there, or its messages are not, or not in order.
    """
    server = Server(folder)
    try:
        await server.prepare()
        empty = [await _cpu_of_a_start(server) for _ in range(times)]
        server.launch()
        await server.ready()
        await server.make_key()
        chosen = {CHOSEN + step: await server.mint(_name(CHOSEN + step)) for step in range(times)}
        await server.stop()
        await _fill(server.data, next(iter(chosen.values())).username.partition("@")[2])
        started = []
        for number, pass_ in chosen.items():
            began = time.perf_counter()
            server.launch()
            started.append(await asyncio.to_thread(_go_on, server, number, pass_, began))
            await server.ready()
            await server.stop()
        return Measured(started, min(empty))
    finally:
        await server.close()


async def _cpu_of_a_start(server: Server) -> float:
    server.launch()
    await server.ready()
    cpu_seconds = server.cpu_seconds()
    await server.stop()
    return cpu_seconds


def _name(session: int) -> str:
    return f"user-{session}"


def _payload(session: int, index: int) -> bytes:
    return f"{session}/{index}".encode().ljust(PAYLOAD_BYTES)


# To fill


async def _fill(data: Path, org_id: str) -> None:
    store = await SqlStore.open_folder(data)
    try:
        records = _records(org_id)
        while batch := list(islice(records, BATCH)):
            stored: asyncio.Future[Unavailable | None] = asyncio.get_running_loop().create_future()
            store.kept.save([put(record) for record in batch], stored.set_result)
            if (error := await stored) is not None:
                raise Broken(f"the store cannot be filled: {error}")
    finally:
        await store.close()


def _records(org_id: str) -> Iterator[Record]:
    """Make sessions that have been left; each message waits for one of them, and they take turns."""
    left_at = time.time()
    for session in range(1, SESSIONS + 1):
        yield SessionRecord(
            session, _name(session), _identity(org_id, session), EXPIRY_SECONDS, left_at, None
        )
        for index in range(SUBSCRIPTIONS_EACH):
            yield SubscriptionRecord(session, f"load/{session}/{index}/#", 1, False, False, 0)
    number = 0
    for index in range(MESSAGES_EACH):
        for session in range(1, SESSIONS + 1):
            number += 1
            topic, payload = f"load/{session}/0/news", _payload(session, index)
            yield MessageRecord(number, org_id, topic, payload, b"", None)
            yield DeliveryRecord(session, index + 1, number, number, 1, False, False, (), "")


def _identity(org_id: str, session: int) -> Identity:
    return Identity(
        org_id=org_id,
        user_id=_name(session),
        username=f"{_name(session)}@{org_id}",
        grants=(Grant((Permission.SUBSCRIBE,), ("load/#",)),),
        expires_at=None,
        token_id=f"tok_{session}",
        jti=f"jti_{session}",
        gen=0,
        key_id=None,
        client_id=None,
    )


# To go on


def _go_on(server: Server, session: int, pass_: Pass, began: float) -> Started:
    """Connect as soon as that is possible, and take what waits."""
    with _dialled(server.port, began + START_SECONDS) as link:
        link.settimeout(START_SECONDS)
        connect = Connect(
            5, _name(session), clean_start=False, keep_alive=60, username=pass_.username,
            password=pass_.password, session_expiry_interval=EXPIRY_SECONDS,
        )  # fmt: skip
        link.sendall(codec.encode(connect, 5))
        packets = _packets(link)
        connack = next(packets)
        connack_seconds, cpu_seconds = time.perf_counter() - began, server.cpu_seconds()
        if not isinstance(connack, Connack) or connack.reason_code or not connack.session_present:
            raise Broken(f"the session is not gone on with: {connack!r}")
        for index in range(MESSAGES_EACH):
            packet = next(packets)
            if not isinstance(packet, Publish) or packet.payload != _payload(session, index):
                raise Broken(f"message {index} was to come, this came: {packet!r:.200}")
            link.sendall(codec.encode(Puback(packet.packet_id), 5))
        return Started(connack_seconds, cpu_seconds, time.perf_counter() - began)


def _dialled(port: int, deadline: float) -> socket.socket:
    while time.perf_counter() < deadline:
        try:
            return socket.create_connection((HOST, port))
        except ConnectionRefusedError:
            time.sleep(AGAIN_SECONDS)
    raise Broken("it does not listen")


def _packets(link: socket.socket) -> Iterator[Packet]:
    data = b""
    while chunk := link.recv(65_536):
        data += chunk
        position = 0
        while (found := codec.frame(data, position, MAX_PACKET_BYTES)) is not None:
            first, start, position = found
            yield codec.decode(first, data, start, position, 5, from_client=False)
        data = data[position:]
    raise Broken("the server closed the connection")
