"""The one ASGI layer around all routes: limits, headers of every answer, errors.

Everything that must hold on every path and every status is here and nowhere else: the
limits of the request line, the header block and the time; security headers; CORS; the
id of the request; an answer in our error shape for whatever is raised. It is plain ASGI,
because a token request has 250 microseconds in all.

The answer to a key that is refused may be held back (`services.tarpit`).

A handler that is over its time is answered for (503) but never cancelled: cancelled
between the commit and what follows from it, a revocation would be only half done.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tokenmq import clock
from tokenmq.api import oauth
from tokenmq.api.answer import CLOSE, WHOLE_ANSWER, Answer, Headers, send_answer
from tokenmq.api.dispatch import KEY_EXPIRES, REQUEST_ID, trace_of
from tokenmq.api.errors import HttpRefused, defect, problem, redact
from tokenmq.api.tally import Tally
from tokenmq.config import HttpSettings
from tokenmq.errors import InvalidKey, TokenmqError
from tokenmq.services.refused_keys import RefusedKeys
from tokenmq.services.tarpit import Tarpit
from tokenmq.timestamps import rfc3339
from tokenmq.tracebacks import told

_log = structlog.get_logger("tokenmq.api")

# No path of ours needs more in a log line.
_LOGGED_PATH_CHARACTERS = 128
# More digits than any length that is allowed, fewer than are a burden to read.
_LENGTH_DIGITS = 20
# Of a request's id: enough that a log never has two.
_ID_BYTES = 8
_NO_STORE = (b"cache-control", b"no-store")
SECURITY: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_TLS_ONLY: Headers = ((b"strict-transport-security", b"max-age=31536000; includeSubDomains"),)
# Paths that browsers call; no cookie is ever used, so any origin may read their answers.
_OPEN_PATHS = (
    "/v2/tokens",
    "/v1/create",
    "/v2/providers",
    "/v2/utilities/presence",
    "/v2/history",
    "/.well-known/",
    "/openapi.json",
)
_CORS: Headers = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-headers", b"Content-Type, Authorization, Idempotency-Key, X-Secret-Key"),
    (
        b"access-control-expose-headers",
        b"Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate, X-Request-Id",
    ),
)
# By whether browsers call the path, and whether it is TLS.
_STANDING: dict[tuple[bool, bool], Headers] = {
    (False, False): SECURITY,
    (False, True): SECURITY + _TLS_ONLY,
    (True, False): SECURITY + _CORS,
    (True, True): SECURITY + _CORS + _TLS_ONLY,
}


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class Gate:
    """Wrap the router.

    Args:
        tarpit: says how long the answer to a failed authentication waits; None: not at all.
        refused_keys: told of every error of a route; None: nobody is.
        tally: where answers are counted; None: nowhere.
    """

    def __init__(
        self,
        router: ASGIApp,
        settings: HttpSettings,
        tarpit: Tarpit | None = None,
        refused_keys: RefusedKeys | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._router = router
        self._settings = settings
        self._tarpit = tarpit
        self._refused_keys = refused_keys
        self._tally = tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request to the end, whatever the route does."""
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._settings.max_body_bytes, self._tally)
        scope[REQUEST_ID] = exchange.request_id
        timer = asyncio.get_running_loop().call_later(self._settings.request_timeout_seconds, exchange.late)
        try:
            self._check(scope)
            await self._router(scope, exchange.receive, exchange.send)
        except TokenmqError as error:
            timer.cancel()  # what is left of its time is not for the route
            if self._refused_keys is not None:
                self._refused_keys.note(error, now=clock.now(), trace=trace_of(scope))
            await self._hold_back(error, scope)
            translate = oauth.refusal if oauth.MARK in scope else problem
            answer = translate(error, request_id=exchange.request_id)
            if answer.status >= 500:
                _log.warning("request not served", reason=redact(str(error)), **exchange.story(error))
            await exchange.answer(answer)
        except ClientGone:
            pass
        except Exception as error:
            _log.error("request failed", **exchange.story(error))
            await exchange.answer(defect(request_id=exchange.request_id))
        finally:
            timer.cancel()
            await exchange.finish()

    async def _hold_back(self, error: TokenmqError, scope: Scope) -> None:
        """Let a failed authentication wait for its answer.

        The caller's is that of its key. A token that is refused here is what the call is about.
        """
        if self._tarpit is None or not isinstance(error, InvalidKey):
            return
        client = scope.get("client")
        delay = self._tarpit.delay(error, client[0] if client else None, clock.mono())
        if delay:
            await asyncio.sleep(delay)

    def _check(self, scope: Scope) -> None:
        """Refuse what is too large before anything is looked at."""
        target = len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"])
        if target > self._settings.max_url_bytes:
            raise _too_large(414, "the URL has", self._settings.max_url_bytes)
        size = 0
        for name, value in scope["headers"]:
            size += len(name) + len(value)
            if name == b"content-length" and _number(value) > self._settings.max_body_bytes:
                raise _too_large(413, "the body has", self._settings.max_body_bytes)
        if size > self._settings.max_header_bytes:
            raise _too_large(431, "the headers have", self._settings.max_header_bytes)


