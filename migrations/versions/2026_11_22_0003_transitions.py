"""An opportunity's status and stage follow from its append-only transitions, in the database itself.

Whatever writes (a request, an import, a batch, a hand at psql), the same trigger judges it: an irreversible
milestone, once passed, is not gone back over; a passage is countered at most once; stages are not skipped unless
they may be; only the winning milestone wins. Refusals carry the SQLSTATE class SX and a message that the api
turns into a problem document.
"""

from __future__ import annotations

from alembic import op

revision = "2026_11_22_0003"
down_revision = "2026_11_22_0002"
branch_labels = None
depends_on = None

REFUSE_CHANGE = """
CREATE FUNCTION sales.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only: a correction is a row of its own', TG_TABLE_NAME USING ERRCODE = 'SX009';
END $$
"""

# Plans are kept for as long as a connection lives, and may be made when the tables are empty: they must go by index.
# Both checks and the derivation run once a statement, over all its rows: one call and an import of a million rows
# pay the same way.
CHECK_FIRST_STAGE = """
CREATE FUNCTION sales.check_first_stage() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  IF EXISTS (
    SELECT FROM added n LEFT JOIN sales.stages s ON s.workspace_id = n.workspace_id AND s.id = n.stage_id
    WHERE s.id IS NULL OR s.process_id <> n.process_id OR s.position <> 0 OR n.stage_position <> 0
  ) THEN
    RAISE EXCEPTION 'an opportunity begins in the first stage of its process' USING ERRCODE = 'SX002';
  END IF;
  RETURN NULL;
END $$
"""

