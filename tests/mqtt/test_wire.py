from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.errors import ProtocolError
from tokenmq.mqtt import wire

# (value, bytes): the ends of each length, MQTT 5 table 1-1.
VARIABLE = [
    (0, "00"),
    (127, "7f"),
    (128, "8001"),
    (16_383, "ff7f"),
    (16_384, "808001"),
    (2_097_151, "ffff7f"),
    (2_097_152, "80808001"),
    (268_435_455, "ffffff7f"),
]


@pytest.mark.parametrize(("value", "written"), VARIABLE)
def test_variable_byte_integers_are_those_of_table_1_1(value: int, written: str) -> None:
    data = bytes.fromhex(written)
    assert wire.write_variable(value) == data
    assert wire.read_variable(data, 0, len(data)) == (value, len(data))


@given(st.integers(0, 268_435_455))
def test_a_variable_byte_integer_survives_the_round_trip(value: int) -> None:
    data = wire.write_variable(value)
    assert wire.read_variable(data + b"\xff", 0, len(data)) == (value, len(data))


@pytest.mark.parametrize("written", ["8000", "808000", "80808000", "ff00"], ids=str)
def test_q3_a_variable_byte_integer_that_is_not_minimal_is_malformed(written: str) -> None:
    """[MQTT-1.5.5-1]."""
    data = bytes.fromhex(written)
    with pytest.raises(ProtocolError) as caught:
        wire.read_variable(data, 0, len(data))
    assert caught.value.reason_code == 0x81


@pytest.mark.parametrize("written", ["", "80", "ffffff", "ffffffff", "8080808001"], ids=repr)
def test_q3_v74_a_variable_byte_integer_that_is_cut_or_too_long_is_malformed(written: str) -> None:
    data = bytes.fromhex(written)
    with pytest.raises(ProtocolError) as caught:
        wire.read_variable(data, 0, len(data))
    assert caught.value.reason_code == 0x81


def test_a_length_that_mqtt_cannot_say_is_not_written() -> None:
    with pytest.raises(ProtocolError) as caught:
        wire.write_variable(268_435_456)
    assert caught.value.reason_code == 0x95


def test_a_string_that_mqtt_cannot_say_is_not_written() -> None:
    assert len(wire.write_text("a" * 65_535)) == 65_537
    with pytest.raises(ProtocolError) as caught:
        wire.write_text("a" * 65_536)
    assert caught.value.reason_code == 0x95


READERS: list[tuple[Callable[[bytes, int, int], Any], str, Any]] = [
    (wire.read_byte, "ff", 255),
    (wire.read_two_bytes, "0102", 258),
    (wire.read_four_bytes, "01020304", 16_909_060),
    (wire.read_packet_id, "ffff", 65_535),
    (wire.read_variable, "c801", 200),
    (wire.read_binary, "0002ff00", b"\xff\x00"),
    (wire.read_text, "0002c3a9", "é"),
    (wire.read_filter, "0003612f23", "a/#"),
    (wire.read_topic, "0003612f62", "a/b"),
    (wire.read_pair, "0001610000", ("a", "")),
]


@pytest.mark.parametrize(("read", "written", "value"), READERS, ids=[read.__name__ for read, _, _ in READERS])
def test_a_reader_reads_its_value_and_nothing_beyond_stop(
    read: Callable[[bytes, int, int], Any], written: str, value: Any
) -> None:
    data = bytes.fromhex(written)
    assert read(b"\xee" + data + b"\xee", 1, 1 + len(data)) == (value, 1 + len(data))
    for stop in range(1, 1 + len(data)):
        with pytest.raises(ProtocolError) as caught:
            read(b"\xee" + data + b"\xee", 1, stop)
        assert caught.value.reason_code == 0x81


def _read_name(data: bytes, pos: int, stop: int) -> tuple[str, int]:
    return wire.read_pair(data + b"\x00\x00", pos, stop + 2)[0][0], stop


def _read_value(data: bytes, pos: int, stop: int) -> tuple[str, int]:
    return wire.read_pair(b"\x00\x00" + data, pos, stop + 2)[0][1], stop


