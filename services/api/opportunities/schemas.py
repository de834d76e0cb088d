"""Wire types of opportunities."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field, WithJsonSchema

from services.api.fields import (
    ClientId,
    Day,
    ExternalText,
    Instant,
    Known,
    LongText,
    Money,
    Name,
    Share,
    ShortText,
    Strict,
)
from services.api.pagination import ListParams
from shared.catalog.selling import BUDGET_STATUSES, DATE_FIRMNESS, INTEREST_LEVELS, LINES, OPPORTUNITY_ROLES, STATUSES

BudgetStatus = Annotated[str, Known(BUDGET_STATUSES)]
DateFirmness = Annotated[str, Known(DATE_FIRMNESS)]
Interest = Annotated[str, Known(INTEREST_LEVELS)]
Line = Annotated[str, Known(LINES)]
OpportunityRole = Annotated[str, Known(OPPORTUNITY_ROLES)]
Status = Annotated[str, Known(STATUSES)]


# Compared with amounts, and so of no more digits than they.
DecimalText = Annotated[
    Decimal,
    Field(max_digits=18, decimal_places=4, allow_inf_nan=False),
    WithJsonSchema({"type": "string", "format": "decimal", "pattern": r"^-?\d{1,14}(\.\d{1,4})?$"}),
]


class OpportunityFields(Strict):
    """What a caller may say of an opportunity. Money of one opportunity is in one currency."""

    name: Name = Field(examples=["Press line 3"])
    product_id: UUID | None = None
    amount: Money | None = Field(default=None, description="What the customer would pay.")
    margin_rate: Share | None = Field(default=None, description="Expected gross margin as a share of the amount.")
    cost_to_deliver: Money | None = None
    delivery_risk: Share | None = None
    payment_risk: Share | None = None
    budget: Money | None = Field(default=None, description="The customer's budget for this.")
    budget_status: BudgetStatus | None = None
    purchase_date: Day | None = Field(default=None, description="When they will buy.")
    purchase_date_firmness: DateFirmness | None = None
    fit_score: Share | None = Field(default=None, description="How well we meet their conditions, weighted.")
    rival_fit_score: Share | None = Field(default=None, description="How well the best rival meets them.")
    need: LongText | None = Field(default=None, description="What they need, in words; empty is not known.")
    pain: LongText | None = Field(default=None, description="What hurts them, in words; empty is not known.")
    interest: Interest | None = None
    line: Line = Field(default="short", description="Short line: in a hurry. Long line: not, with the reason.")
    line_reason: ShortText | None = None
    resume_on: Day | None = Field(default=None, description="When a long-line opportunity is to be taken up again.")
    source: ShortText | None = None
    notes: LongText | None = None
    attributes: dict[str, Any] = Field(default_factory=dict, description="Custom attributes by key.")
    occurred_at: Instant | None = Field(default=None, description="When it came about; now by default.")


class OpportunityUpsert(OpportunityFields):
    """An opportunity as another system knows it; given by PUT under its external id."""

    customer_id: UUID
    owner_id: UUID | None = Field(default=None, description="Null puts it into the assignment queue.")
    process_id: UUID | None = Field(default=None, description="The workspace's default process where absent.")


class OpportunityCreate(OpportunityUpsert):
    """A new opportunity. It begins in the first stage of its process."""

    id: ClientId | None = Field(default=None, description="A UUIDv7 made by the client, for offline capture.")
    external_source: ExternalText | None = None
    external_id: ExternalText | None = None


class OpportunityPatch(Strict):
    """Changes to facts, as JSON merge-patch. Stage and status change by transitions only."""

    name: Name | None = None
    product_id: UUID | None = None
    amount: Money | None = None
    margin_rate: Share | None = None
    cost_to_deliver: Money | None = None
    delivery_risk: Share | None = None
    payment_risk: Share | None = None
    budget: Money | None = None
    budget_status: BudgetStatus | None = None
    purchase_date: Day | None = None
    purchase_date_firmness: DateFirmness | None = None
    fit_score: Share | None = None
    rival_fit_score: Share | None = None
    need: LongText | None = None
    pain: LongText | None = None
    interest: Interest | None = None
    line: Line | None = None
    line_reason: ShortText | None = None
    resume_on: Day | None = None
    source: ShortText | None = None
    notes: LongText | None = None
    attributes: dict[str, Any] | None = None
    external_source: ExternalText | None = None
    external_id: ExternalText | None = None
    clear: list[str] | None = Field(default=None, description="Names of fields to clear, for clients without null.")


class OpportunityReassign(Strict):
    """Hands an opportunity to another rep; only a manager may, and says why."""

    owner_id: UUID | None = Field(description="The new owner; null puts it into the assignment queue.")
    reason: ShortText


class Opportunity(BaseModel):
    """One possible purchase by one customer."""

    id: UUID
    name: str
    customer_id: UUID
    process_id: UUID
    owner_id: UUID | None
    owner_reason: str | None = Field(description="Why it was handed to its present owner; null where it never was.")
    product_id: UUID | None
    status: str
    stage_id: UUID | None = Field(description="The stage the work is in; null once all stages are passed.")
    stage_position: int
    stage_entered_at: datetime | None
    won_at: datetime | None
    closed_at: datetime | None
    completed_at: datetime | None
    close_reason: str | None
    amount: Money | None
    margin_rate: float | None
    cost_to_deliver: Money | None
    delivery_risk: float | None
    payment_risk: float | None
    budget: Money | None
    budget_status: str | None
    purchase_date: date | None
    purchase_date_firmness: str | None
    purchase_date_slips: int = Field(description="How often the purchase date has moved later.")
    fit_score: float | None
    rival_fit_score: float | None
    need: str | None
    pain: str | None
    interest: str | None
    line: str
    line_reason: str | None
    resume_on: date | None
    source: str | None
    notes: str | None
    attributes: dict[str, Any]
    external_source: str | None
    external_id: str | None
    version: int = Field(description="Counts changes; the ETag is this number in quotes.")
    occurred_at: datetime
    recorded_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


class OpportunityFilters(ListParams):
    """Filters and order of the list of opportunities."""

    sort: str | None = Field(
        default=None,
        description="id (the order they were made in), name, recorded_at, updated_at, amount, purchase_date, priority;"
        " - before it turns the order. The newest come first where none is given.",
    )
    owner_id: UUID | None = None
    unassigned: bool | None = None
    customer_id: UUID | None = None
    process_id: UUID | None = None
    stage_id: UUID | None = None
    product_id: UUID | None = None
    status: Status | None = None
    line: Line | None = None
    source: str | None = None
    external_source: str | None = None
    amount_gte: DecimalText | None = None
    amount_lte: DecimalText | None = None
    purchase_date_gte: Day | None = None
    purchase_date_lte: Day | None = None
    closed_after: Instant | None = None
    updated_after: Instant | None = Field(default=None, description="For delta sync, with include_deleted.")
    attribute: list[str] | None = Field(
        default=None, description="`key=value`, `key>=value`, `key<=value`.", max_length=10
    )
    include_deleted: bool | None = None


class OpportunityMember(BaseModel):
    """Somebody who takes part in an opportunity besides its owner."""

    member_id: UUID
    role: str
    recorded_at: datetime


class OpportunityMemberAdd(Strict):
    """Shares an opportunity with a member."""

    member_id: UUID
    role: OpportunityRole = "collaborator"
