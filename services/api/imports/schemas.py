"""Wire types of imports."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field, TypeAdapter

from services.api.errors import FieldError
from services.api.fields import Strict
from services.api.imports.mapping import Format
from services.api.pagination import ListParams

Status = Literal["queued", "running", "succeeded", "partially_failed", "failed", "cancelled"]


class ImportForm(Strict):
    """The form's fields beside the file and the mapping."""

    dry_run: bool = False
    format: Format | None = None
    shift_dates_to: str | None = Field(default=None, max_length=10)


class Import(BaseModel):
    """The import of a file: how far it is, and what has become of its rows."""

    id: UUID
    kind: str
    format: Format
    file_name: str | None
    source: str = Field(description="Name of the system the rows come from.")
    dry_run: bool = Field(description="Everything is checked and reported, nothing is written.")
    status: Status
    problem: FieldError | None = Field(description="Why the whole file could not be imported.")
    total_bytes: int
    rows_total: int | None = Field(description="Known once the file has been looked through.")
    rows_read: int = Field(description="rows_imported + rows_failed.")
    rows_imported: int = Field(description="Rows that now stand as the file says, changed or not.")
    rows_failed: int = Field(description="Rows listed under `errors`.")
    cancel_requested: bool
    created_by: UUID | None
    started_at: datetime | None
    finished_at: datetime | None
    version: int = Field(description="Counts changes; the ETag is this number in quotes.")
    recorded_at: datetime
    updated_at: datetime


class ImportError(BaseModel):  # noqa: A001 - the field's word for it
    """One thing that is wrong with one row."""

    row: int = Field(description="Number of the row; the first after the header is 1.")
    pointer: str = Field(description="The column, or the place of the mapping.")
    code: str
    message: str


class ImportFilters(ListParams):
    """Filters and order of the list of imports."""

    sort: str | None = Field(default=None, description="recorded_at, updated_at; - before it turns the order.")
    kind: str | None = None
    status: Status | None = None
    dry_run: bool | None = None


class ImportErrorParams(ListParams):
    """A page of a list of errors."""


form_fields: TypeAdapter[ImportForm] = TypeAdapter(Annotated[ImportForm, Field()])
