"""The grammar of Topic Names, MQTT 5 §4.7.3 and §1.5.4; what filters share of it.

A text is judged code point by code point: nothing is normalised, stripped or folded
[MQTT-1.5.4-3] [MQTT-4.7.3-4] [MQTT311-1.5.3-3] [MQTT311-4.7.3-4]. Empty levels are levels: "/" has two.
"""

from __future__ import annotations

from tokenmq.errors import InvalidTopicName
from tokenmq.limits import MAX_STRING_BYTES, MAX_TOPIC_LEVELS

# [MQTT-1.5.4-1] [MQTT-1.5.4-2] and the SHOULD NOT of §1.5.4 (controls): in no name, filter or share.
FORBIDDEN = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000))))


def check_name(text: str, *, max_bytes: int = MAX_STRING_BYTES, max_levels: int = MAX_TOPIC_LEVELS) -> None:
    """Refuse a text that is not a Topic Name.

    Args:
        text: the name as it arrived; any string, however long.
        max_bytes: most bytes of its UTF-8 form.
        max_levels: most levels; "a/b" has two.

    Raises:
        InvalidTopicName: says what is wrong with it.
    """
    problem = text_problem(text, max_bytes=max_bytes, max_levels=max_levels)
    if problem is None and ("#" in text or "+" in text):
        # [MQTT-3.3.2-2] [MQTT-4.7.0-1] [MQTT311-3.3.2-2] [MQTT311-4.7.1-1]
        problem = "a wildcard in a name"
    if problem is not None:
        raise InvalidTopicName(text, problem)


def text_problem(text: str, *, max_bytes: int, max_levels: int) -> str | None:
    """Say what keeps a text from being a name or a filter, wildcards aside; None: nothing.

    Takes time linear in the text and splits nothing.
    """
    if not text:
        return "is empty"  # [MQTT-4.7.3-1] [MQTT311-4.7.3-1]
    # All that is printable is allowed; the set knows which of the rest (U+FEFF, U+00A0) are.
    if not text.isprintable() and not FORBIDDEN.isdisjoint(text):
        return "a control character, NUL or a surrogate"  # [MQTT-4.7.3-2] [MQTT311-4.7.3-2]
    size = len(text) if text.isascii() else len(text.encode())
    if size > max_bytes:
        # [MQTT-4.7.3-3] [MQTT311-4.7.3-3]
        return f"{size} bytes, at most {max_bytes} are allowed"
    levels = text.count("/") + 1
    if levels > max_levels:
        return f"{levels} levels, at most {max_levels} are allowed"
    return None
