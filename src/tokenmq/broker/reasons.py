"""From errors to MQTT reason codes, and the words that go with them.

The table is the wire contract's "Answers"; an error that is not in it is a defect of
ours, answered with 0x83 and never with success.
"""

from __future__ import annotations

from tokenmq.errors import (
    BadCredentials,
    ClientIdNotPermitted,
    FamilyLapsed,
    InvalidKey,
    InvalidToken,
    ProtocolError,
    TokenmqError,
    Unavailable,
    UnknownMethod,
)
from tokenmq.mqtt.codes import ReasonCode

_CODES: tuple[tuple[type[TokenmqError], ReasonCode], ...] = (
    (InvalidToken, ReasonCode.NOT_AUTHORIZED),
    (BadCredentials, ReasonCode.BAD_USER_NAME_OR_PASSWORD),
    (InvalidKey, ReasonCode.BAD_USER_NAME_OR_PASSWORD),
    (ClientIdNotPermitted, ReasonCode.CLIENT_IDENTIFIER_NOT_VALID),  # [MQTT-3.1.3-8] [MQTT311-3.1.3-9]
    (UnknownMethod, ReasonCode.BAD_AUTHENTICATION_METHOD),
    (FamilyLapsed, ReasonCode.SERVER_BUSY),
    (Unavailable, ReasonCode.SERVER_UNAVAILABLE),
)


def reason_code(error: TokenmqError) -> ReasonCode:
    """Return the reason code that an error is answered with."""
    if isinstance(error, ProtocolError):
        return ReasonCode(error.reason_code)
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR
