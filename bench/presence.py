"""The presence load: members on one topic, watchers of it, and some who join and leave at a rate.

`watched`: what is timed is the way from a SUBSCRIBE or UNSUBSCRIBE to the event at one of the watchers, which
parses what it gets; the others only read. `unwatched`: some clients join and leave as fast as they are
acknowledged, on a topic that nobody watches, while somebody watches another one, or nobody does.
"""

import json
import os
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench import links, wire
from bench.links import Channel, Target
from bench.processor import Processor
from bench.wire import BadStream

TOPIC = "bench/room"
TOGGLERS = 100
_TICK_SECONDS = 0.001
_BATCH = 20
_READ_BYTES = 1 << 18
_PUBLISH, _SUBACK, _UNSUBACK = 3, 9, 11


def unsubscribe(topic_filter: str, *, version: int) -> bytes:
    """Encode an UNSUBSCRIBE."""
    properties = b"\x00" if version == 5 else b""
    return wire.packet(0xA2, b"\x00\x01" + properties + wire.text(topic_filter))


@dataclass(slots=True)
class Stream:
    """What a connection has sent that is not a whole packet yet."""

    channel: Channel
    rest: bytes = b""

    def packets(self) -> Iterator[tuple[int, bytes]]:
        """Read what has come; yield the first byte and the body of each whole packet."""
        buffer = bytearray(_READ_BYTES)
        try:
            got = self.channel.recv_into(memoryview(buffer))
        except BlockingIOError:
            return
        if not got:
            raise BadStream("the broker closed a connection")
        data, at = self.rest + bytes(buffer[:got]), 0
        while (frame := wire.read_frame(data, at, len(data))) is not None:
            first, start, at = frame
            yield first, data[start:at]
        self.rest = data[at:]


def server_of(target: Target, key: str) -> Target:
    """Return the same target with the credentials of a server, which may watch everything."""
    org_id = target.credentials[0][0].rpartition("@")[2]
    return Target(target.host, target.port, target.version, credentials=((f"server@{org_id}", key),))


def watch(target: Target, key: str, count: int, watched: str) -> list[Channel]:
    """Open connections that watch a filter."""
    watchers = []
    for index in range(count):
        channel, _ = links.open_connection(server_of(target, key), f"w{os.getpid()}-{index}", 0)
        channel.send(wire.subscribe(f"$presence/{watched}", qos=0, version=target.version))
        channel.setblocking(False)
        watchers.append(channel)
    return watchers


def members(target: Target, count: int, *, begin: int = 0) -> list[Channel]:
    """Open connections of users that are present on the topic."""
    found = []
    for index in range(begin, begin + count):
        channel, _ = links.open_connection(target, f"m{os.getpid()}-{index}", index)
        links.subscribe(channel, TOPIC, qos=0, version=target.version)
        found.append(channel)
    return found


