"""Wire types of the search for duplicates."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.api.fields import Known, Name, Share, ShortText, Strict
from services.api.pagination import ListParams
from shared.catalog.duplicates import DUPLICATE_LIKELIHOODS, DUPLICATE_REASONS, MERGE_KINDS

MOST = 50
Kind = Annotated[str, Known(MERGE_KINDS)]
_LIMIT = Field(default=20, ge=1, le=MOST, description="How many at most, the likeliest first.")
_MIN_SCORE = Field(default=0.5, description="None below this score.")


class CustomerProbe(Strict):
    """What is known of a customer who may be there already."""

    name: Name = Field(examples=["北方重工（上海）有限公司"])
    phone: ShortText | None = None
    email: ShortText | None = None
    website: ShortText | None = Field(default=None, description="An address or a bare domain.")
    limit: int = _LIMIT
    min_score: Share = _MIN_SCORE


class ContactProbe(Strict):
    """What is known of a contact who may be there already."""

    name: Name = Field(examples=["Wang Fang"])
    customer_id: UUID | None = Field(default=None, description="A name counts for more at the same customer.")
    phone: ShortText | None = None
    email: ShortText | None = None
    limit: int = _LIMIT
    min_score: Share = _MIN_SCORE


class DuplicateParams(BaseModel):
    """How many duplicates of a record, and how alike."""

    model_config = ConfigDict(extra="forbid")

    limit: int = _LIMIT
    min_score: Share = _MIN_SCORE


class DuplicateReason(BaseModel):
    """One thing two records have in common."""

    code: str = Field(description="What it is.", json_schema_extra={"x-known-values": list(DUPLICATE_REASONS)})
    weight: float = Field(description="The chance, from 0 to 1, that this alone means one and the same.")


class Duplicate(BaseModel):
    """A record that may be the same. One beyond the caller's reach says that it is there and whose it is, no more."""

    within_reach: bool = Field(description="Whether the caller may see it; where not, its fields are null.")
    id: UUID | None
    name: str | None
    phone: str | None
    email: str | None
    website: str | None
    customer_id: UUID | None = Field(description="Of a contact: whose contact it is.")
    version: int | None = Field(description="For If-Match of a merge.")
    owner_id: UUID | None = Field(description="Who looks after it, or after the contact's customer; null: nobody yet.")
    owner_name: str | None
    score: float = Field(description="From 0 to 1: 1 − Π(1 − weight) over the reasons.")
    likelihood: str = Field(
        description="almost_certain from 0.9, likely from 0.7, else possible.",
        json_schema_extra={"x-known-values": list(DUPLICATE_LIKELIHOODS)},
    )
    reasons: list[DuplicateReason] = Field(description="What they have in common, the strongest first.")


class Duplicates(BaseModel):
    """Records that may be the same as the one asked about, the likeliest first."""

    duplicates: list[Duplicate]


class DuplicateRecord(BaseModel):
    """One of two records that may be the same."""

    id: UUID
    name: str
    phone: str | None
    email: str | None
    website: str | None
    customer_id: UUID | None
    version: int
    owner_id: UUID | None
    owner_name: str | None


class DuplicatePair(BaseModel):
    """Two records that may be the same."""

    kind: str
    first: DuplicateRecord = Field(description="The older of the two.")
    second: DuplicateRecord
    score: float
    likelihood: str = Field(json_schema_extra={"x-known-values": list(DUPLICATE_LIKELIHOODS)})
    reasons: list[DuplicateReason]


class DuplicateFilters(ListParams):
    """Filters of the list of pairs."""

    kind: Kind = Field(default="customer", description="Pairs of customers, or of contacts.")
    min_score: Share = _MIN_SCORE
