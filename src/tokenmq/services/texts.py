"""Checks of short texts that come with a request."""

from __future__ import annotations

from tokenmq.errors import InvalidRequest
from tokenmq.tokens.subjects import text_problem


def check_text(field: str, text: str, *, max_bytes: int) -> None:
    """Refuse a text that is empty, too long, or has NUL or a control character.

    Raises: InvalidRequest, which names the field.
    """
    problem = text_problem(text, max_bytes=max_bytes)
    if problem is not None:
        raise InvalidRequest((field, problem))
