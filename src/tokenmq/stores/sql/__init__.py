"""The store in SQL, by SQLAlchemy Core: SQLite and PostgreSQL, by the same statements.

Only `dialect` (SQLite), `postgresql` and `holding` know which database it is.
"""

from tokenmq.stores.sql.store import SqlStore

__all__ = ["SqlStore"]
