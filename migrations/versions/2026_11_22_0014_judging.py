"""Many transitions are judged by plans made for just these, and what is recorded at once may not contradict itself."""

from __future__ import annotations

from importlib import import_module

from alembic import op

revision = "2026_11_22_0014"
down_revision = "2026_11_22_0013"
branch_labels = None
depends_on = None

BEFORE = import_module("migrations.versions.2026_11_22_0012_writing")

# As in 0004. For NOT EXISTS a plan that was made when there were few transitions reads all of them at every insert of
# many rows; a single one is looked for by its index, whatever was counted.
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

COUNTERED = "NOT EXISTS (SELECT FROM sales.transitions c WHERE c.workspace_id = t.workspace_id AND c.passage_id = t.id)"
STANDING = BEFORE.STANDING.replace(
    COUNTERED,
    "(SELECT 1 FROM sales.transitions c WHERE c.workspace_id = t.workspace_id AND c.passage_id = t.id LIMIT 1) IS NULL",
)
APPLY_ONE = BEFORE.APPLY_ONE.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION").replace(BEFORE.STANDING, STANDING)

# As in 0012, but that a session keeps no plan of it: one that was made for tables that were empty, or for none added,
# goes through all that others have recorded, for each row, until somebody counts the tables anew.
APPLY = f"""
CREATE OR REPLACE FUNCTION sales.apply_transitions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  wrong record;
  one sales.transitions;
BEGIN
  CASE (SELECT count(*) FROM (SELECT FROM added LIMIT 2) few)
    WHEN 0 THEN
      RETURN NULL;
    WHEN 1 THEN
      SELECT * INTO one FROM added;
      IF one.passage_id IS NULL THEN
        PERFORM sales.apply_transition(one);
        RETURN NULL;
      END IF;
    ELSE
  END CASE;

  -- Whoever writes, one at a time for each opportunity: what is judged next must still hold at the commit. A row that
  -- this very transaction wrote is nobody else's yet.
  EXECUTE $lock$
    SELECT FROM (SELECT DISTINCT workspace_id, opportunity_id FROM added ORDER BY 1, 2) n
    JOIN sales.opportunities o ON o.workspace_id = n.workspace_id AND o.id = n.opportunity_id
    WHERE o.xmin <> pg_current_xact_id()::xid
    FOR UPDATE OF o
  $lock$;

  -- Each row by itself: does it fit the opportunity as it stood before? One without earlier transitions had just begun.
  EXECUTE $judge$
    SELECT * FROM (
      SELECT n.action, n.opportunity_id, o.status, n.stage,
        {BEFORE.REFUSED} AS code
      FROM (
        SELECT a.*, s.process_id, s.key AS stage, s.irreversible,
          count(*) OVER (PARTITION BY a.workspace_id, a.opportunity_id) AS alike
        FROM added a LEFT JOIN sales.stages s ON s.workspace_id = a.workspace_id AND s.id = a.stage_id
      ) n
      LEFT JOIN LATERAL (
        SELECT b.id, b.process_id, CASE WHEN b.is_new THEN 'open' ELSE b.status END AS status,
          CASE WHEN NOT b.is_new THEN b.completed_at END AS completed_at
        FROM (
          SELECT o.id, o.process_id, o.status, o.completed_at, o.status <> 'open' AND n.alike = (
            SELECT count(*) FROM sales.transitions t WHERE t.workspace_id = o.workspace_id AND t.opportunity_id = o.id
          ) AS is_new
          FROM sales.opportunities o WHERE o.workspace_id = n.workspace_id AND o.id = n.opportunity_id OFFSET 0
        ) b
      ) o ON true
      LEFT JOIN sales.transitions p ON p.workspace_id = n.workspace_id AND p.id = n.passage_id
    ) judged WHERE code IS NOT NULL LIMIT 1
  $judge$ INTO wrong;
  IF wrong.code IS NOT NULL THEN
    RAISE EXCEPTION '% refused: opportunity % is %, stage %', wrong.action, wrong.opportunity_id,
      coalesce(wrong.status, 'unknown'), coalesce(wrong.stage, 'none') USING ERRCODE = wrong.code;
  END IF;

  -- Only the latest passage is withdrawn.
  IF EXISTS (SELECT FROM added WHERE passage_id IS NOT NULL) THEN
    EXECUTE $latest$
      SELECT n.opportunity_id
      FROM added n
      JOIN sales.stages gone ON gone.workspace_id = n.workspace_id AND gone.id = n.stage_id
      JOIN sales.transitions t ON t.workspace_id = n.workspace_id AND t.opportunity_id = n.opportunity_id
        AND t.action = 'pass'
      JOIN sales.stages s ON s.workspace_id = t.workspace_id AND s.id = t.stage_id AND s.position > gone.position
      LEFT JOIN sales.transitions c ON c.workspace_id = t.workspace_id AND c.passage_id = t.id
      WHERE n.passage_id IS NOT NULL AND c.id IS NULL LIMIT 1
    $latest$ INTO wrong;
    IF wrong.opportunity_id IS NOT NULL THEN
      RAISE EXCEPTION 'a later passage of opportunity % stands', wrong.opportunity_id USING ERRCODE = 'SX010';
    END IF;
  END IF;

  -- What follows from all standing passages together: stage, status, and when it closed. They must be one a stage and
  -- leave no gap but where a stage may be skipped; and what is recorded at once may not contradict itself, though each
  -- row of it fits what stood before.
  EXECUTE $derive$
    WITH touched AS (
      SELECT workspace_id, opportunity_id, count(*) AS added, max(recorded_at) AS recorded_at,
        max(occurred_at) FILTER (WHERE action IN ('lose', 'abandon', 'cancel')) AS ended_at,
        max(reason) FILTER (WHERE action IN ('lose', 'abandon', 'cancel')) AS reason,
        max(action) FILTER (WHERE action IN ('lose', 'abandon', 'cancel', 'reopen')) AS verdict,
        count(*) FILTER (WHERE action IN ('lose', 'abandon', 'cancel', 'reopen')) AS verdicts
      FROM added GROUP BY workspace_id, opportunity_id
    ), derived AS (
      SELECT k.*, o.process_id, o.status AS status_before, d.passed_at, d.won_at,
        coalesce(d.top + 1, 0) AS position, g.next_id AS stage_id, d.total = k.added AS is_new,
        CASE
          WHEN k.verdicts > 1 OR (k.verdict IN ('lose', 'abandon') AND d.won_at IS NOT NULL) THEN 'SX005'
          WHEN d.passages <> d.passed THEN 'SX008'
          WHEN d.needed <> g.needed THEN 'SX011'
        END AS code
      FROM touched k
      JOIN sales.opportunities o ON o.workspace_id = k.workspace_id AND o.id = k.opportunity_id
      CROSS JOIN LATERAL (
        {STANDING}
      ) d
      CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE g.position <= d.top AND NOT g.skippable) AS needed,
          (array_agg(g.id) FILTER (WHERE g.position = coalesce(d.top + 1, 0)))[1] AS next_id
        FROM sales.stages g WHERE g.workspace_id = o.workspace_id AND g.process_id = o.process_id
      ) g
    ), decided AS (
      SELECT d.*, {BEFORE.STATUS} AS status FROM derived d
    ), changed AS (
      {BEFORE.CHANGE.format(decided="decided")}
      RETURNING o.id AS opportunity_id, d.code
    )
    SELECT * FROM changed WHERE code IS NOT NULL LIMIT 1
  $derive$ INTO wrong;
  IF wrong.code IS NOT NULL THEN
    RAISE EXCEPTION 'transitions of opportunity % contradict each other, are doubled or leave a gap',
      wrong.opportunity_id USING ERRCODE = wrong.code;
  END IF;
  RETURN NULL;
END $$
"""


def upgrade() -> None:
    for function in (CHECK_FIRST_STAGE, APPLY_ONE, APPLY):
        op.execute(function)


def downgrade() -> None:
    op.execute(import_module("migrations.versions.2026_11_22_0004_speed").CHECK_FIRST_STAGE)
    op.execute(BEFORE.APPLY_ONE.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    op.execute(BEFORE.APPLY)
