"""One MQTT connection for `pub` and `sub`, synchronous, on paho-mqtt.

The network is served while a call waits, by the caller's own thread; nothing
runs in between and nothing reconnects. What the broker refuses is raised with
its reason code.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tokenmq.client.reasons import reason_of
from tokenmq.errors import BrokerError, InvalidRequest, InvalidTopicFilter, InvalidTopicName, Unreachable

# MQTT 5 §2.4: codes from here on are failures.
FAILURE: Final = 0x80
# Longest wait inside paho before a deadline is looked at again.
POLL_SECONDS: Final = 1.0
PORTS: Final = {"mqtt": 1883, "mqtts": 8883, "ws": 8083, "wss": 8084}


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """Where a broker listens, and how.

    Attributes:
        websocket: MQTT over WebSocket, on `path`.
        tls: encrypted, the certificate checked against the system's roots.
    """

    host: str
    port: int
    path: str
    websocket: bool
    tls: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """A message as it was received."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What the broker answered: the reason code, its name, and its Reason String if any."""

    reason_code: int
    name: str
    reason_string: str | None

    def __str__(self) -> str:
        return f"{self.reason_string or self.name} (0x{self.reason_code:02X})"


def parse_url(url: str) -> Address:
    """Read mqtt://, mqtts://, ws:// or wss:// with host, and port and path if given.

    Raises: InvalidRequest for anything else.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidRequest(("url", str(error))) from error
    if parts.scheme not in PORTS or not parts.hostname or parts.username is not None:
        raise InvalidRequest(("url", f"{url!r} is no address of a broker, as mqtt://127.0.0.1:1883"))
    return Address(
        host=parts.hostname,
        port=port or PORTS[parts.scheme],
        path=parts.path or "/mqtt",
        websocket=parts.scheme in ("ws", "wss"),
        tls=parts.scheme in ("mqtts", "wss"),
    )


class MqttClient:
    """One connection, from `connect` to `close`.

    Every call raises BrokerError when the broker refuses it or ends the connection,
    and Unreachable when nothing answers in time.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str,
        password: str,
        client_id: str = "",
        version: Literal["5", "3.1.1"] = "5",
        keep_alive_seconds: int = 60,
        timeout_seconds: float = 10.0,
    ) -> None:
        """Prepare a connection; nothing is sent yet.

        Args:
            url: as parse_url takes it.
            username: of a user `user@org_…`, of a server `server@org_…`.
            password: the token, or the server's key.
            client_id: empty lets the broker choose (3.1.1: makes one up).
            version: of MQTT.
            keep_alive_seconds: longest silence before a ping.
            timeout_seconds: for the connection and for each answer.
        """
        self._address = parse_url(url)
        self._url = url
        self._version = version
        self._keep_alive_seconds = keep_alive_seconds
        self._timeout_seconds = timeout_seconds
        self._connack: Outcome | None = None
        self._ended: BrokerError | None = None
        self._subacks: dict[int, list[Outcome]] = {}
        self._pubacks: dict[int, Outcome] = {}
        self._inbox: deque[Message] = deque()
        self._client = self._prepared(username, password, client_id)

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def connect(self) -> None:
        """Connect and wait until the broker accepts; nothing is left open otherwise."""
        try:
            self._client.connect(self._address.host, self._address.port, self._keep_alive_seconds)
        except OSError as error:
            raise Unreachable(f"no broker answers at {self._url}: {reason_of(error)}") from error
        try:
            self._wait(lambda: self._connack is not None)
        except Unreachable:
            self.close()
            raise
        if self._connack and self._connack.reason_code >= FAILURE:
            raise _refused("the connection", self._connack)

    def subscribe(self, filters: Sequence[str], *, qos: int) -> None:
        """Subscribe to every filter; the first one that is refused is raised."""
        try:
            _, packet_id = self._client.subscribe([(text, qos) for text in filters])
        except ValueError as error:
            raise InvalidTopicFilter(", ".join(filters), str(error)) from error
        if packet_id is None:
            raise self._ended or BrokerError("the connection is closed", reason_code=FAILURE)
        self._wait(lambda: packet_id in self._subacks)
        for text, outcome in zip(filters, self._subacks.pop(packet_id), strict=True):
            if outcome.reason_code >= FAILURE:
                raise _refused(f"the subscription to {text}", outcome)

    def publish(self, topic: str, payload: bytes, *, qos: int) -> Outcome:
        """Publish and wait for the acknowledgement (QoS 0: until it is sent)."""
        try:
            packet_id = self._client.publish(topic, payload, qos=qos).mid
        except ValueError as error:
            raise InvalidTopicName(topic, str(error)) from error
        self._wait(lambda: packet_id in self._pubacks)
        outcome = self._pubacks.pop(packet_id)
        if outcome.reason_code >= FAILURE:
            raise _refused(f"the message to {topic}", outcome)
        return outcome

    def messages(self) -> Iterator[Message]:
        """Yield messages as they come, until the connection ends, which is raised."""
        while True:
            while self._inbox:
                yield self._inbox.popleft()
            self._serve(POLL_SECONDS)

    def close(self) -> None:
        """Disconnect, if that is still to be done."""
        self._client.disconnect()

    def _prepared(self, username: str, password: str, client_id: str) -> paho.Client:
        is_5 = self._version == "5"
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            # paho leaves an empty id that 3.1.1 refuses untold.
            client_id=client_id if client_id or is_5 else f"tokenmq-{secrets.token_hex(8)}",
            clean_session=None if is_5 else True,
            protocol=MQTTProtocolVersion.MQTTv5 if is_5 else MQTTProtocolVersion.MQTTv311,
            transport="websockets" if self._address.websocket else "tcp",
            reconnect_on_failure=False,
        )
        client.username_pw_set(username, password)
        client.connect_timeout = self._timeout_seconds
        if self._address.websocket:
            client.ws_set_options(self._address.path, headers=_without_origin)
        if self._address.tls:
            client.tls_set()
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        return client

    def _wait(self, arrived: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._timeout_seconds
        while not arrived():
            left = deadline - time.monotonic()
            if left < 0:
                raise Unreachable(f"the broker at {self._url} does not answer in time")
            self._serve(min(left, POLL_SECONDS))

    def _serve(self, seconds: float) -> None:
        """Wait for the network, so long at most; raise when the connection has ended."""
        if self._ended:
            raise self._ended
        if self._client.loop(seconds) == MQTTErrorCode.MQTT_ERR_NO_CONN and not self._ended:
            self._ended = BrokerError("the connection is closed", reason_code=FAILURE)

    def _on_connect(
        self,
        _client: paho.Client,
        _data: Any,
        _flags: paho.ConnectFlags,
        code: ReasonCode,
        told: Properties | None,
    ) -> None:
        self._connack = _outcome(code, told)

    def _on_subscribe(
        self,
        _client: paho.Client,
        _data: Any,
        packet_id: int,
        codes: list[ReasonCode],
        told: Properties | None,
    ) -> None:
        self._subacks[packet_id] = [_outcome(code, told) for code in codes]

    def _on_publish(
        self, _client: paho.Client, _data: Any, packet_id: int, code: ReasonCode, told: Properties | None
    ) -> None:
        self._pubacks[packet_id] = _outcome(code, told)

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self._inbox.append(Message(message.topic, bytes(message.payload), message.qos, message.retain))

    def _on_disconnect(
        self,
        _client: paho.Client,
        _data: Any,
        flags: paho.DisconnectFlags,
        code: ReasonCode,
        told: Properties | None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            outcome = _outcome(code, told)
            self._ended = BrokerError(f"disconnected: {outcome}", reason_code=outcome.reason_code)
        else:
            self._ended = BrokerError("the broker closed the connection", reason_code=FAILURE)


def _without_origin(headers: dict[str, str]) -> dict[str, str]:
    """Leave out the Origin that paho invents: it is for browsers, and brokers judge it."""
    return {name: value for name, value in headers.items() if name != "Origin"}


def _outcome(code: ReasonCode, told: Properties | None) -> Outcome:
    return Outcome(code.value, code.getName(), getattr(told, "ReasonString", None))


def _refused(what: str, outcome: Outcome) -> BrokerError:
    return BrokerError(f"the broker refused {what}: {outcome}", reason_code=outcome.reason_code)
