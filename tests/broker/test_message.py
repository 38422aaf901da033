from __future__ import annotations

import pytest

from tokenmq.broker.message import Message
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Publish


def decoded(data, version):
    first, start, stop = codec.frame(data, 0, 1 << 20)
    return codec.decode(first, data, start, stop, version, from_client=False)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("payload", [b"", b"x", b"chat/a" * 40])
def test_a_form_tells_where_its_packet_identifier_stands(version, payload):
    packet, offset, _ = Message("chat/a", payload, 1, 9, b"").form(version, 1, ())
    assert decoded(packet, version) == Publish(topic="chat/a", payload=payload, qos=1, packet_id=9)
    renumbered = packet[:offset] + b"\x12\x34" + packet[offset + 2 :]
    assert decoded(renumbered, version).packet_id == 0x1234


def test_a_form_at_qos_0_has_no_identifier():
    packet, offset, _ = Message("chat/a", b"x", 1, 9, b"").form(4, 0, ())
    assert (decoded(packet, 4), offset) == (Publish(topic="chat/a", payload=b"x"), 0)


def test_a_form_is_encoded_once_and_shared():
    message = Message("chat/a", b"x", 0, 0, b"")
    assert message.form(5, 0, ())[0] is message.form(5, 0, ())[0]
    assert message.form(4, 0, ()) != message.form(5, 0, ())


def test_identifiers_stand_beside_the_properties_that_came():
    forward = b"\x03\x00\x01x"  # content type "x"
    packet = decoded(Message("a", b"", 0, 0, forward).form(5, 0, (3, 300))[0], 5)
    assert (packet.content_type, packet.subscription_identifiers) == ("x", (3, 300))
