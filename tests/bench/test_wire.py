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


def test_subscribe_asks_for_one_filter() -> None:
    assert wire.subscribe("a/b", qos=1, version=4) == b"\x82\x08\x00\x01\x00\x03a/b\x01"
    assert wire.subscribe("a/b", qos=0, version=5, packet_id=7) == b"\x82\x09\x00\x07\x00\x00\x03a/b\x00"


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
    assert wire.connack(body, 0, len(body), 5) == (0, 20, 1)
    assert wire.connack(b"\x00\x05", 0, 2, 4) == (5, 65535, 2)
