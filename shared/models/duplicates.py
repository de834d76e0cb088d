"""Records that may be the same, and those that were made one."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from shared.models.base import one_of, recorded_columns, refers_to, tenant_table, time_column, uuid_column

MERGED_KINDS = ("customer", "contact")

# What two records that are the same would have in common, written by triggers of customers and contacts alone.
duplicate_keys = tenant_table(
    "duplicate_keys",
    Column("subject_type", Text, nullable=False),
    Column("key", Text, nullable=False),
    uuid_column("subject_id"),
    one_of("subject_type", MERGED_KINDS),
    key=("subject_type", "key", "subject_id"),
)

merges = tenant_table(
    "merges",
    Column("kind", Text, nullable=False),
    uuid_column("into_id"),
    uuid_column("from_id"),
    uuid_column("merged_by", nullable=True),
    # Of each field that the survivor took over: what it was before, and what it became.
    Column("fields", JSONB, nullable=False),
    # How many rows of each kind were moved; which ones is in `merge_moves`.
    Column("moved", JSONB, nullable=False),
    time_column("undone_at"),
    uuid_column("undone_by", nullable=True),
    # Fields that were changed after the merge, and so were left as they were by its undoing.
    Column("kept_fields", ARRAY(Text)),
    # Since when `fields` holds names alone.
    time_column("forgotten_at"),
    *recorded_columns(),
    one_of("kind", MERGED_KINDS),
    CheckConstraint("into_id <> from_id", name="of_two"),
    refers_to("merged_by", "members"),
    refers_to("undone_by", "members"),
    Index("uq_merges_from", "workspace_id", "kind", "from_id", unique=True, postgresql_where=text("undone_at IS NULL")),
    Index("ix_merges_into", "workspace_id", "kind", "into_id"),
    Index("ix_merges_remembered", "recorded_at", postgresql_where=text("forgotten_at IS NULL")),
)

# The journal: every row that a merge moved, so that exactly these go back.
merge_moves = tenant_table(
    "merge_moves",
    uuid_column("merge_id"),
    Column("kind", Text, nullable=False),
    uuid_column("row_id"),
    refers_to("merge_id", "merges"),
    key=("merge_id", "kind", "row_id"),
)
