"""What goes between a connection (`link`) and who uses it."""

from __future__ import annotations

import dataclasses
import ssl
from typing import Final, Protocol

from tokenmq.client.messages import Message, Will

# MQTT 5 §2.4: codes from here on are failures.
FAILURE: Final = 0x80


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What the broker answered: the reason code, its name, and its Reason String if any."""

    reason_code: int
    name: str
    reason_string: str | None = None
    user_properties: tuple[tuple[str, str], ...] = ()

    @property
    def is_failure(self) -> bool:
        """It refuses, or tells of an end."""
        return self.reason_code >= FAILURE

    @property
    def reason(self) -> str:
        """The Reason String, or the code's name."""
        return self.reason_string or self.name

    def __str__(self) -> str:
        return f"{self.reason} (0x{self.reason_code:02X})"


@dataclasses.dataclass(frozen=True, slots=True)
class Connack:
    """The answer to CONNECT.

    Attributes:
        receive_maximum: how many of our messages the broker takes unacknowledged.
    """

    outcome: Outcome
    session_present: bool
    receive_maximum: int


@dataclasses.dataclass(frozen=True, slots=True)
class Received:
    """A message, and the packet identifier to acknowledge it by."""

    message: Message
    packet_id: int


class Listener(Protocol):
    """Who is told what comes; nothing that it does may raise."""

    def received(self, one: Received) -> None:
        """A message has come."""

    def acknowledged(self, packet_id: int, outcome: Outcome) -> None:
        """PUBACK or PUBCOMP has come."""

    def written(self) -> None:
        """A message of QoS 0 was written to the connection."""

    def lost(self, outcome: Outcome | None) -> None:
        """The connection has ended; None where nobody said why."""


@dataclasses.dataclass(frozen=True, slots=True)
class LinkOptions:
    """How to connect, each time.

    Attributes:
        version: of MQTT: 5, or 4, which is 3.1.1.
        clean_start: only the first connection begins anew.
        session_expiry_seconds: how long the session outlives each connection (MQTT 5).
        receive_maximum: how many messages may come unacknowledged (MQTT 5).
        timeout_seconds: for opening the connection.
    """

    client_id: str
    version: int = 5
    keep_alive_seconds: int = 60
    clean_start: bool = False
    session_expiry_seconds: int = 3600
    receive_maximum: int = 1000
    timeout_seconds: float = 30.0
    will: Will | None = None
    tls: ssl.SSLContext | None = None
