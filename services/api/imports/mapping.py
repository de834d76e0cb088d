"""The mapping document: which column means what. Validated whole before a single row is read.

A value is taken from a `column`, a `constant` or a `template`; a bare text is short for a column. Its JSON schema is
served at `/v1/imports/mapping-schema`.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, field_validator, model_validator

from services.api.fields import ExternalText, Known, Strict
from services.api.processes.schemas import Key, ProcessCreate
from shared.catalog.selling import CLOSE_REASONS

Kind = Literal["opportunities", "customers", "contacts", "products", "interactions", "transitions"]
Format = Literal["csv", "xlsx", "ndjson"]
Encoding = Literal["utf-8", "utf-8-sig", "gb18030", "latin-1", "cp1252", "utf-16"]
CloseReason = Annotated[str, Known(CLOSE_REASONS)]
DATE_FORMAT = r"^[^%]*(%[YmdHMSyBbjfzp%][^%]*)+$"


class ValueSpec(Strict):
    """Where a value comes from and how it is read."""

    column: str | None = Field(default=None, min_length=1, max_length=200, description="Name of a column of the file.")
    constant: str | int | float | bool | None = Field(default=None, description="The same value for every row.")
    template: str | None = Field(
        default=None, max_length=500, description="Text with columns in braces: `{product} for {account}`."
    )
    trim: bool = Field(default=True, description="Take blanks off both ends.")
    empty: list[str] = Field(
        default_factory=list, max_length=50, description="Texts that stand for “unknown”, beside the empty one."
    )
    map: dict[str, str] = Field(
        default_factory=dict, max_length=5000, description="Replaces a value by another; others stay as they are."
    )
    default: str | int | float | bool | None = Field(default=None, description="Taken where the value is unknown.")
    date_format: str | None = Field(
        default=None, max_length=60, pattern=DATE_FORMAT, description="As strptime reads it; ISO 8601 by default."
    )
    thousands: str | None = Field(default=None, min_length=1, max_length=1, description="Thousands separator.")
    decimal: str = Field(default=".", min_length=1, max_length=1, description="Decimal separator.")

    @model_validator(mode="after")
    def one_source(self) -> ValueSpec:
        given = [name for name in ("column", "constant", "template") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("must give exactly one of column, constant and template")
        if self.thousands == self.decimal:
            raise ValueError("must have thousands and decimal separators that differ")
        return self


def _column_for_short(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


Value = Annotated[ValueSpec, BeforeValidator(_column_for_short)]


class FileOptions(Strict):
    """How the file is to be read."""

    format: Format | None = Field(default=None, description="By default from the file's name.")
    encoding: Encoding = Field(default="utf-8", description="Of CSV and NDJSON.")
    delimiter: str = Field(default=",", min_length=1, max_length=1, description="Between the columns of CSV.")
    sheet: str | None = Field(default=None, max_length=100, description="Of XLSX; the first sheet by default.")
    formula_quotes: bool = Field(
        default=False,
        description="Texts such as `'+86 21` lose the apostrophe that keeps a spreadsheet from reckoning with them, as"
        " exports write them. Of CSV and XLSX.",
    )


class CustomerReference(Strict):
    """How a row names its customer: by the id it has in the source, or by name."""

    external_id: Value | None = None
    name: Value | None = None
    missing: Literal["create", "refuse"] = Field(default="create", description="What to do with one not known yet.")
    empty: Literal["placeholder", "refuse"] = Field(
        default="refuse", description="A row that names none gets a placeholder customer of its own, or is refused."
    )
    placeholder_name: str = Field(default="Unknown customer ({external_id})", min_length=1, max_length=200)
    owned: bool = Field(default=True, description="New customers belong to the owner of the row that first names them.")

    @model_validator(mode="after")
    def named(self) -> CustomerReference:
        if self.external_id is None and self.name is None:
            raise ValueError("must give external_id, name or both")
        return self


class MemberReference(Strict):
    """How a row names a member."""

    external_id: Value | None = None
    email: Value | None = None
    name: Value | None = None
    missing: Literal["create", "refuse", "leave_empty"] = Field(
        default="refuse", description="`create` makes a member in the role of a rep."
    )

    @model_validator(mode="after")
    def named(self) -> MemberReference:
        if self.external_id is None and self.email is None and self.name is None:
            raise ValueError("must give external_id, email or name")
        if self.missing == "create" and self.name is None and self.email is None:
            raise ValueError("must give a name or an e-mail for new members")
        return self


class ProductReference(Strict):
    """How a row names its product; aliases go into the value's `map`."""

    external_id: Value | None = None
    name: Value | None = None
    missing: Literal["create", "refuse", "leave_empty"] = "create"

    @model_validator(mode="after")
    def named(self) -> ProductReference:
        if self.external_id is None and self.name is None:
            raise ValueError("must give external_id, name or both")
        return self


