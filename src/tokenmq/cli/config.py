"""`tokenmq config`: the settings that hold."""

from __future__ import annotations

import dataclasses

from tokenmq.cli.management import ConfigPath, Json
from tokenmq.cli.output import print_json, print_table
from tokenmq.config import effective, load


def config(*, config: ConfigPath = None, json: Json = False) -> None:
    """Show every setting, its value, and where that comes from.

    Args:
        config: The settings file.
        json: The output.
    """
    rows = effective(load(config))
    if json:
        print_json([dataclasses.asdict(row) for row in rows])
    else:
        print_table(
            ("setting", "value", "from", "what it does"),
            [(f"[{row.table}] {row.key}", row.value, row.origin, row.sentence) for row in rows],
        )
