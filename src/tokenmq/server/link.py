"""One network connection: the only loop over received bytes.

Theory of operation. A transport (`listeners`, `websocket`) hands in whatever arrived.
What has a lane is forwarded without being looked at closely (`broker.lane`); every
other packet is cut out, decoded and checked (`mqtt`), and handed to the core. An
incomplete packet waits in `_rest` until its announced length is there, so that many
small reads cost no copying of what came before. Nothing here waits for anything.

A peer that does not read is still read from: its messages wait in its queue, which is
bounded, and its answers pile up. When these are more than it can be waiting for, its
packets are left in the kernel until it reads. So they are while too much of what it
sent waits for the store, or its CONNACK does, and while it publishes faster than it may.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from tokenmq import clock
from tokenmq.broker import lane
from tokenmq.broker.outbox import Outbox
from tokenmq.broker.session import Session
from tokenmq.errors import ProtocolError, TokenmqError
from tokenmq.limits import MAX_PACKET_ID
from tokenmq.mqtt import codec
from tokenmq.mqtt.codes import PacketType, ReasonCode
from tokenmq.mqtt.connection import Connection
from tokenmq.mqtt.packets import (
    Auth,
    Connect,
    Disconnect,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    Unsubscribe,
)
from tokenmq.server import connect_sizes
from tokenmq.server.peer import LinkTransport, Peer
from tokenmq.services.authenticate import Credentials
from tokenmq.tracebacks import told

if TYPE_CHECKING:
    from tokenmq.server.hub import Hub

_log = structlog.get_logger("tokenmq.link")

# Answers that may wait for a peer that does not read. PUBACKs for as many messages as the
# greatest Receive Maximum lets it send: nobody who keeps to that is ever held.
_MAX_UNREAD_BYTES = 4 * MAX_PACKET_ID


class Link:
    """One network connection, whatever transport carries it.

    Attributes:
        deadline_second: its place in the hub's wheel of deadlines.
        slowed: a message of its waits, and nothing is read, for it is over its publish rate.
    """

    __slots__ = (
        "_broker",
        "_held",
        "_hub",
        "_needed",
        "_rest",
        "_transport",
        "_unread",
        "connection",
        "deadline_second",
        "outbox",
        "peer",
        "slowed",
    )

    def __init__(self, hub: Hub, peer: Peer) -> None:
        self._hub = hub
        self._broker = hub.broker
        self.peer = peer
        self.connection = Connection(hub.connection_limits, clock.mono())
        self.outbox = Outbox(self.connection, self)
        self.deadline_second: int | None = None
        self._transport: LinkTransport | None = None
        self._rest = bytearray()
        self._needed = 0
        self._unread = 0
        self._held = False
        self.slowed = False

    # What the transport tells

    def opened(self, transport: LinkTransport) -> None:
        """Begin: the connection is there."""
        self._transport = transport
        self._hub.watch(self)

    def received(self, data: bytes) -> None:
        """Take in bytes in any portions, and do all that they ask for."""
        if self.outbox.closed:
            return
        if self._rest:
            if len(self._rest) + len(data) < self._needed:
                self._rest += data
                return
            data = b"".join((self._rest, data))
            self._rest.clear()
        try:
            self._take_in(data)
        except Exception as error:  # the one wide except: a defect of ours must not admit or stay
            _log.error("defect", **told(error))  # [MQTT311-4.8.0-2]
            self._broker.disconnect(self.outbox, ReasonCode.UNSPECIFIED_ERROR, "internal error")
        finally:
            self._hub.settle()

    def writing_paused(self) -> None:
        """Hold back: the peer does not read as fast as it is written to."""
        session = self.outbox.session
        if session is not None:
            session.pause()

    def writing_resumed(self) -> None:
        """Go on: the peer has read."""
        self._unread = 0
        if self._held:
            self._held = False
            self._read_on()
        session = self.outbox.session
        if session is not None:
            self._broker.moment.now = clock.now()
            session.resume()
            self._hub.settle()

    def lost(self) -> None:
        """End: the connection is gone."""
        self._hub.unwatch(self)
        if self.outbox.session is not None:
            self._broker.moment.now = clock.now()
            self._broker.lost(self.outbox, "connection lost")
            self._hub.settle()
        self.outbox.let_go()
        self._transport = None

    # What the hub asks for

    @property
    def is_held(self) -> bool:
        """Whether it is not read from for another reason than its publish rate."""
        return self._held or self.outbox.held

    @property
    def waits_for_us(self) -> bool:
        """Whether nothing is read from it that its peer could not help by reading."""
        return self.slowed or self.outbox.held

    def go_on(self) -> None:
        """Take in what has waited because it came too fast; read on unless that is still too much."""
        if not self.slowed:
            return
        self.slowed = False
        self._needed = 0
        self.received(b"")
        self._read_on()

    def write(self) -> None:
        """Write everything that the core has appended, at once."""
        if self.outbox.gated:
            return
        chunks = self.outbox.chunks
        if self._transport is not None and chunks:
            data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            self._transport.write(data)
            if self.outbox.paused:
                self._hold(len(data))
        chunks.clear()
        if self.outbox.held:
            self._let_go()

    def wait(self) -> None:
        """Take in nothing more: its refusal waits, and opens the outbox once more for its answer."""
        self.outbox.closed = True
        if self._transport is not None:
            self._transport.pause_reading()

    def close(self, *, peer_left: bool) -> None:
        """Close after what was written."""
        if self._transport is not None:
            if peer_left:
                self._transport.leave()
            else:
                self._transport.close()

    def _hold(self, size: int) -> None:
        """Stop reading when too many bytes wait for a peer that does not read."""
        self._unread += size
        if self._unread > _MAX_UNREAD_BYTES and not self._held and self._transport is not None:
            self._held = True
            self._transport.pause_reading()

    def _hold_for_store(self, session: Session) -> None:
        """Stop reading when too much of what came waits for the store."""
        broker = self._broker
        most = broker.settings.max_unstored_bytes_per_connection
        if self.outbox.gated or session.waiting_bytes > most or broker.unstored.is_over:
            self.outbox.held = True
            if not self._held and self._transport is not None:
                self._transport.pause_reading()

    def _let_go(self) -> None:
        """Read again when enough of it is through."""
        session, broker = self.outbox.session, self._broker
        waiting = 0 if session is None else session.waiting_bytes
        enough = broker.settings.max_unstored_bytes_per_connection // 2
        # Who has nothing there is let go whatever others have: nothing would wake it later.
        if not waiting or (waiting <= enough and not broker.unstored.is_over):
            self.outbox.held = False
            self._read_on()

    def _slow(self, data: bytes, pos: int, mono: float) -> None:
        """Stop reading at a message that may not pass yet; it waits, and all behind it."""
        pace = self.outbox.pace
        if pace is not None and pace.over_since is None:
            pace.over_since = mono
        self.slowed = True
        self._rest += data[pos:]
        self._needed = sys.maxsize  # whatever still comes joins it
        self._hub.slowed.add(self)
        if self._transport is not None:
            self._transport.pause_reading()

    def _read_on(self) -> None:
        """Read again, if nothing else stands against it."""
        if not (self._held or self.outbox.held or self.slowed) and self._transport is not None:
            self._transport.resume_reading()

    # The loop

    def _take_in(self, data: bytes) -> None:
        try:
            self._consume(data)
        except ProtocolError as error:
            self._broker.fail(self.outbox, error)

    def _consume(self, data: bytes) -> None:
        broker = self._broker
        outbox = self.outbox
        connection = self.connection
        now, mono = clock.now(), clock.mono()
        broker.moment.now = now
        session = outbox.session
        if session is None:
            connection.check_first(data[0])
        elif session.expiry_second is not None and now >= session.expiry_second:
            broker.expire(session)
            return
        pos = 0
        while pos < len(data) and not outbox.closed:
            session = outbox.session
            # What waits for the store must not be overtaken.
            if session is not None and not session.arriving:
                after = lane.forward(
                    data,
                    pos,
                    session,
                    broker.dirty,
                    broker.counters,
                    broker.recorder,
                    broker.settings.max_packet_bytes,
                )
                if after > pos:
                    connection.touch(mono)
                    pos = after
                    if pos == len(data):
                        break
            found = codec.frame(data, pos, connection.max_packet_bytes)
            if found is None:
                self._keep(data, pos)
                break
            first, start, stop = found
            if outbox.pace is not None and not self._may_pass(first, stop - pos, mono):
                self._slow(data, pos, mono)
                break
            packet = connection.accept(first, data, start, stop, mono)
            _HANDLERS[type(packet)](self, packet, now)
            pos = stop
        session = outbox.session
        if session is not None and (session.waiting_bytes or outbox.gated) and not outbox.closed:
            self._hold_for_store(session)

    def _may_pass(self, first: int, size: int, mono: float) -> bool:
        """Tell whether a packet is within the publish rate, and count it if it is."""
        pace = self.outbox.pace
        if pace is None or first >> 4 != PacketType.PUBLISH:
            return True
        if not pace.may_pass(mono):
            return False
        pace.spend(size)
        return True

    def _keep(self, data: bytes, pos: int) -> None:
        """Keep the beginning of a packet until the rest of it is there."""
        self._rest += data[pos:] if pos else data
        self._needed = _bytes_needed(self._rest)

    # One method for each packet that a client may send

    def _connect(self, packet: Connect, now: float) -> None:
        hub = self._hub
        assigned = not packet.client_id
        # [MQTT-3.1.3-6] [MQTT-3.2.2-16] [MQTT311-3.1.3-6] 128 bits: nobody guesses another's.
        client_id = packet.client_id or f"auto-{secrets.token_hex(16)}"
        try:
            connect_sizes.check(packet, self._broker.settings)
            identity = hub.authenticator.connect(
                Credentials(
                    username=packet.username,
                    password=packet.password,
                    method=packet.authentication_method,
                    data=packet.authentication_data,
                    client_id=client_id,
                    origin=self.peer.origin,
                    trusted_link=self.peer.trusted,
                ),
                now,
            )
            hub.admit(self.outbox, packet, identity, client_id, assigned=assigned, now=now)
        except TokenmqError as error:
            hub.refuse(self, error, client_id)  # [MQTT-3.1.4-2] [MQTT-4.12.0-4]

    def _publish(self, packet: Publish, now: float) -> None:  # noqa: ARG002 - every handler gets the time
        self._broker.publish(self._session(), packet)

    def _acknowledged(self, packet: Puback | Pubrec | Pubcomp, now: float) -> None:  # noqa: ARG002
        self._broker.acknowledged(self._session(), packet)

    def _pubrel(self, packet: Pubrel, now: float) -> None:  # noqa: ARG002
        self._broker.release(self._session(), packet)

    def _subscribe(self, packet: Subscribe, now: float) -> None:  # noqa: ARG002
        self._broker.subscribe(self._session(), packet)

    def _unsubscribe(self, packet: Unsubscribe, now: float) -> None:  # noqa: ARG002
        self._broker.unsubscribe(self._session(), packet)

    def _pingreq(self, packet: Pingreq, now: float) -> None:  # noqa: ARG002
        self._broker.send(self.outbox, Pingresp())  # [MQTT-3.12.4-1] [MQTT311-3.12.4-1]

    def _disconnect(self, packet: Disconnect, now: float) -> None:  # noqa: ARG002
        self._broker.goodbye(self.outbox, packet)

    def _auth(self, packet: Auth, now: float) -> None:  # noqa: ARG002
        self._broker.authenticate(self._session(), packet)

    def _session(self) -> Session:
        session = self.outbox.session
        if session is None:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, "the connection has no session")
        return session


def _bytes_needed(rest: bytearray) -> int:
    """Return how many bytes a packet has of which this is the beginning, or at least has."""
    length = 0
    for at in range(1, min(len(rest), 5)):
        length |= (rest[at] & 0x7F) << 7 * (at - 1)
        if rest[at] < 0x80:
            return at + 1 + length
    return len(rest) + 1


_HANDLERS: dict[type, Callable[[Link, Any, float], None]] = {
    Connect: Link._connect,
    Publish: Link._publish,
    Puback: Link._acknowledged,
    Pubrec: Link._acknowledged,
    Pubrel: Link._pubrel,
    Pubcomp: Link._acknowledged,
    Subscribe: Link._subscribe,
    Unsubscribe: Link._unsubscribe,
    Pingreq: Link._pingreq,
    Disconnect: Link._disconnect,
    Auth: Link._auth,
}
