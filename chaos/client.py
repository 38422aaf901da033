"""A client on a socket: connects, carries what its protocol state says, comes back when it is lost."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterable

from bench.ours import HOST

from chaos.ledger import Ledger, Page, Will, now
from chaos.server import Pass
from chaos.state import ClientState
from tokenmq.errors import ProtocolError
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Connack, Connect, Disconnect, Packet, Publish, Subscription
from tokenmq.mqtt.packets import Will as WillPacket

MAX_PACKET_BYTES = 1 << 20
# Pauses before it connects again: to a server that is not there, and to one that does not let it in.
AGAIN_SECONDS, REFUSED_SECONDS = 0.02, 0.5
# An answer that does not come in this time ends the run: on a machine that is busy with other things, too.
PATIENCE_SECONDS = 20.0
SESSION_EXPIRY_SECONDS = 3_600


class Client:
    """One client.

    Attributes:
        wanted: it shall be connected.
        refusal: reason code of the newest CONNACK if that refused, in its own version's numbers.
        reads: what is sent to it is looked at; if not, messages lie unread with it, which no server can tell
            from a slow network.
        will: what its next CONNECT carries, made anew for each.
        on_turn: called when it was accepted, and after each portion of packets.
    """

    def __init__(
        self,
        ledger: Ledger,
        port: int,
        name: str,
        pass_: Pass,
        *,
        version: int = 5,
        outlives: bool = True,
        draw: random.Random,
    ) -> None:
        self.ledger = ledger
        self.name = name
        self.version = version
        self.page = Page(ledger, name)
        self.state = ClientState(self.page, version=version, outlives=outlives)
        self.outlives = outlives
        self.credentials = pass_
        self.draw = draw
        self.wanted = True
        self.reads = True
        self.refusal = 0
        self.will: Callable[[], tuple[WillPacket, Will]] | None = None
        self.on_turn: Callable[[Client], None] = _nothing
        self._will: Will | None = None
        self._next_will: Will | None = None
        self._port = port
        self._writer: asyncio.StreamWriter | None = None

    # What it is told

    async def run(self) -> None:
        """Live until cancelled."""
        while True:
            if self.wanted:
                with contextlib.suppress(OSError):
                    await self._connection()
            await asyncio.sleep(
                (REFUSED_SECONDS if self.refusal else AGAIN_SECONDS) * self.draw.uniform(0.5, 1.5)
            )

    def publish(self, topic: str, *, qos: int, size: int | None, retain: bool = False) -> None:
        """Publish a message, if it is connected."""
        if self.state.connected:
            packet = Publish(topic, qos=qos, retain=retain)
            message = self.ledger.message(self.name, self.page.lives, packet, size=size)
            self._send(self.state.publish(message.number, packet))

    def subscribe(self, *topic_filters: str, qos: int, retain_handling: int = 2) -> None:
        """Subscribe, now or as soon as it is connected."""
        for topic_filter in topic_filters:
            wanted = Subscription(topic_filter, qos, retain_handling=retain_handling)
            self._send(self.state.subscribe(wanted))

    def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe, if it is connected."""
        if self.state.connected:
            self._send(self.state.unsubscribe(topic_filter))

    def drop(self) -> None:
        """Cut the connection without a word."""
        if self._writer is not None:
            self._writer.transport.abort()

    def renew(self) -> None:
        """Begin anew: with a clean start as soon as it comes back."""
        self.page.ending()
        self.state.clean_start = True
        self.drop()

    async def is_connected(self) -> None:
        """Return when it is."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self.state.connected:
                await asyncio.sleep(0.005)

    # A connection

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_connection(HOST, self._port)
        self._writer = writer
        try:
            self._send([self._connect()])
            await self._read(reader)
        except ProtocolError as error:
            self.page.wrong(f"the server sent what is not MQTT: {error}")
        finally:
            self._writer = None
            self.state.disconnected()
            for will in (self._will, self._next_will):
                if will is not None:
                    will.ended_at = min(will.ended_at, now())
            writer.transport.abort()

    def _connect(self) -> Connect:
        packet = Connect(
            protocol_version=self.version,
            client_id=self.name,
            clean_start=self.state.clean_start,
            keep_alive=120,
            username=self.credentials.username,
            password=self.credentials.password,
        )
        if self.version == 5 and self.outlives:
            packet.session_expiry_interval = SESSION_EXPIRY_SECONDS
        if self.will is not None:
            packet.will, self._next_will = self.will()
            if self._will is not None:
                self._will.challenged_at = min(self._will.challenged_at, now())
        return packet

    async def _read(self, reader: asyncio.StreamReader) -> None:
        data = b""
        while chunk := await reader.read(65_536):
            data += chunk
            position = 0
            while (found := codec.frame(data, position, MAX_PACKET_BYTES)) is not None:
                first, start, position = found
                packet = codec.decode(first, data, start, position, self.version, from_client=False)
                if not self._received(packet):
                    return
            data = data[position:]
            if self._will is not None and self.state.confirmed:
                self._will.established = True
            self.on_turn(self)

    def _received(self, packet: Packet) -> bool:
        """Take in a packet; return whether the connection goes on."""
        if isinstance(packet, Connack):
            self.refusal = packet.reason_code
            if packet.reason_code:
                return False
            self._accepted()
        if isinstance(packet, Publish) and not self.reads:
            return True
        self._send(self.state.received(packet))
        if isinstance(packet, Connack):
            self.state.clean_start = not self.outlives
        return not isinstance(packet, Disconnect)

    def _accepted(self) -> None:
        """The will of the connection before is over or not, and that of this one begins."""
        if self.will is None:
            return
        if self._will is not None:
            self._will.resumed_at = now()
        self._will = self._next_will

    def _send(self, packets: Iterable[Packet]) -> None:
        if self._writer is not None:
            for packet in packets:
                self._writer.write(codec.encode(packet, self.version))


def _nothing(_client: Client) -> None:
    """Do nothing."""
