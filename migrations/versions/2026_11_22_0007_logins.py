"""Logins through identity providers: who a person is to us, sessions, and tokens that were given back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.tenants import protect

revision = "2026_11_22_0007"
down_revision = "2026_11_22_0006"
branch_labels = None
depends_on = None

API = "sixteen_api"

# In which workspaces a person is known: asked before a workspace has been entered.
WORKSPACES_OF_IDENTITY = """
CREATE FUNCTION sales.workspaces_of_identity(of_issuer text, of_subject text, most integer)
RETURNS TABLE (workspace_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT i.workspace_id FROM sales.member_identities i
  WHERE i.issuer = of_issuer AND i.subject = of_subject
  ORDER BY i.workspace_id LIMIT most
$$
"""
SIGNATURE = "sales.workspaces_of_identity(text, text, integer)"


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _of_member(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id", "member_id"],
        ["sales.members.workspace_id", "sales.members.id"],
        name=op.f(f"fk_{table}_member_id"),
    )


def upgrade() -> None:
    op.create_table(
        "member_identities",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("member_id", sa.UUID(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        _time("recorded_at"),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_member_identities")),
        _of_member("member_identities"),
        schema="sales",
    )
    for name, columns in (
        ("uq_member_identities_subject", ["workspace_id", "issuer", "subject"]),
        ("uq_member_identities_member", ["workspace_id", "member_id", "issuer"]),
    ):
        op.create_index(name, "member_identities", columns, schema="sales", unique=True)
    op.create_index("ix_member_identities_person", "member_identities", ["issuer", "subject"], schema="sales")
    op.create_table(
        "sessions",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("member_id", sa.UUID(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("access_hash", sa.LargeBinary(), nullable=False),
        _time("access_expires_at"),
        sa.Column("refresh_hash", sa.LargeBinary(), nullable=False),
        sa.Column("used_hashes", postgresql.ARRAY(sa.LargeBinary()), nullable=False, server_default=sa.text("'{}'")),
        _time("refresh_expires_at"),
        _time("expires_at"),
        _time("revoked_at", nullable=True),
        _time("recorded_at"),
        _time("updated_at"),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_sessions")),
        _of_member("sessions"),
        schema="sales",
    )
    op.create_index("ix_sessions_member", "sessions", ["workspace_id", "member_id"], schema="sales")
    op.create_table(
        "revoked_tokens",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("jti", sa.Text(), nullable=False),
        _time("expires_at"),
        sa.PrimaryKeyConstraint("workspace_id", "issuer", "jti", name=op.f("pk_revoked_tokens")),
        schema="sales",
    )
    op.create_index("ix_revoked_tokens_expiry", "revoked_tokens", ["workspace_id", "expires_at"], schema="sales")
    protect("sales.member_identities", f"SELECT, INSERT, DELETE TO {API}")
    protect("sales.sessions", f"SELECT, INSERT, UPDATE, DELETE TO {API}")
    protect("sales.revoked_tokens", f"SELECT, INSERT, DELETE TO {API}")
    op.execute("CREATE POLICY counted ON sales.member_identities FOR SELECT TO CURRENT_USER USING (true)")
    op.execute(WORKSPACES_OF_IDENTITY)
    op.execute(f"REVOKE ALL ON FUNCTION {SIGNATURE} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {SIGNATURE} TO {API}")


def downgrade() -> None:
    op.execute(f"DROP FUNCTION {SIGNATURE}")
    for table in ("revoked_tokens", "sessions", "member_identities"):
        op.drop_table(table, schema="sales")
