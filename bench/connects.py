"""The connect load: CONNECT, CONNACK, DISCONNECT, each connection with its own credential.

Many at once on one epoll loop. Also: connections that come, subscribe and go at a fixed rate beside another
load (`churn`), and connections that only stay (`idle`).
"""

import itertools
import os
import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TextIO

from bench import links, wire
from bench.links import Target
from bench.processor import Processor
from bench.wire import DISCONNECT_PACKET, BadStream

QUIET_SECONDS = 5.0
CHURN_THREADS = 16
FILTERS_AT_ONCE = 50  # of one SUBSCRIBE


@dataclass(slots=True)
class _Attempt:
    sock: socket.socket
    hello: bytes
    begun: float
    sent: bool = False
    answer: bytes = b""


class Connects:
    """`count` connections, at most `concurrency` of them open at a time."""

    def __init__(self, target: Target, *, count: int, concurrency: int) -> None:
        self._address = (target.host, target.port)
        self._concurrency = concurrency
        self._version = target.version
        self._server_pid = target.server_pid
        pid = os.getpid()
        self._hellos = []
        for index in range(count):
            username, password = target.credential(index)
            client_id = f"c{pid}-{index}"
            self._hellos.append(
                wire.connect(client_id, version=target.version, username=username, password=password)
            )
        self._attempts: dict[int, _Attempt] = {}
        self._epoll = select.epoll()
        self._times: list[float] = []

    def run(self) -> dict[str, object]:
        waiting = iter(self._hellos)
        start, processor = time.perf_counter(), Processor(self._server_pid)
        for first in itertools.islice(waiting, self._concurrency):
            self._begin(first)
        while self._attempts:
            events = self._epoll.poll(QUIET_SECONDS)
            if not events:
                raise BadStream(f"stalled after {len(self._times)} of {len(self._hellos)} connections")
            for fd, _ in events:
                if self._advance(fd) and (following := next(waiting, None)) is not None:
                    self._begin(following)
        elapsed = time.perf_counter() - start
        shares = processor.shares()
        times = sorted(self._times)
        return {
            "mode": "connect", "version": self._version, "ok": len(times), "concurrency": self._concurrency,
            "seconds": round(elapsed, 3), "per_s": round(len(times) / elapsed),
            "p50_us": round(times[len(times) // 2] * 1e6),
            "p99_us": round(times[int((len(times) - 1) * 0.99)] * 1e6),
            **shares,
        }  # fmt: skip

    def close(self) -> None:
        for attempt in self._attempts.values():
            attempt.sock.close()
        self._epoll.close()

    def _begin(self, hello: bytes) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        attempt = _Attempt(sock, hello, time.perf_counter())
        sock.connect_ex(self._address)
        try:
            attempt.sent = sock.send(hello) == len(hello)
        except (BlockingIOError, BrokenPipeError):
            attempt.sent = False  # not connected yet
        self._attempts[sock.fileno()] = attempt
        self._epoll.register(sock.fileno(), select.EPOLLIN if attempt.sent else select.EPOLLOUT)

    def _advance(self, fd: int) -> bool:
        """Go on with one attempt; True if it is over."""
        attempt = self._attempts[fd]
        if not attempt.sent:
            error = attempt.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise BadStream(f"connection failed: {os.strerror(error)}")
            if attempt.sock.send(attempt.hello) != len(attempt.hello):
                raise BadStream("a CONNECT did not fit into the socket buffer")
            attempt.sent = True
            self._epoll.modify(fd, select.EPOLLIN)
            return False
        chunk = attempt.sock.recv(4096)
        if not chunk:
            raise BadStream("the broker closed a connection before its CONNACK")
        attempt.answer += chunk
        frame = wire.read_frame(attempt.answer, 0, len(attempt.answer))
        if frame is None:
            return False
        self._times.append(time.perf_counter() - attempt.begun)
        reason_code = wire.connack(attempt.answer, frame[1], frame[2], self._version).reason_code
        if frame[0] >> 4 != wire.CONNACK or reason_code:
            raise BadStream(f"CONNECT was refused with {reason_code:#04x}")
        attempt.sock.send(DISCONNECT_PACKET)
        attempt.sock.close()  # takes it out of the epoll set, too
        del self._attempts[fd]
        return True


def run(target: Target, *, count: int, concurrency: int) -> dict[str, object]:
    load = Connects(target, count=count, concurrency=concurrency)
    try:
        return load.run()
    finally:
        load.close()


def churn(target: Target, *, per_second: float, seconds: float, topic_filter: str) -> dict[str, object]:
    """Connect, subscribe, leave, at a steady rate; late ones are made up for."""
    start = time.perf_counter()
    turns = itertools.count()

    def come_and_go() -> int:
        done = 0
        while (due := (turn := next(turns)) / per_second) < seconds:
            time.sleep(max(0.0, due - (time.perf_counter() - start)))
            channel, _ = links.open_connection(target, f"t{os.getpid()}-{turn}", turn)
            links.subscribe(channel, topic_filter, qos=0, version=target.version)
            channel.send(DISCONNECT_PACKET)
            channel.close()
            done += 1
        return done

    with ThreadPoolExecutor(CHURN_THREADS) as threads:
        done = sum(one.result() for one in [threads.submit(come_and_go) for _ in range(CHURN_THREADS)])
    return {"mode": "churn", "done": done, "per_s": round(done / (time.perf_counter() - start), 1)}


def idle(target: Target, *, count: int, subscriptions: int, release: TextIO) -> dict[str, object]:
    """Open `count` connections, each with its own subscriptions; hold them until `release` ends."""
    held = []
    for index in range(count):
        channel, _ = links.open_connection(target, f"i{os.getpid()}-{index}", index)
        filters = [unmatched(index * subscriptions + number) for number in range(subscriptions)]
        for start in range(0, subscriptions, FILTERS_AT_ONCE):
            links.subscribe(channel, *filters[start : start + FILTERS_AT_ONCE], qos=0, version=target.version)
        held.append(channel)
    print(f'{{"mode": "idle", "held": {len(held)}}}', flush=True)
    release.read()
    for channel in held:
        channel.close()
    return {"mode": "idle", "released": len(held)}


def unmatched(number: int) -> str:
    """A filter that matches no topic of the publish load, yet lies on the way to its topics.

    A third is beside a pair's topics, a third below one, a third behind a wildcard that every topic passes.
    """
    shapes = (f"bench/held/{number}", f"bench/{number % 10}/held/{number}/#", f"bench/+/held/{number}")
    return shapes[number % 3]
