"""Wire types of contacts."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from services.api.fields import (
    ClientId,
    Day,
    EmailText,
    ExternalText,
    Instant,
    Known,
    LongText,
    Name,
    ShortText,
    Strict,
)
from services.api.pagination import ListParams
from shared.catalog.selling import CONTACT_FUNCTIONS, CONTACT_LEVELS, PERSONALITIES

Function = Annotated[str, Known(CONTACT_FUNCTIONS)]
Level = Annotated[str, Known(CONTACT_LEVELS)]
Personality = Annotated[str, Known(PERSONALITIES)]


class ContactUpsert(Strict):
    """A contact as another system knows it; given by PUT under its external id."""

    customer_id: UUID
    name: Name = Field(examples=["Wang Fang"])
    title: ShortText | None = None
    function: Function | None = Field(default=None, description="The department's part in the purchase (D4.1).")
    level: Level | None = Field(default=None, description="How much they decide (D4.2).")
    personality: Personality | None = None
    is_coach: bool = Field(default=False, description="Keeps feeding us inside information.")
    is_external: bool = Field(default=False, description="Has influence without belonging to the customer (D4.6).")
    phone: ShortText | None = None
    email: EmailText | None = None
    birthday: Day | None = None
    notes: LongText | None = None
    occurred_at: Instant | None = Field(default=None, description="When we came to know them; now by default.")


class ContactCreate(ContactUpsert):
    """A new contact."""

    id: ClientId | None = Field(default=None, description="A UUIDv7 made by the client, for offline capture.")
    external_source: ExternalText | None = None
    external_id: ExternalText | None = None


class ContactPatch(Strict):
    """Changes to a contact, as JSON merge-patch: null clears, absent leaves alone."""

    name: Name | None = None
    title: ShortText | None = None
    function: Function | None = None
    level: Level | None = None
    personality: Personality | None = None
    is_coach: bool | None = None
    is_external: bool | None = None
    phone: ShortText | None = None
    email: EmailText | None = None
    birthday: Day | None = None
    notes: LongText | None = None
    external_source: ExternalText | None = None
    external_id: ExternalText | None = None
    clear: list[str] | None = Field(default=None, description="Names of fields to clear, for clients without null.")


class Contact(BaseModel):
    """A person at a customer, or of influence on it."""

    id: UUID
    customer_id: UUID
    name: str
    title: str | None
    function: str | None
    level: str | None
    personality: str | None
    is_coach: bool
    is_external: bool
    phone: str | None
    email: str | None
    birthday: date | None
    notes: str | None
    external_source: str | None
    external_id: str | None
    version: int = Field(description="Counts changes; the ETag is this number in quotes.")
    occurred_at: datetime
    recorded_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


class ContactFilters(ListParams):
    """Filters and order of the list of contacts."""

    sort: str | None = Field(
        default=None,
        description="id (the order they were made in), name, recorded_at, updated_at; - before it turns the order."
        " The newest come first where none is given.",
    )
    customer_id: UUID | None = None
    function: Function | None = None
    level: Level | None = None
    is_coach: bool | None = None
    is_external: bool | None = None
    external_source: str | None = None
    name_prefix: str | None = Field(default=None, max_length=200)
    updated_after: Instant | None = Field(default=None, description="For delta sync, with include_deleted.")
    include_deleted: bool | None = None
