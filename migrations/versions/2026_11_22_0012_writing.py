"""Fewer steps for the writes that happen most."""

from __future__ import annotations

from importlib import import_module

from alembic import op

revision = "2026_11_22_0012"
down_revision = "2026_11_22_0011"
branch_labels = None
depends_on = None

# Keys come and go: a plan that was made when there were few reads all of them when there are many, in every request.
REFUSE_ANSWERED = """
CREATE OR REPLACE FUNCTION sales.refuse_answered(in_workspace uuid, in_digest bytea) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog SET enable_seqscan = off AS $$
BEGIN
  IF EXISTS (SELECT FROM sales.idempotency_keys k WHERE k.workspace_id = in_workspace AND k.digest = in_digest) THEN
    RAISE EXCEPTION 'answered before' USING ERRCODE = 'SX100';
  END IF;
END $$
"""


def upgrade() -> None:
    op.execute(REFUSE_ANSWERED)


def downgrade() -> None:
    before = import_module("migrations.versions.2026_11_22_0005_events")
    op.execute(before.REFUSE_ANSWERED.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
