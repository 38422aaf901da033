"""The revocation load: how long a connection lasts beyond the answer that says its token is revoked.

Connections are opened, each with a token of its own, and revoked through the real HTTP call: one after the
other, or all in one. Two moments are taken, the answer's last byte and the end of the stream of the last
connection that it closes; where the stream ended first, nothing is left of it at the answer.
"""

import base64
import json
import os
import select
import socket
import time
from dataclasses import dataclass

from bench import issuing, links
from bench.links import Target
from bench.wire import BadStream

QUIET_SECONDS = 30.0
_DISCONNECT, _NOT_AUTHORIZED = 0xE0, 0x87


@dataclass(frozen=True, slots=True)
class Ended:
    """One revocation: seconds from its answer, and from its request, to the last end of a stream."""

    answered: float
    asked: float


def family(token: str) -> str:
    """The token id (`fam`) that stands in a token."""
    payload = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["fam"])


class Revocations:
    """`count` MQTT 5 connections, and one keep-alive HTTP connection that ends them."""

    def __init__(self, target: Target, *, http_port: int, key: str, count: int) -> None:
        self._head = (target.host, http_port, key)
        self._http = socket.create_connection((target.host, http_port), QUIET_SECONDS)
        self._http.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open: dict[int, socket.socket] = {}
        self._tokens: list[tuple[str, int]] = []
        for index in range(count):
            channel, _ = links.open_connection(target, f"r{os.getpid()}-{index}", index)
            if not isinstance(channel, socket.socket):
                raise BadStream("revocations are measured over TCP")
            self._open[channel.fileno()] = channel
            self._tokens.append((target.credential(index)[1] or "", channel.fileno()))

    def one_by_one(self) -> list[Ended]:
        """Revoke each connection's token by itself."""
        return [self._revoke({"token_id": family(token)}, {fd}) for token, fd in self._tokens]

    def at_once(self, key_id: str) -> list[Ended]:
        """Revoke what a key has made, all of it in one call."""
        return [self._revoke({"key_id": key_id}, set(self._open))]

    def close(self) -> None:
        for channel in self._open.values():
            channel.close()
        self._http.close()

    def _revoke(self, body: dict[str, object], ending: set[int]) -> Ended:
        """Ask, and wait for the answer and for the end of all streams that it ends."""
        request = issuing.prepare(*self._head, body, path="/v2/tokens/revoke")
        epoll = select.epoll()
        for fd in (*ending, self._http.fileno()):
            epoll.register(fd, select.EPOLLIN)
        said: dict[int, bytes] = {}
        answer, answered, last = b"", 0.0, 0.0
        begun = time.perf_counter()
        self._http.sendall(request)
        while not answered or ending:
            events = epoll.poll(QUIET_SECONDS)
            if not events:
                raise BadStream(f"{len(ending)} connections live {QUIET_SECONDS} s after their revocation")
            for fd, _ in events:
                if fd == self._http.fileno():
                    answer += self._http.recv(65_536)
                    answered = time.perf_counter() if _is_complete(answer) else 0.0
                    continue
                chunk = self._open[fd].recv(4_096)
                if chunk:
                    said[fd] = said.get(fd, b"") + chunk
                    continue
                last = time.perf_counter()
                _check(said.get(fd, b""))
                self._open.pop(fd).close()  # takes it out of the epoll set, too
                ending.discard(fd)
        epoll.close()
        return Ended(max(0.0, last - answered), last - begun)


def run(target: Target, *, http_port: int, key: str, count: int, key_id: str = "") -> dict[str, object]:
    """Measure `count` connections: each by itself, or with `key_id` all in one call.

    The figures are microseconds, 1 where the streams had ended at the answer: the 99th percentile.
    """
    load = Revocations(target, http_port=http_port, key=key, count=count)
    try:
        ended = load.at_once(key_id) if key_id else load.one_by_one()
    finally:
        load.close()
    return {
        "mode": "revoke", "ok": count, "calls": len(ended),
        "answered_us": _p99([one.answered for one in ended]),
        "asked_us": _p99([one.asked for one in ended]),
        "generator_cpu": None, "server_cpu": None,
    }  # fmt: skip


def _is_complete(answer: bytes) -> bool:
    found = issuing.read_answer(answer)
    if found is not None and found[0] != 200:
        raise BadStream(f"a revocation was answered {found[0]}: {found[1][:200]!r}")
    return found is not None


def _check(said: bytes) -> None:
    """Refuse an end that does not say why: DISCONNECT 0x87."""
    if len(said) < 3 or (said[0], said[2]) != (_DISCONNECT, _NOT_AUTHORIZED):
        raise BadStream(f"a revoked connection ended with {said[:20]!r}")


def _p99(seconds: list[float]) -> int:
    return max(1, round(sorted(seconds)[int((len(seconds) - 1) * 0.99)] * 1e6))
