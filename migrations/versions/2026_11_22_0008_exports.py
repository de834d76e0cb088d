"""Exports: files given out, in pieces, for a week."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.tenants import protect

revision = "2026_11_22_0008"
down_revision = "2026_11_22_0007"
branch_labels = None
depends_on = None

# Exports that wait for a worker, oldest first; and files whose days are over.
DUE_EXPORTS = """
CREATE FUNCTION sales.due_exports(most integer) RETURNS TABLE (workspace_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT e.workspace_id, e.id FROM sales.exports e
  WHERE e.status IN ('queued', 'running') AND coalesce(e.lease_until, '-infinity') < now()
    AND coalesce(e.next_attempt_at, '-infinity') <= now()
  ORDER BY e.recorded_at LIMIT most
$$
"""
EXPIRED_EXPORTS = """
CREATE FUNCTION sales.expired_exports(most integer) RETURNS TABLE (workspace_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT e.workspace_id, e.id FROM sales.exports e
  WHERE e.status = 'succeeded' AND e.expires_at < now() ORDER BY e.expires_at LIMIT most
$$
"""
SIGNATURES = ("sales.due_exports(integer)", "sales.expired_exports(integer)")


def _exports() -> None:
    op.create_table(
        "exports",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("filters", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'queued'"), nullable=False),
        sa.Column("problem", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("rows_written", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("total_bytes", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "checkpoint", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("cancel_requested", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("lease_token", sa.UUID(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_by", sa.UUID(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("format IN ('csv', 'xlsx', 'ndjson')", name=op.f("ck_exports_format_known")),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired')",
            name=op.f("ck_exports_status_known"),
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_exports")),
        schema="sales",
    )
    op.create_index(
        "ix_exports_unfinished",
        "exports",
        ["next_attempt_at"],
        schema="sales",
        postgresql_where=sa.text("status IN ('queued', 'running')"),
    )
    op.create_index(
        "ix_exports_expiring",
        "exports",
        ["expires_at"],
        schema="sales",
        postgresql_where=sa.text("status = 'succeeded'"),
    )


def upgrade() -> None:
    _exports()
    op.create_table(
        "export_chunks",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("export_id", sa.UUID(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "export_id", "position", name=op.f("pk_export_chunks")),
        schema="sales",
    )
    protect("sales.exports", "SELECT, INSERT, UPDATE TO sixteen_api")
    protect("sales.export_chunks", "SELECT, INSERT, DELETE TO sixteen_api")
    # Pieces are bytes that do not shrink: trying to would only cost time.
    op.execute("ALTER TABLE sales.export_chunks ALTER COLUMN data SET STORAGE EXTERNAL")
    op.execute("CREATE POLICY counted ON sales.exports FOR SELECT TO CURRENT_USER USING (true)")
    for function in (DUE_EXPORTS, EXPIRED_EXPORTS):
        op.execute(function)
    for signature in SIGNATURES:
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO sixteen_api")


def downgrade() -> None:
    for signature in SIGNATURES:
        op.execute(f"DROP FUNCTION {signature}")
    op.drop_table("export_chunks", schema="sales")
    op.drop_table("exports", schema="sales")