class Watched:
    """Joins and leaves at a rate, and when they are heard of."""

    def __init__(self, target: Target, key: str, *, count: int, watchers: int) -> None:
        self._version = target.version
        self._held = members(target, count, begin=TOGGLERS)
        self._togglers = members(target, TOGGLERS)
        self._users = [target.credential(index)[0] or "" for index in range(TOGGLERS)]
        self._watchers = watch(target, key, watchers, TOPIC)
        self._sent: dict[str, float] = {}
        self.delays: list[float] = []
        self.events = self.bytes = 0

    def run(self, seconds: float, per_second: float, warmup_seconds: float, server_pid: int) -> Processor:
        """Toggle at the rate; what the warm-up found does not count."""
        self._drain(1.0)
        epoll, first = select.epoll(), Stream(self._watchers[0])
        for channel in (*self._watchers, *self._togglers):
            channel.setblocking(False)
            epoll.register(channel.fileno(), select.EPOLLIN)
        others = {one.fileno(): one for one in (*self._watchers[1:], *self._togglers)}
        sink = memoryview(bytearray(_READ_BYTES))
        processor, begun, turn, counted = Processor(server_pid), time.perf_counter(), 0, False
        while (elapsed := time.perf_counter() - begun) < warmup_seconds + seconds:
            if not counted and elapsed >= warmup_seconds:
                counted, self.events, self.bytes = True, 0, 0
                self.delays.clear()
                processor.start()
            while turn < elapsed * per_second:
                self._toggle(turn)
                turn += 1
            for fd, _ in epoll.poll(_TICK_SECONDS):
                if fd == first.channel.fileno():
                    self._hear(first)
                else:
                    self.bytes += others[fd].recv_into(sink)
        return processor

    def _drain(self, seconds: float) -> None:
        """Let the snapshots come in, which are of no interest here."""
        sink, until = memoryview(bytearray(_READ_BYTES)), time.perf_counter() + seconds
        epoll, channels = select.epoll(), {one.fileno(): one for one in self._watchers}
        first = Stream(self._watchers[0])
        for fd in channels:
            epoll.register(fd, select.EPOLLIN)
        while (rest := until - time.perf_counter()) > 0:
            for fd, _ in epoll.poll(rest):
                if channels[fd] is first.channel:
                    for _ in first.packets():
                        pass
                else:
                    channels[fd].recv_into(sink)

    def _toggle(self, turn: int) -> None:
        index, round_ = turn % TOGGLERS, turn // TOGGLERS
        if round_ % 2:
            packet = wire.subscribe(TOPIC, qos=0, version=self._version)
        else:
            packet = unsubscribe(TOPIC, version=self._version)
        user_id = self._users[index].rpartition("@")[0]
        self._sent[user_id] = time.perf_counter()
        self._togglers[index].send(packet)

    def _hear(self, stream: Stream) -> None:
        for first, body in stream.packets():
            if first >> 4 != _PUBLISH:
                continue
            size = int.from_bytes(body[:2], "big")
            told = json.loads(body[2 + size :][1:] if self._version == 5 else body[2 + size :])
            now = time.perf_counter()
            for event in told.get("events", [told]):
                if event["event"] in ("join", "leave"):
                    self.events += 1
                    if (at := self._sent.pop(event["user_id"], None)) is not None:
                        self.delays.append(now - at)

    def close(self) -> None:
        for channel in (*self._held, *self._togglers, *self._watchers):
            channel.close()


def watched(
    target: Target,
    key: str,
    *,
    count: int,
    watchers: int,
    per_second: float,
    seconds: float,
    warmup_seconds: float,
) -> dict[str, object]:
    """Measure events to watchers: the 99th percentile of their delay, in microseconds."""
    load = Watched(target, key, count=count, watchers=watchers)
    try:
        processor = load.run(seconds, per_second, warmup_seconds, target.server_pid)
        shares = processor.shares()
    finally:
        load.close()
    delays = sorted(load.delays)
    if not delays or load.events < 0.9 * per_second * seconds:
        raise BadStream(f"{load.events} events came in {seconds} s, {per_second:.0f} a second were due")
    return {
        "mode": "presence", "events": load.events, "per_s": round(load.events / seconds, 1),
        "p50_us": round(delays[len(delays) // 2] * 1e6),
        "p99_us": round(delays[int((len(delays) - 1) * 0.99)] * 1e6), **shares,
    }  # fmt: skip


def unwatched(
    target: Target, key: str, *, elsewhere: int, seconds: float, warmup_seconds: float
) -> dict[str, object]:
    """Measure joins and leaves that nobody watches, while some watch another filter."""
    watchers = watch(target, key, elsewhere, "bench/elsewhere")
    streams = {one.fileno(): Stream(one) for one in members(target, 10)}
    pair = unsubscribe(TOPIC, version=target.version)
    pair += wire.subscribe(TOPIC, qos=0, version=target.version)
    epoll, processor, done, counted = select.epoll(), Processor(target.server_pid), 0, False
    waits = dict.fromkeys(streams, 2 * _BATCH)
    for fd, stream in streams.items():
        stream.channel.setblocking(False)
        epoll.register(fd, select.EPOLLIN)
        stream.channel.send(pair * _BATCH)
    begun = time.perf_counter()
    while (elapsed := time.perf_counter() - begun) < warmup_seconds + seconds:
        if not counted and elapsed >= warmup_seconds:
            counted, done = True, 0
            processor.start()
        for fd, _ in epoll.poll(0.1):
            for first, _ in streams[fd].packets():
                if first >> 4 not in (_SUBACK, _UNSUBACK):
                    raise BadStream(f"a join was answered with a packet that begins {first:#04x}")
                waits[fd] -= 1
                done += 1
            if not waits[fd]:
                waits[fd] = 2 * _BATCH
                streams[fd].channel.send(pair * _BATCH)
    shares = processor.shares()
    for channel in (*watchers, *(stream.channel for stream in streams.values())):
        channel.close()
    return {"mode": "presence", "per_s": round(done / seconds, 1), **shares}
