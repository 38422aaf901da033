"""`tokenmq init`: prepare a data folder."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from tokenmq.cli.files import admin_path, demo_path
from tokenmq.cli.management import ConfigPath, Json
from tokenmq.cli.output import print_fields, print_json, print_lines
from tokenmq.cli.setup import prepare
from tokenmq.config import load


def init(
    *,
    demo: Annotated[bool, Parameter(negative="")] = False,
    rotate: Annotated[bool, Parameter(negative="")] = False,
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """Make the data folder, the database and the administrator's key.

    What is there already is kept. The key goes to `admin.json` in the data folder,
    which you alone can read, and is not printed; management commands find it there.

    Args:
        demo: Make an organization to play with, too, and its secret key.
        rotate: Make a new administrator's key, and end every earlier one. For a key that was lost.
        config: The settings file.
        json: The output.
    """
    settings = load(config)
    prepared = prepare(settings, demo=demo, rotate=rotate)
    folder = settings.data.folder
    if json:
        print_json(
            {
                "data_folder": str(folder),
                "admin_file": str(admin_path(folder)),
                "demo_file": str(demo_path(folder)) if prepared.demo else None,
                "organization_id": prepared.demo.organization_id if prepared.demo else None,
                "created": prepared.is_new,
            }
        )
        return
    print_fields(
        [
            ("data folder", folder),
            ("administrator", admin_path(folder)),
            ("demo", demo_path(folder) if prepared.demo else None),
            ("organization", prepared.demo.organization_id if prepared.demo else None),
        ]
    )
    if not prepared.is_new:
        print_lines("Everything was there already; nothing was changed.")
