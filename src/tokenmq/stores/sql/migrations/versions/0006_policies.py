"""An organization's own policy; what the policy asks about who left a retained message."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; until something is written there, they say nothing."""
    op.add_column("organizations", sa.Column("policy", sa.Text()))
    op.add_column("retained", sa.Column("client_id", sa.Text()))
    op.add_column("retained", sa.Column("attrs", sa.Text()))
