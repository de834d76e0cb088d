"""Wire types of a rep's capacities."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from services.api.fields import Strict
from services.api.focus.schemas import SeatCapacities
from services.api.pagination import ListParams

Seats = Annotated[int, Field(ge=0, le=10_000)]


class OwnerParam(BaseModel):
    """Whose."""

    model_config = ListParams.model_config
    owner_id: UUID | None = Field(default=None, description="The caller by default.")


class CapacityPut(Strict):
    """A rep's own capacities; null takes the workspace's. Nested: track includes engage, monitor includes both."""

    engage: Seats | None = None
    track: Seats | None = None
    monitor: Seats | None = None


class OwnCapacities(BaseModel):
    engage: int | None
    track: int | None
    monitor: int | None


class Capacity(SeatCapacities):
    """The capacities in force, the rep's own ones, and the workspace's."""

    owner_id: UUID
    own: OwnCapacities
    policy: SeatCapacities
    version: int
