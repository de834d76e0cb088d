"""The feed of events: what its readers and the relay need."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.tenants import protect

revision = "2026_11_22_0005"
down_revision = "2026_11_22_0004"
branch_labels = None
depends_on = None

# What a transaction leaves for later, written by one call. All of it comes in one document: one value is far cheaper to
# send than a column of arrays each.
# Marks are written in the order of their key: two transactions that mark the same subjects wait, not deadlock.
WRITE_EFFECTS = """
CREATE FUNCTION events.write_effects(given jsonb) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  workspace uuid := given ->> 'workspace_id';
  at timestamptz := given ->> 'recorded_at';
  actor uuid := given ->> 'actor_id';
  request text := given ->> 'request_id';
  answer jsonb := given -> 'answer';
BEGIN
  INSERT INTO events.outbox (workspace_id, id, recorded_at, type, subject_type, subject_id, resource_version,
    owner_id, actor_id, request_id, traceparent, occurred_at, data, version)
  SELECT workspace, e.id, at, e.type, e.subject_type, e.subject_id, e.resource_version, e.owner_id, actor, request,
    given ->> 'traceparent', e.occurred_at, e.data, e.version
  FROM jsonb_to_recordset(given -> 'events') AS e(id uuid, type text, subject_type text, subject_id uuid,
    resource_version bigint, owner_id uuid, occurred_at timestamptz, data jsonb, version smallint);
  INSERT INTO sales.audit_entries (workspace_id, id, recorded_at, actor_id, request_id, action, subject_type,
    subject_id, version, changes)
  SELECT workspace, a.id, at, actor, request, a.action, a.subject_type, a.subject_id, a.version, a.changes
  FROM jsonb_to_recordset(given -> 'audit') AS a(id uuid, action text, subject_type text, subject_id uuid,
    version int, changes jsonb);
  INSERT INTO scoring.dirty_marks AS d (workspace_id, subject_type, subject_id, lane, cause, marked_at)
  SELECT workspace, m.subject_type, m.subject_id, m.lane, m.cause, now()
  FROM jsonb_to_recordset(given -> 'marks') AS m(subject_type text, subject_id uuid, lane smallint, cause jsonb)
  ORDER BY m.subject_type, m.subject_id
  ON CONFLICT (workspace_id, subject_type, subject_id) DO UPDATE
  SET version = excluded.version, lane = least(d.lane, excluded.lane), cause = excluded.cause,
    marked_at = least(d.marked_at, excluded.marked_at);
  IF answer IS NOT NULL THEN
    INSERT INTO sales.idempotency_keys (workspace_id, digest, request_hash, status, headers, body, recorded_at)
    VALUES (workspace, decode(answer ->> 'digest', 'hex'), decode(answer ->> 'request_hash', 'hex'),
      (answer ->> 'status')::int, answer -> 'headers', convert_to(answer ->> 'body', 'UTF8'), now());
  END IF;
END $$
"""


# A backup loaded into another cluster brings numbers of transactions along that lie in the future there: such events
# would be shown to nobody until the new cluster has counted that far. In its one snapshot a statement can see no row of
# a transaction that is newer than the snapshot itself, unless that row came from elsewhere.
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

# Volatile, so that it sees what was committed while the lock before it was waited for.
REFUSE_ANSWERED = """
CREATE FUNCTION sales.refuse_answered(in_workspace uuid, in_digest bytea) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  IF EXISTS (SELECT FROM sales.idempotency_keys k WHERE k.workspace_id = in_workspace AND k.digest = in_digest) THEN
    RAISE EXCEPTION 'answered before' USING ERRCODE = 'SX100';
  END IF;
END $$
"""
FUNCTIONS = {
    "events.write_effects(jsonb)": WRITE_EFFECTS,
    "sales.refuse_answered(uuid, bytea)": REFUSE_ANSWERED,
}


def upgrade() -> None:
    op.execute("ALTER TABLE events.outbox ADD COLUMN version smallint DEFAULT 1 NOT NULL")
    # An event is looked up by its id: the key begins with it instead of with the time.
    op.execute(
        "ALTER TABLE events.outbox DROP CONSTRAINT pk_outbox,"
        " ADD CONSTRAINT pk_outbox PRIMARY KEY (workspace_id, id, recorded_at)"
    )
    op.create_index("ix_outbox_subject", "outbox", ["workspace_id", "subject_id", "xid", "id"], schema="events")
    op.create_table(
        "stream_tickets",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("member_id", sa.UUID(), nullable=False),
        sa.Column("key_id", sa.UUID(), nullable=True),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "digest", name=op.f("pk_stream_tickets")),
        schema="events",
    )
    op.create_index("ix_stream_tickets_expiry", "stream_tickets", ["workspace_id", "expires_at"], schema="events")
    op.execute("CREATE POLICY settled ON events.outbox FOR UPDATE TO CURRENT_USER USING (true)")
    op.execute(SETTLE)
    op.execute("REVOKE ALL ON FUNCTION events.settle_restored() FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION events.settle_restored() TO sixteen_api")
    protect("events.stream_tickets", "SELECT, INSERT, DELETE TO sixteen_api")
    for signature, function in FUNCTIONS.items():
        op.execute(function)
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO sixteen_api")


def downgrade() -> None:
    op.execute("DROP FUNCTION events.settle_restored()")
    op.execute("DROP POLICY settled ON events.outbox")
    for signature in FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature}")
    op.drop_table("stream_tickets", schema="events")
    op.drop_index("ix_outbox_subject", "outbox", schema="events")
    op.execute(
        "ALTER TABLE events.outbox DROP CONSTRAINT pk_outbox,"
        " ADD CONSTRAINT pk_outbox PRIMARY KEY (workspace_id, recorded_at, id)"
    )
    op.drop_column("outbox", "version", schema="events")
