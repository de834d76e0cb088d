"""Wire types of exports."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from services.api.errors import FieldError
from services.api.fields import Strict
from services.api.pagination import ListParams

ExportKind = Literal["customers", "contacts", "products", "opportunities", "interactions", "tasks", "transitions"]
ExportFormat = Literal["csv", "xlsx", "ndjson"]
ExportStatus = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]


class ExportCreate(Strict):
    """What to put into the file."""

    kind: ExportKind = Field(description="What its rows are; `transitions` are the history of opportunities.")
    format: ExportFormat = Field(default="csv", description="CSV is UTF-8 with a mark at its beginning (RFC 4180).")
    filters: dict[str, Any] = Field(
        default_factory=dict,
        max_length=30,
        description="The filters of the kind's list, such as `owner_id`, `status` or `attribute`, and"
        " `include_deleted`. Transitions have `opportunity_id` and `recorded_after`.",
    )


class Export(BaseModel):
    """A file given out: how far it is, and until when it can be fetched."""

    id: UUID
    kind: str
    format: ExportFormat
    filters: dict[str, Any]
    status: ExportStatus
    problem: FieldError | None = Field(description="Why it could not be made.")
    rows_written: int
    total_bytes: int = Field(description="Size of the file so far.")
    cancel_requested: bool
    created_by: UUID | None
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None = Field(description="The file can be fetched until then: for a week.")
    version: int = Field(description="Counts changes; the ETag is this number in quotes.")
    recorded_at: datetime
    updated_at: datetime


class ExportFilters(ListParams):
    """Filters and order of the list of exports."""

    sort: str | None = Field(default=None, description="recorded_at, updated_at; - before it turns the order.")
    kind: ExportKind | None = None
    status: ExportStatus | None = None
