"""Wire types of the ranked seats."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from services.api.fields import Instant, Known, Money
from services.api.pagination import ListParams, Page
from shared.catalog.labels import Labels
from shared.catalog.selling import BANDS, CLASSES

Band = Annotated[str, Known(BANDS)]
SEATED: Labels = {code: BANDS[code] for code in ("engage", "track", "monitor")}
SeatedBand = Annotated[str, Known(SEATED)]
WITHIN: Labels = {code: BANDS[code] for code in ("engage", "track", "monitor", "backlog")}
ClassCode = Annotated[str, Known(CLASSES)]
SubjectType = Literal["opportunity", "customer"]


class FocusFilters(ListParams):
    """Which seats: one band, or everything within a border."""

    owner_id: UUID | None = Field(default=None, description="Whose seats; the caller's own by default.")
    band: Band | None = Field(default=None, description="This band alone: `track` leaves out engage.")
    within: Annotated[str, Known(WITHIN)] | None = Field(
        default=None, description="This band and those inside it: `track` includes engage."
    )
    class_: ClassCode | None = Field(default=None, alias="class", description="Only this class.")

    @field_validator("within")
    @classmethod
    def one_of_both(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("band") is not None:
            raise ValueError("give band or within, not both")
        return value


class Coded(BaseModel):
    """A code with its label in the reader's language."""

    code: str
    label: str


class SeatSubject(BaseModel):
    """What holds a seat."""

    type: SubjectType
    id: UUID
    name: str
    version: int


class CustomerRef(BaseModel):
    id: UUID
    name: str


class StageRef(BaseModel):
    id: UUID
    key: str
    name: str


class ProbabilityRange(BaseModel):
    """The win probability with its 80 % interval; never 0 and never 1."""

    value: float
    low: float
    high: float


class PriorityParts(BaseModel):
    """What the priority is made of: margin × probability × urgency ÷ max(1, hours)."""

    margin: float | None = Field(description="Expected gross margin in the workspace's currency.")
    probability: float
    urgency: float | None
    slack_days: float | None
    hours: float | None
    imputed: list[str] = Field(description="Parts that were unknown and took the median of their process.")


class Criterion(Coded):
    """One of the five criteria, 0 to 1; null is unknown, not zero."""

    value: float | None


class Reason(BaseModel):
    """Something that sets this priority apart."""

    code: str
    text: str
    effect: float | None = Field(
        description="On the natural logarithm of the priority: +0.69 doubles it, −0.69 halves it."
    )
    value: float | None = Field(description="The number behind it: a part of the priority, or a push on the log-odds.")


class SeatNextStep(BaseModel):
    title: str
    due_on: date


class PinRef(BaseModel):
    """The pin or mute that stands on the subject."""

    id: UUID
    kind: str
    band: SeatedBand | None
    expires_at: datetime


class Seat(BaseModel):
    """One ranked seat, with the reasons for its place."""

    rank: int | None = Field(description="From 1, over all bands; null for a muted subject.")
    band: str
    class_: str = Field(alias="class")
    priority: float = Field(description="What an hour of the rep's time is worth here, in the workspace's currency.")
    subject: SeatSubject
    customer: CustomerRef
    stage: StageRef | None
    amount: Money | None
    purchase_date: date | None
    probability: ProbabilityRange | None
    parts: PriorityParts | None
    criteria: list[Criterion]
    reasons: list[Reason]
    unknowns: list[Coded]
    flags: list[Coded]
    next_step: SeatNextStep | None
    since: datetime = Field(description="When it came to this band.")
    pinned: bool = Field(description="Whether a pin holds it in this band.")
    pin: PinRef | None


class SeatCounts(BaseModel):
    """Seats taken in each band by itself."""

    engage: int
    track: int
    monitor: int
    backlog: int
    muted: int


class SeatCapacities(BaseModel):
    """Nested: track includes engage, monitor includes both."""

    engage: int
    track: int
    monitor: int


class LackingClass(BaseModel):
    """Of the empty seats, those that subjects further out could take but for their class."""

    engage: int
    track: int


class Shortages(BaseModel):
    """Seats left empty within each border."""

    vacant: SeatCapacities
    lacking_class: LackingClass


class BaseDeficit(BaseModel):
    """Whether the rep has too few customers to choose from (D9.7)."""

    below_capacity: bool
    empty_seats: int
    needed_new_customers: int | None = Field(
        default=None,
        description="New customers of class A that it takes, at the rep's own rates from class to class, for as many"
        " wins as a full base of new customers would bring, beyond what the present base is expected to win. 0 for"
        " somebody who is no active rep and holds no seat; null before the first triage, moments after a rep was made.",
    )


class Standing(BaseModel):
    """How the rep stands whose seats are shown."""

    owner_id: UUID
    currency: str
    counts: SeatCounts
    capacities: SeatCapacities
    shortages: Shortages
    base_deficit: BaseDeficit
    triaged_at: datetime | None
    as_of: datetime
    pending: bool = Field(description="Facts have changed that are not judged yet.")


class FocusPage(Standing, Page[Seat]):
    """A page of one rep's seats, and how the rep stands."""


class MoveFilters(ListParams):
    """Which moves; by default those of everybody within the caller's reach."""

    owner_id: UUID | None = None
    subject_id: UUID | None = None
    since: Instant | None = Field(default=None, description="Recorded at or after this time.")


class SubjectName(BaseModel):
    type: str
    id: UUID
    name: str | None


class EventRef(BaseModel):
    """What set a move off."""

    type: str
    subject_type: str | None
    subject_id: UUID | None


class MoveCause(BaseModel):
    """Why it moved, in words."""

    code: str
    text: str
    by: SubjectName | None
    event: EventRef | None
    event_id: UUID | None
    request_id: str | None


class Move(BaseModel):
    """One change of band; `from` null: it was new, `to` null: it left."""

    id: UUID
    owner_id: UUID
    subject: SubjectName
    from_: str | None = Field(alias="from")
    to: str | None
    cause: MoveCause
    recorded_at: datetime


class NeglectedSeat(BaseModel):
    """An engage seat that nobody touched for longer than its cadence, with no next step ahead."""

    type: str
    id: UUID
    name: str
    rank: int


class RepOverview(BaseModel):
    """How one rep stands."""

    owner_id: UUID
    name: str
    counts: SeatCounts
    capacities: SeatCapacities
    shortages: Shortages
    base_deficit: BaseDeficit
    neglected: list[NeglectedSeat]
    triaged_at: datetime | None


def empty_counts() -> dict[str, Any]:
    return dict.fromkeys(SeatCounts.model_fields, 0)
