"""Wire types of interactions: what each touch keeps (D8.1, D8.5, D8.8)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from services.api.fields import (
    ClientId,
    Day,
    ExternalText,
    Instant,
    Known,
    LongText,
    Money,
    Share,
    ShortText,
    Strict,
)
from services.api.pagination import ListParams
from shared.catalog.interactions import DIRECTIONS, INTERACTION_KINDS, SETTING_QUALITIES, SIGNALS

MOST_CONTACTS = 50
MOST_PROMISES = 20

InteractionKind = Annotated[str, Known(INTERACTION_KINDS)]
Direction = Annotated[str, Known(DIRECTIONS)]
SettingQuality = Annotated[str, Known(SETTING_QUALITIES)]


def _each_once(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _each_id_once(values: list[UUID]) -> list[UUID]:
    return list(dict.fromkeys(values))


Signals = Annotated[
    list[Annotated[str, Known(SIGNALS)]], Field(max_length=2 * len(SIGNALS)), AfterValidator(_each_once)
]
ContactIds = Annotated[list[UUID], Field(max_length=MOST_CONTACTS), AfterValidator(_each_id_once)]
Minutes = Annotated[int, Field(ge=0, le=10_000)]
Rating = Annotated[int, Field(ge=1, le=10)]


class InteractionUpsert(Strict):
    """An interaction as another system knows it; given by PUT under its external id."""

    customer_id: UUID
    opportunity_id: UUID | None = Field(default=None, description="One of this customer's, where it was about one.")
    contact_ids: ContactIds = Field(default_factory=list, description="Who of the customer took part.")
    member_id: UUID | None = Field(default=None, description="Who of us took part; the caller by default.")
    kind: InteractionKind
    direction: Direction = "two_way"
    purpose: ShortText | None = Field(default=None, description="What it was to reach, set beforehand.")
    purpose_reached: bool | None = None
    summary: LongText | None = Field(default=None, description="What was learned.")
    place: ShortText | None = None
    setting_quality: SettingQuality | None = None
    minutes: Minutes | None = None
    cost: Money | None = None
    signals: Signals = Field(default_factory=list, description="Signals of interest the customer gave.")
    confidence: Share | None = Field(default=None, description="How sure the customer seems.")
    foreseen: ShortText | None = Field(default=None, description="What we think they will do next.")
    foreseen_came_true: bool | None = None
    customer_rating: Rating | None = Field(default=None, description="The customer's own rating of the rep, 1 to 10.")
    occurred_at: Instant | None = Field(default=None, description="When it took place; now by default.")


class Agreement(Strict):
    """Something agreed, with its date; it becomes a task."""

    title: ShortText = Field(examples=["Send the drawings"])
    due_on: Day | None = None


class NextStep(Strict):
    """What is to be done next, and when."""

    title: ShortText = Field(examples=["Visit the plant"])
    due_on: Day


class InteractionCreate(InteractionUpsert):
    """A new interaction. Promises and the next step become tasks of whoever took part for us."""

    id: ClientId | None = Field(default=None, description="A UUIDv7 made by the client, for offline capture.")
    external_source: ExternalText | None = None
    external_id: ExternalText | None = None
    promises: list[Agreement] = Field(default_factory=list, max_length=MOST_PROMISES)
    next_step: NextStep | None = None


class InteractionPatch(Strict):
    """Changes to an interaction, as JSON merge-patch: null clears, absent leaves alone."""

    opportunity_id: UUID | None = None
    contact_ids: ContactIds | None = Field(default=None, description="Takes the place of the list there is.")
    kind: InteractionKind | None = None
    direction: Direction | None = None
    purpose: ShortText | None = None
    purpose_reached: bool | None = None
    summary: LongText | None = None
    place: ShortText | None = None
    setting_quality: SettingQuality | None = None
    minutes: Minutes | None = None
    cost: Money | None = None
    signals: Signals | None = None
    confidence: Share | None = None
    foreseen: ShortText | None = None
    foreseen_came_true: bool | None = None
    customer_rating: Rating | None = None
    occurred_at: Instant | None = None
    clear: list[str] | None = Field(default=None, description="Names of fields to clear, for clients without null.")


class Interaction(BaseModel):
    """One recorded touch: a call, a visit, a meeting."""

    id: UUID
    customer_id: UUID
    opportunity_id: UUID | None
    contact_ids: list[UUID]
    member_id: UUID | None
    kind: str
    direction: str
    purpose: str | None
    purpose_reached: bool | None
    summary: str | None
    place: str | None
    setting_quality: str | None
    minutes: int | None
    cost: Money | None
    signals: list[str]
    confidence: float | None
    foreseen: str | None
    foreseen_came_true: bool | None
    customer_rating: int | None
    external_source: str | None
    external_id: str | None
    version: int = Field(description="Counts changes; the ETag is this number in quotes.")
    occurred_at: datetime
    recorded_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


class InteractionFilters(ListParams):
    """Filters and order of the list of interactions."""

    sort: str | None = Field(
        default=None, description="occurred_at, recorded_at, updated_at; - before it turns the order."
    )
    customer_id: UUID | None = None
    opportunity_id: UUID | None = None
    contact_id: UUID | None = None
    member_id: UUID | None = None
    kind: InteractionKind | None = None
    direction: Direction | None = None
    occurred_after: Instant | None = None
    occurred_before: Instant | None = None
    external_source: str | None = None
    updated_after: Instant | None = Field(default=None, description="For delta sync, with include_deleted.")
    include_deleted: bool | None = None
