"""Reads: each a single statement, beside the writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import Executable

from tokenmq.errors import Unavailable
from tokenmq.stores.sql.runner import Runner


class Reader:
    """Runs queries and names their failure."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def rows(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[RowMapping]:
        """Return all rows of a query, as of the newest commit.

        Raises: Unavailable.
        """

        def query(connection: Connection) -> Sequence[RowMapping]:
            return connection.execute(statement, parameters).mappings().all()

        try:
            return await self._runner.run(query)
        except (SQLAlchemyError, OSError) as error:
            raise Unavailable("the store failed to read") from error
