"""Who may touch what: service roles, grants, and row-level security on every tenant table.

One writer per table. The api writes `sales`, the scoring worker `scoring`; both insert into the outbox, and dirty
marks are upserted by the api and deleted by the scoring worker.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "2026_11_22_0002"
down_revision = "2026_11_22_0001"
branch_labels = None
depends_on = None

ROLES = ("sixteen_api", "sixteen_scoring", "sixteen_guard")

# The one form of the tenant check: an InitPlan (evaluated once a statement), and no row where nothing is set.
TENANT = "(SELECT nullif(current_setting('app.workspace_id', true), '')::uuid)"

CREATE_ROLE = """
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
    CREATE ROLE {role} NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
  NULL; -- another database of this server is being set up at the same moment
END $$
"""

# Facts that change in place. What follows from transitions (status, stage, closing) is nobody's to write.
API_UPDATES = {
    "workspaces": "name, currency, time_zone, locale, version, updated_at",
    "opportunities": (
        "name, sort_key, owner_id, product_id, amount, currency, margin_rate, cost_to_deliver, delivery_risk,"
        " payment_risk, budget_amount, budget_status, purchase_date, purchase_date_firmness, purchase_date_slips,"
        " fit_score, rival_fit_score, need, pain, interest, line, line_reason, resume_on, source, notes, attributes,"
        " owner_changed_at, external_source, external_id, version, occurred_at, updated_at, deleted_at"
    ),
    "processes": "is_default, active, version, updated_at",
}
OPPORTUNITY_INSERTS = (
    "workspace_id, id, customer_id, process_id, stage_id, stage_entered_at, recorded_at, historical, "
    + API_UPDATES["opportunities"]
)
CHANGED_WHOLE = (
    "members",
    "teams",
    "api_keys",
    "policies",
    "attribute_definitions",
    "customers",
    "contacts",
    "products",
    "interactions",
    "tasks",
    "pins",
    "imports",
    "idempotency_keys",
)
INSERTED = (
    "workspaces",
    *CHANGED_WHOLE,
    "processes",
    "stages",
    "team_members",
    "interaction_contacts",
    "opportunity_members",
    "transitions",
    "audit_entries",
    "import_chunks",
    "import_errors",
)
DELETED = (
    "teams",
    "team_members",
    "interaction_contacts",
    "opportunity_members",
    "idempotency_keys",
    "import_chunks",
    "import_errors",
)

GRANTS = [
    "GRANT USAGE ON SCHEMA sales, scoring, events TO sixteen_api, sixteen_scoring",
    "GRANT SELECT ON ALL TABLES IN SCHEMA sales, scoring, events TO sixteen_api",
    "GRANT SELECT ON ALL TABLES IN SCHEMA scoring TO sixteen_scoring",
    "GRANT SELECT ON sales.workspaces, sales.members, sales.policies, sales.customers, sales.contacts,"
    " sales.products, sales.interactions, sales.interaction_contacts, sales.tasks, sales.opportunities,"
    " sales.processes, sales.stages, sales.transitions, sales.pins TO sixteen_scoring",
    "GRANT INSERT ON events.outbox TO sixteen_api, sixteen_scoring",
    *(f"GRANT INSERT ON sales.{table} TO sixteen_api" for table in INSERTED),
    *(f"GRANT UPDATE ON sales.{table} TO sixteen_api" for table in CHANGED_WHOLE),
    *(f"GRANT DELETE ON sales.{table} TO sixteen_api" for table in DELETED),
    *(f"GRANT UPDATE ({columns}) ON sales.{table} TO sixteen_api" for table, columns in API_UPDATES.items()),
    f"GRANT INSERT ({OPPORTUNITY_INSERTS}) ON sales.opportunities TO sixteen_api",
    "GRANT INSERT, UPDATE ON scoring.dirty_marks TO sixteen_api",
    "GRANT UPDATE (role) ON sales.opportunity_members TO sixteen_api",
    "GRANT DELETE ON scoring.dirty_marks TO sixteen_scoring",
    # To pass over marks that a request holds, and to let one that can't be judged wait.
    "GRANT UPDATE (lane, marked_at) ON scoring.dirty_marks TO sixteen_scoring",
    "GRANT INSERT, UPDATE, DELETE ON scoring.drains, scoring.models, scoring.scores, scoring.seats, scoring.loads"
    " TO sixteen_scoring",
    "GRANT INSERT ON scoring.moves TO sixteen_scoring",
]

EXPIRED = "recorded_at < now() - interval '24 hours'"
# The queues are taken from across workspaces: who is next must be seen before its workspace can be entered.
CROSS_WORKSPACE = [
    "CREATE POLICY any_workspace ON scoring.dirty_marks FOR SELECT TO sixteen_scoring USING (true)",
    "CREATE POLICY any_workspace ON scoring.scores FOR SELECT TO sixteen_api USING (true)",
    "CREATE POLICY any_workspace ON sales.imports FOR SELECT TO sixteen_api USING (true)",
    "CREATE POLICY any_workspace ON scoring.seats FOR SELECT TO sixteen_api USING (true)",
    # Answers nobody can ask for any more are forgotten for all workspaces together.
    f"CREATE POLICY any_workspace ON sales.idempotency_keys FOR SELECT TO sixteen_api USING ({EXPIRED})",
    f"CREATE POLICY any_expired ON sales.idempotency_keys FOR DELETE TO sixteen_api USING ({EXPIRED})",
]
# For the same sake the owner of the tables may count them whole, through two functions and no other way.
COUNTED = ("scoring.dirty_marks", "events.outbox")

ENSURE_PARTITIONS = """
CREATE FUNCTION events.ensure_partitions(first_day date, last_day date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  day date := first_day;
  made integer := 0;
BEGIN
  IF last_day - first_day > 3660 THEN
    RAISE EXCEPTION 'asked for more than ten years of partitions';
  END IF;
  WHILE day <= last_day LOOP
    IF to_regclass('events.outbox_' || to_char(day, 'YYYYMMDD')) IS NULL THEN
      EXECUTE format(
        'CREATE TABLE events.%I PARTITION OF events.outbox FOR VALUES FROM (%L) TO (%L)',
        'outbox_' || to_char(day, 'YYYYMMDD'), (day || ' 00:00:00+00')::timestamptz,
        ((day + 1) || ' 00:00:00+00')::timestamptz);
      made := made + 1;
    END IF;
    day := day + 1;
  END LOOP;
  RETURN made;
EXCEPTION WHEN duplicate_table THEN
  RETURN made; -- another process makes the same ones
END $$
"""

# The queues' depth is a number of the installation, not of a workspace: counted as the owner, past the tenants' wall.
QUEUE_DEPTH = """
CREATE FUNCTION scoring.queue_depth(OUT depth bigint, OUT age double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT count(*), coalesce(extract(epoch FROM now() - min(marked_at)), 0) FROM scoring.dirty_marks
$$
"""

# Events beyond the horizon can't be shown yet: a transaction older than they are is still open.
HORIZON_AGE = """
CREATE FUNCTION events.horizon_age() RETURNS double precision
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT coalesce(extract(epoch FROM now() - min(recorded_at)), 0) FROM events.outbox
  WHERE xid >= pg_snapshot_xmin(pg_current_snapshot()) AND recorded_at > now() - interval '1 day'
$$
"""

ATTRIBUTES_WITHIN = """
CREATE FUNCTION sales.attributes_within(attributes jsonb, low jsonb, high jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT NOT EXISTS (SELECT FROM jsonb_each(low) b WHERE NOT coalesce(attributes -> b.key >= b.value, false))
    AND NOT EXISTS (SELECT FROM jsonb_each(high) b WHERE NOT coalesce(attributes -> b.key <= b.value, false))
$$
"""

DROP_PARTITIONS = """
CREATE FUNCTION events.drop_partitions(before date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  old record;
  dropped integer := 0;
BEGIN
  IF before > current_date - 30 THEN
    RAISE EXCEPTION 'events are kept for at least 30 days';
  END IF;
  FOR old IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'events.outbox'::regclass AND c.relname ~ '^outbox_[0-9]{8}$'
      AND to_date(right(c.relname, 8), 'YYYYMMDD') < before
  LOOP
    EXECUTE format('DROP TABLE events.%I', old.relname);
    dropped := dropped + 1;
  END LOOP;
  RETURN dropped;
END $$
"""


def tenant_tables() -> list[tuple[str, str, str]]:
    """(schema, table, tenant column) of every table that holds a workspace's rows."""
    found = op.get_bind().execute(
        text(
            "SELECT n.nspname, c.relname, CASE c.relname WHEN 'workspaces' THEN 'id' ELSE 'workspace_id' END"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname IN ('sales', 'scoring', 'events') AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        )
    )
    return [(schema, table, column) for schema, table, column in found]


def upgrade() -> None:
    for role in ROLES:
        op.execute(CREATE_ROLE.format(role=role))
        op.execute(f"GRANT {role} TO CURRENT_USER")
    for statement in GRANTS:
        op.execute(statement)
    for schema, table, column in tenant_tables():
        name = f"{schema}.{table}"
        op.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY own_workspace ON {name} USING ({column} = {TENANT}) WITH CHECK ({column} = {TENANT})"
        )
    for statement in CROSS_WORKSPACE:
        op.execute(statement)
    for table in COUNTED:
        op.execute(f"CREATE POLICY counted ON {table} FOR SELECT TO CURRENT_USER USING (true)")
    op.execute("GRANT SELECT ON public.alembic_version TO sixteen_api, sixteen_scoring")
    for function in (ENSURE_PARTITIONS, DROP_PARTITIONS, ATTRIBUTES_WITHIN, QUEUE_DEPTH, HORIZON_AGE):
        op.execute(function)
    for signature in ("ensure_partitions(date, date)", "drop_partitions(date)"):
        op.execute(f"REVOKE ALL ON FUNCTION events.{signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION events.{signature} TO sixteen_api")
    op.execute("SELECT events.ensure_partitions(current_date - 1, current_date + 7)")
    # Queues turn over quickly: their dead rows must not wait for a fifth of the table.
    op.execute("ALTER TABLE scoring.dirty_marks SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01)")
    op.execute("ALTER TABLE scoring.scores SET (fillfactor = 80)")
    op.execute("ALTER TABLE scoring.seats SET (fillfactor = 80)")


def downgrade() -> None:
    op.execute("DROP FUNCTION events.ensure_partitions, events.drop_partitions, sales.attributes_within")
    op.execute("DROP FUNCTION scoring.queue_depth, events.horizon_age")
    for table in COUNTED:
        op.execute(f"DROP POLICY counted ON {table}")
    for statement in CROSS_WORKSPACE:
        _, _, policy, _, table, *_ = statement.split(" ")
        op.execute(f"DROP POLICY {policy} ON {table}")
    for schema, table, _ in tenant_tables():
        op.execute(f"DROP POLICY own_workspace ON {schema}.{table}")
