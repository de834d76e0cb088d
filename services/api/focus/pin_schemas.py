"""Wire types of pins and mutes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from services.api.fields import Instant, Known, ShortText, Strict
from services.api.focus.schemas import SeatedBand, SubjectType
from services.api.pagination import ListParams
from shared.catalog.scoring import PIN_KINDS

PinKind = Annotated[str, Known(PIN_KINDS)]


class PinCreate(Strict):
    """Holds a subject in a band against priority (not against capacity or class), or takes it out until a date."""

    kind: PinKind
    subject_type: SubjectType
    subject_id: UUID
    band: SeatedBand | None = Field(default=None, description="For a pin: the band to hold it in.")
    reason: ShortText
    expires_at: Instant = Field(description="In the future, at most 90 days ahead.")


class Pin(BaseModel):
    """A pin or a mute."""

    id: UUID
    kind: str
    owner_id: UUID
    subject_type: str
    subject_id: UUID
    band: str | None
    reason: str
    expires_at: datetime
    ended_at: datetime | None
    active: bool
    created_by: UUID | None
    version: int
    recorded_at: datetime
    updated_at: datetime


class PinFilters(ListParams):
    """Which pins and mutes; those that have ended too, unless `active=true`."""

    owner_id: UUID | None = None
    subject_id: UUID | None = None
    kind: PinKind | None = None
    active: bool | None = None
    sort: str | None = Field(default=None, description="recorded_at or expires_at; - before it turns the order.")
