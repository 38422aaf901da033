"""History: its rules, the recorded messages, their topics, and numbers for ids."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ORDERED = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables; so far nothing is recorded."""
    op.add_column("organizations", sa.Column("history", sa.Text()))
    _kept()
    _topics()
    _messages()
    op.create_table(
        "history_organizations",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("topics", sa.BigInteger(), nullable=False),
        sa.Column("lost_to", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", name="pk_history_organizations"),
    )
    op.create_table(
        "reserved",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_reserved"),
    )


def _kept() -> None:
    """Add what the core keeps of its history; nothing that is kept so far has to do with it."""
    no = sa.false()
    for table, column in (
        ("subscriptions", sa.Column("history", sa.Boolean(), nullable=False, server_default=no)),
        ("messages", sa.Column("stamp", sa.LargeBinary(), nullable=False, server_default="")),
        ("deliveries", sa.Column("prefix", sa.Text(), nullable=False, server_default="")),
        ("deliveries", sa.Column("stamped", sa.Boolean(), nullable=False, server_default=no)),
        ("retained", sa.Column("history_id", sa.BigInteger(), nullable=False, server_default="0")),
    ):
        op.add_column(table, column)
    # SQLite would give the rows that are there an empty text.
    stamp: sa.ColumnClause[bytes] = sa.column("stamp", sa.LargeBinary())
    op.execute(sa.update(sa.table("messages", stamp)).values(stamp=b""))


def _topics() -> None:
    op.create_table(
        "history_topics",
        sa.Column("id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("topic", _ORDERED, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("oldest", sa.BigInteger(), nullable=False),
        sa.Column("newest", sa.BigInteger(), nullable=False),
        sa.Column("lost_to", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_history_topics"),
        sa.UniqueConstraint("org_id", "topic", name="uq_history_topics_org_id_topic"),
    )
    op.create_index("ix_history_topics_newest", "history_topics", ["org_id", "newest"])
    op.create_index("ix_history_topics_due", "history_topics", ["org_id", "due"])


def _messages() -> None:
    op.create_table(
        "history",
        sa.Column("id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("topic", sa.BigInteger(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("qos", sa.Integer(), nullable=False),
        sa.Column("retain", sa.Boolean(), nullable=False),
        sa.Column("forward", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double()),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_history"),
    )
    op.create_index("ix_history_topic", "history", ["topic", "id"])
    op.create_index("ix_history_org", "history", ["org_id", "id", "topic"])
    op.create_index("ix_history_user", "history", ["org_id", "user_id"])
