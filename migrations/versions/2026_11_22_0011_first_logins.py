"""A person of one workspace logs in the first time without naming it; links are ended and taken up again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_22_0011"
down_revision = "2026_11_22_0010"
branch_labels = None
depends_on = None

API = "sixteen_api"

# Of a verified e-mail: the workspaces where it is an active member's whom this subject may still become. Not those
# where the subject has a link, or had one that was ended, nor where that member is somebody else to the issuer. It
# gives ids alone; `among` are the workspaces that the issuer may speak for, null for all.
WORKSPACES_OF_EMAIL = """
CREATE FUNCTION sales.workspaces_of_email(
  of_email text, of_issuer text, of_subject text, among uuid[], most integer
) RETURNS TABLE (workspace_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT m.workspace_id FROM sales.members m
  WHERE lower(m.email) = lower(of_email) AND m.email IS NOT NULL AND m.active
    AND (among IS NULL OR m.workspace_id = ANY(among))
    AND NOT EXISTS (
      SELECT FROM sales.member_identities i
      WHERE i.workspace_id = m.workspace_id AND i.issuer = of_issuer
        AND (i.subject = of_subject OR (i.member_id = m.id AND i.unlinked_at IS NULL))
    )
  ORDER BY m.workspace_id LIMIT most
$$
"""
BY_EMAIL = "sales.workspaces_of_email(text, text, text, uuid[], integer)"

WORKSPACES_OF_IDENTITY = """
CREATE OR REPLACE FUNCTION sales.workspaces_of_identity(of_issuer text, of_subject text, most integer)
RETURNS TABLE (workspace_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT i.workspace_id FROM sales.member_identities i
  WHERE i.issuer = of_issuer AND i.subject = of_subject{only}
  ORDER BY i.workspace_id LIMIT most
$$
"""
LINKED = " AND i.unlinked_at IS NULL"
OF_MEMBER = "uq_member_identities_member"


def _of_member(where: str | None) -> None:
    """To each issuer a member is one subject; those that were ended stay beside it."""
    op.drop_index(OF_MEMBER, "member_identities", schema="sales")
    columns = ["workspace_id", "member_id", "issuer"]
    condition = None if where is None else sa.text(where)
    op.create_index(OF_MEMBER, "member_identities", columns, schema="sales", unique=True, postgresql_where=condition)


def upgrade() -> None:
    for name in ("last_used_at", "unlinked_at"):
        op.add_column("member_identities", sa.Column(name, sa.DateTime(timezone=True), nullable=True), schema="sales")
    op.execute(f"GRANT UPDATE (last_used_at, unlinked_at) ON sales.member_identities TO {API}")
    _of_member("unlinked_at IS NULL")
    op.create_index(
        "ix_members_person",
        "members",
        [sa.text("lower(email)")],
        schema="sales",
        postgresql_where=sa.text("email IS NOT NULL"),
    )
    op.add_column("stream_tickets", sa.Column("session_id", sa.UUID(), nullable=True), schema="events")
    op.execute("CREATE POLICY counted ON sales.members FOR SELECT TO CURRENT_USER USING (true)")
    op.execute(WORKSPACES_OF_IDENTITY.format(only=LINKED))
    op.execute(WORKSPACES_OF_EMAIL)
    op.execute(f"REVOKE ALL ON FUNCTION {BY_EMAIL} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {BY_EMAIL} TO {API}")


def downgrade() -> None:
    op.execute(f"DROP FUNCTION {BY_EMAIL}")
    op.execute(WORKSPACES_OF_IDENTITY.format(only=""))
    op.execute("DROP POLICY counted ON sales.members")
    op.drop_column("stream_tickets", "session_id", schema="events")
    op.drop_index("ix_members_person", "members", schema="sales")
    # Before this, a link that was ended was none.
    op.execute("ALTER TABLE sales.member_identities NO FORCE ROW LEVEL SECURITY")
    op.execute("DELETE FROM sales.member_identities WHERE unlinked_at IS NOT NULL")
    op.execute("ALTER TABLE sales.member_identities FORCE ROW LEVEL SECURITY")
    _of_member(None)
    op.execute(f"REVOKE UPDATE (last_used_at, unlinked_at) ON sales.member_identities FROM {API}")
    for name in ("unlinked_at", "last_used_at"):
        op.drop_column("member_identities", name, schema="sales")
