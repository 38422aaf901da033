import itertools

import pytest
from bench.wire import BadStream
from hypothesis import given
from hypothesis import strategies as st

from bench import wire


@pytest.mark.parametrize(
    ("number", "encoded"),
    [
        (0, b"\x00"),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (16383, b"\xff\x7f"),
        (268435455, b"\xff\xff\xff\x7f"),
    ],
)
def test_variable_byte_integers_are_those_of_the_standard(number: int, encoded: bytes) -> None:
    assert wire.variable(number) == encoded
    assert wire.read_variable(encoded, 0) == (number, len(encoded))


def test_connect_with_credentials_is_as_the_standard_draws_it() -> None:
    assert wire.connect("c", version=4, username="u", password="p") == (
        b"\x10\x13\x00\x04MQTT\x04\xc2\x01\x2c\x00\x01c\x00\x01u\x00\x01p"
    )
    assert wire.connect("c", version=5) == b"\x10\x0e\x00\x04MQTT\x05\x02\x01\x2c\x00\x00\x01c"


def test_connect_for_a_session_that_outlives_its_connection() -> None:
    assert wire.connect("c", version=4, clean=False)[8:12] == b"\x04\x00\x01\x2c"
    assert wire.connect("c", version=5, clean=False) == (
        b"\x10\x13\x00\x04MQTT\x05\x00\x01\x2c\x05\x11\x00\x00\x0e\x10\x00\x01c"
    )


def test_subscribe_asks_for_its_filters() -> None:
    assert wire.subscribe("a/b", qos=1, version=4) == b"\x82\x08\x00\x01\x00\x03a/b\x01"
    assert wire.subscribe("a", "b", qos=1, version=4) == b"\x82\x0a\x00\x01\x00\x01a\x01\x00\x01b\x01"
    assert wire.subscribe("a/b", qos=0, version=5, packet_id=7) == b"\x82\x09\x00\x07\x00\x00\x03a/b\x00"


@pytest.mark.parametrize("version", [4, 5])
def test_the_filters_of_a_subscribe_and_the_codes_of_its_suback_are_found(version: int) -> None:
    built = wire.subscribe("a/b", "c/#", qos=1, version=version)
    assert wire.filters(built, 2, len(built), version) == [(b"a/b", 1), (b"c/#", 1)]
    body = b"\x00\x01" + (b"\x04\x1f\x00\x01x" if version == 5 else b"") + b"\x01\x80"
    assert wire.suback(body, 0, len(body), version) == b"\x01\x80"


@given(
    st.text("ab/", min_size=1, max_size=40),
    st.binary(max_size=300),
    st.sampled_from([0, 1, 2]),
    st.sampled_from([4, 5]),
)
def test_publish_is_read_as_it_was_built(topic: str, payload: bytes, qos: int, version: int) -> None:
    properties = wire.common_properties() if version == 5 else b""
    built = wire.publish(topic, payload, qos=qos, version=version, packet_id=258, properties=properties)
    found = wire.read_frame(built, 0, len(built))
    assert found is not None
    first, start, stop = found
    assert first == 0x30 | qos << 1
    assert stop == len(built)
    assert wire.delivery(first, built, start, stop, version) == (
        topic.encode(), 258 if qos else 0, wire.split_properties(properties), payload,
    )  # fmt: skip


def test_every_truncation_is_incomplete() -> None:
    built = wire.publish("a/b", bytes(200), qos=1, version=5, packet_id=1)
    assert all(wire.read_frame(built, 0, stop) is None for stop in range(len(built)))


def test_a_remaining_length_of_five_bytes_is_refused() -> None:
    with pytest.raises(BadStream):
        wire.read_frame(b"\x30\xff\xff\xff\xff\x01", 0, 6)


def test_frames_leave_out_the_incomplete_one() -> None:
    data = b"\xd0\x00\x40\x02\x00\x01\x40\x02\x00"
    assert list(wire.frames(data, 0, len(data))) == [(0xD0, 2, 2), (0x40, 4, 6)]


@given(st.lists(st.tuples(st.sampled_from([0x30, 0x34, 0x62, 0x40]), st.integers(0, 200)), max_size=30))
def test_runs_are_the_frames_gathered_by_their_heads(packets: list[tuple[int, int]]) -> None:
    data = b"".join(wire.packet(first, bytes(size)) for first, size in packets) + b"\x30\x05\x00"
    found = list(wire.runs(data, 0, len(data)))
    assert [(run.first, run.size) for run in found for _ in range(run.amount)] == [
        (first, len(wire.packet(first, bytes(size)))) for first, size in packets
    ]
    assert all(before[::3] != after[::3] for before, after in itertools.pairwise(found))
    assert (found[-1].stop if found else 0) == len(data) - 3


def test_acknowledgements_carry_the_ids_of_a_run() -> None:
    data = b"".join(wire.publish("t", b"x", qos=2, version=4, packet_id=one) for one in (1, 258, 7))
    (run,) = wire.runs(data, 0, len(data))
    ids = wire.packet_ids(data, run.start + run.head + 3, run)
    assert ids == b"\x00\x01\x01\x02\x00\x07"
    assert wire.acknowledgements(0x50, ids) == bytes.fromhex("50020001 50020102 50020007")


def test_properties_in_another_order_are_the_same() -> None:
    content_type = b"\x03" + wire.text("text/plain")
    pairs = [b"\x26" + wire.text(name) + wire.text("v") for name in ("one", "two")]
    assert wire.split_properties(content_type + pairs[0] + pairs[1]) == wire.split_properties(
        pairs[0] + pairs[1] + content_type
    )
    assert wire.split_properties(pairs[0] + pairs[1]) != wire.split_properties(pairs[1] + pairs[0])


def test_a_property_that_no_publish_has_is_refused() -> None:
    with pytest.raises(BadStream):
        wire.split_properties(b"\x21\x00\x0a")


def test_connack_limits_are_found_among_other_properties() -> None:
    block = b"\x12" + wire.text("assigned") + b"\x26" + wire.text("a") + wire.text("b")
    block += b"\x11\x00\x00\x00\x0a" + b"\x21\x00\x14" + b"\x24\x01" + b"\x22\x00\x05"
    body = b"\x00\x00" + wire.variable(len(block)) + block
    assert wire.connack(body, 0, len(body), 5) == (0, 20, 1, False)
    assert wire.connack(b"\x01\x05", 0, 2, 4) == (5, 65535, 2, True)
