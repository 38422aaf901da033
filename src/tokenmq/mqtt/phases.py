"""The life of a network connection, and what a client may send when (MQTT 5 §3.1).

`connection` tells how the phases follow one another.
"""

from __future__ import annotations

import enum
from typing import Final

from tokenmq.mqtt.codes import PacketType


class Phase(enum.IntEnum):
    """Where a connection is in its life."""

    CONNECTING = 0
    AUTHENTICATING = 1
    CONNECTED = 2
    CLOSED = 3


# phase -> packet types.
MAY_COME: Final[tuple[frozenset[int], ...]] = (
    frozenset({PacketType.CONNECT}),
    frozenset({PacketType.AUTH, PacketType.DISCONNECT}),
    frozenset(
        {
            *(PacketType.PUBLISH, PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL),
            *(PacketType.PUBCOMP, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE),
            *(PacketType.PINGREQ, PacketType.DISCONNECT, PacketType.AUTH),
        }
    ),
    frozenset(),
)