class OpportunityReference(Strict):
    """How a row names an opportunity that exists: by its id in `source` (this mapping's by default)."""

    external_id: Value
    source: ExternalText | None = None
    missing: Literal["refuse", "leave_empty"] = "refuse"


class ContactsReference(Strict):
    """How a row names the contacts who took part: by their ids in `source` (this mapping's by default)."""

    external_ids: Value
    separator: str = Field(default=";", min_length=1, max_length=5, description="Between two ids in one cell.")
    source: ExternalText | None = None
    missing: Literal["refuse", "leave_out"] = "refuse"


class Standing(Strict):
    """What a value of the stage column says: in which stage the opportunity stands, and whether it has closed."""

    stage: Key | None = Field(default=None, description="The stage it stands in, or stood in when it closed.")
    won: Literal[True] | None = None
    lost: CloseReason | None = Field(default=None, description="Lost, for this reason.")
    abandoned: CloseReason | None = Field(default=None, description="Given up, for this reason.")

    @model_validator(mode="after")
    def one_meaning(self) -> Standing:
        closings = [name for name in ("won", "lost", "abandoned") if getattr(self, name)]
        if len(closings) > 1:
            raise ValueError("must give at most one of won, lost and abandoned")
        if not closings and self.stage is None:
            raise ValueError("must give a stage, or won, lost or abandoned")
        return self


class StageMapping(Strict):
    """From a column to stage, outcome and the times of passages."""

    value: Value
    values: dict[str, Standing] = Field(min_length=1, max_length=500)
    passed_at: dict[Key, Value] = Field(
        default_factory=dict, description="Per stage, when its milestone was passed; else the next time known."
    )
    closed_at: Value | None = Field(default=None, description="When it was won, lost or given up.")


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("is not a time zone such as Asia/Shanghai")
    return name


class Mapping(Strict):
    """What each column of a file means."""

    kind: Kind
    source: ExternalText = Field(
        description="Name of the system the file comes from: ids of rows are ids there. The same file imported again"
        " under the same source changes what changed and doubles nothing."
    )
    historical: bool = Field(
        default=False, description="Rows tell a past: “known at that time” counts from `occurred_at`."
    )
    shift_dates_to: Literal["today"] | date | None = Field(
        default=None, description="Moves all dates by as many days as bring the file's latest one to this day."
    )
    time_zone: Annotated[str, StringConstraints(max_length=60), AfterValidator(_known_zone)] | None = Field(
        default=None, description="Of times without one, and of dates; the workspace's by default."
    )
    file: FileOptions = Field(default_factory=FileOptions)
    fields: dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")], Value] = Field(
        min_length=1, description="Fields of the resource; `external_id` is always needed."
    )
    attributes: dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")], Value] = Field(
        default_factory=dict, description="Custom attributes of customers and opportunities."
    )
    customer: CustomerReference | None = None
    owner: MemberReference | None = None
    product: ProductReference | None = None
    opportunity: OpportunityReference | None = None
    contacts: ContactsReference | None = Field(
        default=None, description="Who took part in an interaction; taken when it is made, not when it is changed."
    )
    duplicates: Literal["keep", "skip", "report"] = Field(
        default="keep",
        description="What becomes of a new customer or contact that is likely there already under another id: it is"
        " imported, refused as `duplicate`, or imported and listed as `possible_duplicate`.",
    )
    process: ProcessCreate | None = Field(
        default=None,
        description="The process of new opportunities: only its key, or all of it to make it where there is none.",
    )
    stage: StageMapping | None = None

    @field_validator("process")
    @classmethod
    def no_id(cls, given: ProcessCreate | None) -> ProcessCreate | None:
        if given is not None and given.id is not None:
            raise ValueError("must name the process by its key alone, without an id")
        return given

    def zone(self, workspace_zone: str) -> ZoneInfo:
        return ZoneInfo(self.time_zone or workspace_zone)
