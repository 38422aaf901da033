"""Brings the tables to where this version of the program wants them."""

from __future__ import annotations

from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

SCRIPTS = files("tokenmq.stores.sql") / "migrations"


def migrate(connection: Connection) -> None:
    """Run the migrations that are missing, inside the caller's transaction.

    Raises: alembic.util.CommandError when a newer program made the tables.
    """
    with as_file(SCRIPTS) as folder:
        config = Config()
        # Alembic interpolates percent signs in its settings.
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
