"""New opportunities are judged by their own transitions, however many there are of others."""

from __future__ import annotations

from importlib import import_module

from alembic import op

revision = "2026_11_22_0014"
down_revision = "2026_11_22_0013"
branch_labels = None
depends_on = None

# As in 0004. Each is looked for by itself: for NOT EXISTS a plan that was made when there were few transitions reads
# all of them at every insert of many rows, and so each batch of an import more than the one before.
CHECK_FIRST_STAGE = """
CREATE OR REPLACE FUNCTION sales.check_first_stage() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET enable_seqscan = off AS $$
BEGIN
  IF EXISTS (
    SELECT FROM added n WHERE CASE
      WHEN (n.stage_position, n.status) = (0, 'open')
        AND coalesce(n.won_at, n.closed_at, n.completed_at) IS NULL AND n.close_reason IS NULL
      THEN (SELECT 1 FROM sales.stages s WHERE s.workspace_id = n.workspace_id AND s.id = n.stage_id
        AND s.process_id = n.process_id AND s.position = 0 LIMIT 1)
      -- Elsewhere it stands by its transitions alone: they came with it, and their own trigger judges them.
      ELSE (SELECT 1 FROM sales.transitions t WHERE t.workspace_id = n.workspace_id AND t.opportunity_id = n.id LIMIT 1)
    END IS NULL
  ) THEN
    RAISE EXCEPTION 'an opportunity begins in the first stage of its process' USING ERRCODE = 'SX002';
  END IF;
  RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.execute(CHECK_FIRST_STAGE)


def downgrade() -> None:
    before = import_module("migrations.versions.2026_11_22_0004_speed").CHECK_FIRST_STAGE
    # What a function sets stays with it when it is replaced.
    op.execute("ALTER FUNCTION sales.check_first_stage() RESET enable_seqscan")
    op.execute(before)
