"""What decoding costs: memory for each received byte, and time linear in them."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from tokenmq.errors import ProtocolError
from tokenmq.mqtt import codec
from tokenmq.mqtt.properties import UserPropertyLimits

NO_LIMITS = UserPropertyLimits(1 << 30, 1 << 30)
# first byte, body, version, from client: what makes the most objects of the fewest bytes.
DENSE = {
    "publish": (0x30, bytes.fromhex("0002 c3a9 6869"), 4, True),
    "puback": (0x40, bytes.fromhex("0107"), 5, True),
    "pingreq": (0xC0, b"", 5, True),
    "disconnect": (0xE0, b"", 5, True),
    "auth": (0xF0, b"", 5, False),
    "connect": (0x10, bytes.fromhex("0004 4d515454 04 02 0000 0000"), 4, True),
    "connack": (0x20, bytes.fromhex("00 00 00"), 5, False),
    "filters": (0x82, bytes.fromhex("0001") + bytes.fromhex("0000 00") * 10_000, 4, True),
    "long filters": (0x82, bytes.fromhex("0001") + bytes.fromhex("0003 e282ac 00") * 10_000, 4, True),
    "unsubscribe": (0xA2, bytes.fromhex("0001") + bytes.fromhex("0003 e282ac") * 10_000, 4, True),
    "suback": (0x90, bytes.fromhex("0001") + bytes(10_000), 4, False),
    "user properties": (
        *(0x30, bytes.fromhex("0001 61 c8f601") + bytes.fromhex("26 0000 0000") * 6_312, 5, True),
    ),
    "identifiers": (0x30, bytes.fromhex("0001 61 a09c01") + bytes.fromhex("0b 01") * 10_000, 5, False),
}


@pytest.mark.parametrize("case", DENSE.values(), ids=DENSE)
def test_v71_a_received_byte_takes_at_most_64_bytes_of_memory(case: tuple[int, bytes, int, bool]) -> None:
    first, body, version, from_client = case
    times = 200 if len(body) < 20 else 1
    decode = codec.decode
    decode(first, body, 0, len(body), version, from_client=from_client, limits=NO_LIMITS)
    kept = [None] * times
    tracemalloc.start()
    try:
        for at in range(times):
            kept[at] = decode(first, body, 0, len(body), version, from_client=from_client, limits=NO_LIMITS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak / times <= 64 * (len(body) + 2)


@pytest.mark.parametrize("unit", ["0003 e282ac 01", "0000 00"])
def test_time_is_linear_in_the_bytes(unit: str) -> None:
    spent = []
    for number in (1_000, 8_000):
        body = bytes.fromhex("0001" + unit * number)
        best = float("inf")
        for _ in range(3):
            began = time.thread_time()
            codec.decode(*(0x82, body, 0, len(body), 4))
            best = min(best, time.thread_time() - began)
        spent.append(best)
    assert spent[1] < 8 * 4 * spent[0]


def test_v02_an_announced_length_costs_nothing_before_it_is_refused() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError) as caught:
            codec.frame(bytes.fromhex("10 ffffff7f"), 0, 65_536)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.reason_code == 0x95
    assert peak < 4_096


@pytest.mark.parametrize(
    ("written", "largest", "known"),
    [
        ("30 7f", 128, True),
        ("30 7f", 129, False),
        ("30 80", 130, True),
        ("30 80", 131, False),
        ("30 ff ff", 32_770, True),
        ("30 ff ff", 32_771, False),
        ("30", 0, True),
        ("30", 2, False),
    ],
)
def test_too_large_is_told_as_soon_as_it_is_known(written: str, largest: int, known: bool) -> None:
    if known:
        with pytest.raises(ProtocolError) as caught:
            codec.frame(bytes.fromhex(written), 0, largest)
        assert caught.value.reason_code == 0x95
    else:
        assert codec.frame(bytes.fromhex(written), 0, largest) is None


def test_a_wrong_first_byte_is_told_before_the_rest_arrives() -> None:
    for first in (0x00, 0x0F, 0x11, 0x36, 0x38, 0x60, 0x80, 0xA0, 0xFF):
        with pytest.raises(ProtocolError) as caught:
            codec.frame(bytes((first,)), 0, 65_536)
        assert caught.value.reason_code == 0x81
        with pytest.raises(ProtocolError) as caught:
            codec.decode(first, b"", 0, 0, 5)
        assert caught.value.reason_code == 0x81
