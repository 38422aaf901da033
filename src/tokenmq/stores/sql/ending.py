"""What ends with a token family, a key or an organization, inside its transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import Connection, bindparam, delete, select

from tokenmq.stores.sql import people
from tokenmq.stores.sql.bulk import drop_rows
from tokenmq.stores.sql.saving import drop_from_sessions
from tokenmq.stores.sql.tables import messages, retained, sessions

# Ids of one statement; databases take several ten thousand.
_AT_ONCE = 500

_DELETE_MESSAGES = delete(messages).where(messages.c.org_id == bindparam("at"))
_DELETE_RETAINED = delete(retained).where(retained.c.org_id == bindparam("at"))


def end_sessions(
    connection: Connection, column: Literal["org_id", "token_id", "key_id"], ids: Sequence[str]
) -> None:
    """Delete the sessions that have one of these ids there, with all that hangs on them.

    Messages that nobody waits for any more are left to who counts them.
    """
    statement = select(sessions.c.number).where(sessions.c[column].in_(bindparam("ids", expanding=True)))
    numbers: list[int] = []
    for start in range(0, len(ids), _AT_ONCE):
        numbers += connection.execute(statement, {"ids": ids[start : start + _AT_ONCE]}).scalars()
    drop_from_sessions(connection, numbers)
    drop_rows(connection, (sessions.c.number,), [(number,) for number in numbers])


def end_retained(connection: Connection, token_ids: Sequence[str]) -> None:
    """Delete the retained messages that these families left."""
    drop_rows(connection, (retained.c.token_id,), [(token_id,) for token_id in token_ids])


def end_organization(connection: Connection, org_id: str) -> None:
    """Delete all that is kept for an organization."""
    end_sessions(connection, "org_id", [org_id])
    connection.execute(_DELETE_MESSAGES, {"at": org_id})
    connection.execute(_DELETE_RETAINED, {"at": org_id})
    people.erase_organization(connection, org_id)