class _Exchange:
    """One request and its one answer: counts what comes, completes what goes."""

    __slots__ = (
        "_body_bytes",
        "_head",
        "_max_body_bytes",
        "_reading",
        "_receive",
        "_scope",
        "_send",
        "_started",
        "_taken_over",
        "_tally",
        "_write_whole",
        "request_id",
    )

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, max_body_bytes: int, tally: Tally | None
    ) -> None:
        self.request_id = "req_" + os.urandom(_ID_BYTES).hex()
        self._scope = scope
        self._receive = receive
        self._send = send
        self._max_body_bytes = max_body_bytes
        self._tally = tally
        self._body_bytes = 0
        self._reading = False
        self._started = False
        self._taken_over: asyncio.Task[None] | None = None
        # The head of an answer that waits for its body, to go with it in one write.
        self._head: Message | None = None
        extension = scope.get("extensions", {}).get(WHOLE_ANSWER, {})
        self._write_whole: Callable[..., bool] | None = extension.get("write")

    async def receive(self) -> Message:
        """Receive the next part of the body, within its limit.

        Raises: HttpRefused (too large), ClientGone.
        """
        self._reading = True
        message = await self._receive()
        if message["type"] != "http.request":
            raise ClientGone
        self._body_bytes += len(message.get("body", b""))
        if self._body_bytes > self._max_body_bytes:
            raise _too_large(413, "the body has", self._max_body_bytes)
        self._reading = bool(message.get("more_body"))
        return message

    async def send(self, message: Message) -> None:
        """Pass a message of the route on, unless this request has been answered for."""
        if self._taken_over is None:
            await self._complete(message)

    async def answer(self, answer: Answer) -> None:
        """Answer with an error, if nothing has gone out yet."""
        if not self._started:
            await send_answer(answer, self._scope, self._complete)

    def late(self) -> None:
        """Answer in place of a route that has not answered in time."""
        if self._started:
            return
        self._started = True
        error = (
            HttpRefused(408, "the request did not arrive in time", headers=(CLOSE,))
            if self._reading
            else HttpRefused(
                503,
                "the request took too long; whether it was done is not known",
                code="unavailable",
                headers=((b"retry-after", b"1"),),
            )
        )
        answer = problem(error, request_id=self.request_id)
        self._taken_over = asyncio.ensure_future(send_answer(answer, self._scope, self._complete))

    async def finish(self) -> None:
        """Wait for the answer that was given in place of the route's."""
        if self._taken_over is not None:
            await self._taken_over

    def story(self, error: Exception) -> dict[str, object]:
        """Tell a failure for the log, without anything secret."""
        return {
            "request_id": self.request_id,
            "method": self._scope["method"],
            "path": redact(self._scope["path"])[:_LOGGED_PATH_CHARACTERS],
            **told(error),
        }

    async def _complete(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            if self._tally is not None:
                self._tally.count(self._scope.get("operation", ""), message["status"])
            message["headers"].extend(self._headers(message["headers"]))
            if self._write_whole is not None:
                self._head = message
                return
        elif self._head is not None and self._write_whole is not None:
            head, self._head = self._head, None
            if self._write_whole(head["status"], head["headers"], message["body"]):
                return
            await self._send(head)
        await self._send(message)

    def _headers(self, given: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        is_open = self._scope["path"].startswith(_OPEN_PATHS)
        standing = _STANDING[is_open, self._scope["scheme"] == "https"]
        headers = [(b"x-request-id", self.request_id.encode()), *standing]
        if KEY_EXPIRES in self._scope:
            headers.append((b"tokenmq-key-expires", rfc3339(self._scope[KEY_EXPIRES]).encode()))
        for name, _ in given:
            if name == b"cache-control":
                return headers
        headers.append(_NO_STORE)
        return headers


def _too_large(status: int, what: str, limit: int) -> HttpRefused:
    # The rest is not read: the connection cannot be used again.
    return HttpRefused(status, f"{what} more than {limit} bytes", headers=(CLOSE,))


def _number(digits: bytes) -> int:
    """Read a length; one that is none is the server's to refuse, an endless one is too large."""
    if not digits.isdigit():
        return 0
    return int(digits[:_LENGTH_DIGITS])
