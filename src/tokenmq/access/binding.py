"""Variables in topic filters: `{user_id}`, `{client_id}`, `{org}`, `{claim:NAME}`, replaced at use.

A value is data, never grammar: one that could change what its filter means makes the
grant void, it is not cleaned. It is put in once and never read again, so a value that
looks like a variable names nothing. No regular expression takes part.

What is void gives nothing. A rule that forbids must not forbid less by it: `bind_widest`
gives what such a rule could have meant at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenmq.errors import InvalidTopicFilter
from tokenmq.limits import MAX_STRING_BYTES, MAX_TOPIC_LEVELS
from tokenmq.topics.filter import check_filter
from tokenmq.topics.name import FORBIDDEN

VARIABLES = frozenset({"user_id", "client_id", "org"})
# `{claim:NAME}` stands for a claim that an identity provider has proven.
CLAIM = "claim:"
_CLAIM_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-")
# Longer names are no claims of a token that has 1 KiB for all of them.
MAX_CLAIM_CHARACTERS = 64

_KNOWN = "{client_id}, {org}, {user_id} and {claim:NAME}"
_CLIENT_ID = "{client_id}"
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
        values: name to value, as `values_of` gives them.

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


def bind_loosely(topic_filter: str, values: Mapping[str, str]) -> str | None:
    """Replace the variables; a level whose client id is not known yet may be any level.

    What comes out is wider than what can come of it: to tell whether something is left of a
    right, never to give it.
    """
    if _CLIENT_ID in topic_filter and "client_id" not in values:
        levels = topic_filter.split("/")
        topic_filter = "/".join("+" if _CLIENT_ID in level else level for level in levels)
    return bind(topic_filter, values)


def bind_widest(topic_filter: str, values: Mapping[str, str]) -> str:
    """Replace the variables of a filter that forbids: void ones stand for all they could be.

    A level whose value is not known is any one level, for a good value is within one. A
    value that is there and no good (it has a `/`, or is no text) could have been meant for
    any number of them: the filter ends there, with `#`.

    Args:
        topic_filter: as `check_template` lets it through.
        values: name to value, as in `bind`; "" for one that is there and no text.
    """
    bound = bind(topic_filter, values)
    if bound is not None:
        return bound
    levels: list[str] = []
    for level in topic_filter.split("/"):
        # Behind another level: a `$` says something only in the first one.
        own = bind(f"x/{level}", values)
        if own is not None:
            levels.append(own[2:])
        elif any(name in values and bind(f"{{{name}}}", values) is None for name in _names(level)):
            levels.append("#")
            break
        else:
            levels.append("+")
    return "/".join(levels)


def values_of(
    *, user_id: str, org_id: str, client_id: str | None, attrs: Mapping[str, Any] | None
) -> dict[str, str]:
    """Return what variables stand for.

    Args:
        user_id: of whoever asks.
        org_id: the organization's id.
        client_id: None while it is not known; then it has no value.
        attrs: the identity provider's claims; texts and whole numbers have a value, of what
            is nothing of both it is "", which is void.
    """
    values = {"user_id": user_id, "org": org_id}
    if client_id is not None:
        values["client_id"] = client_id
    for name, value in (attrs or {}).items():
        values[CLAIM + name] = str(value) if type(value) in (str, int) else ""
    return values


def is_claim_name(name: str) -> bool:
    """Tell whether a claim may be named in a variable."""
    return 0 < len(name) <= MAX_CLAIM_CHARACTERS and _CLAIM_CHARACTERS.issuperset(name)


def _names(level: str) -> list[str]:
    """Return the names of the variables of a level that is well formed."""
    return [reference.partition("}")[0] for reference in level.split("{")[1:]]


def _is_variable(name: str) -> bool:
    return name in VARIABLES or (name.startswith(CLAIM) and is_claim_name(name[len(CLAIM) :]))


def _template_problem(topic_filter: str) -> str | None:
    head, *references = topic_filter.split("{")
    if "}" in head:
        return "a } without its {"
    for reference in references:
        name, closed, rest = reference.partition("}")
        if not closed or "}" in rest:
            return "braces stand around a variable or nowhere"
        if not _is_variable(name):
            return f"unknown variable {{{name[:40]}}}, known are {_KNOWN}"
    if references and topic_filter[0] == "$" and "/" not in head:
        return "a variable in a first level that begins with $"
    return None
