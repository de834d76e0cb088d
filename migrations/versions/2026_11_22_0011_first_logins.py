"""A person who belongs to one workspace logs in the first time without naming it."""

from __future__ import annotations

revision = "2026_11_22_0011"
down_revision = "2026_11_22_0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
