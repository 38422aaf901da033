from __future__ import annotations

import time
import types
from typing import Any

import pytest

from tokenmq.errors import ProtocolError
from tokenmq.mqtt import codec, packets, properties
from tokenmq.mqtt.codes import PacketType
from tokenmq.mqtt.properties import DEFAULT_LIMITS, UserPropertyLimits

# MQTT 5 table 2-4, typed off the standard: identifier, a value, packets that may carry it.
TABLE_2_4 = """
01 01          PUBLISH WILL
02 0000003c    PUBLISH WILL
03 000161      PUBLISH WILL
08 000161      PUBLISH WILL
09 0001ff      PUBLISH WILL
0b 01          PUBLISH SUBSCRIBE
11 00000000    CONNECT CONNACK DISCONNECT
12 000161      CONNACK
13 0000        CONNACK
15 000161      CONNECT CONNACK AUTH
16 0001ff      CONNECT CONNACK AUTH
17 00          CONNECT
18 00000000    WILL
19 01          CONNECT
1a 000161      CONNACK
1c 000161      CONNACK DISCONNECT
1f 000161      CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH
21 0001        CONNECT CONNACK
22 0000        CONNECT CONNACK
23 0001        PUBLISH
24 00          CONNACK
25 01          CONNACK
26 0001610000  CONNECT CONNACK PUBLISH WILL PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK
26 0001610000  DISCONNECT AUTH
27 00000001    CONNECT CONNACK
28 01          CONNACK
29 01          CONNACK
2a 00          CONNACK
"""
ROWS = [line.split() for line in TABLE_2_4.strip().splitlines()]
VALUES = {int(row[0], 16): bytes.fromhex(row[0] + row[1]) for row in ROWS}
ALLOWED: dict[int, set[str]] = {identifier: set() for identifier in VALUES}
for row in ROWS:
    ALLOWED[int(row[0], 16)].update(row[2:])
# PINGREQ and PINGRESP have no property length, so nothing to read.
WITHOUT = {PacketType.PINGREQ, PacketType.PINGRESP}
PLACES = {"WILL": properties.WILL, **{kind.name: int(kind) for kind in PacketType if kind not in WITHOUT}}
REPEATABLE = {(0x26, name) for name in PLACES} | {(0x0B, "PUBLISH")}


def _bag(**attributes: Any) -> types.SimpleNamespace:
    return types.SimpleNamespace(**attributes)


def _read(place: str, data: bytes, limits: UserPropertyLimits = DEFAULT_LIMITS) -> types.SimpleNamespace:
    bag = _bag()
    properties.read(bag, PLACES[place], data, 0, len(data), limits)
    return bag


def _code(place: str, data: bytes, limits: UserPropertyLimits = DEFAULT_LIMITS) -> int:
    with pytest.raises(ProtocolError) as caught:
        _read(place, data, limits)
    return caught.value.reason_code


def test_the_table_has_the_27_properties_of_the_standard() -> None:
    assert {line.identifier for line in properties.PROPERTIES} == set(VALUES)
    assert len(VALUES) == 27
    assert len({line.name for line in properties.PROPERTIES}) == 27


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("identifier", VALUES, ids=hex)
def test_a_property_is_read_where_table_2_4_allows_it_and_malformed_elsewhere(
    identifier: int, place: str
) -> None:
    if place in ALLOWED[identifier]:
        assert len(vars(_read(place, VALUES[identifier]))) == 1
    else:
        assert _code(place, VALUES[identifier]) == 0x81


@pytest.mark.parametrize(
    ("identifier", "place"), [(i, place) for i in VALUES for place in sorted(ALLOWED[i])]
)
def test_a_property_that_comes_twice_is_a_protocol_error_unless_it_may(identifier: int, place: str) -> None:
    twice = VALUES[identifier] * 2
    if (identifier, place) in REPEATABLE:
        (values,) = vars(_read(place, twice)).values()
        assert len(values) == 2
    else:
        assert _code(place, twice) == 0x82


@pytest.mark.parametrize("identifier", [i for i in range(256) if i not in VALUES], ids=hex)
def test_an_unknown_property_is_malformed_everywhere(identifier: int) -> None:
    assert {_code(place, bytes((identifier, 0, 0, 0, 0))) for place in PLACES} == {0x81}


