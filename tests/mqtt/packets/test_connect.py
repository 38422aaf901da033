from __future__ import annotations

import itertools

import pytest

from tokenmq.errors import ProtocolError
from tokenmq.mqtt.packets import connect
from tokenmq.mqtt.properties import DEFAULT_LIMITS


@pytest.mark.parametrize(
    ("written", "version"),
    [
        ("0004 4d515454 04", 4),
        ("0004 4d515454 05", 5),
        ("0004 4d515454 06", 5),
        ("0004 4d515454 ff", 5),
        ("0004 4d515454 85", 5),
        ("0004 4d515454 84", 4),
        ("0004 4d515454 83", 4),
        ("0004 4d515454 03", 4),
        ("0006 4d5149736470 03", 4),
        ("0004 6d717474 05", 0),
        ("0004 4d515454", 0),
        ("0006 4d5149736470", 0),
        ("", 0),
    ],
)
def test_the_version_of_an_answer_is_the_nearest_that_the_client_may_know(written: str, version: int) -> None:
    data = bytes.fromhex(written)
    assert connect.answer_version(data + b"\x05", 0, len(data)) == version


@pytest.mark.parametrize("version", [4, 5])
def test_q7_every_combination_of_connect_flags_is_read_or_refused_by_the_book(version: int) -> None:
    """[MQTT-3.1.2-3] [MQTT-3.1.2-9] [MQTT-3.1.2-11] [MQTT-3.1.2-12] [MQTT-3.1.2-13] [MQTT-3.1.2-17].

    [MQTT-3.1.2-19] [MQTT-3.1.3-1] [MQTT311-3.1.2-3] [MQTT311-3.1.2-9] [MQTT311-3.1.2-11] [MQTT311-3.1.2-13]
    [MQTT311-3.1.2-14] [MQTT311-3.1.2-15] [MQTT311-3.1.2-19] [MQTT311-3.1.2-21] [MQTT311-3.1.2-22]
    [MQTT311-3.1.3-1].
    """
    for flags in range(256):
        will, qos, retain = flags >> 2 & 1, flags >> 3 & 3, flags >> 5 & 1
        username, password, reserved = flags >> 7, flags >> 6 & 1, flags & 1
        properties = b"\x00" if version == 5 else b""
        data = b"\x00\x04MQTT" + bytes((version, flags)) + b"\x00\x3c" + properties + b"\x00\x01a"
        data += (
            (properties + b"\x00\x01w\x00\x01p") * will + b"\x00\x01u" * username + b"\x00\x01p" * password
        )
        right = not reserved and qos < 3 and (will or (not qos and not retain))
        right = right and (version == 5 or username or not password)
        if right:
            packet = connect.decode_connect(data, 0, len(data), DEFAULT_LIMITS)
            assert (packet.will is not None, packet.username is not None) == (will, username)
            assert (packet.password is not None, packet.clean_start) == (password, flags >> 1 & 1)
            assert packet.will is None or (packet.will.qos, packet.will.retain) == (qos, retain)
        else:
            with pytest.raises(ProtocolError) as caught:
                connect.decode_connect(data, 0, len(data), DEFAULT_LIMITS)
            assert caught.value.reason_code == 0x81


def test_q7_every_other_protocol_name_and_version_is_0x84() -> None:
    """[MQTT-3.1.2-1] [MQTT-3.1.2-2] [MQTT311-3.1.2-1] [MQTT311-3.1.2-2]."""
    names = [b"", b"MQTT", b"mqtt", b"MQTT\x00", b"MQIsdp", b"HTTP", b"\xff\xff"]
    for name, version in itertools.product(names, range(256)):
        if name == b"MQTT" and version in (4, 5):
            continue
        data = len(name).to_bytes(2, "big") + name + bytes((version, 2, 0, 60, 0, 1)) + b"a"
        with pytest.raises(ProtocolError) as caught:
            connect.decode_connect(data, 0, len(data), DEFAULT_LIMITS)
        assert caught.value.reason_code == 0x84
