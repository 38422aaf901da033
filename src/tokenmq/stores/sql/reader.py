"""Reads, beside the writer: a single statement, or a few in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, RowMapping
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import Executable

from tokenmq.errors import Unavailable
from tokenmq.stores.sql.runner import Runner

Result = TypeVar("Result")


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

        return await self.run(query)

    async def run(self, query: Callable[[Connection], Result]) -> Result:
        """Return what a function reads in a transaction; PostgreSQL's runs it on the event loop.

        Raises: Unavailable.
        """
        try:
            return await self._runner.run(query)
        except (SQLAlchemyError, OSError) as error:
            raise Unavailable("the store failed to read") from error
