"""Listening sockets, what stands in front of MQTT, and MQTT over TCP.

Binding is the same for all listeners of the broker: an address that others can reach
needs TLS or `allow_plaintext` (SECURITY, ruling 18), and a taken port is an error that
names the setting that moves it. A connection is, from the socket up: a proxy's header
(`proxied`) and TLS (`secured`) where the listener has them, then MQTT: here over TCP, in
`websocket` over WebSocket. A plain connection has nothing in front of it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from tokenmq.config import MqttSettings, MqttsSettings, WebsocketSettings, WssSettings
from tokenmq.errors import InvalidSettings
from tokenmq.mqtt.packets.connect import BRIDGE_BIT
from tokenmq.server.admission import Admission, Refusal
from tokenmq.server.binding import resolve, why_not_bound
from tokenmq.server.endpoint import Endpoint, Entrance
from tokenmq.server.peer import MakeLink, Peer
from tokenmq.server.proxied import Proxied
from tokenmq.server.secured import ContextSource, ReportEvent, Secured, unheard

# Connections that the kernel holds until the loop gets to them: a second of the
# quickest connect rate measured. The kernel cuts it to net.core.somaxconn.
BACKLOG = 4_096
# How many of them are taken in one turn of the loop, whatever else there is to do in it.
_ACCEPTED_IN_A_TURN = 8

# MQTT 5 §3.2: session present 0, the reason code, no properties.
_CONNACK_5 = {Refusal.TOO_MANY: b"\x20\x03\x00\x97\x00", Refusal.TOO_FAST: b"\x20\x03\x00\x9f\x00"}
# MQTT 3.1.1 §3.2.2.3: 3, server unavailable.
_CONNACK_311 = b"\x20\x02\x00\x03"
# MQTT 5 §3.1.2.1; the protocol version is the byte that follows.
_PROTOCOL_NAME = b"\x00\x04MQTT"
_CONNECT = 0x10
# Fixed header of at most five bytes, protocol name, version.
_MOST_CONNECT_HEAD_BYTES = 12


BrokerListener = MqttSettings | MqttsSettings | WebsocketSettings | WssSettings


class Listener:
    """A listening socket; connections that have a link live on when it closes.

    Attributes:
        address: the IP address it is bound to.
        port: the port it is bound to, also where 0 was asked for.
    """

    def __init__(self, servers: list[asyncio.Server], entrance: Entrance) -> None:
        self._servers = servers
        self._entrance = entrance
        self.address: str
        self.port: int
        self.address, self.port = servers[0].sockets[0].getsockname()[:2]

    def close(self) -> None:
        """Accept nothing more, and cut connections that have no link yet."""
        for server in self._servers:
            server.close()
        for endpoint in tuple(self._entrance.early):
            endpoint.abort()


async def listen_tcp(
    settings: MqttSettings | MqttsSettings,
    make_link: MakeLink,
    admission: Admission,
    *,
    report: ReportEvent = unheard,
    certificates: ContextSource | None = None,
) -> Listener:
    """Listen for MQTT over TCP [MQTT-4.2.0-1] [MQTT311-7.1.1-1], or over TLS where there are certificates.

    Args:
        settings: host, port (0 takes a free one), proxy_protocol, allow_plaintext.
        make_link: called for each connection that `admission` lets in.
        admission: limits on connections, the same object for all listeners.
        report: told of what is worth a line before there is a link.
        certificates: what the listener shows; None = no TLS.

    Raises: InvalidSettings if the port is taken, or the address cannot be used or may
        not be used without TLS.
    """
    entrance = Entrance(make_link, admission, secure=certificates is not None)
    table = "mqtt" if certificates is None else "mqtts"
    make = in_front(lambda: TcpEndpoint(entrance), entrance, settings, report, certificates)
    return await bind(table, settings, entrance, make)


def in_front(
    make_endpoint: Callable[[], Endpoint],
    entrance: Entrance,
    settings: BrokerListener,
    report: ReportEvent,
    certificates: ContextSource | None,
) -> Callable[[], asyncio.Protocol]:
    """Put what comes before MQTT, a proxy's header and TLS, in front of endpoints."""
    if settings.proxy_protocol:
        return lambda: Proxied(entrance, make_endpoint, report, certificates)
    if certificates is not None:
        return lambda: Secured(make_endpoint(), certificates, report)
    return make_endpoint


async def bind(
    table: str,
    settings: BrokerListener,
    entrance: Entrance,
    make_protocol: Callable[[], asyncio.Protocol],
) -> Listener:
    """Open a listening socket for a table of the settings.

    Args:
        table: the table's name, for messages.
        settings: host, port, allow_plaintext.
        entrance: what the endpoints share.
        make_protocol: called for each connection.

    Raises: as `listen_tcp`.
    """
    addresses = await resolve(table, settings)
    loop = asyncio.get_running_loop()
    try:
        # Both uvloop and asyncio set TCP_NODELAY on what they accept.
        server = await loop.create_server(make_protocol, addresses, settings.port, backlog=BACKLOG)
    except OSError as error:
        raise InvalidSettings(why_not_bound(table, settings, error)) from error
    servers = [server]
    for listening in server.sockets:
        for _ in range(_ACCEPTED_IN_A_TURN - 1):
            # uvloop takes one connection in each turn of the loop from each handle that it has.
            again = socket.socket(fileno=os.dup(listening.fileno()))
            servers.append(await loop.create_server(make_protocol, sock=again, backlog=BACKLOG))
    return Listener(servers, entrance)


class TcpEndpoint(Endpoint):
    """MQTT straight over TCP: what comes in is what the link gets."""

    __slots__ = ("_head", "_refusal")

    def accepted(self, port: int) -> None:
        """Build the link at once."""
        peer = Peer(self.address, port, "tcp", None, trusted=self.is_trusted())
        self._link = self._entrance.make_link(peer)
        self._link.opened(self)

    def refused(self, refusal: Refusal) -> None:
        """Wait for the head of CONNECT, which says in which version to answer."""
        self._head = b""
        self._refusal = refusal
        self._cut_later()

    def leave(self) -> None:
        """Close at once: what is still under way the peer has said it will not read."""
        if not self._ending:
            self._ending = True
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Pass a chunk on."""
        if self._ending:
            return
        if self._link is not None:
            self._link.received(data)
        else:
            self._answer_refused(data)

    def _answer_refused(self, data: bytes) -> None:
        self._head += data[:_MOST_CONNECT_HEAD_BYTES]
        version = connect_version(self._head)
        if version is None and len(self._head) < _MOST_CONNECT_HEAD_BYTES:
            return
        if version is not None:
            is_5 = version & ~BRIDGE_BIT >= 5
            self._transport.write(_CONNACK_5[self._refusal] if is_5 else _CONNACK_311)
        self.finish()


def connect_version(head: bytes) -> int | None:
    """Read the protocol version out of the first bytes of a CONNECT.

    Returns: None if they are no CONNECT, or not enough of one yet.
    """
    at = head.find(_PROTOCOL_NAME, 2, 5 + len(_PROTOCOL_NAME))
    if head[:1] != bytes([_CONNECT]) or at < 0:
        return None
    following = head[at + len(_PROTOCOL_NAME) :]
    return following[0] if following else None
