"""paho-mqtt under asyncio: one MQTT connection after the other, with one session.

Theory of operation. One `paho.Client` lives as long as its user does, for it keeps the
session's state: packet identifiers, what is not acknowledged yet, what QoS 2 has seen. It
is opened again for each connection, with the password of the day. Opening (names, TCP,
TLS, WebSocket) blocks, so it runs in a thread of its own; after that everything happens on the
event loop: one task waits until the socket can be read, one until it can be written, one
looks after keep alive. They wait by anyio, which can do that on every loop and system.

paho runs its callbacks inside of these; they only put things into futures and call the
user's `Listener`, which must not raise. What paho does not tell is the reason of a PUBREC
that refuses: it answers PUBREL, and the broker's PUBCOMP then has code 0x92.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import anyio
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as Packed
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from tokenmq.client.addresses import Address
from tokenmq.client.mended import Paho
from tokenmq.client.messages import Properties, encode
from tokenmq.client.packing import made, packed, packet_bytes, unpacked, user_properties
from tokenmq.client.properties import check_properties, check_qos
from tokenmq.client.reasons import reason_of
from tokenmq.client.threads import in_a_thread
from tokenmq.client.wire import Connack, LinkOptions, Listener, Outcome, Received
from tokenmq.errors import ConnectError, InvalidTopicFilter, InvalidTopicName, NotDelivered
from tokenmq.topics.name import check_name

logger = logging.getLogger("tokenmq.client")

MISC_SECONDS: Final = 1.0
# What is read in one turn of the loop, so that others have theirs.
READS_A_TURN: Final = 64


class Link:
    """Connections to one address, one at a time."""

    def __init__(self, address: Address, options: LinkOptions, listener: Listener) -> None:
        self.address = address
        self._options = options
        self._listener = listener
        self._is_5 = options.version == 5
        self._client = self._prepared()
        self._connack: asyncio.Future[Connack] | None = None
        self._answers: dict[int, asyncio.Future[list[Outcome]]] = {}
        # Identifiers of QoS 0: paho tells of them too, when they are written.
        self._unanswered: set[int] = set()
        self._writable = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._has_connected = False
        self._progress = 0
        # The thread that opens a connection, which goes on when nobody waits for it any more.
        self._opening: asyncio.Future[Any] | None = None
        # As the broker says in CONNACK; None: as much as MQTT can say.
        self._maximum_packet_bytes: int | None = None
        self.is_up = False

    @property
    def unwritten(self) -> int:
        """How many messages of QoS 0 were given to it and are not written yet."""
        return len(self._unanswered)

    async def open(self, username: str, password: str) -> Connack:
        """Connect; returns what the broker answered, which may be a refusal.

        Raises: ConnectError when no broker answers.
        """
        try:
            async with asyncio.timeout(self._options.timeout_seconds):
                await self._open_socket(username, password)
                return await self._greeted()
        except TimeoutError as error:
            seconds = self._options.timeout_seconds
            raise ConnectError(f"the broker at {self.address} does not answer in {seconds:g} s") from error

    async def _open_socket(self, username: str, password: str) -> None:
        if self._opening is not None and not self._opening.done():
            # paho does one thing at a time.
            await asyncio.wait([self._opening])
        self._aim()
        self._client.username_pw_set(username, password)
        opening = self._opening = in_a_thread(self._client.reconnect, "tokenmq-connect")
        try:
            await asyncio.shield(opening)
        except (OSError, ValueError) as error:
            raise ConnectError(f"no broker answers at {self.address}: {reason_of(error)}") from error
        except asyncio.CancelledError:
            opening.add_done_callback(self._opened_too_late)
            raise

    async def _greeted(self) -> Connack:
        """Send CONNECT, and wait for the answer."""
        self._connack = asyncio.get_running_loop().create_future()
        self._tasks = [
            asyncio.create_task(self._guarded(one)) for one in (self._read, self._write, self._look)
        ]
        try:
            connack = await self._connack
        finally:
            if not self.is_up:
                self._stop()
                self._aim()
        self._has_connected = self._has_connected or self.is_up
        return connack

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool, properties: Properties) -> int:
        """Send a message; returns its packet identifier, by which it is acknowledged.

        Raises: InvalidTopicName; NotDelivered for one that the broker does not take, which would
            close the connection each time that it is sent.
        """
        told = packed(properties, PacketTypes.PUBLISH) if self._is_5 else None
        if self._maximum_packet_bytes is not None:
            size, most = packet_bytes(topic, payload, qos, told), self._maximum_packet_bytes
            if size > most:
                raise NotDelivered(topic, f"it has {size:,} bytes, and the broker takes {most:,}")
        try:
            info = self._client.publish(topic, payload, qos, retain, told)
            while info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
                # Its identifier is still in use; the next one is another.
                info = self._client.publish(topic, payload, qos, retain, told)
        except ValueError as error:
            raise InvalidTopicName(topic, str(error)) from error
        if qos == 0:
            self._unanswered.add(info.mid)
        return info.mid

    async def subscribe(
        self, filters: Sequence[tuple[str, SubscribeOptions]], told: Sequence[tuple[str, str]] = ()
    ) -> list[Outcome]:
        """Subscribe, telling user properties; returns an outcome for each filter.

        Raises: ConnectError when the connection ends before.
        """
        properties = packed({"user_properties": list(told)}, PacketTypes.SUBSCRIBE) if self._is_5 else None
        wanted: Any = filters if self._is_5 else [(text, options.QoS) for text, options in filters]
        try:
            _, packet_id = self._client.subscribe(wanted, properties=properties)
        except ValueError as error:
            raise InvalidTopicFilter(", ".join(text for text, _ in filters), str(error)) from error
        return await self._answer(packet_id)

    async def unsubscribe(self, filters: Sequence[str]) -> list[Outcome]:
        """Unsubscribe; 3.1.1 has no outcomes. Raises: ConnectError when the connection ends before."""
        _, packet_id = self._client.unsubscribe(list(filters))
        return await self._answer(packet_id)

    def leave(self, filters: Sequence[str]) -> None:
        """Unsubscribe without waiting for the answer."""
        self._client.unsubscribe(list(filters))

    def acknowledge(self, one: Received) -> bool:
        """Tell the broker that a message was taken; returns whether it could be told.

        Of QoS 0 it asks nothing, and of QoS 2 it knows already.
        """
        if one.message.qos != 1:
            return True
        if self.is_up:
            self._client.ack(one.packet_id, 1)
        return self.is_up

    async def close(self, *, session_expiry_seconds: int | None = None) -> None:
        """Disconnect by DISCONNECT, if there is a connection; the will is not published.

        Args:
            session_expiry_seconds: how long the session lives from now on, where that is to change.
        """
        if self.is_up:
            properties = None
            if self._is_5 and session_expiry_seconds is not None:
                properties = made(PacketTypes.DISCONNECT)
                properties.SessionExpiryInterval = session_expiry_seconds
            self.is_up = False
            self._client.disconnect(properties=properties)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(MISC_SECONDS):
                    # paho closes the socket once DISCONNECT is written, and the writing ends.
                    await self._tasks[1]
        self._stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._aim()

    def _prepared(self) -> paho.Client:
        options = self._options
        client = Paho(
            CallbackAPIVersion.VERSION2,
            client_id=options.client_id,
            clean_session=None if self._is_5 else options.clean_start,
            protocol=MQTTProtocolVersion.MQTTv5 if self._is_5 else MQTTProtocolVersion.MQTTv311,
            transport="websockets" if self.address.websocket else "tcp",
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = options.timeout_seconds
        # The window is the listener's; paho's would keep what it holds back in a queue without end.
        client.max_inflight_messages_set(0)
        if self.address.websocket:
            client.ws_set_options(self.address.path, headers=_without_origin)
        if self.address.tls:
            client.tls_set_context(options.tls or ssl.create_default_context())
        if (will := options.will) is not None:
            check_name(will.topic)
            check_qos(will.qos)
            check_properties(will.properties)
            told = packed(will.properties, PacketTypes.WILLMESSAGE) if self._is_5 else None
            if self._is_5 and will.delay_seconds:
                told = told or made(PacketTypes.WILLMESSAGE)
                told.WillDelayInterval = will.delay_seconds
            client.will_set(will.topic, encode(will.payload), will.qos, will.retain, told)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = client.on_unsubscribe = self._on_answer
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_socket_register_write = lambda *_: self._writable.set()
        client.on_socket_close = lambda _client, _data, sock: anyio.notify_closing(sock)
        return client

    def _aim(self) -> None:
        """Close the network connection, if there is one, and say how the next one is to be."""
        more: dict[str, Any] = {}
        if self._is_5:
            properties = made(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = self._options.session_expiry_seconds
            properties.ReceiveMaximum = self._options.receive_maximum
            more["properties"] = properties
            more["clean_start"] = self._options.clean_start and not self._has_connected
        self._client.connect_async(
            self.address.host, self.address.port, self._options.keep_alive_seconds, **more
        )

    def _opened_too_late(self, opening: asyncio.Future[Any]) -> None:
        """Close what nobody waits for any more."""
        if not opening.cancelled() and opening.exception() is None:
            self._aim()

    async def _answer(self, packet_id: int | None) -> list[Outcome]:
        if packet_id is None or not self.is_up:
            raise ConnectError("the connection has ended")
        answer: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._answers[packet_id] = answer
        try:
            return await answer
        finally:
            self._answers.pop(packet_id, None)

    # The three tasks of a connection

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception:
            # A defect of ours: without this the connection would be deaf, or dumb, and nobody would know.
            logger.exception("a connection to %s has failed", self.address)
            self._ended(None)

    async def _read(self) -> None:
        while (sock := self._client.socket()) is not None:
            try:
                await anyio.wait_readable(sock)
            except anyio.ClosedResourceError:
                return
            while self._read_some():  # noqa: ASYNC110
                # Others have their turn.
                await asyncio.sleep(0)

    def _read_some(self) -> bool:
        """Read what is there, some packets at most; returns whether there may be more."""
        for _ in range(READS_A_TURN):
            before = self._progress
            try:
                code = self._client.loop_read()
            except Exception as error:
                # What paho cannot read ends the connection; it says so in many ways.
                logger.warning("the broker has sent what is no MQTT: %r", error)
                self._ended(None)
                return False
            sock = self._client.socket()
            if code or sock is None:
                return False
            pending = getattr(sock, "pending", None)
            if self._progress == before and not (pending and pending()):
                return False
        return True

    async def _write(self) -> None:
        while (sock := self._client.socket()) is not None:
            if not self._client.want_write():
                self._writable.clear()
                await self._writable.wait()
            # What was written may have been DISCONNECT, or the connection was lost: then it is closed.
            if self._client.loop_write() or sock.fileno() < 0:
                return
            if self._client.want_write():
                try:
                    await anyio.wait_writable(sock)
                except anyio.ClosedResourceError:
                    return

    async def _look(self) -> None:
        while self._client.loop_misc() == MQTTErrorCode.MQTT_ERR_SUCCESS:  # noqa: ASYNC110
            # paho counts the seconds itself and tells nobody when they are over.
            await asyncio.sleep(MISC_SECONDS)

    def _stop(self) -> None:
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    # What paho tells

    def _on_connect(
        self,
        _client: paho.Client,
        _data: Any,
        flags: paho.ConnectFlags,
        code: ReasonCode,
        told: Packed | None,
    ) -> None:
        self._progress += 1
        assert self._connack is not None
        outcome = _outcome(code, told)
        self._maximum_packet_bytes = getattr(told, "MaximumPacketSize", None)
        self.is_up = not outcome.is_failure
        if not self._connack.done():
            receive_maximum = getattr(told, "ReceiveMaximum", 65535)
            self._connack.set_result(Connack(outcome, flags.session_present, receive_maximum))

    def _on_answer(
        self, _client: paho.Client, _data: Any, packet_id: int, codes: list[ReasonCode], told: Packed | None
    ) -> None:
        self._progress += 1
        answer = self._answers.get(packet_id)
        if answer is not None and not answer.done():
            answer.set_result([_outcome(code, told) for code in codes])

    def _on_publish(
        self, _client: paho.Client, _data: Any, packet_id: int, code: ReasonCode, told: Packed | None
    ) -> None:
        self._progress += 1
        if packet_id in self._unanswered:
            self._unanswered.discard(packet_id)
            self._listener.written()
        else:
            self._listener.acknowledged(packet_id, _outcome(code, told))

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self._progress += 1
        self._listener.received(Received(unpacked(message), message.mid))

    def _on_disconnect(
        self,
        _client: paho.Client,
        _data: Any,
        flags: paho.DisconnectFlags,
        code: ReasonCode,
        told: Packed | None,
    ) -> None:
        self._ended(_outcome(code, told) if flags.is_disconnect_packet_from_server else None)

    def _ended(self, outcome: Outcome | None) -> None:
        self._progress += 1
        self._stop()
        self._unanswered.clear()
        error = ConnectError("the broker has closed the connection")
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
        if self._connack is not None and not self._connack.done():
            self._connack.set_exception(error)
        if self.is_up:
            self.is_up = False
            self._listener.lost(outcome)


def _without_origin(headers: dict[str, str]) -> dict[str, str]:
    """Leave out the Origin that paho invents: it is for browsers, and brokers judge it."""
    return {name: value for name, value in headers.items() if name != "Origin"}


def _outcome(code: ReasonCode, told: Packed | None) -> Outcome:
    return Outcome(code.value, code.getName(), getattr(told, "ReasonString", None), user_properties(told))
