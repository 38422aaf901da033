"""Brings the tables to where this version of the program wants them."""

from __future__ import annotations

from importlib.resources import as_file, files

from sqlalchemy import ColumnClause, Connection, column, inspect, select, table

from tokenmq.errors import InvalidSettings

SCRIPTS = files("tokenmq.stores.sql") / "migrations"
# The newest script; a test holds it against the folder.
NEWEST = "0010"

_VERSION: ColumnClause[str] = column("version_num")
_TABLE = table("alembic_version", _VERSION)


def migrate(connection: Connection) -> None:
    """Run the migrations that are missing, inside the caller's transaction.

    Raises: InvalidSettings when a newer program made the tables.
    """
    there = inspect(connection).has_table(_TABLE.name)
    if there and connection.scalar(select(_VERSION).select_from(_TABLE)) == NEWEST:
        return
    # Most starts have nothing to migrate and need not wait for this import.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    with as_file(SCRIPTS) as folder:
        config = Config()
        # Alembic interpolates percent signs in its settings.
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise InvalidSettings(f"the store is of a newer version than this program: {error}") from error
