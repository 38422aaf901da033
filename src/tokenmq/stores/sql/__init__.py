"""The store in SQL, by SQLAlchemy Core: SQLite now, PostgreSQL by the same statements.

`dialect` is the only module that knows which database it is.
"""

from tokenmq.stores.sql.store import SqlStore

__all__ = ["SqlStore"]
