"""Wire types of custom attributes' definitions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from services.api.fields import ClientId, ExternalText, Instant, Known, Strict
from services.api.localized import LocalizedName
from services.api.pagination import ListParams
from shared.catalog.labels import Label
from shared.catalog.selling import ATTRIBUTE_KINDS

MOST_CATEGORIES = 500
AttributeKey = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Subject = Annotated[str, Known({"customer": Label("Customer", "客户"), "opportunity": Label("Opportunity", "商机")})]
AttributeKind = Annotated[str, Known(ATTRIBUTE_KINDS)]


def _each_once(values: list[str]) -> list[str]:
    if len(set(values)) != len(values):
        raise ValueError("a category is named twice")
    return values


Categories = Annotated[list[ExternalText], Field(min_length=1, max_length=MOST_CATEGORIES), AfterValidator(_each_once)]


class AttributeCreate(Strict):
    """A new attribute of customers or opportunities."""

    id: ClientId | None = Field(default=None, description="A UUIDv7 made by the client.")
    subject: Subject
    key: AttributeKey = Field(examples=["floor_area"])
    kind: AttributeKind = Field(description="number, category, boolean, date or text; it can't be changed later.")
    label: LocalizedName
    categories: Categories | None = Field(default=None, description="Of kind category: the values it may take.")
    required: bool = Field(default=False, description="New subjects must have it.")


class AttributePatch(Strict):
    """Changes to a definition, as JSON merge-patch. Its key and kind stay, and its categories only grow."""

    label: LocalizedName | None = None
    categories: Categories | None = Field(default=None, description="All of them: those there are and new ones.")
    required: bool | None = None
    active: bool | None = Field(default=None, description="false: values stay as they are, and no new ones are taken.")
    clear: list[str] | None = Field(default=None, description="Names of fields to clear, for clients without null.")


class Attribute(BaseModel):
    """The definition of a custom attribute."""

    id: UUID
    subject: str
    key: str
    kind: str
    label: LocalizedName
    categories: list[str] | None
    required: bool
    active: bool
    version: int = Field(description="Counts changes; the ETag is this number in quotes.")
    occurred_at: datetime
    recorded_at: datetime
    updated_at: datetime


class AttributeFilters(ListParams):
    """Filters and order of the list of definitions."""

    sort: str | None = Field(default=None, description="key, recorded_at, updated_at; - before it turns the order.")
    subject: str | None = None
    kind: str | None = None
    active: bool | None = None
    updated_after: Instant | None = None
