"""Telling what is set, and what could be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from tokenmq.config.declared import Declared, declarations
from tokenmq.config.secret import MASK
from tokenmq.config.settings import OTHER_VARIABLES, TABLES, Settings

INTRODUCTION = """\
One file, `tokenmq.toml`, and environment variables that win over it. The file is the one
named by `--config`, else `./tokenmq.toml` if it exists, else the one that `TOKENMQ_CONFIG`
names. The variable of a setting is `TOKENMQ_<TABLE>_<KEY>`, as `TOKENMQ_HTTP_PORT`; the
items of a list are separated by commas. Unknown keys and variables are errors.
`tokenmq config` shows what holds, and where it comes from."""


@dataclasses.dataclass(frozen=True, slots=True)
class Effective:
    """One setting as it holds now.

    Attributes:
        table: name of its table in tokenmq.toml.
        key: name of its key.
        variable: the environment variable that sets it.
        value: as JSON would write it: bool, int, str, list or None; a secret is a mask.
        origin: path of the file or name of the variable that it comes from, or "default".
        sentence: what it does.
    """

    table: str
    key: str
    variable: str
    value: bool | int | str | list[str] | None
    origin: str
    sentence: str


def effective(settings: Settings) -> list[Effective]:
    """Return every setting with its value and where that comes from, in declared order."""
    return [
        Effective(
            table=declared.table,
            key=declared.key,
            variable=declared.variable,
            value=_shown(declared, getattr(getattr(settings, declared.table), declared.key)),
            origin=settings.origins.get(declared.name, "default"),
            sentence=declared.sentence,
        )
        for declared in declarations()
    ]


def document() -> str:
    """Write the reference page of all settings, in Markdown."""
    parts = ["# Settings", INTRODUCTION]
    for table, kind in TABLES.items():
        parts += [f"## [{table}]", str(kind.__doc__)]
        parts.append(_table(declared for declared in declarations() if declared.table == table))
    others = "\n".join(f"| `{name}` | {sentence} |" for name, sentence in OTHER_VARIABLES.items())
    parts += ["## Other variables", f"| variable | what it does |\n| --- | --- |\n{others}"]
    return "\n\n".join(parts) + "\n"


def _table(rows: Iterable[Declared]) -> str:
    lines = ["| key | default | takes | what it does |", "| --- | --- | --- | --- |"]
    for declared in rows:
        default = _toml(_shown(declared, declared.default))
        lines.append(f"| `{declared.key}` | {default} | {declared.wanted} | {declared.sentence} |")
    return "\n".join(lines)


def _shown(declared: Declared, value: Any) -> bool | int | str | list[str] | None:
    if value is None or isinstance(value, bool | int):
        return value
    if declared.is_secret:
        return MASK
    return list(value) if declared.is_list else str(value)


def _toml(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{value}`".lower()
    return f"`{value}`" if isinstance(value, int | list) else f'`"{value}"`'
