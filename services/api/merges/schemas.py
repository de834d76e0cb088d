"""Wire types of merges."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from services.api.fields import Known, Strict
from services.api.pagination import ListParams
from shared.catalog.duplicates import MERGE_KINDS, MERGE_SIDES

MergeKind = Annotated[str, Known(MERGE_KINDS)]
Side = Annotated[str, Known(MERGE_SIDES)]


class MergeCreate(Strict):
    """Two records that are one. If-Match guards the one that stays, `from_version` the other."""

    into: UUID = Field(description="The record that stays.")
    from_: UUID = Field(alias="from", description="The record that becomes part of it.")
    from_version: int | None = Field(default=None, ge=1, description="Refused where `from` has another version now.")
    fields: dict[str, Side] = Field(
        default_factory=dict,
        max_length=50,
        description="Whose value a field takes, by its name: `into` or `from`. A field left out keeps the value of the"
        " record that stays, or takes the other's where that has none.",
        examples=[{"phone": "from"}],
    )


class Merge(BaseModel):
    """Two records that were made one, and whether that was undone."""

    id: UUID
    kind: str = Field(description="What was merged: customer or contact.")
    into_id: UUID = Field(description="The record that stayed.")
    from_id: UUID = Field(description="The record that became part of it; reading it answers 410 `merged`.")
    merged_by: UUID | None
    fields: list[str] = Field(description="Fields whose value came from the merged record.")
    moved: dict[str, int] = Field(description="How many records of each kind were moved.")
    undoable_until: datetime | None = Field(description="Until when it can be undone; null where it was.")
    undone_at: datetime | None
    undone_by: UUID | None
    kept_fields: list[str] | None = Field(
        description="Fields that had been changed since, and which undoing therefore left as they were."
    )
    version: int = Field(description="Counts changes; the ETag is this number in quotes.")
    occurred_at: datetime
    recorded_at: datetime
    updated_at: datetime


class MergeFilters(ListParams):
    """Filters and order of the list of merges."""

    sort: str | None = Field(default=None, description="recorded_at; - before it turns the order.")
    kind: MergeKind | None = None
    into_id: UUID | None = None
    from_id: UUID | None = None
    undone: bool | None = Field(default=None, description="Whether it was undone.")
