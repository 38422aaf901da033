"""Every refusal as HTTP: one shape, one table from our errors to statuses.

RFC 9457 (`type`, `title`, `status`, `detail`) and, for the clients in the field,
`error`, `error_description` and `message`. Nothing else translates errors to HTTP.
What is not in the table is a defect of ours: a 500 that says nothing but the id under
which the log has it.
"""

from __future__ import annotations

import re
from http import HTTPStatus

import msgspec

from tokenmq.api.answer import Answer, Headers
from tokenmq.errors import (
    ClaimMissing,
    Conflict,
    ExpiredToken,
    Forbidden,
    GrantTooWide,
    InvalidKey,
    InvalidRequest,
    InvalidToken,
    InvalidTopic,
    NotFound,
    NotKept,
    RateLimited,
    TokenmqError,
    Unavailable,
    UnusableKey,
)
from tokenmq.tokens.secret import PATTERN as KEY

MEDIA_TYPE = b"application/problem+json"

# The nearest class in the order of inheritance decides.
_STATUS: dict[type[TokenmqError], tuple[int, str]] = {
    InvalidRequest: (400, "invalid_request"),
    InvalidTopic: (400, "invalid_request"),
    InvalidKey: (401, "unauthorized"),
    InvalidToken: (401, "unauthorized"),
    ExpiredToken: (401, "token_expired"),
    Forbidden: (403, "forbidden"),
    GrantTooWide: (403, "forbidden"),
    Conflict: (409, "conflict"),
    ClaimMissing: (422, "invalid_token"),
    RateLimited: (429, "rate_limited"),
}
_UNAVAILABLE = "the store, or something else that is needed, fails; nothing was changed"
# What looks like a compact JWS: a caller who mixes up two fields must not find his token in a log.
_JWS = re.compile(r"eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)*")


class FieldProblem(msgspec.Struct, frozen=True):
    """What is wrong with one field; an empty field means the request as a whole."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of every error answer."""

    type: str
    title: str
    status: int
    detail: str
    error: str
    error_description: str
    message: str
    errors: tuple[FieldProblem, ...] = ()


class HttpRefused(TokenmqError):
    """A request that HTTP itself has a status for: no such path, too large, too slow.

    Attributes:
        status: the HTTP status.
        code: `not_found`, `method_not_allowed` or `invalid_request`.
        headers: what that status must carry (`Allow`), as ASGI has it.
    """

    def __init__(
        self, status: int, message: str, *, code: str = "invalid_request", headers: Headers = ()
    ) -> None:
        self.status = status
        self.code = code
        self.headers = headers
        super().__init__(message)


def problem(error: TokenmqError, *, request_id: str) -> Answer:
    """Translate an error of ours; one that is not in the table is a defect (500)."""
    if isinstance(error, HttpRefused):
        return _answer(error.status, error.code, str(error), headers=error.headers)
    if isinstance(error, NotFound):
        return _answer(404, error.code, str(error))
    if isinstance(error, NotKept):
        return _answer(503, "unavailable", str(error), headers=((b"retry-after", b"1"),))
    if isinstance(error, Unavailable | UnusableKey):
        # Its words may be a driver's: they are for the log.
        return _answer(503, "unavailable", _UNAVAILABLE, headers=((b"retry-after", b"1"),))
    for cls in type(error).__mro__:
        if cls in _STATUS:
            status, code = _STATUS[cls]
            return _answer(status, code, str(error), headers=_headers(error, status), errors=_fields(error))
    return defect(request_id=request_id)


def defect(*, request_id: str) -> Answer:
    """Build the answer to a request on which we failed."""
    return _answer(
        500, "internal_error", f"this is a defect of the server; its log has it under {request_id}"
    )


def redact(text: str) -> str:
    """Mask whatever looks like a key or a token of ours."""
    return _JWS.sub("eyJ...", KEY.sub("(a key)", text))


def _fields(error: TokenmqError) -> tuple[FieldProblem, ...]:
    if isinstance(error, InvalidRequest):
        return tuple(FieldProblem(redact(field), redact(text)) for field, text in error.problems)
    return ()


def _headers(error: TokenmqError, status: int) -> Headers:
    if status == HTTPStatus.UNAUTHORIZED:
        return ((b"www-authenticate", b"Bearer"),)
    if isinstance(error, RateLimited):
        # draft-ietf-httpapi-ratelimit-headers: remaining r, reset t, quota q, window w.
        wait = max(1, error.retry_after_seconds)
        return (
            (b"retry-after", b"%d" % wait),
            (b"ratelimit", b'"%b";r=0;t=%d' % (error.policy.encode(), wait)),
            (
                b"ratelimit-policy",
                b'"%b";q=%d;w=%d' % (error.policy.encode(), error.quota, error.window_seconds),
            ),
        )
    return ()


def _answer(
    status: int,
    code: str,
    text: str,
    *,
    headers: Headers = (),
    errors: tuple[FieldProblem, ...] = (),
) -> Answer:
    detail = redact(text)
    body = Problem(
        type="about:blank",  # RFC 9457 §4.2.1: the status says it, `error` says which
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        error=code,
        error_description=detail,
        message=detail,
        errors=errors,
    )
    return Answer(msgspec.json.encode(body), status=status, media_type=MEDIA_TYPE, headers=headers)
