"""What a message may be sent with, checked before it is queued.

paho checks most of it, but when it is sent: for what waited without a connection that is
too late, for nobody is there any more to be told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tokenmq.client.messages import Properties
from tokenmq.errors import InvalidRequest, InvalidTopicName
from tokenmq.topics.name import check_name

# MQTT 5 §1.5.4, §1.5.6: lengths have two bytes; §1.5.3: a Four Byte Integer.
MOST_BYTES: Final = 65_535
MOST_SECONDS: Final = 4_294_967_295


def check_qos(qos: object) -> int:
    """Return it. Raises: InvalidRequest for what is no quality of service."""
    if isinstance(qos, int) and not isinstance(qos, bool) and 0 <= qos <= 2:
        return qos
    raise InvalidRequest(("qos", f"is 0, 1 or 2, got {qos!r}"))


def check_properties(properties: Properties) -> None:
    """Raises: InvalidRequest for what are no properties of MQTT 5; their values are not shown."""
    for name, value in properties.items():
        if name not in _CHECKS:
            raise InvalidRequest((name, f"is no property of a message: {', '.join(_CHECKS)}"))
        is_right, wanted = _CHECKS[name]
        if not is_right(value):
            raise InvalidRequest((name, f"is {wanted}, got {type(value).__name__}"))


def _is_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and "\0" not in value and len(value.encode()) <= MOST_BYTES
    except UnicodeEncodeError:
        return False


def _is_topic(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        check_name(value)
    except InvalidTopicName:
        return False
    return True


def _are_pairs(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(map(_is_text, pair)) for pair in value
    )


_CHECKS: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "content_type": (_is_text, "text of at most 65,535 bytes"),
    "response_topic": (_is_topic, "a topic name"),
    "correlation_data": (
        lambda value: isinstance(value, bytes) and len(value) <= MOST_BYTES,
        "bytes, at most 65,535",
    ),
    "message_expiry_seconds": (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_SECONDS,
        "a whole number from 0 to 4,294,967,295",
    ),
    "is_text": (lambda value: isinstance(value, int) and value in (0, 1), "True or False"),
    "user_properties": (_are_pairs, "a list of pairs of text"),
}
