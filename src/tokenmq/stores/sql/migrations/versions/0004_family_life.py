"""The life of a token family: parent, provider, who has shown what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; families that are there were never refreshed."""
    for column in (
        sa.Column("parent_id", sa.Text()),
        sa.Column("provider_id", sa.Text()),
        sa.Column("attrs", sa.Text()),
        sa.Column("superseded_at", sa.BigInteger()),
        sa.Column("presented", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("connected", sa.Integer()),
        sa.Column("clients", sa.Text(), nullable=False, server_default="[]"),
    ):
        op.add_column("families", column)
    op.create_index(
        "ix_families_parent",
        "families",
        ["parent_id"],
        sqlite_where=sa.text("parent_id IS NOT NULL"),
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
