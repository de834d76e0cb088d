"""What the hot paths and the imports need to be fast.

An opportunity may be inserted where its first transitions lead, in the statement that inserts them: it is then written
once. The database still decides where that is. The transitions are judged as if it had just begun, and a row that
says anything else than what follows from them is set right before the statement ends.

A function saves a round trip: it records transitions and gives the opportunity as they leave it.
"""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_22_0004"
down_revision = "2026_11_22_0003"
branch_labels = None
depends_on = None

# What follows from transitions, and may be stated by the insert that comes with them.
DERIVED = "status, stage_position, won_at, closed_at, close_reason, completed_at"

CHECK_FIRST_STAGE = """
CREATE OR REPLACE FUNCTION sales.check_first_stage() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  IF EXISTS (
    SELECT FROM added n WHERE CASE
      WHEN (n.stage_position, n.status) = (0, 'open')
        AND coalesce(n.won_at, n.closed_at, n.completed_at) IS NULL AND n.close_reason IS NULL
      THEN NOT EXISTS (SELECT FROM sales.stages s WHERE s.workspace_id = n.workspace_id AND s.id = n.stage_id
        AND s.process_id = n.process_id AND s.position = 0)
      -- Elsewhere it stands by its transitions alone: they came with it, and their own trigger judges them.
      ELSE NOT EXISTS (SELECT FROM sales.transitions t WHERE t.workspace_id = n.workspace_id
        AND t.opportunity_id = n.id)
    END
  ) THEN
    RAISE EXCEPTION 'an opportunity begins in the first stage of its process' USING ERRCODE = 'SX002';
  END IF;
  RETURN NULL;
END $$
"""

