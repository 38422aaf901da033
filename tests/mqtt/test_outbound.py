from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tokenmq.mqtt import codec, packets
from tokenmq.mqtt.outbound import fitting, unexplained

PAIRS = (("k", "v"),)
EXPLAINING = [
    packets.Connack(reason_string="why", user_properties=PAIRS),
    packets.Puback(1, 0x87, "why", PAIRS),
    packets.Pubrec(1, 0x87, "why", PAIRS),
    packets.Pubrel(1, 0x92, "why", PAIRS),
    packets.Pubcomp(1, 0x92, "why", PAIRS),
    packets.Suback(1, (0x87,), "why", PAIRS),
    packets.Unsuback(1, (0x87,), "why", PAIRS),
    packets.Disconnect(0x87, reason_string="why", user_properties=PAIRS),
    packets.Auth(0x18, "JWT", None, "why", PAIRS),
]


@pytest.mark.parametrize("packet", EXPLAINING, ids=lambda packet: type(packet).__name__)
def test_q9_explanations_go_before_a_packet_is_too_large(packet: Any) -> None:
    """The like for every packet that explains itself.

    [MQTT-3.2.2-19] [MQTT-3.2.2-20] [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3]
    [MQTT-3.6.2-2] [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3] [MQTT-3.9.2-1] [MQTT-3.9.2-2]
    [MQTT-3.11.2-1] [MQTT-3.11.2-2] [MQTT-3.14.2-3] [MQTT-3.14.2-4] [MQTT-3.15.2-2] [MQTT-3.15.2-3].
    """
    whole = codec.encode(packet, 5)
    terse = codec.encode(msgspec.structs.replace(packet, reason_string=None), 5)
    bare = codec.encode(unexplained(packet), 5)
    assert len(bare) < len(terse) < len(whole)
    assert fitting(packet, 5, len(whole)) == whole
    assert fitting(packet, 5, len(whole) - 1) == terse
    assert fitting(packet, 5, len(terse) - 1) == bare
    assert fitting(packet, 5, len(bare) - 1) is None
    assert packet.reason_string == "why"


def test_q9_a_publish_keeps_its_user_properties_or_is_not_sent() -> None:
    """[MQTT-3.1.2-24]."""
    publish = packets.Publish("a", user_properties=PAIRS)
    whole = codec.encode(publish, 5)
    assert fitting(publish, 5, len(whole)) == whole
    assert fitting(publish, 5, len(whole) - 1) is None
    assert unexplained(publish) is publish


def test_a_reason_string_longer_than_mqtt_has_them_is_left_out() -> None:
    assert fitting(packets.Puback(1, 0x87, "w" * 65_536), 5, 1_000_000) == bytes.fromhex("40 03 0001 87")
