"""Files given out: what was asked for, how far it is, and the file itself in pieces."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from shared.models.base import one_of, recorded_columns, tenant_table, time_column, uuid_column

exports = tenant_table(
    "exports",
    Column("kind", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("filters", JSONB, nullable=False, server_default=text("'{}'")),
    Column("status", Text, nullable=False, server_default=text("'queued'")),
    Column("problem", JSONB),
    Column("rows_written", Integer, nullable=False, server_default=text("0")),
    Column("total_bytes", BigInteger, nullable=False, server_default=text("0")),
    # Where to go on after a crash, written in the same transaction as the pieces before it.
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
    time_column("expires_at"),
    *recorded_columns(),
    one_of("status", ("queued", "running", "succeeded", "failed", "cancelled", "expired")),
    one_of("format", ("csv", "xlsx", "ndjson")),
    Index("ix_exports_unfinished", "next_attempt_at", postgresql_where=text("status IN ('queued', 'running')")),
    Index("ix_exports_expiring", "expires_at", postgresql_where=text("status = 'succeeded'")),
)

export_chunks = tenant_table(
    "export_chunks",
    uuid_column("export_id"),
    Column("position", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    key=("export_id", "position"),
)
