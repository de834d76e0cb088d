"""Wire types of transitions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from services.api.fields import Instant, Known, LongText, ShortText, Strict
from services.api.opportunities.schemas import Opportunity
from services.api.pagination import ListParams
from services.api.wire import dump
from shared.catalog.selling import ACTIONS

MOST_EVIDENCE = 20_000  # bytes
Action = Annotated[str, Known(ACTIONS)]


def _of_bounded_size(value: dict[str, Any]) -> dict[str, Any]:
    if len(dump(value)) > MOST_EVIDENCE:
        raise ValueError(f"must have at most {MOST_EVIDENCE} bytes: keep documents elsewhere, and name them here")
    return value


Evidence = Annotated[dict[str, Any], Field(max_length=50), AfterValidator(_of_bounded_size)]


class TransitionRequest(Strict):
    """One move of an opportunity along its process."""

    action: Action = Field(description="pass, back, void, lose, abandon, reopen or cancel.")
    stage_id: UUID | None = Field(
        default=None, description="pass: the stage whose milestone is reached, the current one by default."
    )
    to_stage_id: UUID | None = Field(
        default=None, description="back: the stage to stand in again, the one before by default."
    )
    reason: ShortText | None = Field(
        default=None, description="lose, abandon: a code of the catalog's close_reasons; void, cancel: in words."
    )
    note: LongText | None = None
    evidence: Evidence | None = Field(
        default=None,
        description="What shows that the milestone was reached: at most 50 members, and 20,000 bytes of JSON.",
    )
    occurred_at: Instant | None = Field(default=None, description="When it happened; now by default.")


class Transition(BaseModel):
    """A row of the append-only history: a passage, or what happened to one."""

    id: UUID
    opportunity_id: UUID
    action: str
    stage_id: UUID | None
    passage_id: UUID | None = Field(description="back, void: the passage that is withdrawn.")
    reason: str | None
    note: str | None
    evidence: dict[str, Any] | None
    criteria: str = Field(description="met; unverified where it was imported; waived by a manager.")
    imported: bool
    member_id: UUID | None
    occurred_at: datetime
    recorded_at: datetime


class TransitionResult(BaseModel):
    """The opportunity after a transition, and the ids of the rows recorded."""

    opportunity: Opportunity
    transition_ids: list[UUID]


class TransitionFilters(ListParams):
    """Order of the history."""

    sort: str | None = Field(default=None, description="recorded_at; - before it turns the order.")
