from collections.abc import Callable

import pytest
from bench.exact import ExactAcknowledgements, ExactReceiver
from bench.ring import Ring
from bench.wire import BadStream
from hypothesis import given
from hypothesis import strategies as st

from bench import ring, wire

SLOTS = 32
FIRST_ID = 500
CHUNKING = st.lists(st.integers(1, 1500), min_size=1, max_size=8)


def rings(version: int) -> list[Ring]:
    block = wire.common_properties() if version == 5 else b""
    return [
        ring.fixed("bench/0", slots=SLOTS, payload_bytes=64, qos=2, version=version, properties=block),
        ring.varied("bench/0", slots=SLOTS, qos=2, version=version, properties=block),
    ]


def packet(first: int, packet_id: int) -> bytes:
    return bytes((first, 2)) + packet_id.to_bytes(2, "big")


def flow(one: Ring, count: int) -> list[bytes]:
    """What a broker sends for `count` messages: three messages, their PUBRELs, three messages, …"""
    sent: list[bytes] = []
    for start in range(0, count, 3):
        numbers = range(start, min(start + 3, count))
        for number in numbers:
            slot = number % one.slots
            message = bytearray(one.packets[slot])
            at = one.id_offsets[slot] - one.offsets[slot]
            message[at : at + 2] = (FIRST_ID + number).to_bytes(2, "big")
            sent.append(bytes(message))
        sent += [packet(0x62, FIRST_ID + number) for number in numbers]
    return sent


def feed(stream: ExactReceiver | ExactAcknowledgements, data: bytes, sizes: list[int]) -> bytes:
    """Give a stream chunk after chunk as the loop does; return all it answered."""
    buffer = bytearray(1 << 16)
    view = memoryview(buffer)
    answered = b""
    at = turn = 0
    while at < len(data):
        chunk = data[at : at + sizes[turn % len(sizes)]]
        at += len(chunk)
        turn += 1
        kept = len(stream.tail)
        buffer[:kept] = stream.tail
        buffer[kept : kept + len(chunk)] = chunk
        stream.answer = b""
        stream.take(buffer, view, kept + len(chunk))
        answered += bytes(stream.answer)
    return answered


@given(CHUNKING, st.sampled_from([4, 5]), st.booleans(), st.booleans())
def test_any_chunking_counts_every_message_once_and_answers_each_packet_in_order(
    sizes: list[int], version: int, varied: bool, strict: bool
) -> None:
    one = rings(version)[varied]
    sent = flow(one, 70)
    receiver = ExactReceiver(one, version=version, strict=strict)
    answered = feed(receiver, b"".join(sent), sizes)
    assert (receiver.count, receiver.tail, receiver.settled) == (70, b"", True)
    assert answered[0::4] == bytes(0x50 if one[0] == 0x34 else 0x70 for one in sent)
    pubrecs = [answered[at : at + 4] for at in range(0, len(answered), 4) if answered[at] == 0x50]
    assert pubrecs == [packet(0x50, FIRST_ID + number) for number in range(70)]
    assert (receiver.parsed == 0) is (not varied and not strict)


FAULTS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "a message lost": lambda sent: sent[:6] + sent[7:],
    "a message doubled": lambda sent: sent[:7] + sent[6:],
    "messages reordered": lambda sent: [*sent[:6], sent[7], sent[6], *sent[8:]],
    "a message altered": lambda sent: [*sent[:6], sent[6][:-1] + b"\xff", *sent[7:]],
    "a message sent again with DUP": lambda sent: [*sent[:7], b"\x3c" + sent[6][1:], *sent[7:]],
    "a PUBREL lost": lambda sent: sent[:4] + sent[5:],
    "a PUBREL doubled": lambda sent: sent[:4] + sent[3:],
    "PUBRELs reordered": lambda sent: [*sent[:3], sent[4], sent[3], *sent[5:]],
    "a PUBREL that refuses": lambda sent: [*sent[:3], b"\x62\x03" + sent[3][2:] + b"\x92", *sent[4:]],
    "a packet id used again before its PUBREL": lambda sent: [
        *sent[:3], sent[6].replace((FIRST_ID + 3).to_bytes(2, "big"), FIRST_ID.to_bytes(2, "big")),
    ],
    "a PUBREL without packet id": lambda sent: [*sent[:3], b"\x62\x00", *sent[3:]],
    "another kind of packet": lambda sent: [*sent[:6], b"\xe0\x00", *sent[6:]],
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("varied", [False, True], ids=["fixed", "varied"])
@pytest.mark.parametrize("strict", [False, True], ids=["compared", "parsed"])
@pytest.mark.parametrize("size", [60, 4000])
def test_a_flow_with_a_fault_is_noticed(fault: str, varied: bool, strict: bool, size: int) -> None:
    one = rings(4)[varied]
    receiver = ExactReceiver(one, version=4, strict=strict)
    with pytest.raises(BadStream):
        feed(receiver, b"".join(FAULTS[fault](flow(one, 21))), [size])


def test_a_message_without_its_pubrel_is_not_settled() -> None:
    one = rings(4)[0]
    receiver = ExactReceiver(one, version=4)
    feed(receiver, b"".join(flow(one, 3)[:5]), [4000])
    assert (receiver.count, receiver.settled) == (3, False)


@given(CHUNKING)
def test_pubrec_is_answered_with_pubrel_and_pubcomp_counts(sizes: list[int]) -> None:
    acknowledged = ExactAcknowledgements(SLOTS)
    ids = [number % SLOTS + 1 for number in range(100)]
    data = b"".join(packet(0x50, one) + packet(0x70, one) for one in ids)
    assert feed(acknowledged, data, sizes) == b"".join(packet(0x62, one) for one in ids)
    assert (acknowledged.count, acknowledged.tail) == (100, b"")


@pytest.mark.parametrize(
    "data",
    [
        packet(0x50, 2),
        packet(0x50, 1) + packet(0x50, 1),
        packet(0x50, 1) + packet(0x70, 2),
        packet(0x50, 1) + packet(0x70, 1) + packet(0x70, 1),
        packet(0x70, 1),
        packet(0x40, 1),
        b"\x50\x03\x00\x01\x97",
        b"\x50\x01\x00",
    ],
    ids=[
        "PUBREC out of order", "PUBREC doubled", "PUBCOMP out of order", "PUBCOMP doubled",
        "PUBCOMP without PUBREC", "PUBACK", "refusal", "no packet id",
    ],
)  # fmt: skip
def test_an_acknowledgement_with_a_fault_is_noticed(data: bytes) -> None:
    with pytest.raises(BadStream):
        feed(ExactAcknowledgements(SLOTS), data, [4000])


def test_acknowledgements_with_a_reason_code_that_does_not_refuse_count() -> None:
    acknowledged = ExactAcknowledgements(SLOTS)
    assert feed(acknowledged, b"\x50\x03\x00\x01\x10\x70\x02\x00\x01", [4000]) == packet(0x62, 1)
    assert acknowledged.count == 1
