"""Overdue tasks are told of, once; and what a backup from another cluster brings along goes on where it was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_22_0010"
down_revision = "2026_11_22_0009"
branch_labels = None
depends_on = None

API = "sixteen_api"
# Open tasks of which nobody has been told for their present day, or a later one.
UNTOLD = (
    "status = 'open' AND deleted_at IS NULL AND due_on IS NOT NULL"
    " AND (overdue_told_on IS NULL OR due_on > overdue_told_on)"
)

# Tasks whose day has passed where their workspace is, after a place in the order of workspaces, days and ids. Each
# workspace's come from its own end of the index: what is due later is not looked at, wherever midnight is.
OVERDUE_TASKS = f"""
CREATE FUNCTION sales.overdue_tasks(at timestamptz, after_workspace uuid, after_day date, after_id uuid, most integer)
RETURNS TABLE (workspace_id uuid, due_on date, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT w.id, t.due_on, t.id FROM sales.workspaces w CROSS JOIN LATERAL (
    SELECT t.due_on, t.id FROM sales.tasks t
    WHERE t.workspace_id = w.id AND t.due_on < (at AT TIME ZONE w.time_zone)::date AND {UNTOLD}
      AND (w.id > after_workspace OR (t.due_on, t.id) > (after_day, after_id))
    ORDER BY t.due_on, t.id LIMIT most
  ) t
  WHERE w.id >= after_workspace
  ORDER BY w.id, t.due_on, t.id LIMIT most
$$
"""

# A backup loaded into another cluster brings positions and numbers of transactions along that mean nothing there.
CLUSTER = "(pg_control_system()).system_identifier"
# Which events the relay had handed on there is told by the numbers that they had. Where those lie in the future here,
# they get the number of this transaction, which tells them from the others.
SETTLE_RELAYED = """
CREATE FUNCTION events.settle_relayed(OUT number xid8, OUT settled bigint)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  WITH settled AS (
    UPDATE events.outbox o SET xid = pg_current_xact_id()
    FROM events.relay_positions p
    WHERE p.workspace_id = o.workspace_id AND p.cluster <> (SELECT system_identifier FROM pg_control_system())
      AND o.xid >= pg_snapshot_xmax(pg_current_snapshot()) AND pg_visible_in_snapshot(o.xid, p.seen::pg_snapshot)
    RETURNING 1
  )
  SELECT pg_current_xact_id(), count(*) FROM settled
$$
"""

# The other events of the future get the number of this transaction. A position of another cluster becomes a snapshot of
# the present, as one in which all that it had not seen was still running: what was not seen there, and what was
# recorded about the time that the relay was last at work or later, such as what happened since the backup was loaded.
# (What was handed on already is known by its delivery, and not handed on again.)
SETTLE_POSITIONS = """
CREATE FUNCTION events.settle_positions(relayed xid8, OUT settled bigint, OUT moved bigint)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  WITH present AS MATERIALIZED (
    SELECT pg_current_xact_id() AS number, pg_current_snapshot() AS snapshot, system_identifier AS cluster
    FROM pg_control_system()
  ), settled AS (
    UPDATE events.outbox SET xid = pg_current_xact_id() WHERE xid >= pg_snapshot_xmax(pg_current_snapshot())
    RETURNING 1
  ), moved AS (
    UPDATE events.relay_positions p SET cluster = present.cluster, seen = (
      SELECT coalesce(min(u.xid), present.number)::text || ':' || present.number::text || ':'
        || coalesce(string_agg(u.xid::text, ',' ORDER BY u.xid), '')
      FROM (
        SELECT o.xid FROM events.outbox o
        WHERE o.workspace_id = p.workspace_id AND o.xid < pg_snapshot_xmax(present.snapshot) AND o.xid <> relayed
          AND (NOT pg_visible_in_snapshot(o.xid, p.seen::pg_snapshot)
            OR o.recorded_at > p.updated_at - interval '1 day')
        UNION
        SELECT r.xid FROM pg_snapshot_xip(present.snapshot) AS r(xid)
        UNION
        -- Begun after the snapshot was taken, and before this transaction had its number.
        SELECT n::text::xid8 FROM generate_series(
          pg_snapshot_xmax(present.snapshot)::text::bigint, present.number::text::bigint - 1) AS n
      ) u
    )
    FROM present WHERE p.cluster <> present.cluster
    RETURNING 1
  )
  SELECT (SELECT count(*) FROM settled), (SELECT count(*) FROM moved)
$$
"""

# What the two take the place of: it left the relay's positions as they were.
SETTLE = """
CREATE FUNCTION events.settle_restored() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  WITH settled AS (
    UPDATE events.outbox SET xid = pg_current_xact_id() WHERE xid >= pg_snapshot_xmax(pg_current_snapshot())
    RETURNING 1
  )
  SELECT count(*) FROM settled
$$
"""

CALLABLE = {
    "sales.overdue_tasks(timestamptz, uuid, date, uuid, integer)": OVERDUE_TASKS,
    "events.settle_relayed()": SETTLE_RELAYED,
    "events.settle_positions(xid8)": SETTLE_POSITIONS,
}


def upgrade() -> None:
    op.add_column("tasks", sa.Column("overdue_told_on", sa.Date(), nullable=True), schema="sales")
    op.create_index(
        "ix_tasks_untold", "tasks", ["workspace_id", "due_on", "id"], schema="sales", postgresql_where=sa.text(UNTOLD)
    )
    for table in ("sales.tasks", "sales.workspaces"):
        op.execute(f"CREATE POLICY counted ON {table} FOR SELECT TO CURRENT_USER USING (true)")
    op.add_column(
        "relay_positions",
        sa.Column("cluster", sa.BigInteger(), server_default=sa.text(CLUSTER), nullable=False),
        schema="events",
    )
    op.execute("CREATE POLICY settled ON events.relay_positions FOR UPDATE TO CURRENT_USER USING (true)")
    op.execute("DROP FUNCTION events.settle_restored()")
    for signature, function in CALLABLE.items():
        _callable(signature, function)


def _callable(signature: str, function: str) -> None:
    """Makes a function that runs as the owner, for the api alone."""
    op.execute(function)
    op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {API}")


def downgrade() -> None:
    for signature in CALLABLE:
        op.execute(f"DROP FUNCTION {signature}")
    _callable("events.settle_restored()", SETTLE)
    op.execute("DROP POLICY settled ON events.relay_positions")
    op.drop_column("relay_positions", "cluster", schema="events")
    for table in ("sales.tasks", "sales.workspaces"):
        op.execute(f"DROP POLICY counted ON {table}")
    op.drop_index("ix_tasks_untold", "tasks", schema="sales")
    op.drop_column("tasks", "overdue_told_on", schema="sales")
