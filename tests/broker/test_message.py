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
def test_the_two_parts_of_a_form_are_a_packet_around_its_identifier(version, payload):
    message = Message("chat/a", payload, 1, 9, b"")
    head, tail = message.form(version, 1, ())
    assert decoded(head + b"\x12\x34" + tail, version) == Publish(
        topic="chat/a", payload=payload, qos=1, packet_id=0x1234
    )
    whole, nothing = message.form(version, 0, ())
    assert nothing == b""
    assert decoded(whole, version) == Publish(topic="chat/a", payload=payload)


def test_a_form_is_encoded_once_and_shared():
    message = Message("chat/a", b"x", 0, 0, b"")
    assert message.form(5, 0, ())[0] is message.form(5, 0, ())[0]
    assert message.form(4, 0, ()) != message.form(5, 0, ())


def test_identifiers_stand_beside_the_properties_that_came():
    forward = b"\x03\x00\x01x"  # content type "x"
    packet = decoded(Message("a", b"", 0, 0, forward).form(5, 0, (3, 300))[0], 5)
    assert (packet.content_type, packet.subscription_identifiers) == ("x", (3, 300))
