"""The token load: POST /v2/tokens on keep-alive HTTP/1.1 connections, one request at a time on each.

Raw sockets and one epoll loop. A request counts when its whole answer is there and its status is 200; any
other status ends the run.
"""

import json
import select
import socket
import time
from dataclasses import dataclass

from bench.processor import Processor
from bench.wire import BadStream

QUIET_SECONDS = 10.0


@dataclass(slots=True)
class _Exchange:
    sock: socket.socket
    answer: bytes = b""
    begun: float = 0.0


def prepare(host: str, port: int, key: str, body: dict[str, object], *, path: str = "/v2/tokens") -> bytes:
    """A token request as bytes, or another one that posts."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def read_answer(data: bytes) -> tuple[int, bytes] | None:
    """Read one HTTP/1.1 answer with Content-Length: (status, body), None if it is not complete.

    Raises: BadStream for an answer without Content-Length, or with more bytes than it announces.
    """
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return None
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    if at < 0:
        raise BadStream(f"an HTTP answer without Content-Length: {head[:60]!r}")
    length = int(lower[at + 17 :].split(b"\r\n", 1)[0])
    if len(body) > length:
        raise BadStream("more bytes than one HTTP answer")
    return (int(head[9:12]), body) if len(body) == length else None


class Requests:
    """A stream of requests over `concurrency` connections for a time."""

    def __init__(
        self,
        host: str,
        port: int,
        key: str,
        *,
        concurrency: int,
        ttl_seconds: int = 3600,
        server_pid: int = 0,
    ) -> None:
        self._requests = [
            prepare(
                host, port, key,
                {
                    "user_id": f"load-{index}", "permissions": ["publish", "subscribe"],
                    "topics": ["bench/#"], "ttl": ttl_seconds,
                },
            )
            for index in range(4096)
        ]  # fmt: skip
        self._epoll = select.epoll()
        self._exchanges: dict[int, _Exchange] = {}
        self._begun = 0
        self._server_pid = server_pid
        for _ in range(concurrency):
            sock = socket.create_connection((host, port), QUIET_SECONDS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._exchanges[sock.fileno()] = _Exchange(sock)
            self._epoll.register(sock.fileno(), select.EPOLLIN)

    def run(self, *, seconds: float, warmup_seconds: float) -> dict[str, object]:
        clock = time.perf_counter
        for exchange in self._exchanges.values():
            self._ask(exchange)
        measured = clock() + warmup_seconds
        stop = measured + seconds
        times: list[float] = []
        processor: Processor | None = None
        shares: dict[str, object] = {}
        idle = 0
        while idle < len(self._exchanges):
            events = self._epoll.poll(QUIET_SECONDS)
            if not events:
                raise BadStream(f"no answer for {QUIET_SECONDS} s after {len(times)} requests")
            for fd, _ in events:
                exchange = self._exchanges[fd]
                if not self._answered(exchange):
                    continue
                now = clock()
                if now >= stop:
                    shares = shares or (processor.shares() if processor else {})
                    idle += 1
                    continue
                if now >= measured:
                    processor = processor or Processor(self._server_pid)
                    times.append(now - exchange.begun)
                self._ask(exchange)
        if not times:
            raise BadStream("no request was answered in the measured time")
        times.sort()
        return {
            "mode": "tokens", "ok": len(times), "concurrency": len(self._exchanges), "seconds": seconds,
            "per_s": round(len(times) / seconds), "p50_us": round(times[len(times) // 2] * 1e6),
            "p99_us": round(times[int((len(times) - 1) * 0.99)] * 1e6),
            **shares,
        }  # fmt: skip

    def collect(self, count: int) -> list[tuple[str, str]]:
        """Make `count` tokens and return username and password of each."""
        asked = 0
        found: list[tuple[str, str]] = []
        for exchange in list(self._exchanges.values())[:count]:
            self._ask(exchange)
            asked += 1
        while len(found) < count:
            events = self._epoll.poll(QUIET_SECONDS)
            if not events:
                raise BadStream(f"no answer for {QUIET_SECONDS} s after {len(found)} tokens")
            for fd, _ in events:
                exchange = self._exchanges[fd]
                body = self._answered(exchange)
                if not body:
                    continue
                answer = json.loads(body)
                found.append((answer["mqtt_username"], answer["mqtt_password"]))
                if asked < count:
                    self._ask(exchange)
                    asked += 1
        return found

    def close(self) -> None:
        for exchange in self._exchanges.values():
            exchange.sock.close()
        self._epoll.close()

    def _ask(self, exchange: _Exchange) -> None:
        exchange.begun = time.perf_counter()
        exchange.sock.sendall(self._requests[self._begun % len(self._requests)])
        self._begun += 1

    def _answered(self, exchange: _Exchange) -> bytes | None:
        """Read; the body if the answer is complete."""
        chunk = exchange.sock.recv(65536)
        if not chunk:
            raise BadStream("the server closed a keep-alive connection")
        exchange.answer += chunk
        found = read_answer(exchange.answer)
        if found is None:
            return None
        if found[0] != 200:
            raise BadStream(f"a token request was answered {found[0]}: {found[1][:200]!r}")
        exchange.answer = b""
        return found[1]


def run(
    host: str,
    port: int,
    key: str,
    *,
    concurrency: int,
    seconds: float,
    warmup_seconds: float,
    server_pid: int = 0,
) -> dict[str, object]:
    load = Requests(host, port, key, concurrency=concurrency, server_pid=server_pid)
    try:
        return load.run(seconds=seconds, warmup_seconds=warmup_seconds)
    finally:
        load.close()
