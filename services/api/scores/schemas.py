"""Wire types of a judgement."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from services.api.focus.schemas import Coded, Criterion, PriorityParts, ProbabilityRange


class ScoreModel(BaseModel):
    """Which model judged, and what it rests on: `prior` until the workspace's own outcomes take over."""

    version: str
    regime: str


class Contribution(Coded):
    """One push on the log-odds; all together add up to the log-odds of the probability."""

    value: float
    text: str


class ScorePart(Coded):
    """A number behind the criteria; null is unknown."""

    value: float | None


class ScorePriority(BaseModel):
    """What an hour of the rep's time is worth here, in `currency`, and what that is made of."""

    value: float
    currency: str
    parts: PriorityParts


class SeatRef(BaseModel):
    """The seat it holds."""

    owner_id: UUID
    band: str
    rank: int | None
    since: datetime


class Score(BaseModel):
    """How an opportunity is judged: `pending` until it first is, `closed` once it has an outcome."""

    opportunity_id: UUID
    status: Literal["judged", "pending", "closed"]
    outcome: str | None = Field(description="won, lost, abandoned or cancelled; null while it is open.")
    version: int = Field(description="The opportunity's present version.")
    probability: ProbabilityRange | None
    model: ScoreModel | None
    contributions: list[Contribution]
    criteria: list[Criterion]
    parts: list[ScorePart]
    priority: ScorePriority | None
    class_: str | None = Field(alias="class")
    seat: SeatRef | None
    unknowns: list[Coded]
    flags: list[Coded]
    next_due_at: datetime | None = Field(description="When it is judged again though nothing happens.")
    scored_at: datetime | None
    facts_version: int | None = Field(description="The opportunity's version that was judged.")
    stale: bool = Field(description="The opportunity has changed since it was judged.")
    pending: bool = Field(description="A fresh judgement is on its way.")
