"""Answers of a token service over HTTP: what they must have, and what a refusal says."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2
import msgspec

from tokenmq.client.reasons import reason_of
from tokenmq.errors import ServiceError, Unreachable

Answer = TypeVar("Answer")


def is_web_address(url: str) -> bool:
    """Whether it is http:// or https:// with a host."""
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        return False
    return parsed.scheme in ("http", "https") and bool(parsed.host)


def read_json(content: bytes) -> Any:
    """Read JSON; None where it is none."""
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        return None


def answer_of(response: httpx2.Response, wants: type[Answer], url: str) -> Answer:
    """Return an answer's object, once it is known to be a success and to have what is wanted.

    Raises: ServiceError.
    """
    if not response.is_success:
        raise refusal(response)
    return checked(read_json(response.content) if response.content else {}, wants, url)


def checked(data: Any, wants: type[Answer], url: str) -> Answer:
    """Return the data as it came, once it is known to have what is wanted. Raises: ServiceError."""
    try:
        msgspec.convert(data, wants)
    except msgspec.ValidationError as error:
        raise ServiceError(502, "bad_answer", f"{url} is no token service: {error}") from error
    answer: Answer = data
    return answer


def refusal(response: httpx2.Response) -> ServiceError:
    """Return the error that an answer tells."""
    told = read_json(response.content)
    if not isinstance(told, dict):
        told = {}
    detail = str(
        told.get("detail") or f"the token service answered {response.status_code} without saying why"
    )
    return ServiceError(response.status_code, str(told.get("error") or "error"), detail)


def retry_after_of(response: httpx2.Response) -> float | None:
    """Return the seconds that an answer wants its service to be left alone; None: it does not say.

    The service sends seconds; proxies send dates too (RFC 9110 §10.2.3), which are compared with
    the answer's own, for our clock may be wrong.
    """
    told = response.headers.get("retry-after", "").strip()
    if told.isascii() and told.isdecimal():
        return float(told)
    try:
        until, now = (parsedate_to_datetime(text) for text in (told, response.headers.get("date", "")))
        return max((until - now).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None


def unreachable(error: httpx2.TransportError, url: str) -> Unreachable:
    """Return the error for a call without an answer."""
    if isinstance(error, httpx2.TimeoutException):
        return Unreachable(f"the token service at {url} does not answer in time")
    return Unreachable(f"no token service answers at {url}: {reason_of(error)}")
