"""What Alembic runs around the migrations; `migrating.migrate` hands the connection in.

The caller's transaction is around all of it: it is all done, or nothing.
"""

from __future__ import annotations

from alembic import context

from tokenmq.stores.sql.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