# All joins go from the added rows by index, whatever the plan was made for.
APPLY = """
CREATE OR REPLACE FUNCTION sales.apply_transitions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  wrong record;
BEGIN
  -- Whoever writes, one at a time for each opportunity: what is judged next must still hold at the commit. A row that
  -- this very transaction wrote is nobody else's yet.
  PERFORM FROM (SELECT DISTINCT workspace_id, opportunity_id FROM added ORDER BY 1, 2) n
  JOIN sales.opportunities o ON o.workspace_id = n.workspace_id AND o.id = n.opportunity_id
  WHERE o.xmin <> pg_current_xact_id()::xid
  FOR UPDATE OF o;

  -- Each row by itself: does it fit the opportunity as it stood before? One without earlier transitions had just begun.
  SELECT * INTO wrong FROM (
    SELECT n.action, n.opportunity_id, o.status, n.stage,
      CASE
        WHEN o.id IS NULL THEN 'SX001'
        WHEN n.stage_id IS NOT NULL AND n.process_id IS DISTINCT FROM o.process_id THEN 'SX002'
        WHEN n.passage_id IS NOT NULL AND (p.action, p.stage_id, p.opportunity_id)
          IS DISTINCT FROM ('pass', n.stage_id, n.opportunity_id) THEN 'SX003'
        WHEN n.action = 'back' AND n.irreversible THEN 'SX004'
        WHEN n.action IN ('back', 'lose', 'abandon') AND o.status <> 'open' THEN 'SX005'
        WHEN n.action = 'pass' AND (o.status NOT IN ('open', 'won') OR o.completed_at IS NOT NULL) THEN 'SX005'
        WHEN n.action = 'reopen' AND o.status NOT IN ('lost', 'abandoned') THEN 'SX005'
        WHEN n.action = 'cancel' AND o.status <> 'won' THEN 'SX005'
        WHEN n.action = 'void' AND (o.status NOT IN ('open', 'won') OR now() - p.recorded_at > interval '24 hours')
          THEN 'SX006'
        WHEN n.action IN ('void', 'lose', 'abandon', 'cancel') AND coalesce(trim(n.reason), '') = '' THEN 'SX007'
      END AS code
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
        FROM sales.opportunities o WHERE o.workspace_id = n.workspace_id AND o.id = n.opportunity_id
      ) b
    ) o ON true
    LEFT JOIN sales.transitions p ON p.workspace_id = n.workspace_id AND p.id = n.passage_id
  ) judged WHERE code IS NOT NULL LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '% refused: opportunity % is %, stage %', wrong.action, wrong.opportunity_id,
      coalesce(wrong.status, 'unknown'), coalesce(wrong.stage, 'none') USING ERRCODE = wrong.code;
  END IF;

  -- Only the latest passage is withdrawn.
  IF EXISTS (SELECT FROM added WHERE passage_id IS NOT NULL) THEN
    SELECT n.opportunity_id INTO wrong
    FROM added n
    JOIN sales.stages gone ON gone.workspace_id = n.workspace_id AND gone.id = n.stage_id
    JOIN sales.transitions t ON t.workspace_id = n.workspace_id AND t.opportunity_id = n.opportunity_id
      AND t.action = 'pass'
    JOIN sales.stages s ON s.workspace_id = t.workspace_id AND s.id = t.stage_id AND s.position > gone.position
    LEFT JOIN sales.transitions c ON c.workspace_id = t.workspace_id AND c.passage_id = t.id
    WHERE n.passage_id IS NOT NULL AND c.id IS NULL LIMIT 1;
    IF FOUND THEN
      RAISE EXCEPTION 'a later passage of opportunity % stands', wrong.opportunity_id USING ERRCODE = 'SX010';
    END IF;
  END IF;

  -- What follows from all standing passages together: stage, status, and when it closed. They must be one a stage and
  -- leave no gap but where a stage may be skipped.
  WITH touched AS (
    SELECT workspace_id, opportunity_id, count(*) AS added, max(recorded_at) AS recorded_at,
      max(occurred_at) FILTER (WHERE action IN ('lose', 'abandon', 'cancel')) AS ended_at,
      max(reason) FILTER (WHERE action IN ('lose', 'abandon', 'cancel')) AS reason,
      max(action) FILTER (WHERE action IN ('lose', 'abandon', 'cancel', 'reopen')) AS verdict
    FROM added GROUP BY workspace_id, opportunity_id
  ), derived AS (
    SELECT k.*, o.process_id, o.status AS status_before, d.passed_at, d.won_at,
      coalesce(d.top + 1, 0) AS position, d.total = k.added AS is_new,
      CASE
        WHEN d.passages <> d.passed THEN 'SX008'
        WHEN d.needed <> (SELECT count(*) FROM sales.stages g WHERE g.workspace_id = o.workspace_id
          AND g.process_id = o.process_id AND g.position <= d.top AND NOT g.skippable) THEN 'SX011'
      END AS code
    FROM touched k
    JOIN sales.opportunities o ON o.workspace_id = k.workspace_id AND o.id = k.opportunity_id
    CROSS JOIN LATERAL (
      SELECT count(*) AS total, count(s.id) AS passages, count(DISTINCT s.id) AS passed,
        count(s.id) FILTER (WHERE NOT s.skippable) AS needed, max(s.position) AS top,
        max(t.occurred_at) FILTER (WHERE s.id IS NOT NULL) AS passed_at,
        max(t.occurred_at) FILTER (WHERE s.wins) AS won_at
      FROM sales.transitions t
      LEFT JOIN sales.stages s ON s.workspace_id = t.workspace_id AND s.id = t.stage_id AND t.action = 'pass'
        AND NOT EXISTS (SELECT FROM sales.transitions c WHERE c.workspace_id = t.workspace_id AND c.passage_id = t.id)
      WHERE t.workspace_id = k.workspace_id AND t.opportunity_id = k.opportunity_id
    ) d
  ), decided AS (
    SELECT d.*, t.id AS stage_id, CASE
        WHEN d.verdict = 'cancel' THEN 'cancelled'
        WHEN d.won_at IS NOT NULL AND (d.is_new OR d.status_before <> 'cancelled') THEN 'won'
        WHEN d.verdict = 'lose' THEN 'lost'
        WHEN d.verdict = 'abandon' THEN 'abandoned'
        WHEN d.verdict = 'reopen' OR d.is_new OR d.status_before = 'won' THEN 'open'
        ELSE d.status_before
      END AS status
    FROM derived d
    LEFT JOIN sales.stages t ON t.workspace_id = d.workspace_id AND t.process_id = d.process_id
      AND t.position = d.position
  ), changed AS (
    UPDATE sales.opportunities o SET
      stage_id = d.stage_id, stage_position = d.position, stage_entered_at = coalesce(d.passed_at, o.occurred_at),
      status = d.status, won_at = d.won_at,
      closed_at = CASE WHEN d.status = 'open' THEN NULL WHEN d.status = 'won' THEN d.won_at
        ELSE coalesce(d.ended_at, o.closed_at) END,
      close_reason = CASE WHEN d.status IN ('open', 'won') THEN NULL ELSE coalesce(d.reason, o.close_reason) END,
      completed_at = CASE WHEN d.status = 'won' AND d.stage_id IS NULL THEN d.passed_at END,
      version = o.version + 1, updated_at = greatest(o.updated_at, d.recorded_at)
    FROM decided d
    WHERE o.workspace_id = d.workspace_id AND o.id = d.opportunity_id AND (d.code IS NOT NULL OR NOT d.is_new
      OR (o.stage_id, o.stage_position, o.stage_entered_at, o.status, o.won_at, o.closed_at, o.close_reason,
        o.completed_at)
      IS DISTINCT FROM (d.stage_id, d.position, coalesce(d.passed_at, o.occurred_at), d.status, d.won_at,
        CASE WHEN d.status = 'open' THEN NULL WHEN d.status = 'won' THEN d.won_at ELSE d.ended_at END,
        CASE WHEN d.status IN ('open', 'won') THEN NULL ELSE d.reason END,
        CASE WHEN d.status = 'won' AND d.stage_id IS NULL THEN d.passed_at END))
    RETURNING o.id AS opportunity_id, d.code
  )
  SELECT * INTO wrong FROM changed WHERE code IS NOT NULL LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'passages of opportunity % would be doubled or leave a gap', wrong.opportunity_id
      USING ERRCODE = wrong.code;
  END IF;
  RETURN NULL;
END $$
"""


