"""The parts of docs/http-api.md that are made from the table of endpoints and their types.

The page is written by hand around marks. `<!-- operation: NAME -->` begins what is made
of one operation, `<!-- shapes -->` what is made of the types of the answers, `<!-- end -->`
ends either. What stands between is replaced.
"""

from __future__ import annotations

import json
import re
from typing import Any

from field_notes import note

from tokenmq.api.openapi import document
from tokenmq.api.table import ENDPOINTS

_MARKED = re.compile(r"(<!-- (operation: (?P<operation>\w+)|shapes) -->\n).*?(<!-- end -->)", re.DOTALL)
_DOCUMENT = document(ENDPOINTS)
_SCHEMAS: dict[str, Any] = _DOCUMENT["components"]["schemas"]
_OPERATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in _DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
# Told once, at the head of the page: any request may meet them.
_EVERYWHERE = {"408", "413", "414", "415", "429", "431", "500", "503"}


def filled(page: str) -> str:
    """Return the page with everything between its marks made anew.

    Raises: KeyError for a mark of no operation, and for a field without a note.
    """

    def make(marked: re.Match[str]) -> str:
        name = marked["operation"]
        return f"{marked[1]}\n{_shapes() if name is None else _operation(name)}\n\n{marked[4]}"

    return _MARKED.sub(make, page)


def _operation(name: str) -> str:
    method, path, operation = _OPERATIONS[name]
    parts = [f"`{method} {path}`: {operation['summary'].lower()[0]}{operation['summary'][1:]}."]
    parts[0] += " " + _access(operation)
    if "requestBody" in operation:
        parts.append(_body(operation["requestBody"]))
    query = [one for one in operation["parameters"] if one["in"] == "query"]
    if query:
        parts.append("Query:\n\n" + _table("query", {one["name"]: one["schema"] for one in query}, query))
    parts.append(_answers(operation["responses"]))
    return "\n\n".join(parts)


def _access(operation: dict[str, Any]) -> str:
    if "description" in operation:
        return str(operation["description"])
    return "A key is not needed." if {} in operation["security"] or not operation["security"] else ""


def _body(body: dict[str, Any]) -> str:
    """Describe the bodies that an operation takes: one, or another one for forms."""
    types: dict[str, list[str]] = {}
    for media_type, content in body["content"].items():
        types.setdefault(content["schema"]["$ref"], []).append(f"`{media_type}`")
    return "\n\n".join(_kind_of_body(kind, " or ".join(named), body) for kind, named in types.items())


def _kind_of_body(kind: str, types: str, body: dict[str, Any]) -> str:
    schema = _SCHEMAS[_name(kind)]
    absent = "" if body["required"] else "; it may be left out"
    unknown = "refused" if schema.get("additionalProperties") is False else "ignored"
    required = [{"name": name, "required": True} for name in schema["required"]]
    return (
        f"Body ({types}{absent}; unknown fields are {unknown}):\n\n"
        f"{_table(_name(kind), schema['properties'], required)}"
    )


def _table(owner: str, properties: dict[str, Any], parameters: list[dict[str, Any]]) -> str:
    required = {one["name"] for one in parameters if one["required"]}
    lines = ["| field | type | required | what it is |", "| --- | --- | --- | --- |"]
    for name, schema in properties.items():
        told = note(owner, name) + _default(schema)
        lines.append(f"| `{name}` | {_type(schema)} | {'yes' if name in required else 'no'} | {told} |")
    return "\n".join(lines)


def _answers(responses: dict[str, Any]) -> str:
    (good,) = (status for status in responses if status.startswith("2"))
    ((media_type, content),) = responses[good]["content"].items()
    schema = content["schema"]
    shape = _type(schema) if "$ref" in schema else "an object"
    if media_type != "application/json":
        shape += f" as `{media_type}`"
    own = [f"`{status}`" for status in responses if not status.startswith("2") and status not in _EVERYWHERE]
    return f"Answer: `{good}` with {shape}." + (f" Errors of its own: {', '.join(own)}." if own else "")


def _shapes() -> str:
    bodies = {
        _name(content["schema"]["$ref"])
        for _, _, operation in _OPERATIONS.values()
        for content in operation.get("requestBody", {"content": {}})["content"].values()
    }
    return "\n\n".join(
        _shape(name, schema)
        for name, schema in sorted(_SCHEMAS.items())
        if name not in bodies and "properties" in schema
    )


def _shape(name: str, schema: dict[str, Any]) -> str:
    lines = ["| member | type | what it is |", "| --- | --- | --- |"]
    for member, its in schema["properties"].items():
        lines.append(f"| `{member}` | {_type(its)} | {note(name, member)}{_default(its)} |")
    (first, *_) = schema["description"].split("\n")
    return f"### {name}\n\n{first}\n\n" + "\n".join(lines)


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = _name(schema["$ref"])
        return f"[{name}](#{name.lower()})" if "properties" in _SCHEMAS[name] else _type(_SCHEMAS[name])
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    kind = schema.get("type", "object")
    if kind == "array":
        return f"list of {_type(schema['items'])}{_bounds(schema, 'minItems', 'maxItems')}"
    if schema.get("format") == "date-time":
        return "time"
    low, high = ("minLength", "maxLength") if kind == "string" else ("minimum", "maximum")
    return f"{kind}{_bounds(schema, low, high)}"


def _bounds(schema: dict[str, Any], low: str, high: str) -> str:
    if high in schema:
        return f", {schema.get(low, 0)} to {schema[high]}"
    return ", not empty" if schema.get(low) else ""


def _default(schema: dict[str, Any]) -> str:
    value = schema.get("default")
    return "" if value in (None, []) else f" Default `{json.dumps(value)}`."


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]
