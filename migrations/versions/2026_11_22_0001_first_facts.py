"""The tables of facts, judgements and events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from shared.models.records import Xid8

revision = "2026_11_22_0001"
down_revision = None
branch_labels = None
depends_on = None


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.UUID(), nullable=False),
        sa.Column("resource_version", sa.BigInteger(), nullable=True),
        sa.Column("owner_id", sa.UUID(), nullable=True),
        sa.Column("actor_id", sa.UUID(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "recorded_at", "id", name=op.f("pk_outbox")),
        schema="events",
        postgresql_partition_by="RANGE (recorded_at)",
    )
    op.create_index("ix_outbox_order", "outbox", ["workspace_id", "xid", "id"], unique=False, schema="events")


def _attribute_definitions() -> None:
    op.create_table(
        "attribute_definitions",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("label_en", sa.Text(), nullable=False),
        sa.Column("label_zh_hans", sa.Text(), nullable=True),
        sa.Column("categories", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("required", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('number', 'category', 'boolean', 'date', 'text')",
            name=op.f("ck_attribute_definitions_kind_known"),
        ),
        sa.CheckConstraint(
            "subject IN ('customer', 'opportunity')", name=op.f("ck_attribute_definitions_subject_known")
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_attribute_definitions")),
        sa.UniqueConstraint("workspace_id", "subject", "key", name="uq_attribute_definitions_key"),
        schema="sales",
    )


def _audit_entries() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.UUID(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.UUID(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("changes", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_audit_entries")),
        schema="sales",
    )
    op.create_index(
        "ix_audit_entries_subject",
        "audit_entries",
        ["workspace_id", "subject_type", "subject_id", "id"],
        unique=False,
        schema="sales",
    )


def _idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "digest", name=op.f("pk_idempotency_keys")),
        schema="sales",
    )
    op.create_index("ix_idempotency_keys_age", "idempotency_keys", ["recorded_at"], unique=False, schema="sales")


def _import_chunks() -> None:
    op.create_table(
        "import_chunks",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("import_id", sa.UUID(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "import_id", "position", name=op.f("pk_import_chunks")),
        schema="sales",
    )


def _import_errors() -> None:
    op.create_table(
        "import_errors",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("import_id", sa.UUID(), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("pointer", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "import_id", "row", "position", name=op.f("pk_import_errors")),
        schema="sales",
    )


def _imports() -> None:
    op.create_table(
        "imports",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=True),
        sa.Column("mapping", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("dry_run", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'queued'"), nullable=False),
        sa.Column("problem", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("total_bytes", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_read", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_imported", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_failed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_total", sa.Integer(), nullable=True),
        sa.Column(
            "checkpoint", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("cancel_requested", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("lease_token", sa.UUID(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_by", sa.UUID(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("format IN ('csv', 'xlsx', 'ndjson')", name=op.f("ck_imports_format_known")),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'partially_failed', 'failed', 'cancelled')",
            name=op.f("ck_imports_status_known"),
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_imports")),
        schema="sales",
    )
    op.create_index(
        "ix_imports_unfinished",
        "imports",
        ["next_attempt_at"],
        unique=False,
        schema="sales",
        postgresql_where=sa.text("status IN ('queued', 'running')"),
    )


def _processes() -> None:
    op.create_table(
        "processes",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("edition", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("name_zh_hans", sa.Text(), nullable=True),
        sa.Column("template", sa.Text(), nullable=True),
        sa.Column("is_default", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_processes")),
        sa.UniqueConstraint("workspace_id", "key", "edition", name="uq_processes_edition"),
        schema="sales",
    )
    op.create_index(
        "uq_processes_default",
        "processes",
        ["workspace_id"],
        unique=True,
        schema="sales",
        postgresql_where=sa.text("is_default"),
    )


def _products() -> None:
    op.create_table(
        "products",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("series", sa.Text(), nullable=True),
        sa.Column("list_price", sa.Numeric(precision=18, scale=4), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("margin_rate", sa.Float(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("external_source", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("historical", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(external_source IS NULL) = (external_id IS NULL)", name=op.f("ck_products_external_id_whole")
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_products")),
        schema="sales",
    )
    op.create_index(
        "ix_products_updated", "products", ["workspace_id", "updated_at", "id"], unique=False, schema="sales"
    )
    op.create_index(
        "uq_products_external",
        "products",
        ["workspace_id", "external_source", "external_id"],
        unique=True,
        schema="sales",
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )


def _workspaces() -> None:
    op.create_table(
        "workspaces",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), server_default=sa.text("'UTC'"), nullable=False),
        sa.Column("locale", sa.Text(), server_default=sa.text("'en'"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspaces")),
        schema="sales",
    )


def _dirty_marks() -> None:
    op.create_table(
        "dirty_marks",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.UUID(), nullable=False),
        sa.Column("version", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("lane", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("cause", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("marked_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "subject_type IN ('opportunity', 'customer', 'owner', 'workspace')",
            name=op.f("ck_dirty_marks_subject_type_known"),
        ),
        sa.PrimaryKeyConstraint("workspace_id", "subject_type", "subject_id", name=op.f("pk_dirty_marks")),
        schema="scoring",
    )
    op.create_index(
        "ix_dirty_marks_order", "dirty_marks", ["workspace_id", "lane", "marked_at"], unique=False, schema="scoring"
    )


def _drains() -> None:
    op.create_table(
        "drains",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("cursor", sa.UUID(), nullable=True),
        sa.Column("cursor_ownerless", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("cursor_version", sa.BigInteger(), nullable=True),
        sa.Column("last_drained_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("workspace_id", name=op.f("pk_drains")),
        schema="scoring",
    )


def _loads() -> None:
    op.create_table(
        "loads",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("owner_id", sa.UUID(), nullable=False),
        sa.Column("counts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("shortages", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("triaged_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "owner_id", name=op.f("pk_loads")),
        schema="scoring",
    )


def _models() -> None:
    op.create_table(
        "models",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("regime", sa.Text(), nullable=False),
        sa.Column("codes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "version", name=op.f("pk_models")),
        schema="scoring",
    )


def _moves() -> None:
    op.create_table(
        "moves",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("owner_id", sa.UUID(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.UUID(), nullable=False),
        sa.Column("from_band", sa.Text(), nullable=True),
        sa.Column("to_band", sa.Text(), nullable=True),
        sa.Column("cause", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_moves")),
        schema="scoring",
    )
    op.create_index("ix_moves_owner", "moves", ["workspace_id", "owner_id", "id"], unique=False, schema="scoring")
    op.create_index(
        "ix_moves_subject",
        "moves",
        ["workspace_id", "subject_type", "subject_id", "id"],
        unique=False,
        schema="scoring",
    )


def _scores() -> None:
    op.create_table(
        "scores",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("opportunity_id", sa.UUID(), nullable=False),
        sa.Column("owner_id", sa.UUID(), nullable=True),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("facts_version", sa.Integer(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("probability", sa.Float(), nullable=False),
        sa.Column("probability_low", sa.Float(), nullable=False),
        sa.Column("probability_high", sa.Float(), nullable=False),
        sa.Column("priority", sa.Float(), nullable=False),
        sa.Column("margin", sa.Float(), nullable=False),
        sa.Column("urgency", sa.Float(), nullable=False),
        sa.Column("slack_days", sa.Float(), nullable=False),
        sa.Column("hours", sa.Float(), nullable=False),
        sa.Column("class_code", sa.SmallInteger(), nullable=False),
        sa.Column("flags", sa.Integer(), nullable=False),
        sa.Column("unknowns", sa.BigInteger(), nullable=False),
        sa.Column("imputed", sa.Integer(), nullable=False),
        sa.Column("criteria", postgresql.ARRAY(sa.REAL()), nullable=False),
        sa.Column("parts", postgresql.ARRAY(sa.REAL()), nullable=False),
        sa.Column("contributions", postgresql.ARRAY(sa.REAL()), nullable=False),
        sa.Column("next_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "opportunity_id", name=op.f("pk_scores")),
        schema="scoring",
    )
    op.create_index("ix_scores_due", "scores", ["next_due_at"], unique=False, schema="scoring")
    op.create_index("ix_scores_owner", "scores", ["workspace_id", "owner_id"], unique=False, schema="scoring")
    op.create_index(
        "ix_scores_priority", "scores", ["workspace_id", "priority", "opportunity_id"], unique=False, schema="scoring"
    )


def _seats() -> None:
    op.create_table(
        "seats",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.UUID(), nullable=False),
        sa.Column("owner_id", sa.UUID(), nullable=False),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("band", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("class_code", sa.SmallInteger(), nullable=False),
        sa.Column("priority", sa.Float(), nullable=False),
        sa.Column("slack_days", sa.Float(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "band IN ('engage', 'track', 'monitor', 'backlog', 'muted')", name=op.f("ck_seats_band_known")
        ),
        sa.CheckConstraint("subject_type IN ('opportunity', 'customer')", name=op.f("ck_seats_subject_type_known")),
        sa.PrimaryKeyConstraint("workspace_id", "subject_type", "subject_id", name=op.f("pk_seats")),
        schema="scoring",
    )
    op.create_index("ix_seats_due", "seats", ["next_due_at"], unique=False, schema="scoring")
    op.create_index("ix_seats_owner", "seats", ["workspace_id", "owner_id", "rank"], unique=False, schema="scoring")


def _members() -> None:
    op.create_table(
        "members",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("engage_capacity", sa.Integer(), nullable=True),
        sa.Column("track_capacity", sa.Integer(), nullable=True),
        sa.Column("monitor_capacity", sa.Integer(), nullable=True),
        sa.Column("external_source", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "role IN ('admin', 'manager', 'rep', 'viewer', 'integration')", name=op.f("ck_members_role_known")
        ),
        sa.CheckConstraint(
            "(external_source IS NULL) = (external_id IS NULL)", name=op.f("ck_members_external_id_whole")
        ),
        sa.ForeignKeyConstraint(["workspace_id"], ["sales.workspaces.id"], name="fk_members_workspace"),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_members")),
        schema="sales",
    )
    op.create_index(
        "uq_members_email",
        "members",
        ["workspace_id", sa.literal_column("lower(email)")],
        unique=True,
        schema="sales",
        postgresql_where=sa.text("email IS NOT NULL"),
    )
    op.create_index(
        "uq_members_external",
        "members",
        ["workspace_id", "external_source", "external_id"],
        unique=True,
        schema="sales",
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )


def _policies() -> None:
    op.create_table(
        "policies",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("document", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = workspace_id", name=op.f("ck_policies_one_a_workspace")),
        sa.ForeignKeyConstraint(["workspace_id"], ["sales.workspaces.id"], name="fk_policies_workspace"),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_policies")),
        schema="sales",
    )


def _stages() -> None:
    op.create_table(
        "stages",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("process_id", sa.UUID(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("name_zh_hans", sa.Text(), nullable=True),
        sa.Column("purpose", sa.Text(), nullable=True),
        sa.Column("milestone_en", sa.Text(), nullable=False),
        sa.Column("milestone_zh_hans", sa.Text(), nullable=True),
        sa.Column("irreversible", sa.Boolean(), nullable=False),
        sa.Column("wins", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("side", sa.Text(), server_default=sa.text("'customer'"), nullable=False),
        sa.Column("skippable", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("typical_days", sa.Float(), nullable=False),
        sa.Column("typical_hours", sa.Float(), nullable=False),
        sa.Column("base_win_rate", sa.Float(), nullable=False),
        sa.Column("evidences_class", sa.Text(), nullable=True),
        sa.CheckConstraint("evidences_class IN ('A', 'B', 'C')", name=op.f("ck_stages_evidences_class_known")),
        sa.CheckConstraint("side IN ('ours', 'customer')", name=op.f("ck_stages_side_known")),
        sa.CheckConstraint("base_win_rate > 0 AND base_win_rate <= 1", name=op.f("ck_stages_base_win_rate_range")),
        sa.CheckConstraint("typical_days >= 0 AND typical_hours >= 0", name=op.f("ck_stages_typical_not_negative")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "process_id"],
            ["sales.processes.workspace_id", "sales.processes.id"],
            name=op.f("fk_stages_process_id"),
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_stages")),
        sa.UniqueConstraint("workspace_id", "process_id", "key", name="uq_stages_key"),
        sa.UniqueConstraint("workspace_id", "process_id", "position", name="uq_stages_position"),
        schema="sales",
    )
    op.create_index(
        "uq_stages_wins",
        "stages",
        ["workspace_id", "process_id"],
        unique=True,
        schema="sales",
        postgresql_where=sa.text("wins"),
    )


def _api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("member_id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("last4", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "member_id"],
            ["sales.members.workspace_id", "sales.members.id"],
            name=op.f("fk_api_keys_member_id"),
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_api_keys")),
        schema="sales",
    )


def _customers() -> None:
    op.create_table(
        "customers",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sort_key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), server_default=sa.text("'organisation'"), nullable=False),
        sa.Column("owner_id", sa.UUID(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("website", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("industry", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("tier", sa.Text(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column(
            "attributes", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("owner_changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("owner_reason", sa.Text(), nullable=True),
        sa.Column("external_source", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("historical", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('organisation', 'household')", name=op.f("ck_customers_kind_known")),
        sa.CheckConstraint(
            "(external_source IS NULL) = (external_id IS NULL)", name=op.f("ck_customers_external_id_whole")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "owner_id"],
            ["sales.members.workspace_id", "sales.members.id"],
            name=op.f("fk_customers_owner_id"),
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_customers")),
        schema="sales",
    )
    op.create_index("ix_customers_name", "customers", ["workspace_id", "sort_key", "id"], unique=False, schema="sales")
    op.create_index("ix_customers_owner", "customers", ["workspace_id", "owner_id"], unique=False, schema="sales")
    op.create_index(
        "ix_customers_updated", "customers", ["workspace_id", "updated_at", "id"], unique=False, schema="sales"
    )
    op.create_index(
        "uq_customers_external",
        "customers",
        ["workspace_id", "external_source", "external_id"],
        unique=True,
        schema="sales",
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )


def _pins() -> None:
    op.create_table(
        "pins",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.UUID(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.UUID(), nullable=False),
        sa.Column("band", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.UUID(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(kind = 'pin') = (band IS NOT NULL)", name=op.f("ck_pins_band_where_pinned")),
        sa.CheckConstraint("band IN ('engage', 'track', 'monitor')", name=op.f("ck_pins_band_known")),
        sa.CheckConstraint("kind IN ('pin', 'mute')", name=op.f("ck_pins_kind_known")),
        sa.CheckConstraint("subject_type IN ('opportunity', 'customer')", name=op.f("ck_pins_subject_type_known")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "created_by"],
            ["sales.members.workspace_id", "sales.members.id"],
            name=op.f("fk_pins_created_by"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "owner_id"],
            ["sales.members.workspace_id", "sales.members.id"],
            name=op.f("fk_pins_owner_id"),
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_pins")),
        schema="sales",
    )
    op.create_index(
        "ix_pins_owner",
        "pins",
        ["workspace_id", "owner_id"],
        unique=False,
        schema="sales",
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "uq_pins_subject",
        "pins",
        ["workspace_id", "subject_type", "subject_id"],
        unique=True,
        schema="sales",
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def _teams() -> None:
    op.create_table(
        "teams",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("manager_id", sa.UUID(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "manager_id"],
            ["sales.members.workspace_id", "sales.members.id"],
            name=op.f("fk_teams_manager_id"),
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_teams")),
        schema="sales",
    )
    op.create_index(
        "uq_teams_name", "teams", ["workspace_id", sa.literal_column("lower(name)")], unique=True, schema="sales"
    )


def _contacts() -> None:
    op.create_table(
        "contacts",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sort_key", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("function", sa.Text(), nullable=True),
        sa.Column("level", sa.Text(), nullable=True),
        sa.Column("personality", sa.Text(), nullable=True),
        sa.Column("is_coach", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_external", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("birthday", sa.Date(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("external_source", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("historical", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(external_source IS NULL) = (external_id IS NULL)", name=op.f("ck_contacts_external_id_whole")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "customer_id"],
            ["sales.customers.workspace_id", "sales.customers.id"],
            name=op.f("fk_contacts_customer_id"),
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_contacts")),
        schema="sales",
    )
    op.create_index("ix_contacts_customer", "contacts", ["workspace_id", "customer_id"], unique=False, schema="sales")
    op.create_index("ix_contacts_name", "contacts", ["workspace_id", "sort_key", "id"], unique=False, schema="sales")
    op.create_index(
        "ix_contacts_updated", "contacts", ["workspace_id", "updated_at", "id"], unique=False, schema="sales"
    )
    op.create_index(
        "uq_contacts_external",
        "contacts",
        ["workspace_id", "external_source", "external_id"],
        unique=True,
        schema="sales",
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )


def _opportunities() -> None:
    op.create_table(
        "opportunities",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sort_key", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("process_id", sa.UUID(), nullable=False),
        sa.Column("owner_id", sa.UUID(), nullable=True),
        sa.Column("product_id", sa.UUID(), nullable=True),
        sa.Column("status", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("stage_id", sa.UUID(), nullable=True),
        sa.Column("stage_position", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("stage_entered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("won_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("close_reason", sa.Text(), nullable=True),
        sa.Column("amount", sa.Numeric(precision=18, scale=4), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("margin_rate", sa.Float(), nullable=True),
        sa.Column("cost_to_deliver", sa.Numeric(precision=18, scale=4), nullable=True),
        sa.Column("delivery_risk", sa.Float(), nullable=True),
        sa.Column("payment_risk", sa.Float(), nullable=True),
        sa.Column("budget_amount", sa.Numeric(precision=18, scale=4), nullable=True),
        sa.Column("budget_status", sa.Text(), nullable=True),
        sa.Column("purchase_date", sa.Date(), nullable=True),
        sa.Column("purchase_date_firmness", sa.Text(), nullable=True),
        sa.Column("purchase_date_slips", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("fit_score", sa.Float(), nullable=True),
        sa.Column("rival_fit_score", sa.Float(), nullable=True),
        sa.Column("need", sa.Text(), nullable=True),
        sa.Column("pain", sa.Text(), nullable=True),
        sa.Column("interest", sa.Text(), nullable=True),
        sa.Column("line", sa.Text(), server_default=sa.text("'short'"), nullable=False),
        sa.Column("line_reason", sa.Text(), nullable=True),
        sa.Column("resume_on", sa.Date(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column(
            "attributes", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("owner_changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("owner_reason", sa.Text(), nullable=True),
        sa.Column("external_source", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("historical", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("line IN ('short', 'long')", name=op.f("ck_opportunities_line_known")),
        sa.CheckConstraint(
            "status IN ('open', 'won', 'lost', 'abandoned', 'cancelled')", name=op.f("ck_opportunities_status_known")
        ),
        sa.CheckConstraint(
            "(external_source IS NULL) = (external_id IS NULL)", name=op.f("ck_opportunities_external_id_whole")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "customer_id"],
            ["sales.customers.workspace_id", "sales.customers.id"],
            name=op.f("fk_opportunities_customer_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "owner_id"],
            ["sales.members.workspace_id", "sales.members.id"],
            name=op.f("fk_opportunities_owner_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "process_id"],
            ["sales.processes.workspace_id", "sales.processes.id"],
            name=op.f("fk_opportunities_process_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "product_id"],
            ["sales.products.workspace_id", "sales.products.id"],
            name=op.f("fk_opportunities_product_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "stage_id"],
            ["sales.stages.workspace_id", "sales.stages.id"],
            name=op.f("fk_opportunities_stage_id"),
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_opportunities")),
        schema="sales",
    )
    op.create_index(
        "ix_opportunities_customer", "opportunities", ["workspace_id", "customer_id"], unique=False, schema="sales"
    )
    op.create_index(
        "ix_opportunities_name", "opportunities", ["workspace_id", "sort_key", "id"], unique=False, schema="sales"
    )
    op.create_index(
        "ix_opportunities_owner_open",
        "opportunities",
        ["workspace_id", "owner_id"],
        unique=False,
        schema="sales",
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_index(
        "ix_opportunities_updated", "opportunities", ["workspace_id", "updated_at", "id"], unique=False, schema="sales"
    )
    op.create_index(
        "uq_opportunities_external",
        "opportunities",
        ["workspace_id", "external_source", "external_id"],
        unique=True,
        schema="sales",
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )


def _team_members() -> None:
    op.create_table(
        "team_members",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("team_id", sa.UUID(), nullable=False),
        sa.Column("member_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "member_id"],
            ["sales.members.workspace_id", "sales.members.id"],
            name=op.f("fk_team_members_member_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "team_id"],
            ["sales.teams.workspace_id", "sales.teams.id"],
            name=op.f("fk_team_members_team_id"),
        ),
        sa.PrimaryKeyConstraint("workspace_id", "team_id", "member_id", name=op.f("pk_team_members")),
        schema="sales",
    )
    op.create_index(
        "ix_team_members_member", "team_members", ["workspace_id", "member_id"], unique=False, schema="sales"
    )


def _interactions() -> None:
    op.create_table(
        "interactions",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("opportunity_id", sa.UUID(), nullable=True),
        sa.Column("member_id", sa.UUID(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), server_default=sa.text("'two_way'"), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=True),
        sa.Column("purpose_reached", sa.Boolean(), nullable=True),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("place", sa.Text(), nullable=True),
        sa.Column("setting_quality", sa.Text(), nullable=True),
        sa.Column("minutes", sa.Integer(), nullable=True),
        sa.Column("cost", sa.Numeric(precision=18, scale=4), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("signals", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("foreseen", sa.Text(), nullable=True),
        sa.Column("foreseen_came_true", sa.Boolean(), nullable=True),
        sa.Column("customer_rating", sa.Integer(), nullable=True),
        sa.Column("external_source", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("historical", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "direction IN ('two_way', 'inbound', 'outbound')", name=op.f("ck_interactions_direction_known")
        ),
        sa.CheckConstraint(
            "(external_source IS NULL) = (external_id IS NULL)", name=op.f("ck_interactions_external_id_whole")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "customer_id"],
            ["sales.customers.workspace_id", "sales.customers.id"],
            name=op.f("fk_interactions_customer_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "member_id"],
            ["sales.members.workspace_id", "sales.members.id"],
            name=op.f("fk_interactions_member_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "opportunity_id"],
            ["sales.opportunities.workspace_id", "sales.opportunities.id"],
            name=op.f("fk_interactions_opportunity_id"),
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_interactions")),
        schema="sales",
    )
    op.create_index(
        "ix_interactions_customer",
        "interactions",
        ["workspace_id", "customer_id", "occurred_at"],
        unique=False,
        schema="sales",
    )
    op.create_index(
        "ix_interactions_opportunity",
        "interactions",
        ["workspace_id", "opportunity_id", "occurred_at"],
        unique=False,
        schema="sales",
    )
    op.create_index(
        "ix_interactions_updated", "interactions", ["workspace_id", "updated_at", "id"], unique=False, schema="sales"
    )
    op.create_index(
        "uq_interactions_external",
        "interactions",
        ["workspace_id", "external_source", "external_id"],
        unique=True,
        schema="sales",
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )


def _opportunity_members() -> None:
    op.create_table(
        "opportunity_members",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("opportunity_id", sa.UUID(), nullable=False),
        sa.Column("member_id", sa.UUID(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("role IN ('specialist', 'collaborator')", name=op.f("ck_opportunity_members_role_known")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "member_id"],
            ["sales.members.workspace_id", "sales.members.id"],
            name=op.f("fk_opportunity_members_member_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "opportunity_id"],
            ["sales.opportunities.workspace_id", "sales.opportunities.id"],
            name=op.f("fk_opportunity_members_opportunity_id"),
        ),
        sa.PrimaryKeyConstraint("workspace_id", "opportunity_id", "member_id", name=op.f("pk_opportunity_members")),
        schema="sales",
    )
    op.create_index(
        "ix_opportunity_members_member",
        "opportunity_members",
        ["workspace_id", "member_id", "opportunity_id"],
        unique=False,
        schema="sales",
    )


def _transitions() -> None:
    op.create_table(
        "transitions",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("opportunity_id", sa.UUID(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("stage_id", sa.UUID(), nullable=True),
        sa.Column("passage_id", sa.UUID(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("criteria", sa.Text(), server_default=sa.text("'met'"), nullable=False),
        sa.Column("imported", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("historical", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("member_id", sa.UUID(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(action IN ('back', 'void')) = (passage_id IS NOT NULL)", name=op.f("ck_transitions_passage_where_due")
        ),
        sa.CheckConstraint(
            "(action IN ('pass', 'back', 'void')) = (stage_id IS NOT NULL)", name=op.f("ck_transitions_stage_where_due")
        ),
        sa.CheckConstraint(
            "action IN ('pass', 'back', 'void', 'lose', 'abandon', 'reopen', 'cancel')",
            name=op.f("ck_transitions_action_known"),
        ),
        sa.CheckConstraint("criteria IN ('met', 'unverified', 'waived')", name=op.f("ck_transitions_criteria_known")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "member_id"],
            ["sales.members.workspace_id", "sales.members.id"],
            name=op.f("fk_transitions_member_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "opportunity_id"],
            ["sales.opportunities.workspace_id", "sales.opportunities.id"],
            name=op.f("fk_transitions_opportunity_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "passage_id"],
            ["sales.transitions.workspace_id", "sales.transitions.id"],
            name=op.f("fk_transitions_passage_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "stage_id"],
            ["sales.stages.workspace_id", "sales.stages.id"],
            name=op.f("fk_transitions_stage_id"),
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_transitions")),
        schema="sales",
    )
    op.create_index(
        "ix_transitions_opportunity",
        "transitions",
        ["workspace_id", "opportunity_id", "recorded_at"],
        unique=False,
        schema="sales",
    )
    op.create_index(
        "uq_transitions_passage_countered",
        "transitions",
        ["workspace_id", "passage_id"],
        unique=True,
        schema="sales",
        postgresql_where=sa.text("passage_id IS NOT NULL"),
    )


def _interaction_contacts() -> None:
    op.create_table(
        "interaction_contacts",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("interaction_id", sa.UUID(), nullable=False),
        sa.Column("contact_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "contact_id"],
            ["sales.contacts.workspace_id", "sales.contacts.id"],
            name=op.f("fk_interaction_contacts_contact_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "interaction_id"],
            ["sales.interactions.workspace_id", "sales.interactions.id"],
            name=op.f("fk_interaction_contacts_interaction_id"),
        ),
        sa.PrimaryKeyConstraint("workspace_id", "interaction_id", "contact_id", name=op.f("pk_interaction_contacts")),
        schema="sales",
    )
    op.create_index(
        "ix_interaction_contacts_contact",
        "interaction_contacts",
        ["workspace_id", "contact_id"],
        unique=False,
        schema="sales",
    )


def _tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("assignee_id", sa.UUID(), nullable=True),
        sa.Column("customer_id", sa.UUID(), nullable=True),
        sa.Column("opportunity_id", sa.UUID(), nullable=True),
        sa.Column("interaction_id", sa.UUID(), nullable=True),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("status", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("kept", sa.Boolean(), nullable=True),
        sa.Column("external_source", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("historical", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('promise', 'next_step', 'stage_work', 'greeting', 'other')", name=op.f("ck_tasks_kind_known")
        ),
        sa.CheckConstraint("status IN ('open', 'done', 'cancelled')", name=op.f("ck_tasks_status_known")),
        sa.CheckConstraint(
            "(external_source IS NULL) = (external_id IS NULL)", name=op.f("ck_tasks_external_id_whole")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "assignee_id"],
            ["sales.members.workspace_id", "sales.members.id"],
            name=op.f("fk_tasks_assignee_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "customer_id"],
            ["sales.customers.workspace_id", "sales.customers.id"],
            name=op.f("fk_tasks_customer_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "interaction_id"],
            ["sales.interactions.workspace_id", "sales.interactions.id"],
            name=op.f("fk_tasks_interaction_id"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "opportunity_id"],
            ["sales.opportunities.workspace_id", "sales.opportunities.id"],
            name=op.f("fk_tasks_opportunity_id"),
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_tasks")),
        schema="sales",
    )
    op.create_index(
        "ix_tasks_assignee",
        "tasks",
        ["workspace_id", "assignee_id", "due_on"],
        unique=False,
        schema="sales",
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_index("ix_tasks_customer", "tasks", ["workspace_id", "customer_id"], unique=False, schema="sales")
    op.create_index("ix_tasks_opportunity", "tasks", ["workspace_id", "opportunity_id"], unique=False, schema="sales")
    op.create_index("ix_tasks_updated", "tasks", ["workspace_id", "updated_at", "id"], unique=False, schema="sales")
    op.create_index(
        "uq_tasks_external",
        "tasks",
        ["workspace_id", "external_source", "external_id"],
        unique=True,
        schema="sales",
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )


def upgrade() -> None:
    op.execute("CREATE SCHEMA sales")
    op.execute("CREATE SCHEMA scoring")
    op.execute("CREATE SCHEMA events")
    _outbox()
    _attribute_definitions()
    _audit_entries()
    _idempotency_keys()
    _import_chunks()
    _import_errors()
    _imports()
    _processes()
    _products()
    _workspaces()
    _dirty_marks()
    _drains()
    _loads()
    _models()
    _moves()
    _scores()
    _seats()
    _members()
    _policies()
    _stages()
    _api_keys()
    _customers()
    _pins()
    _teams()
    _contacts()
    _opportunities()
    _team_members()
    _interactions()
    _opportunity_members()
    _transitions()
    _interaction_contacts()
    _tasks()


def downgrade() -> None:
    """Removes everything: only for a database that is being thrown away."""
    for schema in ("events", "scoring", "sales"):
        op.execute(f"DROP SCHEMA {schema} CASCADE")
