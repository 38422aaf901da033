"""The rules of AUTH on one network connection (MQTT 5 §4.12)."""

from __future__ import annotations

from tokenmq.errors import ProtocolError
from tokenmq.mqtt import wire
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.packets import Auth

# AUTH packets in one authentication; our own methods need none or one.
MAX_ROUNDS = 3


class Exchange:
    """What AUTH may come, from the CONNECT on.

    Attributes:
        method: Authentication Method of the CONNECT; None forbids AUTH both ways.
    """

    __slots__ = ("_rounds", "_under_way", "method")

    def __init__(self, method: str | None) -> None:
        self.method = method
        self._under_way = True
        self._rounds = 0

    def received(self, auth: Auth, *, connected: bool) -> None:
        """Check an AUTH of the client.

        Args:
            auth: as it was decoded; a client's says 0x18 or 0x19.
            connected: whether the CONNECT is answered.

        Raises: ProtocolError 0x82 for an AUTH that may not come, 0x87 after too many.
        """
        if self.method is None:  # [MQTT-4.12.0-7]
            raise wire.protocol_error("AUTH, but the CONNECT had no authentication method")
        if auth.authentication_method != self.method:  # [MQTT-4.12.0-5] [MQTT-4.12.1-1]
            raise wire.protocol_error("AUTH with another authentication method than the CONNECT")
        begins = auth.reason_code == ReasonCode.RE_AUTHENTICATE
        if begins and not connected:
            raise wire.protocol_error("re-authentication before the CONNECT is answered")
        if begins and not self._under_way:
            self._under_way = True
            self._rounds = 0
        elif not self._under_way:
            raise wire.protocol_error("AUTH goes on with what was not begun")  # [MQTT-4.12.0-3]
        self._rounds += 1
        if self._rounds > MAX_ROUNDS:
            raise ProtocolError(
                ReasonCode.NOT_AUTHORIZED, f"more than {MAX_ROUNDS} AUTH in one authentication"
            )

    def succeeded(self) -> None:
        """Note that the server has said success: what comes next begins anew."""
        self._under_way = False
