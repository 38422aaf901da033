from collections.abc import Callable

import pytest
from bench.ring import Ring
from bench.streams import Acknowledgements, Receiver
from bench.wire import BadStream
from hypothesis import given
from hypothesis import strategies as st

from bench import ring, wire

SLOTS = 32


def rings(qos: int, version: int) -> list[Ring]:
    block = wire.common_properties() if version == 5 else b""
    return [
        ring.fixed("bench/0", slots=SLOTS, payload_bytes=64, qos=qos, version=version, properties=block),
        ring.varied("bench/0", slots=SLOTS, qos=qos, version=version, properties=block),
    ]


def delivered(one: Ring, count: int, *, first_id: int = 500) -> list[bytes]:
    """The packets of `count` messages with the packet ids that a broker might choose."""
    packets = []
    for message in range(count):
        slot = message % one.slots
        packet = bytearray(one.packets[slot])
        at = one.id_offsets[slot] - one.offsets[slot]
        if packet[0] & 6:
            packet[at : at + 2] = (first_id + message).to_bytes(2, "big")
        packets.append(bytes(packet))
    return packets


def feed(stream: Receiver | Acknowledgements, chunks: list[bytes]) -> bytes:
    """Give a stream chunk after chunk as the loop does; return all it answered."""
    buffer = bytearray(1 << 16)
    view = memoryview(buffer)
    answered = b""
    for chunk in chunks:
        kept = len(stream.tail)
        buffer[:kept] = stream.tail
        buffer[kept : kept + len(chunk)] = chunk
        stream.answer = b""
        stream.take(buffer, view, kept + len(chunk))
        answered += bytes(stream.answer)
    return answered


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut data into chunks of these sizes, round and round."""
    chunks = []
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        chunks.append(data[at : at + size])
        at += size
        turn += 1
    return chunks


CHUNKING = st.lists(st.integers(1, 1500), min_size=1, max_size=8)


@given(CHUNKING, st.sampled_from([0, 1]), st.sampled_from([4, 5]), st.booleans(), st.booleans())
def test_any_chunking_counts_every_message_and_acknowledges_each(
    sizes: list[int], qos: int, version: int, varied: bool, strict: bool
) -> None:
    one = rings(qos, version)[varied]
    receiver = Receiver(one, qos=qos, version=version, strict=strict)
    answered = feed(receiver, cut(b"".join(delivered(one, 70)), sizes))
    assert receiver.count == 70
    assert receiver.tail == b""
    assert receiver.parsed == (70 if strict else 0)
    wanted = (
        b"".join(b"\x40\x02" + (500 + message).to_bytes(2, "big") for message in range(70)) if qos else b""
    )
    assert answered == wanted


FAULTS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "lost": lambda packets: packets[:5] + packets[6:],
    "doubled": lambda packets: packets[:5] + packets[4:],
    "reordered": lambda packets: [*packets[:5], packets[6], packets[5], *packets[7:]],
    "altered": lambda packets: [*packets[:5], packets[5][:-1] + b"\xff", *packets[6:]],
    "marked as sent before": lambda packets: [*packets[:5], b"\x3a" + packets[5][1:], *packets[6:]],
    "another kind": lambda packets: [*packets[:5], b"\xe0\x00", *packets[5:]],
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("varied", [False, True], ids=["fixed", "varied"])
@pytest.mark.parametrize("strict", [False, True], ids=["compared", "parsed"])
@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("size", [60, 2000])
def test_a_stream_with_a_fault_is_noticed(
    fault: str, varied: bool, strict: bool, qos: int, size: int
) -> None:
    one = rings(qos, 4)[varied]
    receiver = Receiver(one, qos=qos, version=4, strict=strict)
    with pytest.raises(BadStream):
        feed(receiver, cut(b"".join(FAULTS[fault](delivered(one, 20))), [size]))


@pytest.mark.parametrize("varied", [False, True], ids=["fixed", "varied"])
def test_properties_in_another_order_are_parsed_and_accepted_with_their_ids(varied: bool) -> None:
    one = rings(1, 5)[varied]
    block = wire.common_properties()
    turned = block[2:] + block[:2]
    packets = [packet.replace(block, turned) for packet in delivered(one, 40)]
    receiver = Receiver(one, qos=1, version=5)
    answered = feed(receiver, cut(b"".join(packets), [777]))
    assert receiver.count == receiver.parsed == 40
    assert answered[2::4] + answered[3::4] == (
        bytes((500 + message) >> 8 for message in range(40))
        + bytes((500 + message) & 255 for message in range(40))
    )


def test_a_missing_property_is_noticed() -> None:
    one = rings(0, 5)[0]
    plain = ring.fixed("bench/0", slots=SLOTS, payload_bytes=64, qos=0, version=5)
    with pytest.raises(BadStream):
        feed(Receiver(one, qos=0, version=5), [b"".join(plain.packets[:2])])


@given(CHUNKING)
def test_pubacks_are_counted_in_any_chunking(sizes: list[int]) -> None:
    acknowledged = Acknowledgements(SLOTS)
    data = b"".join(b"\x40\x02" + (message % SLOTS + 1).to_bytes(2, "big") for message in range(100))
    assert feed(acknowledged, cut(data, sizes)) == b""
    assert acknowledged.count == 100


def test_pubacks_with_reason_code_are_counted_and_a_refusal_is_noticed() -> None:
    acknowledged = Acknowledgements(SLOTS)
    feed(acknowledged, [b"\x40\x03\x00\x01\x10", b"\x40\x02\x00\x02"])
    assert acknowledged.count == 2
    with pytest.raises(BadStream, match="0x87"):
        feed(acknowledged, [b"\x40\x03\x00\x03\x87"])


def test_a_puback_out_of_order_is_noticed() -> None:
    with pytest.raises(BadStream):
        feed(Acknowledgements(SLOTS), [b"\x40\x02\x00\x02"])


def test_a_publisher_at_qos_0_gets_nothing() -> None:
    with pytest.raises(BadStream):
        feed(Acknowledgements(0), [b"\x40\x02\x00\x01"])
