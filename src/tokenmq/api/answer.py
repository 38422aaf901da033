"""What a handler gives back, and how it leaves as ASGI messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from starlette.types import Message, Scope

JSON = b"application/json"
# Of an answer after which the connection cannot be used again.
CLOSE = (b"connection", b"close")
# Our server's ASGI extension; its `write` takes status, headers and body of a complete
# answer, and says whether it wrote them: if not, the answer goes by messages.
WHOLE_ANSWER = "tokenmq.whole_answer"
# RFC 7517 §8.5.2
JWK_SET = b"application/jwk-set+json"

Headers = tuple[tuple[bytes, bytes], ...]


class Answer(msgspec.Struct, frozen=True):
    """One complete HTTP answer.

    Attributes:
        headers: beyond those of every answer, names in lower case; a `cache-control`
            here replaces `no-store`.
    """

    body: bytes
    status: int = 200
    media_type: bytes = JSON
    headers: Headers = ()


_encode = msgspec.json.Encoder().encode


def ok(value: object, *, status: int = 200, media_type: bytes = JSON, headers: Headers = ()) -> Answer:
    """Answer with a value (a Struct of `schemas.answers`, or a plain one) as JSON."""
    return Answer(_encode(value), status=status, media_type=media_type, headers=headers)


async def send_answer(answer: Answer, scope: Scope, send: Callable[[Message], Awaitable[None]]) -> None:
    """Send one complete answer; to HEAD without its body."""
    headers = list(answer.headers)
    if answer.body:  # RFC 9110 §8.6: none with 204
        headers.append((b"content-type", answer.media_type))
        headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})
