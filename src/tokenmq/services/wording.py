"""What is wrong with a value, said to people who know JSON and not Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from msgspec import inspect

_KINDS = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "datetime": "an RFC 3339 time",
    "null": "null",
}
_EXPECTED = re.compile(r"Expected `(?P<kinds>[a-z |]+)`(?:, got .*| (?P<bound>.*))", re.DOTALL)
_BOUND = re.compile(r"(?P<what>of length )?(?P<sign>[<>]=) (?P<limit>-?\d+)")
_STEP = re.compile(r"\.([^.\[]+)|\[[^]]*\]")
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)


def told(said: str, kind: Any) -> tuple[str, str]:
    """Say in plain words what msgspec says of a value.

    Args:
        said: the text of its ValidationError.
        kind: the type that the value was to become.

    Returns: the path to what is wrong, as `.name[0]` ("" = the value itself), and the words.
    """
    text, _, place = said.partition(" - at `$")
    path = place.rstrip("`").replace("[...]", "[]")
    return path, _words(text, kind, path)


def _words(text: str, kind: Any, path: str) -> str:
    if values := _values(kind, path):
        return f"must be one of {', '.join(values)}"
    if text.startswith("Invalid RFC3339"):
        return "must be an RFC 3339 time"
    if missing := _MISSING.fullmatch(text):
        return f"must have the field {missing[1]}"
    expected = _EXPECTED.fullmatch(text)
    if expected is None:
        return text[:1].lower() + text[1:]
    kinds = expected["kinds"].split(" | ")
    if expected["bound"] is None:
        return f"must be {' or '.join(_KINDS.get(one, one) for one in kinds)}"
    return _bound(kinds[0], expected["bound"])


def _bound(kind: str, text: str) -> str:
    bound = _BOUND.fullmatch(text)
    if bound is None:
        return f"must be {_KINDS.get(kind, kind)} {text}"
    limit = int(bound["limit"])
    size = "at least" if bound["sign"] == ">=" else "at most"
    if bound["what"] is None:
        return f"must be {size} {limit}"
    if bound["sign"] == ">=" and limit == 1:
        return "must not be empty"
    return f"must have {size} {limit} {'characters' if kind == 'str' else 'elements'}"


def _values(kind: Any, path: str) -> list[str]:
    """Return the values that may stand at a path of a type."""
    found = [inspect.type_info(kind)]
    for step in _STEP.finditer(path):
        found = [inner for one in found for inner in _inside(one, step[1])]
    return [str(value) for one in found for value in _of(one)]


def _inside(info: Any, name: str | None) -> Iterator[Any]:
    """Yield the types of a field of that name, or of the elements where there is no name."""
    for one in _plain(info):
        if isinstance(one, inspect.StructType):
            yield from (field.type for field in one.fields if field.encode_name == name)
        elif isinstance(one, inspect.CollectionType) and name is None:
            yield one.item_type


def _of(info: Any) -> Iterator[Any]:
    for one in _plain(info):
        if isinstance(one, inspect.EnumType):
            yield from (member.value for member in one.cls)
        elif isinstance(one, inspect.LiteralType):
            yield from one.values


def _plain(info: Any) -> Iterator[Any]:
    """Yield a type, or those that it may be."""
    if isinstance(info, inspect.Metadata):
        yield from _plain(info.type)
    elif isinstance(info, inspect.UnionType):
        for one in info.types:
            yield from _plain(one)
    else:
        yield info
