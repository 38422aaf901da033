"""What one connection does: its packets, how they are cut and sent, how it ends.

A script follows from the seed and the connection's number alone, so that any connection of
a run can be repeated by itself: `python -m fuzz --seed S --first N --connections 1`.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Literal

from fuzz import frames, mutations
from fuzz.packets import Credential, Maker

Transport = Literal["tcp", "websocket"]
PINGREQ = b"\xc0\x00"
# The service's own defaults; what is announced beyond them must be refused.
MAX_CONNECT_BYTES = 65_536
MAX_PACKET_BYTES = 1_048_576


class Ending(enum.Enum):
    """How a connection ends, and what is asked of the service."""

    ANSWER = "PINGREQ at the end is answered, or the connection is closed"
    REFUSAL = "the connection is closed without another byte"
    HALF_CLOSE = "the connection is closed after our FIN"
    STALL = "the connection is closed when the time to connect is over"
    LINGER = "our end stays open when the service has closed, and it cuts the connection"
    RESET = "nothing: it is cut"
    DEAF = "nothing: it does not read, and is cut"


@dataclass(frozen=True, slots=True)
class Step:
    """Bytes that are written at once.

    Attributes:
        data: these.
        packets: how many packets begin in them.
        awaits: what must come, or the end of the connection, before more is written.
    """

    data: bytes
    packets: int
    awaits: Literal["", "upgrade", "packet"] = ""


@dataclass(frozen=True, slots=True)
class Script:
    """What one connection does.

    Attributes:
        number: which connection of the run it is.
        transport: what carries it.
        version: 4 or 5, as its packets were made.
        steps: what is sent, in order.
        ending: how it ends.
        pings: PINGRESPs that must have come at the end if the connection stands.
        packets: what was made, for whoever looks for a cause.
    """

    number: int
    transport: Transport
    version: int
    steps: tuple[Step, ...]
    ending: Ending
    pings: int
    packets: tuple[bytes, ...]


def script(
    seed: int, number: int, transports: Sequence[Transport], credentials: Sequence[Credential]
) -> Script:
    """Make the script of a connection."""
    random = Random(f"{seed}/{number}")
    transport = random.choice(transports)
    version = random.choice((4, 5, 5))
    maker = Maker(random, version, credentials, strange=random.choice((0.0, 0.0, 0.002, 0.01, 0.1)))
    packets = _packets(random, maker)
    if random.random() < 0.01:
        return _stalled(random, number, transport, version, packets)
    stream, walk = frames.complete(
        random, b"".join(packets), max_first=MAX_CONNECT_BYTES, max_packet=MAX_PACKET_BYTES
    )
    ending = random.choices(
        (Ending.ANSWER, Ending.HALF_CLOSE, Ending.RESET, Ending.DEAF), weights=(70, 10, 15, 1)
    )[0]
    pings = walk.pings
    if walk.fatal:
        ending = _linger(random, Ending.REFUSAL)
    elif walk.missing:
        ending = Ending.HALF_CLOSE
    elif ending is Ending.ANSWER:
        stream += PINGREQ
        pings += 1
    steps = _steps(random, stream, walk.starts)
    if transport == "websocket":
        steps, ending = _framed(random, steps, ending)
    return Script(number, transport, version, tuple(steps), ending, pings, tuple(packets))


def _packets(random: Random, maker: Maker) -> list[bytes]:
    """Make the packets of a connection: a CONNECT, what follows, and what is wrong with it."""
    kinds, weights = list(maker.kinds), list(maker.kinds.values())
    chosen = random.choices(kinds, weights, k=random.choice((1, 4, 8, 12, 20, 30)))
    packets = [maker.connect(), *(make(maker) for make in chosen)]
    rate = random.choice((0.0, 0.0, 0.02, 0.05, 0.2))
    for at in range(len(packets)):
        # A CONNECT that is refused ends everything: it is bent less often.
        if random.random() < (rate if at else rate / 4):
            packets[at] = mutations.bend(random, packets[at], packets)
    if random.random() < 0.05:
        # All of it is wrong in the end: most of what is refused is refused here.
        packets.append(mutations.bend(random, packets[-1], packets))
    if random.random() < 0.1:
        packets[1:] = mutations.disorder(random, packets[1:])
    if random.random() < 0.03:
        packets = mutations.disorder(random, packets)
    return [packet for packet in packets if packet] or [PINGREQ]


def _steps(random: Random, stream: bytes, starts: Sequence[int]) -> list[Step]:
    """Cut the stream: the first packet by itself, then four packets at a time, or pieces of these."""
    borders = [*starts[:1], *starts[1::4], len(stream)]
    awaits = len(starts) > 1 and random.random() < 0.7
    steps: list[Step] = []
    for start, stop in pairwise(borders):
        part = stream[start:stop]
        pieces = mutations.cut(random, part) if random.random() < 0.2 else [part]
        at = start
        for piece in pieces:
            steps.append(Step(piece, sum(at <= begin < at + len(piece) for begin in starts)))
            at += len(piece)
        if start == 0 and awaits:
            steps[-1] = dataclasses.replace(steps[-1], awaits="packet")
    return steps


def _framed(random: Random, steps: list[Step], ending: Ending) -> tuple[list[Step], Ending]:
    """Put the steps into frames behind an upgrade; some of it wrong at times."""
    opening = frames.upgrade(random, "127.0.0.1")
    if random.random() < 0.03:
        bent = [Step(mutations.bend(random, opening, ()), 0)]
        return bent + [dataclasses.replace(step, awaits="") for step in steps], Ending.HALF_CLOSE
    framed = [dataclasses.replace(step, data=frames.framed(random, step.data)) for step in steps]
    if random.random() < 0.1:
        at = random.randrange(len(framed))
        framed = [dataclasses.replace(step, awaits="") for step in framed]
        framed[at] = Step(frames.bad_frame(random, steps[at].data), steps[at].packets)
        ending = Ending.HALF_CLOSE
    return [Step(opening, 0, "upgrade"), *framed], ending


def _stalled(random: Random, number: int, transport: Transport, version: int, packets: list[bytes]) -> Script:
    """Begin and say no more: an upgrade or a CONNECT that is never finished."""
    opening = frames.upgrade(random, "127.0.0.1")
    begun = bytes((0x10,)) + packets[0][1:]
    begun = begun[: random.randrange(1, min(len(begun), 12))]
    if transport == "websocket":
        if random.random() < 0.5:
            steps = [Step(opening[: random.randrange(1, len(opening) - 4)], 0)]
        else:
            steps = [Step(opening, 0, "upgrade"), Step(frames.masked(random, begun), 1)]
    else:
        steps = [Step(begun, 1)]
    return Script(number, transport, version, tuple(steps), _linger(random, Ending.STALL), 0, (begun,))


def _linger(random: Random, ending: Ending) -> Ending:
    """Leave our end open at times, where the service must close without our doing."""
    return Ending.LINGER if random.random() < 0.1 else ending
