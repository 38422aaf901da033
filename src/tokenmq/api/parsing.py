"""Bytes of a request to plain values and on to typed ones; the strictest reading there is.

JSON is read once, by msgspec, which refuses broken UTF-8, lone surrogates, NaN and
numbers out of range. What it lets through and we do not: a key that stands twice in an
object (two readers would see two requests), U+0000 anywhere (no database and no topic
takes it), nesting beyond MAX_DEPTH. A typed value is made by `fill`, which names every
field that is wrong, not only the first.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from tokenmq.errors import InvalidRequest
from tokenmq.services import wording

# SECURITY: nesting of JSON; our own bodies need 4.
MAX_DEPTH = 16
# No form and no query of ours has more fields than this.
MAX_FORM_FIELDS = 16
# A field's name in an error answer is cut here.
_SHOWN_NAME_CHARACTERS = 64

_S = TypeVar("_S", bound=msgspec.Struct)
_decode = msgspec.json.Decoder().decode
_NUL = "U+0000 is not allowed in any text"


def parse_json(body: bytes) -> dict[str, Any]:
    """Read one JSON object.

    Raises: InvalidRequest, for anything that is not strictly one.
    """
    try:
        tree = _decode(body)
    except RecursionError:
        raise InvalidRequest(("", f"the JSON is nested deeper than {MAX_DEPTH}")) from None
    except UnicodeDecodeError:
        raise InvalidRequest(("", "the body is not UTF-8")) from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(("", f"the body is not JSON: {_lower(str(error))}")) from None
    if not isinstance(tree, dict):
        raise InvalidRequest(("", f"the body is not a JSON object but {_kind(tree)}"))
    # Fewer brackets than levels cannot be too deep: nearly every request ends here.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _depth(tree) > MAX_DEPTH:
        raise InvalidRequest(("", f"the JSON is nested deeper than {MAX_DEPTH}"))
    # Every member has one colon: as many colons as members cannot hide a second name.
    if body.count(b":") != _members(tree):
        _refuse_duplicates(body)
    if b"\\u0000" in body and (place := _place_of_nul(tree, "")) is not None:
        raise InvalidRequest((place, _NUL))
    return tree


def parse_form(text: bytes) -> dict[str, Any]:
    """Read `application/x-www-form-urlencoded`: a form, or the query of a URL.

    Raises: InvalidRequest, for broken percent-encoded UTF-8, U+0000, a name that
        comes twice, or too many names.
    """
    if not text:
        return {}
    try:
        pairs = parse_qsl(
            text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS
        )
    except UnicodeError:
        raise InvalidRequest(("", "the form or query is not percent-encoded UTF-8")) from None
    except ValueError:
        raise InvalidRequest(("", f"the form or query has more than {MAX_FORM_FIELDS} fields")) from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        raise InvalidRequest(*((_shown(name), "given twice") for name in fields if names.count(name) > 1))
    if (place := _place_of_nul(fields, "")) is not None:
        raise InvalidRequest((place, _NUL))
    return fields


def fill(tree: Mapping[str, Any], into: type[_S], *, lax: bool = False) -> _S:
    """Make a typed value of a plain one.

    Args:
        tree: names to values, as `parse_json` or `parse_form` gives them.
        into: a Struct type; it says whether unknown names are refused.
        lax: numbers and booleans may stand as text, as they do in a query.

    Raises: InvalidRequest naming every field that is wrong.
    """
    try:
        return msgspec.convert(tree, into, strict=not lax)
    except msgspec.ValidationError as error:
        problems = _problems(tree, into, lax=lax)
        # A rule of the Struct as a whole has no field.
        raise InvalidRequest(*(problems or [("", _lower(str(error)))])) from None


def _problems(tree: Mapping[str, Any], into: type[msgspec.Struct], *, lax: bool) -> list[tuple[str, str]]:
    """Look at every field by itself, in the order of the request, then at what is missing."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(into)}
    problems = []
    for name, value in tree.items():
        if name not in fields:
            if into.__struct_config__.forbid_unknown_fields:
                problems.append((_shown(name), _unknown(name, fields)))
            continue
        try:
            msgspec.convert(value, fields[name].type, strict=not lax)
        except msgspec.ValidationError as error:
            problems.append(_located(name, str(error), value, fields[name].type))
    problems += [(name, "required") for name, field in fields.items() if field.required and name not in tree]
    return problems


def _located(name: str, text: str, value: object, kind: Any) -> tuple[str, str]:
    """Return the path to what is wrong in a field, and what that is."""
    if value in ([], None):
        kind = "`null`" if value is None else "an empty list"
        return name, f"{kind} means nothing; leave the field out for its default"
    path, words = wording.told(text, kind)
    unknown = re.fullmatch(r"object contains unknown field `(.*)`", words, re.DOTALL)
    if unknown:
        return f"{name}{path}.{_shown(unknown[1])}", "unknown field"
    return name + path, words


def _unknown(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name[:_SHOWN_NAME_CHARACTERS], known, n=1)
    return f"unknown field; did you mean {near[0]}?" if near else "unknown field"


def _shown(name: str) -> str:
    return name if len(name) <= _SHOWN_NAME_CHARACTERS else name[: _SHOWN_NAME_CHARACTERS - 3] + "..."


def _lower(text: str) -> str:
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {list: "a list", str: "a text", bool: "a boolean", int: "a number", float: "a number"}
    return names[type(value)]


def _depth(tree: object) -> int:
    level, depth = [tree], 0
    while level := [value for value in level if isinstance(value, (dict, list))]:
        depth += 1
        level = [child for value in level for child in (value.values() if isinstance(value, dict) else value)]
    return depth


def _members(tree: dict[str, Any] | list[Any]) -> int:
    """Count the members of all objects in a tree."""
    count, children = (len(tree), tree.values()) if isinstance(tree, dict) else (0, tree)
    for child in children:
        if isinstance(child, (dict, list)):
            count += _members(child)
    return count


def _place_of_nul(tree: object, path: str) -> str | None:
    """Return the path of the first text with U+0000; of a name that of its object. None = nowhere."""
    if isinstance(tree, dict):
        if any("\0" in name for name in tree):
            return path
        children = [(value, f"{path}.{_shown(name)}".lstrip(".")) for name, value in tree.items()]
    elif isinstance(tree, list):
        children = [(value, f"{path}[{index}]") for index, value in enumerate(tree)]
    else:
        return path if isinstance(tree, str) and "\0" in tree else None
    return next((place for child in children if (place := _place_of_nul(*child)) is not None), None)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> None:
    names = {name for name, _ in pairs}
    if len(names) != len(pairs):
        twice = [name for name, _ in pairs]
        raise InvalidRequest(
            *((_shown(name), "given twice") for name in sorted(names) if twice.count(name) > 1)
        )


_pairs_of = json.JSONDecoder(object_pairs_hook=_without_duplicates, strict=False).decode


def _refuse_duplicates(body: bytes) -> None:
    # The second reader sees bytes that msgspec has taken: it cannot fail, and its values go nowhere.
    _pairs_of(body.decode())
