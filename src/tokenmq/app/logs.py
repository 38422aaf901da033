"""Structured logs: one line an event, without a token, a key or a payload.

On a terminal the lines are readable, elsewhere they are JSON. What must not be told is
taken out by field name and by value, as the last step before a line is written.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, MutableMapping
from functools import cache
from typing import Any, TextIO

import msgspec
import structlog

from tokenmq.config import LogSettings
from tokenmq.tokens.jwt import PATTERN as TOKEN
from tokenmq.tokens.secret import PATTERN as KEY

# Values of one field that are written, in characters.
_MAX_FIELD = 256
# Of a traceback, whose end says most.
_MAX_EXCEPTION = 8_192
_HIDDEN = "[hidden]"
_PEM = re.compile(r"-----BEGIN [A-Z ]+-----.*", re.DOTALL)
_SECRET_NAMES = re.compile(
    r"password|token$|secret|authorization|payload|credential|digest|private|_key$|^key$|data$"
)

_Event = MutableMapping[str, Any]


def redact(_logger: Any, _method: str, event: _Event) -> _Event:
    """Hide what must not be told: by the field's name, then by what the value looks like."""
    for name, value in event.items():
        if value is None or isinstance(value, bool | int | float):
            continue
        if name == "exception":
            event[name] = _hide(str(value)[-_MAX_EXCEPTION:])
            continue
        # Cut before it is looked through: some of these are as long as a packet.
        event[name] = _one_line(_HIDDEN if _is_secret(name) else _hide(_short(str(value))))
    return event


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Set up logging for the whole process.

    Args:
        settings: level and format.
        stream: where lines go; standard error if None.
    """
    stream = stream or sys.stderr
    readable = settings.format == "text" or (settings.format == "auto" and stream.isatty())
    level = getattr(logging, settings.level.upper())
    processors: list[Callable[..., Any]] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    if readable:
        processors.append(structlog.dev.ConsoleRenderer(colors=stream.isatty()))
        structlog.configure(
            processors=processors,
            wrapper_class=structlog.make_filtering_bound_logger(level),
            logger_factory=structlog.PrintLoggerFactory(stream),
            cache_logger_on_first_use=False,
        )
    else:
        processors.append(structlog.processors.JSONRenderer(serializer=_to_json))
        structlog.configure(
            processors=processors,
            wrapper_class=structlog.make_filtering_bound_logger(level),
            logger_factory=structlog.PrintLoggerFactory(stream),
            cache_logger_on_first_use=False,
        )


@cache
def _is_secret(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def _hide(text: str) -> str:
    # The cheap looks come first: this runs for every field of every line.
    if "k_" in text:
        text = KEY.sub(_HIDDEN, text)
    if "eyJ" in text:
        text = TOKEN.sub(_HIDDEN, text)
    if "-----BEGIN" in text:
        text = _PEM.sub(_HIDDEN, text)
    return text


def _short(text: str) -> str:
    return text if len(text) <= _MAX_FIELD else text[: _MAX_FIELD - 3] + "..."


def _one_line(text: str) -> str:
    """Write control characters as escapes: no value can forge a line or colour a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _to_json(event: _Event, **_: Any) -> str:
    return msgspec.json.encode(dict(event)).decode()
