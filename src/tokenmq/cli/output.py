"""What commands print: JSON for machines, tables and lines for people."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Wide enough that nothing wraps where no terminal says how wide it is.
_FILE_COLUMNS: Final = 1_000


def print_json(value: object) -> None:
    """Write one value as one line of JSON."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def print_lines(*lines: str) -> None:
    """Write lines as they are: never wrapped, never coloured, ready to be pasted."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table; a list in a cell is written with commas, None as a dash."""
    table = Table(box=SIMPLE, show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    _console().print(table)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Write names and values, one a line, unwrapped; None is left out."""
    shown = [(name, _cell(value)) for name, value in fields if value is not None]
    width = max(len(name) for name, _ in shown)
    print_lines(*(f"{name:<{width}}  {text}" for name, text in shown))


def warn(text: str) -> None:
    """Write a line for people to stderr."""
    sys.stderr.write(f"{printable(text)}\n")
    sys.stderr.flush()


def printable(text: str) -> str:
    """Write control characters as escapes: what others send must not steer a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(printable(str(item)) for item in value) or "-"
    return printable(str(value))


def _console() -> Console:
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=_FILE_COLUMNS)