RECORD_TRANSITIONS = """
CREATE FUNCTION sales.record_transitions(in_workspace uuid, in_opportunity uuid, ids uuid[], stages uuid[],
  passages uuid[], in_action text, in_reason text, in_note text, in_evidence jsonb, in_member uuid,
  in_occurred_at timestamptz, in_recorded_at timestamptz)
RETURNS SETOF sales.opportunities ROWS 1 LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  INSERT INTO sales.transitions (workspace_id, id, opportunity_id, action, stage_id, passage_id, reason, note,
    evidence, member_id, occurred_at, recorded_at)
  SELECT in_workspace, r.id, in_opportunity, in_action, r.stage_id, r.passage_id, in_reason, in_note, in_evidence,
    in_member, in_occurred_at, in_recorded_at
  FROM unnest(ids, stages, passages) AS r(id, stage_id, passage_id);
  RETURN QUERY SELECT o.* FROM sales.opportunities o WHERE o.workspace_id = in_workspace AND o.id = in_opportunity;
END $$
"""

# Types are enough to name it.
RECORD_SIGNATURE = "sales.record_transitions"
# Plans made for a table that was empty a moment ago are bad ones: its first rows are counted soon.
COUNTED_EARLY = ("sales.customers", "sales.opportunities", "sales.transitions", "sales.interactions", "sales.tasks")


def upgrade() -> None:
    op.execute(RECORD_TRANSITIONS)
    op.execute(f"REVOKE ALL ON FUNCTION {RECORD_SIGNATURE} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {RECORD_SIGNATURE} TO sixteen_api")
    for table in COUNTED_EARLY:
        op.execute(f"ALTER TABLE {table} SET (autovacuum_analyze_scale_factor = 0.02)")
    op.execute(CHECK_FIRST_STAGE)
    op.execute(APPLY)
    op.execute(f"GRANT INSERT ({DERIVED}) ON sales.opportunities TO sixteen_api")
    # By which a judgement that comes out as it was is known without reading it.
    op.add_column(
        "scores", sa.Column("digest", sa.BigInteger(), nullable=False, server_default=sa.text("0")), schema="scoring"
    )
    op.create_index(
        "ix_customers_deleted",
        "customers",
        ["workspace_id", "id"],
        schema="sales",
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_index("ix_interactions_occurred", "interactions", ["workspace_id", "occurred_at", "id"], schema="sales")
    # How the values of an attribute count in the prior.
    op.add_column("attribute_definitions", sa.Column("model_input", postgresql.JSONB(), nullable=True), schema="sales")
    op.execute("GRANT SELECT ON sales.attribute_definitions TO sixteen_scoring")


def downgrade() -> None:
    op.execute("REVOKE SELECT ON sales.attribute_definitions FROM sixteen_scoring")
    op.drop_column("attribute_definitions", "model_input", schema="sales")
    op.drop_index("ix_interactions_occurred", table_name="interactions", schema="sales")
    op.drop_index("ix_customers_deleted", table_name="customers", schema="sales")
    op.drop_column("scores", "digest", schema="scoring")
    for table in COUNTED_EARLY:
        op.execute(f"ALTER TABLE {table} RESET (autovacuum_analyze_scale_factor)")
    op.execute(f"DROP FUNCTION {RECORD_SIGNATURE}")
    op.execute(f"REVOKE INSERT ({DERIVED}) ON sales.opportunities FROM sixteen_api")
    before = import_module("migrations.versions.2026_11_22_0003_transitions")
    for function in (before.CHECK_FIRST_STAGE, before.APPLY):
        op.execute(function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
