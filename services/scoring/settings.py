"""What the scoring worker reads from its environment."""

from __future__ import annotations

from pydantic import Field

from shared.settings import Settings


class ScoringSettings(Settings):
    """Settings of the scoring worker; environment variables are `SIXTEEN_` and the field's name in capitals."""

    database_role: str | None = Field(default="sixteen_scoring", description="Role to enter; empty stays the login's.")
    database_pool: int = Field(default=4, ge=2, le=50, description="Connections this process may hold.")
    drain_batch: int = Field(default=1_000, ge=1, le=20_000, description="Dirty marks taken in one transaction.")
    rescore_batch: int = Field(
        default=40_000, ge=1, le=100_000, description="Subjects judged in one part of a whole re-score."
    )
    rescore_contested_batch: int = Field(
        default=4_000, ge=1, le=100_000, description="The same while interactive work waits behind the part."
    )
    rescore_wait_seconds: float = Field(
        default=1, gt=0, description="A whole re-score waits for interactive work at most this long between two parts."
    )
    rescore_shares: int = Field(default=3, ge=1, le=16, description="Transactions that share a part of a re-score.")
    sweep_seconds: float = Field(default=0.5, gt=0, le=1, description="Looks for marks at least this often.")
    poison_seconds: float = Field(default=60, gt=0, description="A mark that can't be judged rests for this long.")
    medians_seconds: float = Field(
        default=60, ge=0, description="How long medians and rates of a workspace are reused."
    )
    metrics_port: int = Field(default=0, ge=0, le=65_535, description="Port of /livez, /readyz, /metrics; 0 for none.")
    stop_seconds: float = Field(default=10, gt=0, description="A drain may take this long to end at a stop.")

    @property
    def role(self) -> str:
        """The role to enter with the connection; empty stays with the login's own."""
        return self.database_role or ""
