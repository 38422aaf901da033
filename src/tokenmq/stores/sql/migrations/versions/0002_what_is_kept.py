"""What outlives a connection: sessions and what hangs on them, messages, retained messages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables; so far no family was asked to leave anything behind."""
    op.add_column(
        "families", sa.Column("retained_kept", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    _create_sessions()
    _create_what_hangs_on_them()
    _create_messages()
    _create_retained()


def _create_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("number", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("expiry_seconds", sa.BigInteger(), nullable=False),
        sa.Column("left_at", sa.Double()),
        sa.Column("will", sa.Text()),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("token_id", sa.Text()),
        sa.Column("key_id", sa.Text()),
        sa.PrimaryKeyConstraint("number", name="pk_sessions"),
    )
    op.create_index("ix_sessions_org_id", "sessions", ["org_id"])
    op.create_index("ix_sessions_token_id", "sessions", ["token_id"])
    op.create_index("ix_sessions_key_id", "sessions", ["key_id"])


def _create_what_hangs_on_them() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("session", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("topic_filter", sa.Text(), nullable=False),
        sa.Column("qos", sa.Integer(), nullable=False),
        sa.Column("no_local", sa.Boolean(), nullable=False),
        sa.Column("retain_as_published", sa.Boolean(), nullable=False),
        sa.Column("identifier", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("session", "topic_filter", name="pk_subscriptions"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "deliveries",
        sa.Column("session", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("packet_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.BigInteger(), nullable=False),
        sa.Column("qos", sa.Integer(), nullable=False),
        sa.Column("retain", sa.Boolean(), nullable=False),
        sa.Column("released", sa.Boolean(), nullable=False),
        sa.Column("identifiers", sa.Text(), nullable=False),
        sa.Column("group", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("session", "packet_id", name="pk_deliveries"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "received",
        sa.Column("session", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("packet_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("session", "packet_id", name="pk_received"),
        sqlite_with_rowid=False,
    )


def _create_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("number", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("forward", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.Double()),
        sa.PrimaryKeyConstraint("number", name="pk_messages"),
    )


def _create_retained() -> None:
    op.create_table(
        "retained",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("qos", sa.Integer(), nullable=False),
        sa.Column("forward", sa.LargeBinary(), nullable=False),
        sa.Column("stored_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("token_id", sa.Text()),
        sa.PrimaryKeyConstraint("org_id", "topic", name="pk_retained"),
    )
    op.create_index("ix_retained_token_id", "retained", ["token_id"])
