"""Webhook endpoints, their secrets, deliveries and attempts."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.tenants import protect

revision = "2026_11_22_0006"
down_revision = "2026_11_22_0005"
branch_labels = None
depends_on = None

API = "sixteen_api"
OUTCOMES = ("success", "timeout", "connection", "refused", "redirect", "client_error", "server_error")
TABLES = {
    "webhook_endpoints": "SELECT, INSERT, UPDATE, DELETE",
    "webhook_endpoint_states": "SELECT, INSERT, UPDATE, DELETE",
    "webhook_secrets": "SELECT, INSERT, UPDATE, DELETE",
    "relay_positions": "SELECT, INSERT, UPDATE",
    "webhook_messages": "SELECT, INSERT",
    "webhook_deliveries": "SELECT, INSERT, UPDATE",
    "webhook_attempts": "SELECT, INSERT",
    "webhook_queue": "SELECT, INSERT, UPDATE, DELETE",
    "webhook_jobs": "SELECT, INSERT, UPDATE",
}
# What the functions below look over as the owner of the tables, past the tenants' wall.
COUNTED = (
    "webhook_endpoints",
    "webhook_endpoint_states",
    "relay_positions",
    "webhook_queue",
    "webhook_jobs",
    "webhook_secrets",
)

# Every table that is kept by the day. Deliveries change while they are under way: their pages keep room for it.
ENSURE_PARTITIONS = """
CREATE OR REPLACE FUNCTION events.ensure_partitions(first_day date, last_day date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  day date;
  kept text;
  made integer := 0;
BEGIN
  IF last_day - first_day > 3660 THEN
    RAISE EXCEPTION 'asked for more than ten years of partitions';
  END IF;
  FOREACH kept IN ARRAY ARRAY[{tables}] LOOP
    day := first_day;
    WHILE day <= last_day LOOP
      IF to_regclass('events.' || kept || '_' || to_char(day, 'YYYYMMDD')) IS NULL THEN
        EXECUTE format(
          'CREATE TABLE events.%I PARTITION OF events.%I FOR VALUES FROM (%L) TO (%L)',
          kept || '_' || to_char(day, 'YYYYMMDD'), kept, (day || ' 00:00:00+00')::timestamptz,
          ((day + 1) || ' 00:00:00+00')::timestamptz)
          || CASE kept WHEN 'webhook_deliveries'
            THEN ' WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01)' ELSE '' END;
        made := made + 1;
      END IF;
      day := day + 1;
    END LOOP;
  END LOOP;
  RETURN made;
EXCEPTION WHEN duplicate_table THEN
  RETURN made; -- another process makes the same ones
END $$
"""
DROP_PARTITIONS = """
CREATE OR REPLACE FUNCTION events.drop_partitions(before date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  old record;
  dropped integer := 0;
BEGIN
  IF before > current_date - 30 THEN
    RAISE EXCEPTION 'events are kept for at least 30 days';
  END IF;
  FOR old IN
    SELECT c.relname FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid
    JOIN pg_class p ON p.oid = i.inhparent AND p.relnamespace = 'events'::regnamespace
    WHERE p.relname = ANY (ARRAY[{tables}]) AND c.relname ~ ('^' || p.relname || '_[0-9]{{8}}$')
      AND to_date(right(c.relname, 8), 'YYYYMMDD') < before
  LOOP
    EXECUTE format('DROP TABLE events.%I', old.relname);
    dropped := dropped + 1;
  END LOOP;
  {forget}
  RETURN dropped;
END $$
"""
# What waits for an endpoint that stays disabled goes with its event.
FORGET_QUEUE = "DELETE FROM events.webhook_queue WHERE event_recorded_at < (before || ' 00:00:00+00')::timestamptz;"
BY_DAY = ("outbox", "webhook_messages", "webhook_deliveries", "webhook_attempts")

# Workspaces with events that a snapshot does not show, and with an endpoint that wants to hear of any.
RELAY_DUE = """
CREATE FUNCTION events.relay_due(seen pg_snapshot, since timestamptz, most integer)
RETURNS TABLE (workspace_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT new.workspace_id FROM (
    SELECT DISTINCT o.workspace_id FROM events.outbox o
    WHERE o.recorded_at >= since
      AND (o.xid >= pg_snapshot_xmax(seen) OR o.xid = ANY (ARRAY(SELECT pg_snapshot_xip(seen))))
  ) new
  WHERE EXISTS (SELECT FROM events.webhook_endpoints e WHERE e.workspace_id = new.workspace_id AND NOT e.disabled)
  ORDER BY new.workspace_id LIMIT most
$$
"""

# Whose positions a relay that begins goes through.
RELAY_WORKSPACES = """
CREATE FUNCTION events.relay_workspaces() RETURNS TABLE (workspace_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT p.workspace_id FROM events.relay_positions p
  WHERE EXISTS (SELECT FROM events.webhook_endpoints e WHERE e.workspace_id = p.workspace_id AND NOT e.disabled)
$$
"""

# Endpoints with deliveries whose time has come, those that wait longest first. The endpoints with a queue are stepped
# through from one to the next, so that a long queue of one hides nobody else's. `resting` take no more at present,
# neither do those that are disabled or paused.
DUE_ENDPOINTS = """
CREATE FUNCTION events.due_endpoints(at timestamptz, resting uuid[], most integer)
RETURNS TABLE (workspace_id uuid, endpoint_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
  WITH RECURSIVE heads AS (
    (SELECT q.workspace_id, q.endpoint_id, q.next_attempt_at FROM events.webhook_queue q
     ORDER BY q.endpoint_id, q.next_attempt_at LIMIT 1)
    UNION ALL
    SELECT n.workspace_id, n.endpoint_id, n.next_attempt_at FROM heads h CROSS JOIN LATERAL (
      SELECT q.workspace_id, q.endpoint_id, q.next_attempt_at FROM events.webhook_queue q
      WHERE q.endpoint_id > h.endpoint_id ORDER BY q.endpoint_id, q.next_attempt_at LIMIT 1) n
  )
  SELECT h.workspace_id, h.endpoint_id FROM heads h
  WHERE h.next_attempt_at <= at AND h.endpoint_id <> ALL (resting)
    AND NOT EXISTS (SELECT FROM events.webhook_endpoints e
      WHERE e.workspace_id = h.workspace_id AND e.id = h.endpoint_id AND e.disabled)
    AND NOT EXISTS (SELECT FROM events.webhook_endpoint_states s WHERE s.workspace_id = h.workspace_id
      AND s.endpoint_id = h.endpoint_id AND s.breaker <> 'closed' AND s.breaker_until > at)
  ORDER BY h.next_attempt_at LIMIT most
$$
"""

# A delivery waits in the queue while it is pending, and at no other time.
FOLLOW_DELIVERY = """
CREATE FUNCTION events.follow_delivery() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  IF NEW.status = 'pending' THEN
    INSERT INTO events.webhook_queue AS q
      (workspace_id, delivery_id, event_recorded_at, endpoint_id, attempts, next_attempt_at)
    VALUES (NEW.workspace_id, NEW.id, NEW.event_recorded_at, NEW.endpoint_id, NEW.attempts,
      coalesce(NEW.next_attempt_at, NEW.updated_at))
    ON CONFLICT (workspace_id, delivery_id) DO UPDATE
      SET attempts = excluded.attempts, next_attempt_at = excluded.next_attempt_at, lease_token = NULL, claims = 0;
  ELSIF TG_OP = 'UPDATE' THEN
    DELETE FROM events.webhook_queue q WHERE q.workspace_id = NEW.workspace_id AND q.delivery_id = NEW.id;
  END IF;
  RETURN NULL;
END $$
"""
TRIGGERS = (
    "CREATE TRIGGER queued AFTER INSERT ON events.webhook_deliveries FOR EACH ROW"
    " WHEN (NEW.status = 'pending') EXECUTE FUNCTION events.follow_delivery()",
    "CREATE TRIGGER moved AFTER UPDATE ON events.webhook_deliveries FOR EACH ROW"
    " WHEN (NEW.status <> OLD.status OR NEW.next_attempt_at IS DISTINCT FROM OLD.next_attempt_at)"
    " EXECUTE FUNCTION events.follow_delivery()",
)

# How many deliveries wait, how many of them are due, for how many seconds the oldest of those has been; and how many
# endpoints fail, and are paused by their breaker.
DELIVERY_DEPTH = """
CREATE FUNCTION events.delivery_depth(at timestamptz, OUT depth bigint, OUT due bigint, OUT age double precision,
  OUT failing bigint, OUT paused bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT q.*, s.* FROM (
    SELECT count(*), count(*) FILTER (WHERE q.next_attempt_at <= at),
      greatest(coalesce(extract(epoch FROM at - min(q.next_attempt_at)), 0), 0)
    FROM events.webhook_queue q
  ) q, (
    SELECT count(*) FILTER (WHERE s.failing_since IS NOT NULL), count(*) FILTER (WHERE s.breaker <> 'closed')
    FROM events.webhook_endpoint_states s
  ) s
$$
"""

# Resends, recoveries and replays that wait for a worker, oldest first.
DUE_JOBS = """
CREATE FUNCTION events.due_webhook_jobs(at timestamptz, most integer) RETURNS TABLE (workspace_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT j.workspace_id, j.id FROM events.webhook_jobs j
  WHERE j.status IN ('queued', 'running') AND coalesce(j.lease_until, '-infinity') < at
    AND coalesce(j.next_attempt_at, '-infinity') <= at
  ORDER BY j.recorded_at LIMIT most
$$
"""

# What is encrypted with another key than the present one.
STALE_SECRETS = """
CREATE FUNCTION events.stale_webhook_secrets(present text, most integer)
RETURNS TABLE (workspace_id uuid, endpoint_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT DISTINCT s.workspace_id, s.endpoint_id FROM (
    (SELECT s.workspace_id, s.endpoint_id FROM events.webhook_secrets s WHERE s.key_id <> present LIMIT most)
    UNION
    (SELECT e.workspace_id, e.id FROM events.webhook_endpoints e WHERE e.headers_key_id <> present LIMIT most)
  ) s LIMIT most
$$
"""

CALLABLE = {
    "events.relay_due(pg_snapshot, timestamptz, integer)": RELAY_DUE,
    "events.relay_workspaces()": RELAY_WORKSPACES,
    "events.due_endpoints(timestamptz, uuid[], integer)": DUE_ENDPOINTS,
    "events.delivery_depth(timestamptz)": DELIVERY_DEPTH,
    "events.due_webhook_jobs(timestamptz, integer)": DUE_JOBS,
    "events.stale_webhook_secrets(text, integer)": STALE_SECRETS,
}

# The days that events already have: what is to be sent again has a place for its delivery.
AS_MANY_DAYS = """
SELECT events.ensure_partitions(
  least(current_date - 1, (SELECT min(to_date(right(c.relname, 8), 'YYYYMMDD')) FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'events.outbox'::regclass)), current_date + 7)
"""


def _uuid(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.UUID(), nullable=nullable)


def _text(name: str, *, nullable: bool = False, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable, server_default=default and sa.text(default))


def _time(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _number(name: str, default: int | None = 0, *, nullable: bool = False) -> sa.Column[int]:
    server_default = None if default is None or nullable else sa.text(str(default))
    return sa.Column(name, sa.Integer(), nullable=nullable, server_default=server_default)


def _big(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable, server_default=None if nullable else sa.text("0"))


def _small(name: str, default: str | None = None) -> sa.Column[int]:
    return sa.Column(name, sa.SmallInteger(), nullable=False, server_default=default and sa.text(default))


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.text("false"))


def _bytes(name: str, *, nullable: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=nullable)


def _json(name: str, *, nullable: bool = False) -> sa.Column[object]:
    default = None if nullable else sa.text("'{}'")
    return sa.Column(name, postgresql.JSONB(), nullable=nullable, server_default=default)


def _list(name: str, item: sa.types.TypeEngine[Any], *, nullable: bool = True, default: str | None = None) -> object:
    return sa.Column(name, postgresql.ARRAY(item), nullable=nullable, server_default=default and sa.text(default))


def _of_endpoint(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id", "endpoint_id"],
        ["events.webhook_endpoints.workspace_id", "events.webhook_endpoints.id"],
        name=f"fk_{table}_endpoint_id",
    )


def _known(table: str, column: str, *values: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=op.f(f"ck_{table}_{column}_known"))


def _table(name: str, *items: object, key: tuple[str, ...] = ("id",), by_day_of: str | None = None) -> None:
    own_id = [_uuid("id")] if "id" in key else []
    options = {"postgresql_partition_by": f"RANGE ({by_day_of})"} if by_day_of else {}
    key_of_all = sa.PrimaryKeyConstraint("workspace_id", *key, name=f"pk_{name}")
    op.create_table(name, _uuid("workspace_id"), *own_id, *items, key_of_all, schema="events", **options)  # type: ignore[arg-type]


def _endpoints() -> None:
    _table(
        "webhook_endpoints",
        _text("url"),
        _text("description", nullable=True),
        _list("event_types", sa.Text(), nullable=False),
        _list("owner_ids", sa.UUID()),
        _list("opportunity_ids", sa.UUID()),
        _text("api_version"),
        _flag("thin"),
        _list("signatures", sa.Text(), nullable=False),
        _number("throttle_rate", nullable=True),
        _number("timeout_seconds", 15),
        _list("retry_schedule", sa.Integer()),
        _bytes("headers_encrypted", nullable=True),
        _text("headers_key_id", nullable=True),
        _list("header_names", sa.Text(), nullable=False, default="'{}'"),
        _json("metadata"),
        _flag("disabled"),
        _text("disabled_reason", nullable=True),
        _time("disabled_at"),
        _uuid("created_by", nullable=True),
        _number("version", 1),
        _time("occurred_at", nullable=False),
        _time("recorded_at", nullable=False),
        _time("updated_at", nullable=False),
        _known("webhook_endpoints", "disabled_reason", "requested", "failing", "gone"),
    )
    _table(
        "webhook_endpoint_states",
        _uuid("endpoint_id"),
        _time("failing_since"),
        _time("last_success_at"),
        _time("last_failure_at"),
        _small("alerted", "0"),
        _text("breaker", default="'closed'"),
        _time("breaker_until"),
        _number("breaker_openings"),
        _time("window_started_at"),
        _number("window_attempts"),
        _number("window_failures"),
        _time("throttled_until"),
        _time("updated_at", nullable=False),
        _known("webhook_endpoint_states", "breaker", "closed", "open", "half_open"),
        _of_endpoint("webhook_endpoint_states"),
        key=("endpoint_id",),
    )
    _table(
        "webhook_secrets",
        _uuid("endpoint_id"),
        _text("kind"),
        _text("key_id"),
        _bytes("ciphertext"),
        _bytes("public_key", nullable=True),
        _time("recorded_at", nullable=False),
        _time("expires_at"),
        _known("webhook_secrets", "kind", "v1", "v1a"),
        _of_endpoint("webhook_secrets"),
    )
    _table("relay_positions", _text("seen"), _time("updated_at", nullable=False), key=())


def _deliveries() -> None:
    _table(
        "webhook_messages",
        _uuid("event_id"),
        _time("recorded_at", nullable=False),
        _text("api_version"),
        sa.Column("thin", sa.Boolean(), nullable=False),
        _bytes("body"),
        key=("event_id", "api_version", "thin", "recorded_at"),
        by_day_of="recorded_at",
    )
    _table(
        "webhook_deliveries",
        _uuid("endpoint_id"),
        _uuid("event_id"),
        _time("event_recorded_at", nullable=False),
        _text("type"),
        _text("subject_type", nullable=True),
        _uuid("subject_id", nullable=True),
        _text("traceparent", nullable=True),
        _flag("test"),
        _text("status", default="'pending'"),
        _number("attempts"),
        _time("next_attempt_at"),
        _number("last_status", nullable=True),
        _text("last_error", nullable=True),
        _time("delivered_at"),
        _uuid("requested_by", nullable=True),
        _time("recorded_at", nullable=False),
        _time("updated_at", nullable=False),
        _known("webhook_deliveries", "status", "pending", "delivered", "failed", "skipped"),
        sa.UniqueConstraint(
            "workspace_id", "endpoint_id", "event_id", "event_recorded_at", name="uq_webhook_deliveries_event"
        ),
        key=("id", "event_recorded_at"),
        by_day_of="event_recorded_at",
    )
    _table(
        "webhook_attempts",
        _uuid("delivery_id"),
        _uuid("endpoint_id"),
        _uuid("event_id"),
        _time("event_recorded_at", nullable=False),
        _text("type"),
        _number("number", None),
        _time("attempted_at", nullable=False),
        _text("outcome"),
        _number("status_code", nullable=True),
        _number("duration_ms", None),
        _text("url"),
        _text("remote_ip", nullable=True),
        _json("request_headers"),
        _json("response_headers", nullable=True),
        _bytes("response_body", nullable=True),
        _text("error", nullable=True),
        _known("webhook_attempts", "outcome", *OUTCOMES),
        key=("id", "attempted_at"),
        by_day_of="attempted_at",
    )


def _queue() -> None:
    _table(
        "webhook_queue",
        _uuid("delivery_id"),
        _time("event_recorded_at", nullable=False),
        _uuid("endpoint_id"),
        _number("attempts"),
        _number("claims"),
        _time("next_attempt_at", nullable=False),
        _uuid("lease_token", nullable=True),
        key=("delivery_id",),
    )


def _jobs() -> None:
    _table(
        "webhook_jobs",
        _text("kind"),
        _uuid("endpoint_id"),
        _json("parameters"),
        _text("status", default="'queued'"),
        _json("problem", nullable=True),
        _big("total", nullable=True),
        _big("done"),
        _big("requested"),
        _json("position"),
        _flag("cancel_requested"),
        _uuid("lease_token", nullable=True),
        _time("lease_until"),
        _number("attempts"),
        _time("next_attempt_at"),
        _uuid("created_by", nullable=True),
        _text("request_id", nullable=True),
        _time("started_at"),
        _time("finished_at"),
        _number("version", 1),
        _time("occurred_at", nullable=False),
        _time("recorded_at", nullable=False),
        _time("updated_at", nullable=False),
        _known("webhook_jobs", "kind", "resend", "recover", "replay_missing"),
        _known("webhook_jobs", "status", "queued", "running", "succeeded", "failed", "cancelled"),
    )


INDEXES = (
    "UNIQUE INDEX uq_webhook_secrets_current ON events.webhook_secrets (workspace_id, endpoint_id, kind)"
    " WHERE expires_at IS NULL",
    "INDEX ix_webhook_secrets_key ON events.webhook_secrets (key_id)",
    "INDEX ix_webhook_deliveries_endpoint ON events.webhook_deliveries (workspace_id, endpoint_id, id)",
    "INDEX ix_webhook_queue_due ON events.webhook_queue (endpoint_id, next_attempt_at)",
    "INDEX ix_webhook_attempts_endpoint ON events.webhook_attempts (workspace_id, endpoint_id, id)",
    "INDEX ix_webhook_attempts_delivery ON events.webhook_attempts (workspace_id, delivery_id, id)",
    "INDEX ix_webhook_jobs_unfinished ON events.webhook_jobs (next_attempt_at) WHERE status IN ('queued', 'running')",
    "INDEX ix_webhook_jobs_endpoint ON events.webhook_jobs (workspace_id, endpoint_id, id)",
    "INDEX ix_outbox_relay ON events.outbox (xid, workspace_id)",
)


def upgrade() -> None:
    _endpoints()
    _deliveries()
    _queue()
    _jobs()
    for index in INDEXES:
        op.execute(f"CREATE {index}")
    for table, rights in TABLES.items():
        protect(f"events.{table}", f"{rights} TO {API}")
    for table in COUNTED:
        op.execute(f"CREATE POLICY counted ON events.{table} FOR SELECT TO CURRENT_USER USING (true)")
    listed = ", ".join(f"'{table}'" for table in BY_DAY)
    op.execute(ENSURE_PARTITIONS.format(tables=listed))
    op.execute("CREATE POLICY forgotten ON events.webhook_queue FOR DELETE TO CURRENT_USER USING (true)")
    op.execute(DROP_PARTITIONS.format(tables=listed, forget=FORGET_QUEUE))
    for signature, function in CALLABLE.items():
        op.execute(function)
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {API}")
    op.execute(FOLLOW_DELIVERY)
    for trigger in TRIGGERS:
        op.execute(trigger)
    op.execute(AS_MANY_DAYS)
    # Small, and turned over all the time: their dead rows must not wait for a fifth of the table.
    for table in ("webhook_endpoint_states", "webhook_queue", "relay_positions"):
        op.execute(f"ALTER TABLE events.{table} SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01)")


def downgrade() -> None:
    for signature in CALLABLE:
        op.execute(f"DROP FUNCTION {signature}")
    op.execute("DROP INDEX events.ix_outbox_relay")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE events.{table} CASCADE")
    op.execute("DROP FUNCTION events.follow_delivery()")
    op.execute(ENSURE_PARTITIONS.format(tables="'outbox'"))
    op.execute(DROP_PARTITIONS.format(tables="'outbox'", forget=""))
