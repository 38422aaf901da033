"""The tables, as they stand after the newest migration.

Times are unix seconds. Lists and objects are JSON in text columns: they are read and
written whole, and never searched. A test holds this against what the migrations make.

What the core has kept (sessions and on) has its columns in the order of its record's
attributes, and no foreign keys: it is written by many at once, and a row that is too late
for what it belongs to must stop none of the others. `loading` takes such rows away.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.dialects import postgresql

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

organizations = Table(
    "organizations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("settings", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("policy", Text),
    Column("history", Text),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org_id", Text, ForeignKey("organizations.id", ondelete="CASCADE"), index=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("hint", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("grants", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("deleted_at", BigInteger),
    Column("rotated_at", BigInteger),
    Column("earlier", Text, nullable=False),
)

families = Table(
    "families",
    metadata,
    Column("token_id", Text, primary_key=True),
    Column("org_id", Text, ForeignKey("organizations.id", ondelete="CASCADE"), nullable=False),
    Column("user_id", Text, nullable=False),
    Column("user_email", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("integration_id", Text),
    Column("client_id", Text),
    Column("renewable", Boolean, nullable=False),
    Column("grants", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("first_issued_at", BigInteger, nullable=False),
    Column("ttl_seconds", Integer, nullable=False),
    Column("gen", Integer, nullable=False),
    Column("jti", Text, nullable=False),
    Column("kid", Text, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("revoked_reason", Text),
    Column("replaced_at", BigInteger),
    Column("sessions_replaced", Boolean, nullable=False),
    Column("retained_kept", Boolean, nullable=False),
    Column("parent_id", Text),
    Column("provider_id", Text),
    Column("attrs", Text),
    Column("superseded_at", BigInteger),
    Column("presented", Integer, nullable=False, server_default="0"),
    Column("connected", Integer),
    Column("clients", Text, nullable=False, server_default="[]"),
    # Lists, newest first; the whole organization.
    Index("ix_families_org", "org_id", "first_issued_at", "token_id"),
    # Lists and revocations of one user; what a new family replaces.
    Index("ix_families_user", "org_id", "user_id"),
    # Revocation by key.
    Index("ix_families_key", "key_id"),
    # What is over: start and retention.
    Index("ix_families_expiry", "expires_at"),
)

# Revocation by client id; few tokens are bound to one.
Index(
    "ix_families_client",
    families.c.org_id,
    families.c.client_id,
    sqlite_where=families.c.client_id.is_not(None),
    postgresql_where=families.c.client_id.is_not(None),
)

# The children of a family; few have any.
Index(
    "ix_families_parent",
    families.c.parent_id,
    sqlite_where=families.c.parent_id.is_not(None),
    postgresql_where=families.c.parent_id.is_not(None),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("token_id", Text, nullable=False),
    Column("forget_at", BigInteger, nullable=False, index=True),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("algorithm", Text, nullable=False),
    Column("private_pem", LargeBinary, nullable=False),
    Column("public_jwk", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("current_from", BigInteger, nullable=False),
    Column("retired_at", BigInteger),
)

providers = Table(
    "providers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org_id", Text, ForeignKey("organizations.id", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("configuration", Text, nullable=False),
    Column("secret", LargeBinary),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("org_id", "name"),
)

# SQLite keeps a row under its number itself if it is called INTEGER there, without an index beside it.
_Number = BigInteger().with_variant(Integer(), "sqlite")

sessions = Table(
    "sessions",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=False),
    Column("client_id", Text, nullable=False),
    Column("identity", Text, nullable=False),
    Column("expiry_seconds", BigInteger, nullable=False),
    Column("left_at", Double),
    Column("will", Text),
    # Out of the identity: what ends them.
    Column("org_id", Text, nullable=False, index=True),
    Column("token_id", Text, index=True),
    Column("key_id", Text, index=True),
)

# Small rows that are only ever found by their keys: SQLite keeps them in the key's index alone.
subscriptions = Table(
    "subscriptions",
    metadata,
    Column("session", BigInteger, primary_key=True, autoincrement=False),
    Column("topic_filter", Text, primary_key=True),
    Column("qos", Integer, nullable=False),
    Column("no_local", Boolean, nullable=False),
    Column("retain_as_published", Boolean, nullable=False),
    Column("identifier", BigInteger, nullable=False),
    Column("history", Boolean, nullable=False, server_default=false()),
    sqlite_with_rowid=False,
)

messages = Table(
    "messages",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=False),
    Column("org_id", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("forward", LargeBinary, nullable=False),
    Column("expires_at", Double),
    Column("stamp", LargeBinary, nullable=False, server_default=""),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("session", BigInteger, primary_key=True, autoincrement=False),
    Column("packet_id", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("message", BigInteger, nullable=False),
    Column("qos", Integer, nullable=False),
    Column("retain", Boolean, nullable=False),
    Column("released", Boolean, nullable=False),
    Column("identifiers", Text, nullable=False),
    Column("group", Text, nullable=False),
    Column("prefix", Text, nullable=False, server_default=""),
    Column("stamped", Boolean, nullable=False, server_default=false()),
    sqlite_with_rowid=False,
)

received = Table(
    "received",
    metadata,
    Column("session", BigInteger, primary_key=True, autoincrement=False),
    Column("packet_id", Integer, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

retained = Table(
    "retained",
    metadata,
    Column("org_id", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("payload", LargeBinary, nullable=False),
    Column("qos", Integer, nullable=False),
    Column("forward", LargeBinary, nullable=False),
    Column("stored_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("token_id", Text, index=True),
    Column("client_id", Text),
    Column("attrs", Text),
    Column("history_id", BigInteger, nullable=False, server_default="0"),
)

# In the order of their bytes, wherever the database would have its own order.
_Ordered = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

# What is recorded: of a topic the sums, and which of its ids are gone. `id` is the id of the
# message that it began with, `oldest` no greater than that of the oldest message there,
# `due` a time before which the sweep has nothing to do with it.
history_topics = Table(
    "history_topics",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=False),
    Column("org_id", Text, nullable=False),
    Column("topic", _Ordered, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("oldest", BigInteger, nullable=False),
    Column("newest", BigInteger, nullable=False),
    Column("lost_to", BigInteger, nullable=False),
    Column("due", Double, nullable=False),
    UniqueConstraint("org_id", "topic"),
    # Which topic goes first where there are too many.
    Index("ix_history_topics_newest", "org_id", "newest"),
    Index("ix_history_topics_due", "org_id", "due"),
)

history = Table(
    "history",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=False),
    Column("topic", BigInteger, nullable=False),
    Column("org_id", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("qos", Integer, nullable=False),
    Column("retain", Boolean, nullable=False),
    Column("forward", LargeBinary, nullable=False),
    Column("at", Double, nullable=False),
    Column("expires_at", Double),
    Column("user_id", Text, nullable=False),
    # Of the payload, and all that it counts for.
    Column("size", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
    # The last messages of a topic.
    Index("ix_history_topic", "topic", "id"),
    # The oldest of an organization; all of many topics, without their payloads.
    Index("ix_history_org", "org_id", "id", "topic"),
    # What a person has published.
    Index("ix_history_user", "org_id", "user_id"),
)

# An organization's sums, and the highest id of those topics that are gone altogether.
history_organizations = Table(
    "history_organizations",
    metadata,
    Column("org_id", Text, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("topics", BigInteger, nullable=False),
    Column("lost_to", BigInteger, nullable=False),
)

# Numbers that were given out, and never are again.
reserved = Table(
    "reserved",
    metadata,
    Column("name", Text, primary_key=True),
    Column("next", BigInteger, nullable=False),
)

# `stores.audit` says what its columns are; they are in the order of `AuditRow`.
audit = Table(
    "audit",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("org_id", Text),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("person", Text),
    Column("result", Text, nullable=False),
    Column("address", Text),
    Column("request_id", Text),
    Column("details", Text, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    # What one organization sees of it.
    Index("ix_audit_org", "org_id", "number"),
)

# Where the chain ends: `first` is the row before the oldest that is there, `last` the newest.
audit_ends = Table(
    "audit_ends",
    metadata,
    Column("place", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

# Who the pseudonyms of the trail are. To delete a row is to forget a person.
audit_people = Table(
    "audit_people",
    metadata,
    Column("org_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("person", Text, nullable=False, index=True),
    Column("key", LargeBinary, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# PostgreSQL has one row here: which process serves, and how many groups of writes it has
# committed (`holding`). Of SQLite's file that is the business of its folder's lock.
holder = Table(
    "holder",
    metadata,
    Column("instance", Text, primary_key=True),
    Column("process", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
)
