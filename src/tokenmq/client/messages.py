"""Messages as they are received and published, and what became of those published."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import json
from datetime import datetime
from typing import Any, Final, TypedDict

from tokenmq.client.moments import read

Payload = bytes | bytearray | str | dict[str, Any] | list[Any] | int | float | bool | None


# User properties of a message that is recorded; nobody but the broker can send one.
HISTORY_ID: Final = "tokenmq-history-id"
HISTORY_AT: Final = "tokenmq-history-at"
HISTORY_USER: Final = "tokenmq-history-user"
HISTORY_GAP: Final = "tokenmq-history-gap"


class Properties(TypedDict, total=False):
    """MQTT 5 properties of a message; 3.1.1 leaves them out.

    `is_text` is the Payload Format Indicator, `message_expiry_seconds` the Message Expiry Interval;
    user properties are pairs, in order, names may repeat.
    """

    content_type: str
    response_topic: str
    correlation_data: bytes
    message_expiry_seconds: int
    is_text: bool
    user_properties: list[tuple[str, str]]


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """A message as it was received.

    Attributes:
        dup: the broker has sent it before and has seen no acknowledgement.
        message_expiry_seconds: of what it may live yet, as the broker has counted it down.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    message_expiry_seconds: int | None = None
    is_text: bool = False
    user_properties: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The payload as UTF-8; what is none is replaced."""
        return self.payload.decode("utf-8", "replace")

    def json(self) -> Any:
        """Read the payload as JSON. Raises: ValueError."""
        return json.loads(self.payload)

    @property
    def history_id(self) -> int | None:
        """Its number in the history, which only grows; None where it was not asked for or is not recorded."""
        told = self._told(HISTORY_ID)
        return int(told) if told is not None and told.isdecimal() else None

    @property
    def published_at(self) -> datetime | None:
        """When the broker took it in, by its history."""
        told = self._told(HISTORY_AT)
        return None if told is None else read(told)

    @property
    def published_by(self) -> str | None:
        """The user whose token published it, by its history; `server` for a key."""
        return self._told(HISTORY_USER)

    @property
    def history_gap(self) -> bool:
        """Messages that should have come before it are not there any more."""
        return self._told(HISTORY_GAP) == "true"

    def _told(self, name: str) -> str | None:
        return next((value for told, value in self.user_properties if told == name), None)


@dataclasses.dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when this client is lost without a word.

    Attributes:
        delay_seconds: how long the broker waits for it to come back (MQTT 5).
    """

    topic: str
    payload: Payload = None
    qos: int = 1
    retain: bool = False
    delay_seconds: int = 0
    properties: Properties = dataclasses.field(default_factory=lambda: Properties())


class Status(enum.StrEnum):
    """How far a message has come.

    `QUEUED`: there is no connection, it waits here. `SENT`: QoS 0, given to the connection;
    no broker ever answers that. `ACKNOWLEDGED`: the broker has it. `UNKNOWN`: QoS 2, the
    connection was lost between its packets, and the broker knows of no such message any more:
    it had it before, or had refused it.
    """

    QUEUED = "queued"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True, slots=True)
class PublishResult:
    """What became of a message, by the time that `publish` returned.

    Attributes:
        reason_code: of the acknowledgement: 0x00, or 0x10 where nobody is subscribed; None without one.
    """

    topic: str
    qos: int
    status: Status
    reason_code: int | None = None
    _later: asyncio.Future[PublishResult] | None = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def has_no_subscribers(self) -> bool:
        """The broker says that nobody is subscribed (MQTT 5, code 0x10)."""
        return self.reason_code == 0x10

    async def delivered(self) -> PublishResult:
        """Wait for what becomes of a message that was queued; returns at once for others.

        Raises: Denied, NotDelivered.
        """
        return self if self._later is None else await asyncio.shield(self._later)


def encode(payload: Payload) -> bytes:
    """Return a payload as bytes: text as UTF-8, objects and numbers as JSON, None as nothing.

    Raises: TypeError for what is no JSON.
    """
    match payload:
        case bytes() | bytearray():
            return bytes(payload)
        case str():
            return payload.encode()
        case None:
            return b""
        case _:
            return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