@pytest.mark.parametrize(("identifier", "place"), [(i, min(ALLOWED[i])) for i in VALUES])
def test_a_property_that_is_cut_off_is_malformed(identifier: int, place: str) -> None:
    whole = VALUES[identifier]
    assert {_code(place, whole[:size]) for size in range(1, len(whole))} == {0x81}


@pytest.mark.parametrize(
    ("written", "place", "reason_code"),
    [
        ("0102", "PUBLISH", 0x82),
        ("1702", "CONNECT", 0x82),
        ("1902", "CONNECT", 0x82),
        ("2402", "CONNACK", 0x82),
        ("2502", "CONNACK", 0x82),
        ("2802", "CONNACK", 0x82),
        ("2902", "CONNACK", 0x82),
        ("2a02", "CONNACK", 0x82),
        ("0b00", "SUBSCRIBE", 0x82),
        ("210000", "CONNECT", 0x82),
        ("2700000000", "CONNECT", 0x82),
        ("230000", "PUBLISH", 0x94),
        ("0800012b", "PUBLISH", 0x90),
        ("08000123", "WILL", 0x90),
        ("080000", "WILL", 0x90),
    ],
)
def test_a_forbidden_value_has_its_reason_code(written: str, place: str, reason_code: int) -> None:
    assert _code(place, bytes.fromhex(written)) == reason_code


def test_user_properties_keep_their_order_and_repeats() -> None:
    pairs = (("b", "1"), ("a", ""), ("b", "1"), ("b", "2"))
    written = properties.write(packets.Unsubscribe(1, ("a",), pairs), PacketType.UNSUBSCRIBE)
    assert _read("UNSUBSCRIBE", written) == _bag(user_properties=pairs)


def test_user_properties_over_the_number_are_0x97() -> None:
    pair = VALUES[0x26]
    assert len(_read("PUBLISH", pair * 32).user_properties) == 32
    assert _code("PUBLISH", pair * 33) == 0x97


def test_user_properties_over_the_size_are_0x97() -> None:
    limits = UserPropertyLimits(max_user_properties=8, max_user_property_bytes=10)
    exact = bytes.fromhex("26 0005 6161616161 0005 6262626262")
    assert _read("PUBLISH", exact, limits).user_properties == (("aaaaa", "bbbbb"),)
    assert _code("PUBLISH", exact + VALUES[0x26], limits) == 0x97


def test_v16_ten_thousand_user_properties_are_refused_within_5_ms() -> None:
    block = bytes.fromhex("26 0001 61 0001 62") * 10_000
    body = b"\x00\x01a" + properties.wire.write_variable(len(block)) + block
    spent = []
    for _ in range(5):
        began = time.thread_time()
        with pytest.raises(ProtocolError) as caught:
            codec.decode(*(0x30, body, 0, len(body), 5))
        spent.append(time.thread_time() - began)
        assert caught.value.reason_code == 0x97
    assert min(spent) < 0.005


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "ends inside"),
        ("01", "beyond the packet"),
        ("ff7f", "beyond the packet"),
        ("8000", "not minimal"),
    ],
)
def test_a_property_length_that_does_not_fit_is_malformed(written: str, reason: str) -> None:
    data = bytes.fromhex(written)
    with pytest.raises(ProtocolError, match=reason) as caught:
        properties.read_length(data, 0, len(data))
    assert caught.value.reason_code == 0x81


def test_a_property_length_of_two_bytes_is_read() -> None:
    assert properties.read_length(b"\x80\x01" + bytes(128), 0, 130) == (2, 130)


def test_writing_leaves_out_what_is_absent_and_what_is_told() -> None:
    """[MQTT-2.2.2-1]."""
    publish = packets.Publish("a", topic_alias=1, payload_format_indicator=0, subscription_identifiers=(5,))
    assert properties.write(publish, PacketType.PUBLISH) == bytes.fromhex("01 00 0b 05 23 0001")
    left = frozenset({properties.TOPIC_ALIAS, properties.SUBSCRIPTION_IDENTIFIER})
    assert properties.write(publish, PacketType.PUBLISH, leave_out=left) == bytes.fromhex("01 00")
    assert properties.block(packets.Puback(1), PacketType.PUBACK) == b"\x00"
