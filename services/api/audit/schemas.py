"""Wire types of the audit trail."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from services.api.fields import Instant
from services.api.pagination import ListParams


class AuditEntry(BaseModel):
    """Who changed what, and when. Nothing here is ever changed or removed."""

    id: UUID
    recorded_at: datetime
    actor_id: UUID | None = Field(description="The member who acted; null is the service itself.")
    request_id: str | None
    action: str = Field(examples=["opportunity.pass"])
    subject_type: str
    subject_id: UUID
    version: int | None = Field(description="The subject's version after the change.")
    changes: dict[str, Any] = Field(
        description="Changed fields with [before, after]; null where the value is personal and so not kept."
    )


class AuditFilters(ListParams):
    """Filters and order of the audit trail."""

    sort: str | None = Field(default=None, description="recorded_at; - before it turns the order.")
    subject_type: str | None = None
    subject_id: UUID | None = None
    actor_id: UUID | None = None
    action: str | None = None
    request_id: str | None = None
    recorded_after: Instant | None = None
    recorded_before: Instant | None = None
