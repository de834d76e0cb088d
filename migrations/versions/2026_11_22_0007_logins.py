"""Logins through an identity provider, and tickets for streams."""

from __future__ import annotations

revision = "2026_11_22_0007"
down_revision = "2026_11_22_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
