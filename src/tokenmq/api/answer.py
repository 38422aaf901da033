"""What a handler gives back, and how it leaves as ASGI messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from starlette.types import Message, Scope

JSON = b"application/json"

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Answer:
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


def ok(value: object, *, status: int = 200, headers: Headers = ()) -> Answer:
    """Answer with a value (a Struct of `schemas.answers`, or a plain one) as JSON."""
    return Answer(_encode(value), status=status, headers=headers)


async def send_answer(answer: Answer, scope: Scope, send: Callable[[Message], Awaitable[None]]) -> None:
    """Send one complete answer; to HEAD without its body."""
    headers = list(answer.headers)
    if answer.body:  # RFC 9110 §8.6: none with 204
        headers.append((b"content-type", answer.media_type))
        headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})
