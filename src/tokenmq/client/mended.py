"""paho's client with two of its faults mended.

It leaves a repeated PUBREL unanswered as long as acknowledgements are its user's, so that a
message of QoS 2 stays in the broker's session for good; and it leaves a socket open whose
TLS or WebSocket handshake has failed.
"""

from __future__ import annotations

import socket
import ssl

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode


class Paho(paho.Client):
    """`paho.mqtt.client.Client`; what it overrides is private there, and held by tests here."""

    _opening: socket.socket | None = None

    def _handle_pubrel(self) -> MQTTErrorCode:
        # MQTT 5 §4.3.3: PUBCOMP for each PUBREL.
        self.manual_ack_set(on=False)
        try:
            return super()._handle_pubrel()
        finally:
            self.manual_ack_set(on=True)

    def _create_socket(self) -> paho.SocketLike:
        try:
            return super()._create_socket()
        except BaseException:
            if self._opening is not None:
                self._opening.close()
            raise
        finally:
            self._opening = None

    def _create_socket_connection(self) -> socket.socket:
        self._opening = super()._create_socket_connection()
        return self._opening

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        assert self._ssl_context is not None
        made = self._ssl_context.wrap_socket(
            tcp_sock, server_hostname=self._host, do_handshake_on_connect=False
        )
        self._opening = made
        made.settimeout(self._connect_timeout)
        made.do_handshake()
        return made
