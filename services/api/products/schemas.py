"""Wire types of products."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from services.api.fields import ClientId, ExternalText, Instant, Money, Name, Share, ShortText, Strict
from services.api.pagination import ListParams


class ProductUpsert(Strict):
    """A product as another system knows it; given by PUT under its external id."""

    name: Name = Field(examples=["GTX 9000"])
    code: ShortText | None = None
    series: ShortText | None = None
    list_price: Money | None = None
    margin_rate: Share | None = Field(default=None, description="Usual gross margin as a share of the price.")
    active: bool = True
    occurred_at: Instant | None = Field(default=None, description="When we began to sell it; now by default.")


class ProductCreate(ProductUpsert):
    """A new product."""

    id: ClientId | None = Field(default=None, description="A UUIDv7 made by the client.")
    external_source: ExternalText | None = None
    external_id: ExternalText | None = None


class ProductPatch(Strict):
    """Changes to a product, as JSON merge-patch: null clears, absent leaves alone."""

    name: Name | None = None
    code: ShortText | None = None
    series: ShortText | None = None
    list_price: Money | None = None
    margin_rate: Share | None = None
    active: bool | None = None
    external_source: ExternalText | None = None
    external_id: ExternalText | None = None
    clear: list[str] | None = Field(default=None, description="Names of fields to clear, for clients without null.")


class Product(BaseModel):
    """Something we sell."""

    id: UUID
    name: str
    code: str | None
    series: str | None
    list_price: Money | None
    margin_rate: float | None
    active: bool
    external_source: str | None
    external_id: str | None
    version: int = Field(description="Counts changes; the ETag is this number in quotes.")
    occurred_at: datetime
    recorded_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


class ProductFilters(ListParams):
    """Filters and order of the list of products."""

    sort: str | None = Field(default=None, description="name, recorded_at, updated_at; - before it turns the order.")
    code: str | None = None
    series: str | None = None
    active: bool | None = None
    external_source: str | None = None
    updated_after: Instant | None = Field(default=None, description="For delta sync, with include_deleted.")
    include_deleted: bool | None = None
