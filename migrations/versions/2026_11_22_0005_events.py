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
    protect("events.stream_tickets", "SELECT, INSERT, DELETE TO sixteen_api")


def downgrade() -> None:
    op.drop_table("stream_tickets", schema="events")
    op.drop_index("ix_outbox_subject", "outbox", schema="events")
    op.execute(
        "ALTER TABLE events.outbox DROP CONSTRAINT pk_outbox,"
        " ADD CONSTRAINT pk_outbox PRIMARY KEY (workspace_id, recorded_at, id)"
    )
    op.drop_column("outbox", "version", schema="events")
