"""The declarations of `settings` read back as rows: one per setting."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Meta

from tokenmq.config.secret import Secret
from tokenmq.config.settings import TABLES


@dataclasses.dataclass(frozen=True, slots=True)
class Declared:
    """One setting as it is declared.

    Attributes:
        table: name of its table in tokenmq.toml.
        key: name of its key.
        kind: its annotated type, for msgspec.
        default: the value when nothing is set.
        sentence: what it does.
        wanted: in words, what values it takes.
        is_list: it takes a list; in a variable its items are separated by commas.
        is_secret: its value is never shown.
    """

    table: str
    key: str
    kind: Any
    default: object
    sentence: str
    wanted: str
    is_list: bool
    is_secret: bool

    @property
    def name(self) -> str:
        """The name that `Settings.origins` uses."""
        return f"{self.table}.{self.key}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"TOKENMQ_{self.table}_{self.key}".upper()


@functools.cache
def declarations() -> tuple[Declared, ...]:
    """Return every setting in the order of declaration."""
    return tuple(_declared(table, field) for table, kind in TABLES.items() for field in _fields(kind))


def _fields(table: type) -> Iterator[tuple[str, Any, object]]:
    hints = typing.get_type_hints(table, include_extras=True)
    for field in dataclasses.fields(table):
        yield field.name, hints[field.name], field.default


def _declared(table: str, field: tuple[str, Any, object]) -> Declared:
    key, kind, default = field
    plain, metas = _unwrap(kind)
    return Declared(
        table=table,
        key=key,
        kind=kind,
        default=default,
        sentence=next(meta.description for meta in reversed(metas) if meta.description),
        wanted=_wanted(plain, metas),
        is_list=typing.get_origin(plain) is tuple,
        is_secret=plain is Secret,
    )


def _unwrap(kind: Any) -> tuple[Any, list[Meta]]:
    """Take `Annotated` and `| None` off a type: the plain type and every Meta on the way."""
    metas: list[Meta] = []
    if typing.get_origin(kind) is typing.Annotated:
        metas = [extra for extra in kind.__metadata__ if isinstance(extra, Meta)]
        kind = kind.__origin__
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    return kind, metas


def _wanted(plain: Any, metas: list[Meta]) -> str:
    if plain is bool:
        return "true or false"
    if plain is int:
        least = max(meta.ge for meta in metas if meta.ge is not None)
        most = [meta.le for meta in metas if meta.le is not None]
        return f"a whole number from {least} to {min(most)}" if most else f"a whole number from {least} up"
    if typing.get_origin(plain) is typing.Literal:
        return "one of " + ", ".join(typing.get_args(plain))
    if typing.get_origin(plain) is tuple:
        return "a list of texts"
    if plain is Path:
        return "a path"
    if any(meta.pattern for meta in metas):
        return "a text that begins with /"
    return "a text"
