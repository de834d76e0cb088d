"""Wire types of custom attributes' definitions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from services.api.fields import ClientId, Day, ExternalText, Instant, Known, Strict
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


Weight = Annotated[float, Field(ge=-5, le=5, allow_inf_nan=False)]


class ModelInput(Strict):
    """How an attribute counts in the prior of the win probability: what its value pushes on the log-odds.

    Of a number, `weight` for each unit above `centre`; of a boolean, `weight` when it is true; of a date, `weight` for
    each day after `since`; of a category, its entry in `weights`. One attribute pushes by at most 1 either way, all
    of them together by at most 1.2, and an unknown value by nothing.
    """

    weight: Weight | None = Field(default=None, description="Log-odds per unit, per day, or when true.")
    centre: float | None = Field(
        default=None, ge=-1e15, le=1e15, allow_inf_nan=False, description="Of a number: where it pushes by nothing."
    )
    since: Day | None = Field(default=None, description="Of a date: the day that pushes by nothing.")
    weights: dict[str, Weight] | None = Field(
        default=None,
        max_length=MOST_CATEGORIES,
        description="Of a category: log-odds by category; others push nothing.",
    )


class AttributeCreate(Strict):
    """A new attribute of customers or opportunities."""

    id: ClientId | None = Field(default=None, description="A UUIDv7 made by the client.")
    subject: Subject
    key: AttributeKey = Field(examples=["floor_area"])
    kind: AttributeKind = Field(description="number, category, boolean, date or text; it can't be changed later.")
    label: LocalizedName
    categories: Categories | None = Field(default=None, description="Of kind category: the values it may take.")
    required: bool = Field(default=False, description="New subjects must have it.")
    model_input: ModelInput | None = Field(default=None, description="How it counts in the win probability, if at all.")


class AttributePatch(Strict):
    """Changes to a definition, as JSON merge-patch. Its key and kind stay, and its categories only grow."""

    label: LocalizedName | None = None
    categories: Categories | None = Field(default=None, description="All of them: those there are and new ones.")
    required: bool | None = None
    model_input: ModelInput | None = Field(default=None, description="In whole; null: it does not count any more.")
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
    model_input: ModelInput | None
    version: int = Field(description="Counts changes; the ETag is this number in quotes.")
    occurred_at: datetime
    recorded_at: datetime
    updated_at: datetime


class AttributeFilters(ListParams):
    """Filters and order of the list of definitions."""

    sort: str | None = Field(default=None, description="key, recorded_at, updated_at; - before it turns the order.")
    subject: Subject | None = None
    kind: AttributeKind | None = None
    active: bool | None = None
    updated_after: Instant | None = None
