"""What a merge kept is forgotten in time in every workspace; orphaned endpoints say so, tickets name their token."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "2026_11_22_0013"
down_revision = "2026_11_22_0012"
branch_labels = None
depends_on = None

# The names of the fields stay; what stood in them goes, once it can't have to go back any more.
FORGET_MERGES = """
CREATE FUNCTION sales.forget_merges(days integer, most integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  WITH old AS (
    SELECT m.workspace_id, m.id FROM sales.merges m
    WHERE m.forgotten_at IS NULL AND m.recorded_at < now() - make_interval(days => days)
    ORDER BY m.recorded_at LIMIT most FOR UPDATE SKIP LOCKED
  ), forgotten AS (
    UPDATE sales.merges m SET forgotten_at = now(),
      fields = (SELECT coalesce(jsonb_object_agg(f.name, NULL), '{}') FROM jsonb_object_keys(m.fields) AS f(name))
    FROM old WHERE m.workspace_id = old.workspace_id AND m.id = old.id RETURNING 1
  )
  SELECT count(*) FROM forgotten
$$
"""
SIGNATURE = "sales.forget_merges(integer, integer)"
# Of the token of an identity provider that a ticket was made with.
TOKEN: dict[str, sa.types.TypeEngine[Any]] = {
    "issuer": sa.Text(),
    "subject": sa.Text(),
    "jti": sa.Text(),
    "token_good_until": sa.DateTime(timezone=True),
}
REASONS = "ck_webhook_endpoints_disabled_reason_known"


def upgrade() -> None:
    op.add_column("merges", sa.Column("forgotten_at", sa.DateTime(timezone=True), nullable=True), schema="sales")
    op.create_index(
        "ix_merges_remembered", "merges", ["recorded_at"], schema="sales",
        postgresql_where=sa.text("forgotten_at IS NULL"),
    )  # fmt: skip
    for command in ("SELECT", "UPDATE"):
        op.execute(
            f"CREATE POLICY forgotten_{command.lower()} ON sales.merges FOR {command} TO CURRENT_USER USING (true)"
        )
    op.execute(FORGET_MERGES)
    op.execute(f"REVOKE ALL ON FUNCTION {SIGNATURE} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {SIGNATURE} TO sixteen_api")
    for name, kind in TOKEN.items():
        op.add_column("stream_tickets", sa.Column(name, kind, nullable=True), schema="events")
    _let_reasons("requested", "failing", "gone", "orphaned")
    op.execute(
        "UPDATE events.webhook_endpoints SET disabled_reason = 'orphaned' WHERE disabled AND disabled_reason IS NULL"
    )


def downgrade() -> None:
    op.execute("UPDATE events.webhook_endpoints SET disabled_reason = NULL WHERE disabled_reason = 'orphaned'")
    _let_reasons("requested", "failing", "gone")
    for name in reversed(TOKEN):
        op.drop_column("stream_tickets", name, schema="events")
    op.execute(f"DROP FUNCTION {SIGNATURE}")
    for command in ("SELECT", "UPDATE"):
        op.execute(f"DROP POLICY forgotten_{command.lower()} ON sales.merges")
    op.drop_index("ix_merges_remembered", "merges", schema="sales")
    op.drop_column("merges", "forgotten_at", schema="sales")


def _let_reasons(*reasons: str) -> None:
    listed = ", ".join(f"'{reason}'" for reason in reasons)
    op.execute(f"ALTER TABLE events.webhook_endpoints DROP CONSTRAINT {REASONS}")
    op.execute(f"ALTER TABLE events.webhook_endpoints ADD CONSTRAINT {REASONS} CHECK (disabled_reason IN ({listed}))")