APPLY = """
CREATE FUNCTION sales.apply_transitions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET enable_seqscan = off AS $$
DECLARE
  wrong record;
BEGIN
  -- Whoever writes, one at a time for each opportunity: what is judged next must still hold at the commit.
  PERFORM FROM sales.opportunities o
  JOIN (SELECT DISTINCT workspace_id, opportunity_id FROM added) n
    ON n.workspace_id = o.workspace_id AND n.opportunity_id = o.id
  ORDER BY o.workspace_id, o.id FOR UPDATE OF o;

  -- Each row by itself: does it fit the opportunity as it stood before?
  SELECT * INTO wrong FROM (
    SELECT n.action, n.opportunity_id, o.status, s.key AS stage,
      CASE
        WHEN o.id IS NULL THEN 'SX001'
        WHEN n.stage_id IS NOT NULL AND s.process_id IS DISTINCT FROM o.process_id THEN 'SX002'
        WHEN n.passage_id IS NOT NULL AND (p.action, p.stage_id, p.opportunity_id)
          IS DISTINCT FROM ('pass', n.stage_id, n.opportunity_id) THEN 'SX003'
        WHEN n.action = 'back' AND s.irreversible THEN 'SX004'
        WHEN n.action IN ('back', 'lose', 'abandon') AND o.status <> 'open' THEN 'SX005'
        WHEN n.action = 'pass' AND (o.status NOT IN ('open', 'won') OR o.completed_at IS NOT NULL) THEN 'SX005'
        WHEN n.action = 'reopen' AND o.status NOT IN ('lost', 'abandoned') THEN 'SX005'
        WHEN n.action = 'cancel' AND o.status <> 'won' THEN 'SX005'
        WHEN n.action = 'void' AND (o.status NOT IN ('open', 'won') OR now() - p.recorded_at > interval '24 hours')
          THEN 'SX006'
        WHEN n.action IN ('void', 'lose', 'abandon', 'cancel') AND coalesce(trim(n.reason), '') = '' THEN 'SX007'
      END AS code
    FROM added n
    LEFT JOIN sales.opportunities o ON o.workspace_id = n.workspace_id AND o.id = n.opportunity_id
    LEFT JOIN sales.stages s ON s.workspace_id = n.workspace_id AND s.id = n.stage_id
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
    SELECT workspace_id, opportunity_id, max(recorded_at) AS recorded_at,
      max(occurred_at) FILTER (WHERE action IN ('lose', 'abandon', 'cancel')) AS ended_at,
      max(reason) FILTER (WHERE action IN ('lose', 'abandon', 'cancel')) AS reason,
      max(action) FILTER (WHERE action IN ('lose', 'abandon', 'cancel', 'reopen')) AS verdict
    FROM added GROUP BY workspace_id, opportunity_id
  ), derived AS (
    SELECT k.workspace_id, k.opportunity_id, k.recorded_at, k.ended_at, k.reason, k.verdict,
      o.status AS status_before,
      coalesce(max(s.position) FILTER (WHERE p.id IS NOT NULL) + 1, 0) AS position,
      array_agg(s.id ORDER BY s.position) AS stage_ids,
      max(p.occurred_at) AS passed_at, max(p.occurred_at) FILTER (WHERE s.wins) AS won_at,
      count(p.id) AS passages, count(DISTINCT p.stage_id) AS passed,
      min(s.position) FILTER (WHERE p.id IS NULL AND NOT s.skippable) AS first_gap
    FROM touched k
    JOIN sales.opportunities o ON o.workspace_id = k.workspace_id AND o.id = k.opportunity_id
    JOIN sales.stages s ON s.workspace_id = o.workspace_id AND s.process_id = o.process_id
    LEFT JOIN sales.transitions p ON p.workspace_id = k.workspace_id AND p.opportunity_id = k.opportunity_id
      AND p.stage_id = s.id AND p.action = 'pass'
      AND NOT EXISTS (SELECT FROM sales.transitions c WHERE c.workspace_id = p.workspace_id AND c.passage_id = p.id)
    GROUP BY k.workspace_id, k.opportunity_id, k.recorded_at, k.ended_at, k.reason, k.verdict, o.status
  ), decided AS (
    SELECT d.*, d.stage_ids[d.position + 1] AS stage_id,
      CASE WHEN d.passages <> d.passed THEN 'SX008' WHEN d.first_gap < d.position - 1 THEN 'SX011' END AS code,
      CASE
        WHEN d.verdict = 'cancel' THEN 'cancelled'
        WHEN d.won_at IS NOT NULL AND d.status_before <> 'cancelled' THEN 'won'
        WHEN d.verdict = 'lose' THEN 'lost'
        WHEN d.verdict = 'abandon' THEN 'abandoned'
        WHEN d.verdict = 'reopen' OR d.status_before = 'won' THEN 'open'
        ELSE d.status_before
      END AS status
    FROM derived d
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
    WHERE o.workspace_id = d.workspace_id AND o.id = d.opportunity_id
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

APPEND_ONLY = ("transitions", "audit_entries")

# The triggers run as a role of their own that nobody logs in as: it alone writes status and stage. It sees past the
# tenants' wall, because the rows it is handed have passed it, and because a second condition on the workspace would
# make the planner believe that the workspace alone finds a single row.
GUARD = (
    "GRANT USAGE, CREATE ON SCHEMA sales TO sixteen_guard",
    "GRANT SELECT ON sales.opportunities, sales.stages, sales.transitions TO sixteen_guard",
    "GRANT UPDATE (stage_id, stage_position, stage_entered_at, status, won_at, closed_at, close_reason, completed_at,"
    " version, updated_at) ON sales.opportunities TO sixteen_guard",
    *(
        f"CREATE POLICY guard ON sales.{table} TO sixteen_guard USING (true) WITH CHECK (true)"
        for table in ("opportunities", "stages", "transitions")
    ),
    "ALTER FUNCTION sales.apply_transitions() OWNER TO sixteen_guard",
    "ALTER FUNCTION sales.check_first_stage() OWNER TO sixteen_guard",
    "REVOKE CREATE ON SCHEMA sales FROM sixteen_guard",
)


def upgrade() -> None:
    op.execute(REFUSE_CHANGE)
    op.execute(CHECK_FIRST_STAGE)
    op.execute(APPLY)
    for statement in GUARD:
        op.execute(statement)
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON sales.{table}"
            " FOR EACH ROW EXECUTE FUNCTION sales.refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON sales.{table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION sales.refuse_change()"
        )
    op.execute(
        "CREATE TRIGGER first_stage AFTER INSERT ON sales.opportunities REFERENCING NEW TABLE AS added"
        " FOR EACH STATEMENT EXECUTE FUNCTION sales.check_first_stage()"
    )
    op.execute(
        "CREATE TRIGGER apply AFTER INSERT ON sales.transitions REFERENCING NEW TABLE AS added"
        " FOR EACH STATEMENT EXECUTE FUNCTION sales.apply_transitions()"
    )


def downgrade() -> None:
    for table in APPEND_ONLY:
        op.execute(f"DROP TRIGGER append_only ON sales.{table}")
        op.execute(f"DROP TRIGGER append_only_whole ON sales.{table}")
    op.execute("DROP TRIGGER first_stage ON sales.opportunities")
    op.execute("DROP TRIGGER apply ON sales.transitions")
    for table in ("opportunities", "stages", "transitions"):
        op.execute(f"DROP POLICY guard ON sales.{table}")
    op.execute("DROP FUNCTION sales.apply_transitions, sales.check_first_stage, sales.refuse_change")
