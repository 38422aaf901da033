"""What is done to bytes: one packet bent, and the packets of a connection put out of order.

Pure functions of a `Random` and bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from fuzz.packets import MAX_VARIABLE, two, variable


def bend(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Change one packet in one way or several.

    Args:
        random: where every choice comes from.
        data: the packet.
        others: packets that it may be joined with.
    """
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        if data:
            data = random.choice(_BENDS)(random, data, others)
    return data


def disorder(random: Random, packets: list[bytes]) -> list[bytes]:
    """Repeat, leave out, exchange or turn round packets."""
    packets = list(packets)
    at = random.randrange(len(packets))
    match random.randrange(6):
        case 0:
            packets[at:at] = [packets[at]] * random.choice((1, 2, 30))
        case 1:
            del packets[at]
        case 2:
            other = random.randrange(len(packets))
            packets[at], packets[other] = packets[other], packets[at]
        case 3:
            packets.reverse()
        case 4:
            random.shuffle(packets)
        case _:
            packets.append(packets[0])
    return packets


def cut(random: Random, data: bytes) -> list[bytes]:
    """Divide a stream into the pieces in which it is sent."""
    match random.randrange(4):
        case 0:
            return [data]
        case 1:
            size = random.choice((1, 2, 3, 7)) if len(data) < 200 else random.randint(50, 400)
            return [data[at : at + size] for at in range(0, len(data), size)]
        case _:
            borders = sorted(random.randrange(len(data) + 1) for _ in range(random.choice((1, 2, 5))))
            pieces = [data[a:b] for a, b in zip([0, *borders], [*borders, len(data)], strict=True)]
            return [piece for piece in pieces if piece]


def _flip(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _count in range(random.choice((1, 1, 2, 8))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _set(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    changed[random.randrange(len(changed))] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
    return bytes(changed)


def _truncate(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _truncate_truly(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Take from the end, and say so in the header: the fields end too early."""
    body = _body(data)
    return data[:1] + _announce(body[: random.randrange(len(body) + 1)])


def _extend(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[:1] + _announce(_body(data) + random.randbytes(random.choice((1, 2, 40))))


def _remove(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + data[at + random.choice((1, 2, 4)) :]


def _insert(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.randbytes(random.choice((1, 2, 4))) + data[at:]


def _double(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    body = _body(data)
    at = random.randrange(len(body) + 1)
    size = random.choice((1, 4, 20))
    return data[:1] + _announce(
        body[:at] + body[at : at + size] * random.choice((2, 3, 50)) + body[at + size :]
    )


def _lie_of_length(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    body = _body(data)
    size = len(body)
    lies = (
        variable(max(0, size - 1)), variable(size + 1), variable(size + random.randint(2, 3_000)),
        variable(0), b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff\x7f", b"\x80\x80\x80\x80\x00",
        variable(MAX_VARIABLE - 1), bytes((size & 0x7F | 0x80, 0x80, 0x00)),
        variable(70_000), variable(1_048_577),
    )  # fmt: skip
    return data[:1] + random.choice(lies) + body


def _lie_inside(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Write another length, or number, over two bytes."""
    at = random.randrange(max(1, len(data) - 1))
    value = random.choice((0, 1, 0xFFFF, 0xFF, len(data), random.randrange(0x10000)))
    return data[:at] + two(value) + data[at + 2 :]


def _splice(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = random.choice(others) if others else data
    joined = data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]
    if joined and random.random() < 0.5:
        return joined[:1] + _announce(_body(joined))
    return joined


def _first_byte(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return bytes((random.randrange(256),)) + data[1:]


def _body(data: bytes) -> bytes:
    """Return what stands behind the fixed header, as far as there is one."""
    at = 1
    while at < min(len(data), 5) and data[at] & 0x80:
        at += 1
    return data[at + 1 :]


def _announce(body: bytes) -> bytes:
    return variable(len(body)) + body


_BENDS: Final[tuple[Callable[[Random, bytes, Sequence[bytes]], bytes], ...]] = (
    _flip, _flip, _set, _truncate, _truncate_truly, _extend, _remove, _insert, _double, _lie_of_length,
    _lie_inside, _lie_inside, _splice, _first_byte,
)  # fmt: skip
