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
        " owner_changed_at, owner_reason, external_source, external_id, version, occurred_at, updated_at, deleted_at"
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

# Marks are taken across workspaces by the process that judges them all: who is next must be seen before its workspace
# can be entered, and the marks must be locked where they stand.
CROSS_WORKSPACE = ["CREATE POLICY any_workspace ON scoring.dirty_marks FOR SELECT TO sixteen_scoring USING (true)"]
# What else belongs to no workspace is done by the owner of the tables, through the functions below and no other way:
# they count, name the ids of what is due, and forget what has expired.
COUNTED = (
    "scoring.dirty_marks",
    "scoring.scores",
    "scoring.seats",
    "events.outbox",
    "sales.imports",
    "sales.idempotency_keys",
)
FORGET = "CREATE POLICY forgotten ON sales.idempotency_keys FOR DELETE TO CURRENT_USER USING (true)"

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
  SELECT count(*), greatest(coalesce(extract(epoch FROM now() - min(marked_at)), 0), 0) FROM scoring.dirty_marks
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

# Imports that wait for a worker, oldest first.
DUE_IMPORTS = """
CREATE FUNCTION sales.due_imports(most integer) RETURNS TABLE (workspace_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT i.workspace_id, i.id FROM sales.imports i
  WHERE i.status IN ('queued', 'running') AND coalesce(i.lease_until, '-infinity') < now()
    AND coalesce(i.next_attempt_at, '-infinity') <= now()
  ORDER BY i.recorded_at LIMIT most
$$
"""

# Subjects whose time has come, after a place in the order of times and ids: many fall due at the same midnight.
DUE_SUBJECTS = """
CREATE FUNCTION scoring.due_{table}(after_time timestamptz, after_id uuid, most integer)
RETURNS TABLE (workspace_id uuid, subject_type text, subject_id uuid, next_due_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT s.workspace_id, {type}, s.{id}, s.next_due_at FROM scoring.{table} s
  WHERE s.next_due_at <= now() AND s.next_due_at >= after_time AND (s.next_due_at, s.{id}) > (after_time, after_id)
  ORDER BY s.next_due_at, s.{id} LIMIT most
$$
"""

# Answers that nobody can ask for any more; an answer younger than a day is never forgotten.
PURGE_KEYS = """
CREATE FUNCTION sales.purge_idempotency_keys(hours integer, most integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  WITH old AS (
    SELECT k.workspace_id, k.digest FROM sales.idempotency_keys k
    WHERE k.recorded_at < now() - make_interval(hours => greatest(hours, 24)) ORDER BY k.recorded_at LIMIT most
  ), gone AS (
    DELETE FROM sales.idempotency_keys k USING old
    WHERE k.workspace_id = old.workspace_id AND k.digest = old.digest RETURNING 1
  )
  SELECT count(*) FROM gone
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


# The functions that run as the owner, and who may call them.
CALLABLE = {
    "events.ensure_partitions(date, date)": "sixteen_api",
    "events.drop_partitions(date)": "sixteen_api",
    "events.horizon_age()": "sixteen_api",
    "scoring.queue_depth()": "sixteen_api, sixteen_scoring",
    "scoring.due_scores(timestamptz, uuid, integer)": "sixteen_api",
    "scoring.due_seats(timestamptz, uuid, integer)": "sixteen_api",
    "sales.due_imports(integer)": "sixteen_api",
    "sales.purge_idempotency_keys(integer, integer)": "sixteen_api",
}
FUNCTIONS = (
    ENSURE_PARTITIONS,
    DROP_PARTITIONS,
    ATTRIBUTES_WITHIN,
    QUEUE_DEPTH,
    HORIZON_AGE,
    DUE_IMPORTS,
    DUE_SUBJECTS.format(table="scores", type="'opportunity'::text", id="opportunity_id"),
    DUE_SUBJECTS.format(table="seats", type="s.subject_type::text", id="subject_id"),
    PURGE_KEYS,
)


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
    op.execute(FORGET)
    for function in FUNCTIONS:
        op.execute(function)
    for signature, roles in CALLABLE.items():
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {roles}")
    op.execute("SELECT events.ensure_partitions(current_date - 1, current_date + 7)")
    # Queues turn over quickly: their dead rows must not wait for a fifth of the table.
    op.execute("ALTER TABLE scoring.dirty_marks SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01)")
    op.execute("ALTER TABLE scoring.scores SET (fillfactor = 80)")
    op.execute("ALTER TABLE scoring.seats SET (fillfactor = 80)")


def downgrade() -> None:
    for signature in (*CALLABLE, "sales.attributes_within(jsonb, jsonb, jsonb)"):
        op.execute(f"DROP FUNCTION {signature}")
    op.execute("DROP POLICY forgotten ON sales.idempotency_keys")
    for table in COUNTED:
        op.execute(f"DROP POLICY counted ON {table}")
    for statement in CROSS_WORKSPACE:
        _, _, policy, _, table, *_ = statement.split(" ")
        op.execute(f"DROP POLICY {policy} ON {table}")
    for schema, table, _ in tenant_tables():
        op.execute(f"DROP POLICY own_workspace ON {schema}.{table}")
