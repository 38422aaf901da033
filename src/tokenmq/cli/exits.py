"""The exit codes, and which error is which."""

from __future__ import annotations

from typing import Final

from tokenmq.errors import (
    ConnectError,
    Denied,
    InvalidKey,
    InvalidRequest,
    NotDelivered,
    ServiceError,
    TokenError,
    TokenmqError,
    Unreachable,
)

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_AUTHORISED: Final = 3
NOT_FOUND: Final = 4
UNREACHABLE: Final = 5
INTERRUPTED: Final = 130

_BY_STATUS: Final = {
    401: NOT_AUTHORISED,
    403: NOT_AUTHORISED,
    404: NOT_FOUND,
    502: UNREACHABLE,
    503: UNREACHABLE,
}
# MQTT 5 §2.4: client id, username or password, not authorised, banned, method; life over.
_BY_REASON: Final = {
    **dict.fromkeys((0x85, 0x86, 0x87, 0x8A, 0x8C, 0xA0), NOT_AUTHORISED),
    # Unavailable, busy, shutting down.
    **dict.fromkeys((0x88, 0x89, 0x8B), UNREACHABLE),
}


def status_of(error: TokenmqError) -> int:
    """Return the exit code of a command that ended with this error."""
    match error:
        case ServiceError():
            return _BY_STATUS.get(error.status, FAILED)
        case ConnectError(reason_code=None):
            return UNREACHABLE
        case ConnectError(reason_code=int(code)) | Denied(reason_code=code):
            return _BY_REASON.get(code, FAILED)
        case NotDelivered(__cause__=TokenmqError() as cause):
            return status_of(cause)
        case InvalidKey() | TokenError():
            return NOT_AUTHORISED
        case Unreachable():
            return UNREACHABLE
        case InvalidRequest():
            return USAGE
        case _:
            return FAILED
