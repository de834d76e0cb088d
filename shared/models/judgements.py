"""What the scoring worker writes: scores, seats, moves, and the marks that drive it.

Scores are fixed-length number arrays; what each place means is in `models`, so that the api can render words
for any version of the model, and a hundred thousand rows can be written as one binary stream.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Identity, Index, Integer, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, REAL

from shared.models.base import SCORING, one_of, tenant_table, time_column, uuid_column

SUBJECT_TYPES = ("opportunity", "customer")
BANDS = ("engage", "track", "monitor", "backlog", "muted")

# 'owner' re-ranks one rep; 'workspace' judges everything again, in batches, behind interactive work.
dirty_marks = tenant_table(
    "dirty_marks",
    Column("subject_type", Text, nullable=False),
    uuid_column("subject_id"),
    # Never the same number twice, so that a mark made again after its deletion is not taken for the one deleted.
    Column("version", BigInteger, Identity(), nullable=False),
    Column("lane", SmallInteger, nullable=False, server_default=text("0")),
    Column("cause", JSONB, nullable=False, server_default=text("'{}'")),
    time_column("marked_at", nullable=False),
    one_of("subject_type", ("opportunity", "customer", "owner", "workspace")),
    Index("ix_dirty_marks_order", "workspace_id", "lane", "marked_at"),
    schema=SCORING,
    key=("subject_type", "subject_id"),
)

# One row a workspace: its lock makes one drainer at a time, its cursor lets a whole re-score go in batches.
drains = tenant_table(
    "drains",
    uuid_column("cursor", nullable=True),
    # Owners come first, by id; then the opportunities that nobody owns, by theirs.
    Column("cursor_ownerless", Boolean, nullable=False, server_default=text("false")),
    Column("cursor_version", BigInteger),
    time_column("last_drained_at"),
    schema=SCORING,
    key=(),
)

models = tenant_table(
    "models",
    Column("version", Text, nullable=False),
    Column("regime", Text, nullable=False),
    Column("codes", JSONB, nullable=False),
    time_column("recorded_at", nullable=False),
    schema=SCORING,
    key=("version",),
)

scores = tenant_table(
    "scores",
    uuid_column("opportunity_id"),
    uuid_column("owner_id", nullable=True),
    uuid_column("customer_id"),
    Column("facts_version", Integer, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("probability", Float, nullable=False),
    Column("probability_low", Float, nullable=False),
    Column("probability_high", Float, nullable=False),
    Column("priority", Float, nullable=False),
    Column("margin", Float, nullable=False),
    Column("urgency", Float, nullable=False),
    Column("slack_days", Float, nullable=False),
    Column("hours", Float, nullable=False),
    Column("class_code", SmallInteger, nullable=False),
    Column("flags", Integer, nullable=False),
    Column("unknowns", BigInteger, nullable=False),
    Column("imputed", Integer, nullable=False),
    Column("criteria", ARRAY(REAL), nullable=False),
    Column("parts", ARRAY(REAL), nullable=False),
    Column("contributions", ARRAY(REAL), nullable=False),
    time_column("next_due_at"),
    # Stands for all of the judgement: one that comes out as it was is known by it and not written again.
    Column("digest", BigInteger, nullable=False, server_default=text("0")),
    time_column("scored_at", nullable=False),
    Index("ix_scores_owner", "workspace_id", "owner_id"),
    Index("ix_scores_priority", "workspace_id", "priority", "opportunity_id"),
    Index("ix_scores_due", "next_due_at"),
    schema=SCORING,
    key=("opportunity_id",),
)

seats = tenant_table(
    "seats",
    Column("subject_type", Text, nullable=False),
    uuid_column("subject_id"),
    uuid_column("owner_id"),
    uuid_column("customer_id"),
    Column("band", Text, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("class_code", SmallInteger, nullable=False),
    Column("priority", Float, nullable=False),
    Column("slack_days", Float, nullable=False),
    time_column("since", nullable=False),
    time_column("next_due_at"),
    one_of("subject_type", SUBJECT_TYPES),
    one_of("band", BANDS),
    Index("ix_seats_owner", "workspace_id", "owner_id", "rank"),
    Index("ix_seats_due", "next_due_at"),
    schema=SCORING,
    key=("subject_type", "subject_id"),
)

moves = tenant_table(
    "moves",
    uuid_column("owner_id"),
    Column("subject_type", Text, nullable=False),
    uuid_column("subject_id"),
    Column("from_band", Text),
    Column("to_band", Text),
    Column("cause", JSONB, nullable=False),
    time_column("recorded_at", nullable=False),
    Index("ix_moves_owner", "workspace_id", "owner_id", "id"),
    Index("ix_moves_subject", "workspace_id", "subject_type", "subject_id", "id"),
    schema=SCORING,
)

# One row a rep: what the last triage found, for shortages and the base deficit.
loads = tenant_table(
    "loads",
    uuid_column("owner_id"),
    Column("counts", JSONB, nullable=False),
    Column("shortages", JSONB, nullable=False),
    time_column("triaged_at", nullable=False),
    schema=SCORING,
    key=("owner_id",),
)
