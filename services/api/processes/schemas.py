"""Wire types of processes, their stages and milestones."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from services.api.fields import ClientId, Instant, Known, ShortText, Strict
from services.api.localized import LocalizedName
from services.api.pagination import ListParams
from shared.catalog.labels import Label
from shared.catalog.selling import CLASSES, SIDES
from shared.catalog.templates import TEMPLATES

MOST_STAGES = 60
Key = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Side = Annotated[str, Known(SIDES)]
# Signing alone makes class D: no stage that is merely stood in evidences it.
EvidencedClass = Annotated[str, Known({code: CLASSES[code] for code in ("A", "B", "C")})]
TemplateKey = Annotated[str, Known({key: Label(*template.name) for key, template in TEMPLATES.items()})]


class StageCreate(Strict):
    """A stage of a new process, with the milestone that ends it."""

    key: Key = Field(examples=["need_criteria"])
    name: LocalizedName
    milestone: LocalizedName = Field(description="The fact that ends the stage.")
    purpose: ShortText | None = None
    irreversible: bool = Field(description="Once passed, the milestone can't be gone back over.")
    wins: bool = Field(default=False, description="Passing this milestone wins the opportunity; one stage must.")
    side: Side = Field(default="customer", description="Whose milestone it is: ours or the customer's.")
    skippable: bool = Field(default=False, description="Whether the stage may be passed over.")
    typical_days: float = Field(ge=0, le=3650, allow_inf_nan=False)
    typical_hours: float = Field(ge=0, le=10_000, allow_inf_nan=False, description="Hours of the rep's own time.")
    base_win_rate: float = Field(
        gt=0, le=1, allow_inf_nan=False, description="Chance of passing the milestone once the stage is reached."
    )
    evidences_class: EvidencedClass | None = Field(
        default=None, description="The class that standing in this stage evidences."
    )


class ProcessCreate(Strict):
    """A new process, or the next edition of one: from a template that ships with the product, or from own stages."""

    id: ClientId | None = Field(default=None, description="A UUIDv7 made by the client.")
    key: Key = Field(examples=["complex_sale"], description="A key that exists already makes its next edition.")
    name: LocalizedName | None = Field(default=None, description="Required with own stages.")
    template: TemplateKey | None = None
    stages: list[StageCreate] | None = Field(default=None, min_length=1, max_length=MOST_STAGES)
    is_default: bool | None = Field(
        default=None,
        description="Whether new opportunities take it; by default the next edition of the default process does.",
    )


class ProcessPatch(Strict):
    """What of a process can change. Its stages can't: post the key again for the next edition."""

    active: bool | None = Field(default=None, description="Only active processes take new opportunities.")
    is_default: bool | None = Field(default=None, description="true takes over from the default process there is.")
    clear: list[str] | None = Field(default=None, description="Names of fields to clear, for clients without null.")


class StageBase(BaseModel):
    """What a stage of a template and one of a process have alike."""

    position: int
    key: str
    name: LocalizedName
    milestone: LocalizedName
    purpose: str | None
    irreversible: bool
    wins: bool
    side: str
    skippable: bool
    typical_days: float
    typical_hours: float
    base_win_rate: float
    evidences_class: str | None


class Stage(StageBase):
    """The work between two milestones."""

    id: UUID


class Process(BaseModel):
    """A versioned list of stages. An edition's stages never change."""

    id: UUID
    key: str
    edition: int
    name: LocalizedName
    template: str | None
    is_default: bool
    active: bool
    stages: list[Stage]
    version: int = Field(description="Counts changes; the ETag is this number in quotes.")
    occurred_at: datetime
    recorded_at: datetime
    updated_at: datetime


class ProcessTemplateDocument(BaseModel):
    """A process that ships with the product."""

    key: str
    name: LocalizedName
    stages: list[StageBase]


class ProcessFilters(ListParams):
    """Filters and order of the list of processes."""

    sort: str | None = Field(default=None, description="key, recorded_at, updated_at; - before it turns the order.")
    key: str | None = None
    template: TemplateKey | None = None
    active: bool | None = None
    is_default: bool | None = None
    updated_after: Instant | None = None
