"""Wire types of customers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from services.api.fields import ClientId, EmailText, ExternalText, Instant, Known, LongText, Name, ShortText, Strict
from services.api.pagination import ListParams
from shared.catalog.selling import CUSTOMER_KINDS, TIERS

CustomerKind = Annotated[str, Known(CUSTOMER_KINDS)]
Tier = Annotated[str, Known(TIERS)]


class CustomerFields(Strict):
    """What a caller may say of a customer."""

    name: Name = Field(examples=["Northwind Trading"])
    kind: CustomerKind = Field(default="organisation", description="An organisation or a household.")
    phone: ShortText | None = None
    email: EmailText | None = None
    website: ShortText | None = None
    address: ShortText | None = None
    industry: ShortText | None = None
    source: ShortText | None = Field(default=None, description="How we came to know of them.")
    tier: Tier | None = Field(default=None, description="Account tier, set by hand.")
    notes: LongText | None = None
    attributes: dict[str, Any] = Field(default_factory=dict, description="Custom attributes by key.")
    occurred_at: Instant | None = Field(default=None, description="When they became known to us; now by default.")


class CustomerUpsert(CustomerFields):
    """A customer as another system knows it; given by PUT under its external id."""

    owner_id: UUID | None = Field(default=None, description="The rep who looks after them; null queues them.")


class CustomerCreate(CustomerUpsert):
    """A new customer."""

    id: ClientId | None = Field(default=None, description="A UUIDv7 made by the client, for offline capture.")
    external_source: ExternalText | None = None
    external_id: ExternalText | None = None


class CustomerPatch(Strict):
    """Changes to a customer, as JSON merge-patch: null clears, absent leaves alone."""

    name: Name | None = None
    kind: CustomerKind | None = None
    phone: ShortText | None = None
    email: EmailText | None = None
    website: ShortText | None = None
    address: ShortText | None = None
    industry: ShortText | None = None
    source: ShortText | None = None
    tier: Tier | None = None
    notes: LongText | None = None
    attributes: dict[str, Any] | None = None
    external_source: ExternalText | None = None
    external_id: ExternalText | None = None
    clear: list[str] | None = Field(default=None, description="Names of fields to clear, for clients without null.")


class CustomerReassign(Strict):
    """Hands a customer to another rep; only a manager may, and says why."""

    owner_id: UUID | None = Field(description="The new owner; null puts the customer into the assignment queue.")
    reason: ShortText
    with_opportunities: bool = Field(
        default=False, description="Also hand over the open opportunities of the old owner."
    )


class Customer(BaseModel):
    """An organisation or household that buys, or may."""

    id: UUID
    name: str
    kind: str
    owner_id: UUID | None
    owner_reason: str | None = Field(description="Why it was handed to its present owner; null where it never was.")
    phone: str | None
    email: str | None
    website: str | None
    address: str | None
    industry: str | None
    source: str | None
    tier: str | None
    notes: str | None
    attributes: dict[str, Any]
    external_source: str | None
    external_id: str | None
    version: int = Field(description="Counts changes; the ETag is this number in quotes.")
    occurred_at: datetime
    recorded_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


class CustomerFilters(ListParams):
    """Filters and order of the list of customers."""

    sort: str | None = Field(
        default=None,
        description="id (the order they were made in), name, recorded_at, updated_at; - before it turns the order."
        " The newest come first where none is given.",
    )
    owner_id: UUID | None = None
    unassigned: bool | None = None
    kind: CustomerKind | None = None
    tier: Tier | None = None
    industry: str | None = None
    source: str | None = None
    external_source: str | None = None
    name_prefix: str | None = Field(default=None, max_length=200)
    updated_after: Instant | None = Field(default=None, description="For delta sync, with include_deleted.")
    attribute: list[str] | None = Field(
        default=None, description="`key=value`, `key>=value`, `key<=value`.", max_length=10
    )
    include_deleted: bool | None = None
