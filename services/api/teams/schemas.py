"""Wire types of teams."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from services.api.fields import ClientId, Instant, Name, Strict
from services.api.pagination import ListParams

MOST_MEMBERS = 1000


def _each_once(values: list[UUID]) -> list[UUID]:
    return list(dict.fromkeys(values))


MemberIds = Annotated[list[UUID], Field(max_length=MOST_MEMBERS), AfterValidator(_each_once)]


class TeamCreate(Strict):
    """A new team."""

    id: ClientId | None = Field(default=None, description="A UUIDv7 made by the client.")
    name: Name = Field(examples=["North"])
    manager_id: UUID | None = Field(default=None, description="A manager, who sees the records of the team's members.")
    member_ids: MemberIds = Field(default_factory=list)


class TeamPatch(Strict):
    """Changes to a team, as JSON merge-patch."""

    name: Name | None = None
    manager_id: UUID | None = None
    member_ids: MemberIds | None = Field(default=None, description="Takes the place of the list there is.")
    clear: list[str] | None = Field(default=None, description="Names of fields to clear, for clients without null.")


class Team(BaseModel):
    """Members whose records a manager sees."""

    id: UUID
    name: str
    manager_id: UUID | None
    member_ids: list[UUID]
    version: int = Field(description="Counts changes; the ETag is this number in quotes.")
    occurred_at: datetime
    recorded_at: datetime
    updated_at: datetime


class TeamFilters(ListParams):
    """Filters and order of the list of teams."""

    sort: str | None = Field(default=None, description="name, recorded_at, updated_at; - before it turns the order.")
    manager_id: UUID | None = None
    member_id: UUID | None = None
    updated_after: Instant | None = None
