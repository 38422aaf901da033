"""Signing keys in SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, bindparam, insert, select, update

from tokenmq.errors import TokenmqError
from tokenmq.stores.audit import Audit
from tokenmq.stores.base import Result
from tokenmq.stores.sql.order import Order
from tokenmq.stores.sql.reader import Reader
from tokenmq.stores.sql.rows import signing_key_record, signing_key_row
from tokenmq.stores.sql.tables import signing_keys
from tokenmq.stores.sql.writer import GroupWriter, Work
from tokenmq.tokens.records import SigningKeyRecord

_ALL = select(signing_keys).order_by(signing_keys.c.created_at, signing_keys.c.kid)
_INSERT = insert(signing_keys)
_UPDATE = (
    update(signing_keys)
    .where(signing_keys.c.kid == bindparam("at"))
    .values(private_pem=bindparam("pem"), current_from=bindparam("from_"), retired_at=bindparam("until"))
)


class SqlSigningKeys:
    """`SigningKeyStore` in SQL."""

    def __init__(self, reader: Reader, writer: GroupWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def load(self) -> list[SigningKeyRecord]:
        """Return all, oldest first."""
        return [signing_key_record(row) for row in await self._reader.rows(_ALL)]

    async def save(
        self,
        record: SigningKeyRecord,
        *,
        audit: Audit[SigningKeyRecord] = (),
        applied: Callable[[SigningKeyRecord], Result],
    ) -> Result:
        """Store a new one, or the changed times and form of a known one."""
        return await self._writer.submit(_SAVING, record, applied, audit)


def _save(
    connection: Connection, records: Sequence[SigningKeyRecord]
) -> list[SigningKeyRecord | TokenmqError]:
    for record in records:
        changes = {
            "at": record.kid,
            "pem": record.private_pem,
            "from_": record.current_from,
            "until": record.retired_at,
        }
        if not connection.execute(_UPDATE, changes).rowcount:
            connection.execute(_INSERT, signing_key_row(record))
    return list(records)


_SAVING = Work(Order.SAVE_SIGNING_KEY, _save)
