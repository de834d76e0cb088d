"""Wire types of members."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from services.api.fields import ClientId, EmailText, ExternalText, Instant, Known, Name, Strict
from services.api.pagination import ListParams
from shared.catalog.people import ROLES

Role = Annotated[str, Known(ROLES)]
Capacity = Annotated[int, Field(ge=0, le=10_000)]
_CAPACITY = "Null takes the workspace policy's. Bands are nested: engage ≤ track ≤ monitor."


class MemberUpsert(Strict):
    """A member as another system knows them; given by PUT under their external id."""

    name: Name = Field(examples=["Li Na"])
    email: EmailText | None = None
    role: Role
    active: bool = True
    engage_capacity: Capacity | None = Field(default=None, description=_CAPACITY)
    track_capacity: Capacity | None = Field(default=None, description=_CAPACITY)
    monitor_capacity: Capacity | None = Field(default=None, description=_CAPACITY)


class MemberCreate(MemberUpsert):
    """A new member."""

    id: ClientId | None = Field(default=None, description="A UUIDv7 made by the client.")
    external_source: ExternalText | None = None
    external_id: ExternalText | None = None


class MemberPatch(Strict):
    """Changes to a member, as JSON merge-patch: null clears, absent leaves alone."""

    name: Name | None = None
    email: EmailText | None = None
    role: Role | None = None
    active: bool | None = Field(default=None, description="false shuts out the member and all their keys.")
    engage_capacity: Capacity | None = Field(default=None, description=_CAPACITY)
    track_capacity: Capacity | None = Field(default=None, description=_CAPACITY)
    monitor_capacity: Capacity | None = Field(default=None, description=_CAPACITY)
    external_source: ExternalText | None = None
    external_id: ExternalText | None = None
    release: bool | None = Field(
        default=None,
        description="With active = false: their open opportunities go into the assignment queue.",
    )
    clear: list[str] | None = Field(default=None, description="Names of fields to clear, for clients without null.")


class Member(BaseModel):
    """Somebody, or some system, that works in the workspace."""

    id: UUID
    name: str
    email: str | None
    role: str
    active: bool
    engage_capacity: int | None
    track_capacity: int | None
    monitor_capacity: int | None
    external_source: str | None
    external_id: str | None
    version: int = Field(description="Counts changes; the ETag is this number in quotes.")
    occurred_at: datetime
    recorded_at: datetime
    updated_at: datetime


class MemberFilters(ListParams):
    """Filters and order of the list of members."""

    sort: str | None = Field(default=None, description="name, recorded_at, updated_at; - before it turns the order.")
    role: Role | None = None
    active: bool | None = None
    external_source: str | None = None
    updated_after: Instant | None = None