ILL_FORMED = {
    "surrogate": "eda080",
    "surrogate pair": "eda080edb080",
    "overlong in two": "c080",
    "overlong in three": "e08080",
    "overlong in four": "f0808080",
    "beyond U+10FFFF": "f4908080",
    "latin-1": "e9",
    "cut off": "e282",
    "lone continuation": "80",
    "never used": "ff",
}


@pytest.mark.parametrize("read", [wire.read_text, wire.read_filter, wire.read_topic, _read_name, _read_value])
@pytest.mark.parametrize("written", ILL_FORMED.values(), ids=ILL_FORMED)
def test_q1_ill_formed_utf8_is_malformed(read: Callable[[bytes, int, int], Any], written: str) -> None:
    """[MQTT-1.5.4-1] [MQTT-1.5.7-1] [MQTT311-1.5.3-1]."""
    raw = bytes.fromhex(written)
    data = len(raw).to_bytes(2, "big") + raw
    with pytest.raises(ProtocolError, match="ill-formed UTF-8") as caught:
        read(data, 0, len(data))
    assert caught.value.reason_code == 0x81


@pytest.mark.parametrize("character", [*range(0x20), *range(0x7F, 0xA0)], ids=hex)
def test_q1_control_characters_are_malformed_except_in_filters(character: int) -> None:
    """U+0000 must not be [MQTT-1.5.4-2] [MQTT-1.5.7-1] [MQTT311-1.5.3-2], the others should not (§1.5.4)."""
    data = wire.write_text("a" + chr(character))
    for read in (wire.read_text, wire.read_topic, _read_name, _read_value):
        with pytest.raises(ProtocolError, match=f"U\\+{character:04X}") as caught:
            read(data, 0, len(data))
        assert caught.value.reason_code == 0x81
    if character:
        assert wire.read_filter(data, 0, len(data)) == ("a" + chr(character), len(data))
    else:
        with pytest.raises(ProtocolError):
            wire.read_filter(data, 0, len(data))


@pytest.mark.parametrize(
    "text", ["\ufeffa", "e\u0301", "\u00e9", "A", "a b", "\u00a0", "\ue000", "\uffff", "\u2028"], ids=ascii
)
def test_q2_text_is_neither_stripped_nor_normalised(text: str) -> None:
    """[MQTT-1.5.4-3] [MQTT311-1.5.3-3]."""
    data = wire.write_text(text)
    for read in (wire.read_text, _read_name, _read_value):
        assert read(data, 0, len(data)) == (text, len(data))
    assert wire.decode_topic(text.encode()) == text


@pytest.mark.parametrize("text", ["", "#", "+", "a/#", "a/+/b", "a+", "#a"], ids=repr)
def test_q16_what_is_no_topic_name_is_0x90(text: str) -> None:
    """[MQTT-3.3.2-2] [MQTT-4.7.0-1] [MQTT-4.7.3-1] [MQTT311-3.3.2-2] [MQTT311-4.7.1-1] [MQTT311-4.7.3-1]."""
    with pytest.raises(ProtocolError) as caught:
        wire.decode_topic(text.encode())
    assert caught.value.reason_code == 0x90


@pytest.mark.parametrize(
    "text", ["/", "a//b", " ", "$SYS/a", "$share/g/a", "a" * 65_535], ids=lambda text: text[:12]
)
def test_topics_of_any_length_and_tree_are_for_the_broker_to_judge(text: str) -> None:
    assert wire.decode_topic(text.encode()) == text


def test_v11_65535_slashes_are_a_topic_whose_depth_the_broker_judges() -> None:
    assert wire.decode_topic(b"/" * 65_535) == "/" * 65_535


@pytest.mark.parametrize(
    ("payload", "good"), [(b"", True), (b"a\x00", True), ("é".encode(), True), (b"\xff", False)]
)
def test_a_payload_is_the_utf8_that_it_says_it_is(payload: bytes, good: bool) -> None:
    if good:
        wire.check_payload(payload)
        return
    with pytest.raises(ProtocolError) as caught:
        wire.check_payload(payload)
    assert caught.value.reason_code == 0x99
