"""What the api-worker reads from its environment beside what it shares with the api."""

from __future__ import annotations

from pydantic import Field

from services.api.settings import ApiSettings


class WorkerSettings(ApiSettings):
    """Settings of `api-worker`; environment variables are `SIXTEEN_` and the field's name in capitals."""

    database_pool: int = Field(default=10, ge=3, le=50, description="Connections this process may hold.")
    import_batch: int = Field(default=2_000, ge=1, le=20_000, description="Rows imported in one transaction.")
    imports_at_once: int = Field(default=2, ge=1, le=16, description="Imports run side by side, each of a workspace.")
    import_lease_seconds: float = Field(default=15, ge=1, description="A killed worker's import rests for this long.")
    import_attempts: int = Field(default=8, ge=1, description="Failures in a row after which an import is given up.")
    due_batch: int = Field(default=5_000, ge=1, le=50_000, description="Subjects marked in one look at the clock.")
    stop_seconds: float = Field(default=10, gt=0, description="A batch may take this long to end at a stop.")
    delivery_fast_slots: int = Field(default=200, ge=1, description="Attempts at once to receivers that answer well.")
    delivery_new_slots: int = Field(default=50, ge=1, description="Attempts at once to receivers never heard of.")
    delivery_slow_slots: int = Field(default=300, ge=1, description="Attempts at once to slow or failing receivers.")
    delivery_endpoint_slots: int = Field(default=20, ge=1, description="Attempts at once to one endpoint.")
    delivery_sockets: int = Field(default=2_000, ge=10, description="Attempts at once, all together.")
    delivery_lease_seconds: float = Field(default=30, ge=1, description="A killed worker's deliveries rest for this.")
