"""The fifteen packet types as plain typed values.

A packet is a mutable `msgspec.Struct` without cyclic references; its properties are
flat attributes, None or an empty tuple where they are absent. Strings are checked when
bytes are decoded, not when a packet is made.
"""

from __future__ import annotations

from tokenmq.mqtt.packets.acknowledge import Acknowledgement, Puback, Pubcomp, Pubrec, Pubrel
from tokenmq.mqtt.packets.connect import Auth, Connack, Connect, Will
from tokenmq.mqtt.packets.control import Disconnect, Pingreq, Pingresp
from tokenmq.mqtt.packets.publish import Publish
from tokenmq.mqtt.packets.subscribe import Suback, Subscribe, Subscription, Unsuback, Unsubscribe

Packet = (
    Connect
    | Connack
    | Publish
    | Puback
    | Pubrec
    | Pubrel
    | Pubcomp
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Pingreq
    | Pingresp
    | Disconnect
    | Auth
)

__all__ = [
    "Acknowledgement",
    "Auth",
    "Connack",
    "Connect",
    "Disconnect",
    "Packet",
    "Pingreq",
    "Pingresp",
    "Puback",
    "Pubcomp",
    "Publish",
    "Pubrec",
    "Pubrel",
    "Suback",
    "Subscribe",
    "Subscription",
    "Unsuback",
    "Unsubscribe",
    "Will",
]
