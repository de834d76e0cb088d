"""Duplicates, merges and how they are undone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.matching import FUNCTIONS, SIGNATURES
from migrations.tenants import protect

revision = "2026_11_22_0009"
down_revision = "2026_11_22_0008"
branch_labels = None
depends_on = None

# What a record's keys are made of. They are kept by the database itself, so that no way of writing can forget them.
SUBJECTS = {
    "customer": (
        "customers",
        "'customer', {row}.name, {row}.sort_key, NULL::uuid, {row}.phone, {row}.email, {row}.website",
        ("name", "sort_key", "phone", "email", "website", "deleted_at"),
    ),
    "contact": (
        "contacts",
        "'contact', {row}.name, NULL::text, {row}.customer_id, {row}.phone, {row}.email, NULL::text",
        ("name", "customer_id", "phone", "email", "deleted_at"),
    ),
}
KEYS_OF_ADDED = """
CREATE FUNCTION sales.keep_{kind}_keys_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO sales.duplicate_keys (workspace_id, subject_type, key, subject_id)
  SELECT a.workspace_id, '{kind}', k.key, a.id
  FROM added a CROSS JOIN LATERAL unnest(sales.duplicate_keys_of({arguments})) AS k(key)
  WHERE a.deleted_at IS NULL;
  RETURN NULL;
END $$
"""
KEYS_OF_CHANGED = """
CREATE FUNCTION sales.keep_{kind}_keys_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM sales.duplicate_keys
  WHERE workspace_id = OLD.workspace_id AND subject_type = '{kind}' AND subject_id = OLD.id
    AND key = ANY (sales.duplicate_keys_of({before}));
  IF TG_OP = 'UPDATE' AND NEW.deleted_at IS NULL THEN
    INSERT INTO sales.duplicate_keys (workspace_id, subject_type, key, subject_id)
    SELECT NEW.workspace_id, '{kind}', k.key, NEW.id FROM unnest(sales.duplicate_keys_of({arguments})) AS k(key);
  END IF;
  RETURN NULL;
END $$
"""

# Where a merged record's facts are now: the end of the chain of merges that begins with it; null where it is none.
SURVIVOR_OF = """
CREATE FUNCTION sales.survivor_of(in_workspace uuid, of_kind text, of_id uuid) RETURNS uuid
LANGUAGE sql STABLE AS $$
  WITH RECURSIVE chain AS (
    SELECT m.into_id, 1 AS depth FROM sales.merges m
    WHERE m.workspace_id = in_workspace AND m.kind = of_kind AND m.from_id = of_id AND m.undone_at IS NULL
    UNION ALL
    SELECT m.into_id, c.depth + 1 FROM chain c JOIN sales.merges m ON m.workspace_id = in_workspace
      AND m.kind = of_kind AND m.from_id = c.into_id AND m.undone_at IS NULL
  )
  SELECT into_id FROM chain ORDER BY depth DESC LIMIT 1
$$
"""

# An opportunity changes its customer by a merge or its undoing, and in no other way.
GUARD_CUSTOMER = """
CREATE FUNCTION sales.guard_customer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (
    SELECT FROM sales.merges m WHERE m.workspace_id = OLD.workspace_id AND m.kind = 'customer'
      AND ((m.from_id = OLD.customer_id AND m.into_id = NEW.customer_id AND m.undone_at IS NULL)
        OR (m.from_id = NEW.customer_id AND m.into_id = OLD.customer_id AND m.undone_at IS NOT NULL))
  ) THEN
    RAISE EXCEPTION 'opportunity % stays with its customer: only a merge moves it', OLD.id USING ERRCODE = 'SX012';
  END IF;
  RETURN NEW;
END $$
"""

# What was merged into another record comes back by undoing the merge, and in no other way.
GUARD_MERGED = """
CREATE FUNCTION sales.guard_merged() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT FROM sales.merges m WHERE m.workspace_id = OLD.workspace_id AND m.kind = TG_ARGV[0]
      AND m.from_id = OLD.id AND m.undone_at IS NULL
  ) THEN
    RAISE EXCEPTION '% % was merged into another record', TG_ARGV[0], OLD.id USING ERRCODE = 'SX013';
  END IF;
  RETURN NEW;
