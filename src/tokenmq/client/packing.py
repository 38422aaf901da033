"""MQTT 5 properties between our words and paho's objects."""

from __future__ import annotations

from typing import Any, Final

from paho.mqtt.client import MQTTMessage
from paho.mqtt.properties import Properties as Packed

from tokenmq.client.messages import Message, Properties

_NAMES: Final = {
    "content_type": "ContentType",
    "response_topic": "ResponseTopic",
    "correlation_data": "CorrelationData",
    "message_expiry_seconds": "MessageExpiryInterval",
    "is_text": "PayloadFormatIndicator",
    "user_properties": "UserProperty",
}


def made(packet_type: int) -> Packed:
    """Return properties of a type of packet, none of them set."""
    return Packed(packet_type)  # type: ignore[no-untyped-call]


def packed(properties: Properties, packet_type: int) -> Packed | None:
    """Return properties for a type of packet; None where there are none."""
    told: dict[str, Any] = {
        name: value
        for name, value in properties.items()
        if value or (name == "message_expiry_seconds" and value == 0)
    }
    if not told:
        return None
    result = made(packet_type)
    for name, value in told.items():
        setattr(result, _NAMES[name], int(value) if name == "is_text" else value)
    return result


def unpacked(message: MQTTMessage) -> Message:
    """Return a message as it was received."""
    told = message.properties
    return Message(
        topic=message.topic,
        payload=bytes(message.payload),
        qos=message.qos,
        retain=message.retain,
        dup=message.dup,
        content_type=getattr(told, "ContentType", None),
        response_topic=getattr(told, "ResponseTopic", None),
        correlation_data=getattr(told, "CorrelationData", None),
        message_expiry_seconds=getattr(told, "MessageExpiryInterval", None),
        is_text=bool(getattr(told, "PayloadFormatIndicator", 0)),
        user_properties=user_properties(told),
    )


def user_properties(told: Packed | None) -> tuple[tuple[str, str], ...]:
    """Return the user properties, in order."""
    return tuple((name, value) for name, value in getattr(told, "UserProperty", ()))


def packet_bytes(topic: str, payload: bytes, qos: int, properties: Packed | None) -> int:
    """Return how many bytes PUBLISH of MQTT 5 has (§3.3), its fixed header included."""
    told = b"\x00" if properties is None else properties.pack()  # type: ignore[no-untyped-call]
    remaining = 2 + len(topic.encode()) + (2 if qos else 0) + len(told) + len(payload)
    # Its length has seven bits in each byte.
    return 1 + max((remaining.bit_length() + 6) // 7, 1) + remaining
