"""Keys that were rotated, and the secrets that they had before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; so far no key was rotated."""
    op.add_column("keys", sa.Column("rotated_at", sa.BigInteger()))
    op.add_column("keys", sa.Column("earlier", sa.Text(), nullable=False, server_default="[]"))