END $$
"""

# A request that looked at its customer just before a merge must not leave its row with the one that is gone: its
# foreign key has waited for the merge's lock, and this sees what the merge has done.
GUARD_ADDED = """
CREATE FUNCTION sales.guard_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT FROM added a JOIN sales.merges m ON m.workspace_id = a.workspace_id AND m.kind = 'customer'
      AND m.from_id = a.customer_id AND m.undone_at IS NULL
  ) THEN
    RAISE EXCEPTION 'the customer was merged into another one' USING ERRCODE = 'SX013';
  END IF;
  RETURN NULL;
END $$
"""
# The same of a contact that an interaction names.
GUARD_NAMED = """
CREATE FUNCTION sales.guard_named() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT FROM added a JOIN sales.merges m ON m.workspace_id = a.workspace_id AND m.kind = 'contact'
      AND m.from_id = a.contact_id AND m.undone_at IS NULL
  ) THEN
    RAISE EXCEPTION 'the contact was merged into another one' USING ERRCODE = 'SX013';
  END IF;
  RETURN NULL;
END $$
"""
OF_CUSTOMERS = ("contacts", "interactions", "tasks", "opportunities")


def upgrade() -> None:
    _tables()
    for statement in (*FUNCTIONS, SURVIVOR_OF, GUARD_CUSTOMER, GUARD_MERGED, GUARD_ADDED, GUARD_NAMED):
        op.execute(statement)
    protect("sales.duplicate_keys", "SELECT, INSERT, DELETE TO sixteen_api")
    protect("sales.merges", "SELECT, INSERT, UPDATE TO sixteen_api")
    protect("sales.merge_moves", "SELECT, INSERT TO sixteen_api")
    op.execute("GRANT UPDATE (customer_id) ON sales.opportunities TO sixteen_api")
    op.execute(
        "CREATE TRIGGER customer BEFORE UPDATE OF customer_id ON sales.opportunities FOR EACH ROW"
        " WHEN (OLD.customer_id IS DISTINCT FROM NEW.customer_id) EXECUTE FUNCTION sales.guard_customer()"
    )
    for kind, (table, *_) in SUBJECTS.items():
        _keep_keys(kind)
        op.execute(
            f"CREATE TRIGGER merged BEFORE UPDATE OF deleted_at ON sales.{table} FOR EACH ROW"
            " WHEN (OLD.deleted_at IS NOT NULL AND NEW.deleted_at IS NULL)"
            f" EXECUTE FUNCTION sales.guard_merged('{kind}')"
        )
    for table in OF_CUSTOMERS:
        op.execute(
            f"CREATE TRIGGER merged_customer AFTER INSERT ON sales.{table} REFERENCING NEW TABLE AS added"
            " FOR EACH STATEMENT EXECUTE FUNCTION sales.guard_added()"
        )
    op.execute(
        "CREATE TRIGGER merged_contact AFTER INSERT ON sales.interaction_contacts REFERENCING NEW TABLE AS added"
        " FOR EACH STATEMENT EXECUTE FUNCTION sales.guard_named()"
    )


def _tables() -> None:
    op.create_table(
        "duplicate_keys",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "subject_type IN ('customer', 'contact')", name=op.f("ck_duplicate_keys_subject_type_known")
        ),
        sa.PrimaryKeyConstraint("workspace_id", "subject_type", "key", "subject_id", name=op.f("pk_duplicate_keys")),
        schema="sales",
    )
    op.create_table(
        "merges",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("into_id", sa.UUID(), nullable=False),
        sa.Column("from_id", sa.UUID(), nullable=False),
        sa.Column("merged_by", sa.UUID(), nullable=True),
        sa.Column("fields", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("moved", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undone_by", sa.UUID(), nullable=True),
        sa.Column("kept_fields", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("into_id <> from_id", name=op.f("ck_merges_of_two")),
        sa.CheckConstraint("kind IN ('customer', 'contact')", name=op.f("ck_merges_kind_known")),
        sa.ForeignKeyConstraint(
            ["workspace_id", "merged_by"], ["sales.members.workspace_id", "sales.members.id"],
            name=op.f("fk_merges_merged_by"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "undone_by"], ["sales.members.workspace_id", "sales.members.id"],
            name=op.f("fk_merges_undone_by"),
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name=op.f("pk_merges")),
        schema="sales",
    )  # fmt: skip
    op.create_index(
        "uq_merges_from", "merges", ["workspace_id", "kind", "from_id"], unique=True, schema="sales",
        postgresql_where=sa.text("undone_at IS NULL"),
    )  # fmt: skip
    op.create_index("ix_merges_into", "merges", ["workspace_id", "kind", "into_id"], schema="sales")
    op.create_table(
        "merge_moves",
        sa.Column("workspace_id", sa.UUID(), nullable=False),
        sa.Column("merge_id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("row_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "merge_id"], ["sales.merges.workspace_id", "sales.merges.id"],
            name=op.f("fk_merge_moves_merge_id"),
        ),
        sa.PrimaryKeyConstraint("workspace_id", "merge_id", "kind", "row_id", name=op.f("pk_merge_moves")),
        schema="sales",
    )  # fmt: skip


def _keep_keys(kind: str) -> None:
    """Triggers that keep a table's keys, and the keys of what is there already."""
    table, arguments, watched = SUBJECTS[kind]
    changed = " OR ".join(f"OLD.{name} IS DISTINCT FROM NEW.{name}" for name in watched)
    op.execute(KEYS_OF_ADDED.format(kind=kind, arguments=arguments.format(row="a")))
    op.execute(
        KEYS_OF_CHANGED.format(kind=kind, arguments=arguments.format(row="NEW"), before=arguments.format(row="OLD"))
    )
    op.execute(
        f"CREATE TRIGGER keys_added AFTER INSERT ON sales.{table} REFERENCING NEW TABLE AS added"
        f" FOR EACH STATEMENT EXECUTE FUNCTION sales.keep_{kind}_keys_added()"
    )
    op.execute(
        f"CREATE TRIGGER keys_changed AFTER UPDATE ON sales.{table} FOR EACH ROW"
        f" WHEN ({changed}) EXECUTE FUNCTION sales.keep_{kind}_keys_changed()"
    )
    op.execute(
        f"CREATE TRIGGER keys_gone AFTER DELETE ON sales.{table}"
        f" FOR EACH ROW EXECUTE FUNCTION sales.keep_{kind}_keys_changed()"
    )
    # The owner of the tables is held by their policies too, and here alone works across workspaces.
    for each in (table, "duplicate_keys"):
        op.execute(f"ALTER TABLE sales.{each} NO FORCE ROW LEVEL SECURITY")
    op.execute(
        "INSERT INTO sales.duplicate_keys (workspace_id, subject_type, key, subject_id)"
        f" SELECT t.workspace_id, '{kind}', k.key, t.id FROM sales.{table} t"
        f" CROSS JOIN LATERAL unnest(sales.duplicate_keys_of({arguments.format(row='t')})) AS k(key)"
        " WHERE t.deleted_at IS NULL"
    )
    for each in (table, "duplicate_keys"):
        op.execute(f"ALTER TABLE sales.{each} FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    op.execute("DROP TRIGGER merged_contact ON sales.interaction_contacts")
    for table in OF_CUSTOMERS:
        op.execute(f"DROP TRIGGER merged_customer ON sales.{table}")
    for kind, (table, *_) in SUBJECTS.items():
        for trigger in ("merged", "keys_added", "keys_changed", "keys_gone"):
            op.execute(f"DROP TRIGGER {trigger} ON sales.{table}")
        op.execute(f"DROP FUNCTION sales.keep_{kind}_keys_added, sales.keep_{kind}_keys_changed")
    op.execute("DROP TRIGGER customer ON sales.opportunities")
    op.execute("REVOKE UPDATE (customer_id) ON sales.opportunities FROM sixteen_api")
    op.execute("DROP FUNCTION sales.guard_customer, sales.guard_merged, sales.guard_added, sales.guard_named")
    op.execute("DROP FUNCTION sales.survivor_of(uuid, text, uuid)")
    for signature in SIGNATURES:
        op.execute(f"DROP FUNCTION {signature}")
    for table in ("merge_moves", "merges", "duplicate_keys"):
        op.drop_table(table, schema="sales")
