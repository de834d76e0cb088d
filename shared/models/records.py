"""What must never be lost: audit, idempotency, imports, and the outbox of events."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import UserDefinedType

from shared.models.base import (
    EVENTS,
    metadata,
    one_of,
    recorded_columns,
    tenant_table,
    time_column,
    uuid_column,
)


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id: what makes a feed of events gap-free."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


audit_entries = tenant_table(
    "audit_entries",
    time_column("recorded_at", nullable=False),
    uuid_column("actor_id", nullable=True),
    Column("request_id", Text),
    Column("action", Text, nullable=False),
    Column("subject_type", Text, nullable=False),
    uuid_column("subject_id"),
    Column("version", Integer),
    # Names of all changed fields; values only of those that are not personal.
    Column("changes", JSONB, nullable=False, server_default=text("'{}'")),
    Index("ix_audit_entries_subject", "workspace_id", "subject_type", "subject_id", "id"),
)

idempotency_keys = tenant_table(
    "idempotency_keys",
    Column("digest", LargeBinary, nullable=False),
    Column("request_hash", LargeBinary, nullable=False),
    Column("status", Integer),
    Column("headers", JSONB),
    Column("body", LargeBinary),
    time_column("recorded_at", nullable=False),
    Index("ix_idempotency_keys_age", "recorded_at"),
    key=("digest",),
)

imports = tenant_table(
    "imports",
    Column("kind", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("file_name", Text),
    Column("mapping", JSONB, nullable=False),
    Column("dry_run", Boolean, nullable=False, server_default=text("false")),
    Column("status", Text, nullable=False, server_default=text("'queued'")),
    Column("problem", JSONB),
    Column("total_bytes", BigInteger, nullable=False, server_default=text("0")),
    Column("rows_read", Integer, nullable=False, server_default=text("0")),
    Column("rows_imported", Integer, nullable=False, server_default=text("0")),
    Column("rows_failed", Integer, nullable=False, server_default=text("0")),
    Column("rows_total", Integer),
    # Where to go on after a crash, written in the same transaction as the rows before it.
    Column("checkpoint", JSONB, nullable=False, server_default=text("'{}'")),
    Column("cancel_requested", Boolean, nullable=False, server_default=text("false")),
    uuid_column("lease_token", nullable=True),
    time_column("lease_until"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    time_column("next_attempt_at"),
    uuid_column("created_by", nullable=True),
    Column("request_id", Text),
    time_column("started_at"),
    time_column("finished_at"),
    *recorded_columns(),
    one_of("status", ("queued", "running", "succeeded", "partially_failed", "failed", "cancelled")),
    one_of("format", ("csv", "xlsx", "ndjson")),
    Index("ix_imports_unfinished", "next_attempt_at", postgresql_where=text("status IN ('queued', 'running')")),
)

import_chunks = tenant_table(
    "import_chunks",
    uuid_column("import_id"),
    Column("position", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    key=("import_id", "position"),
)

import_errors = tenant_table(
    "import_errors",
    uuid_column("import_id"),
    Column("row", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("pointer", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    key=("import_id", "row", "position"),
)

# Partitioned by day: old days are dropped whole, never deleted row by row.
outbox = Table(
    "outbox",
    metadata,
    uuid_column("workspace_id"),
    uuid_column("id"),
    time_column("recorded_at", nullable=False),
    Column("type", Text, nullable=False),
    Column("subject_type", Text, nullable=False),
    uuid_column("subject_id"),
    Column("resource_version", BigInteger),
    uuid_column("owner_id", nullable=True),
    uuid_column("actor_id", nullable=True),
    Column("request_id", Text),
    Column("traceparent", Text),
    time_column("occurred_at", nullable=False),
    Column("data", JSONB, nullable=False),
    Column("xid", Xid8(), nullable=False, server_default=text("pg_current_xact_id()")),
    # Version of the type's schema (`shared.events`).
    Column("version", SmallInteger, nullable=False, server_default=text("1")),
    PrimaryKeyConstraint("workspace_id", "id", "recorded_at"),
    Index("ix_outbox_order", "workspace_id", "xid", "id"),
    Index("ix_outbox_subject", "workspace_id", "subject_id", "xid", "id"),
    schema=EVENTS,
    postgresql_partition_by="RANGE (recorded_at)",
)
