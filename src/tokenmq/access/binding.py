"""Variables in topic filters: `{user_id}`, `{client_id}`, `{org}`, replaced when rights are used.

A value is data, never grammar: one that could change what its filter means makes the
grant void, it is not cleaned. It is put in once and never read again, so a value that
looks like a variable names nothing. No regular expression takes part.
"""

from __future__ import annotations

from collections.abc import Mapping

from tokenmq.errors import InvalidTopicFilter
from tokenmq.limits import MAX_STRING_BYTES, MAX_TOPIC_LEVELS
from tokenmq.topics.filter import check_filter
from tokenmq.topics.name import FORBIDDEN

VARIABLES = frozenset({"user_id", "client_id", "org"})

# A bound filter may be stored and bound again: with a brace in it a user could name a variable then.
_NOT_IN_VALUES = FORBIDDEN | frozenset("/+#{}")


def check_template(
    topic_filter: str, *, max_bytes: int = MAX_STRING_BYTES, max_levels: int = MAX_TOPIC_LEVELS
) -> None:
    """Refuse a text that is not a plain Topic Filter in which known variables may stand.

    A variable may be part of a level, but not of a first level that begins with `$`: its
    value would choose the tree. A brace that belongs to no known variable is refused, a
    misspelt variable would else be a level that nobody meant.

    Args:
        topic_filter: any string.
        max_bytes: most bytes of its UTF-8 form, as written.
        max_levels: most levels.

    Raises:
        InvalidTopicFilter: says what is wrong with it.
    """
    check_filter(topic_filter, max_bytes=max_bytes, max_levels=max_levels)
    if (problem := _template_problem(topic_filter)) is not None:
        raise InvalidTopicFilter(topic_filter, problem)


def bind(topic_filter: str, values: Mapping[str, str]) -> str | None:
    """Replace the variables of a filter by their values.

    Args:
        topic_filter: as `check_template` lets it through; anything else is void.
        values: name to value, for each of VARIABLES that is known here.

    Returns:
        The filter; None if it is void: a value is missing, empty, begins with `$`, or has
        in it `/ + #`, a brace, NUL, a control character or a surrogate.
    """
    if "{" not in topic_filter:
        return topic_filter
    if _template_problem(topic_filter) is not None:
        return None
    head, *references = topic_filter.split("{")
    parts = [head]
    for reference in references:
        name, _, rest = reference.partition("}")
        value = values.get(name, "")
        if not value or value[0] == "$" or not _NOT_IN_VALUES.isdisjoint(value):
            return None
        parts += (value, rest)
    return "".join(parts)


def _template_problem(topic_filter: str) -> str | None:
    head, *references = topic_filter.split("{")
    if "}" in head:
        return "a } without its {"
    for reference in references:
        name, closed, rest = reference.partition("}")
        if not closed or "}" in rest:
            return "braces stand around a variable or nowhere"
        if name not in VARIABLES:
            return f"unknown variable {{{name[:40]}}}, known are {{client_id}}, {{org}} and {{user_id}}"
    if references and topic_filter[0] == "$" and "/" not in head:
        return "a variable in a first level that begins with $"
    return None
