"""A mapping and a file's columns, compiled into one function from a row to what it says.

Nothing here asks the database: references stay names, the stage stays a key. What a row gets wrong is gathered, so
that all its errors are told at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from services.api.attributes.values import wrong_value
from services.api.errors import FieldError, wrong
from services.api.imports.conversions import Place, Wrong
from services.api.imports.kinds import KINDS, Field, Kind, Type
from services.api.imports.mapping import Mapping, Standing, ValueSpec
from services.api.imports.naming import Named, Naming
from services.api.imports.readers import Row, Spoilt, Unreadable
from services.api.imports.values import Reader, compile_raw, compile_value, latest_day
from shared.db import Row as Record

_KEY = Field(Type.NAME)
_ATTRIBUTE_TYPES = {"date": Type.DAY, "boolean": Type.BOOLEAN}
SLACK = timedelta(days=1)


class Wanted(NamedTuple):
    """Where a row says that an opportunity stands, and when it came there."""

    standing: Standing
    passed_at: dict[str, datetime]
    closed_at: datetime | None


@dataclass(slots=True)
class Parsed:
    """What one row says. With `errors` the rest is not to be relied upon."""

    number: int
    key: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    references: dict[str, Named | None] = field(default_factory=dict)
    attributes: dict[str, Any] | None = None
    # Who took part in an interaction, as the row names them, and who that is.
    contacts: tuple[str, ...] = ()
    contact_ids: list[UUID] = field(default_factory=list)
    wanted: Wanted | None = None
    errors: list[FieldError] = field(default_factory=list)
    # Worth knowing, and no reason to leave the row out.
    notes: list[FieldError] = field(default_factory=list)
    # What it was read from, where it may have to be read again.
    cells: Row | None = None


class Plan:
    """A mapping compiled for one file. `now` bounds what may have happened already."""

    def __init__(
        self,
        mapping: Mapping,
        columns: list[str],
        *,
        zone: ZoneInfo,
        currency: str,
        now: datetime,
        definitions: list[Record] | None = None,
        shift: timedelta = timedelta(),
    ) -> None:
        self.mapping = mapping
        self.kind: Kind = KINDS[mapping.kind]
        self.currency = currency
        self.latest = now + SLACK
        self._place = Place(zone, shift)
        self._columns = columns
        self._key = self._value(mapping.fields["external_id"], _KEY, "/mapping/fields/external_id")
        self._fields = [
            (self.kind.fields[name], self.kind.columns[name], self._value(spec, self.kind.fields[name], _at(name)))
            for name, spec in mapping.fields.items()
            if name != "external_id"
        ]
        self._references = self._compile_references()
        self._contacts = self._compile_contacts()
        self._attributes = self._compile_attributes(definitions or [])
        self._stage = self._compile_stage() if mapping.stage else None

    @property
    def pointers(self) -> dict[str, str]:
        """Where to point when a reference is wrong."""
        found = {name: naming.pointer for name, naming in self._references.items()}
        return found | ({"contacts": self._contacts.pointer} if self._contacts is not None else {})

    @property
    def key_pointer(self) -> str:
        return self._key.pointer

    def pointer_of(self, name: str) -> str:
        """Where to point when this field is wrong."""
        if name == "external_id":
            return self.key_pointer
        found = next((reader.pointer for _, column, reader in self._fields if column == name), None)
        return found or self.pointers.get(name, f"/{name}")

    @property
    def stage_pointer(self) -> str:
        return self._stage[0].pointer if self._stage else "/stage"

    def columns(self) -> tuple[str, ...]:
        """The table's columns that this plan fills, apart from references and attributes."""
        filled = {column for _, column, _ in self._fields}
        if filled & set(self.kind.money):
            filled.add("currency")
        return tuple(sorted(filled))

    def parse(self, number: int, row: Row | Spoilt) -> Parsed:
        """What the row says."""
        parsed = Parsed(number)
        if isinstance(row, Spoilt):
            parsed.errors.append(wrong("", row.code, row.message))
            return parsed
        parsed.key = self._read(self._key, row, parsed, required=True) or ""
        values = parsed.values
        for given, column, reader in self._fields:
            value = self._read(reader, row, parsed, required=given.required)
            values[column] = given.otherwise if value is None else value
        if self.kind.money and "currency" not in values:
            values["currency"] = None
        if values.get("currency") is None and any(values.get(name) is not None for name in self.kind.money):
            values["currency"] = self.currency
        for name, naming in self._references.items():
            parsed.references[name] = naming.read(row, parsed.errors)
        if self._contacts is not None:
            cell = self._read(self._contacts, row, parsed)
            parsed.contacts = self._split(cell) if cell is not None else ()
        if self._attributes:
            self._read_attributes(row, parsed)
        if self._stage is not None:
            parsed.wanted = self._read_stage(row, parsed)
        happened = values.get("occurred_at")
        if happened is not None and happened > self.latest:
            parsed.errors.append(wrong("/occurred_at", "in_future", self._not_yet(happened)))
        return parsed

    def _read(self, reader: Reader, row: Row, parsed: Parsed, *, required: bool = False) -> Any:
        try:
            value = reader.read(row)
        except Wrong as error:
            parsed.errors.append(wrong(reader.pointer, error.code, f"{reader.pointer[1:]} {error.message}."))
            return None
        if value is None and required:
            parsed.errors.append(wrong(reader.pointer, "required", f"{reader.pointer[1:]} is empty."))
        return value

    def _value(self, spec: ValueSpec, given: Field, at: str) -> Reader:
        try:
            return compile_value(spec, given, self._columns, self._place, at)
        except Wrong as error:
            raise Unreadable(f"{at}/default", error.code, f"The default {error.message}.") from error

    def _compile_references(self) -> dict[str, Naming]:
        found: dict[str, Naming] = {}
        for section in ("customer", "owner", "product", "opportunity"):
            reference = getattr(self.mapping, section)
            if reference is None:
                continue
            readers = []
            for name, kind in (("external_id", Type.NAME), ("name", Type.NAME), ("email", Type.EMAIL)):
                spec = getattr(reference, name, None)
                readers.append(self._value(spec, Field(kind), f"/mapping/{section}/{name}") if spec else None)
            found[section] = Naming(readers)
        return found

    def _compile_contacts(self) -> Reader | None:
        given = self.mapping.contacts
        return self._value(given.external_ids, Field(Type.LONG), "/mapping/contacts/external_ids") if given else None

    def _split(self, cell: str) -> tuple[str, ...]:
        assert self.mapping.contacts is not None  # noqa: S101 - the caller has looked
        parts = (part.strip() for part in cell.split(self.mapping.contacts.separator))
        return tuple(dict.fromkeys(part for part in parts if part))

    def _compile_attributes(self, definitions: list[Record]) -> list[tuple[Record, Reader]]:
        known = {definition["key"]: definition for definition in definitions}
        compiled: list[tuple[Record, Reader]] = []
        for key, spec in self.mapping.attributes.items():
            at = f"/mapping/attributes/{key}"
            if key not in known:
                raise Unreadable(at, "unknown_attribute", f"{key} is not defined for {self.mapping.kind}.")
            kind = _ATTRIBUTE_TYPES.get(known[key]["kind"], Type.LONG)
            compiled.append((known[key], self._value(spec, Field(kind), at)))
        lacking = [key for key, each in known.items() if each["required"] and key not in self.mapping.attributes]
        if lacking:
            words = f"{self.mapping.kind} need these attributes: {', '.join(lacking)}."
            raise Unreadable("/mapping/attributes", "required", words)
        return compiled

    def _read_attributes(self, row: Row, parsed: Parsed) -> None:
        parsed.attributes = {}
        for definition, reader in self._attributes:
            value = self._read(reader, row, parsed, required=definition["required"])
            if value is not None:
                value = _as_attribute(definition["kind"], value)
                complaint = wrong_value(definition, value)
                if complaint:
                    parsed.errors.append(wrong(reader.pointer, "invalid_value", f"{definition['key']} {complaint}."))
            parsed.attributes[definition["key"]] = value

    def _compile_stage(self) -> tuple[Reader, dict[str, Reader], Reader | None]:
        stage = self.mapping.stage
        assert stage is not None  # noqa: S101 - the caller has looked
        instant = Field(Type.INSTANT)
        passed = {
            key: self._value(spec, instant, f"/mapping/stage/passed_at/{key}") for key, spec in stage.passed_at.items()
        }
        closed = self._value(stage.closed_at, instant, "/mapping/stage/closed_at") if stage.closed_at else None
        return compile_raw(stage.value, self._columns, "/mapping/stage/value"), passed, closed

    def _read_stage(self, row: Row, parsed: Parsed) -> Wanted | None:
        assert self._stage is not None and self.mapping.stage is not None  # noqa: S101, PT018 - the caller has looked
        reader, passed, closed = self._stage
        value = self._read(reader, row, parsed, required=True)
        if value is None:
            return None
        standing = self.mapping.stage.values.get(str(value))
        if standing is None:
            words = f"{reader.pointer[1:]} “{str(value)[:80]}” is not among the stages that the mapping knows."
            parsed.errors.append(wrong(reader.pointer, "unknown_stage", words))
            return None
        times = {key: self._read(each, row, parsed) for key, each in passed.items()}
        known = {key: at for key, at in times.items() if at is not None}
        wanted = Wanted(standing, known, self._read(closed, row, parsed) if closed else None)
        for at in (*known.values(), wanted.closed_at):
            if at is not None and at > self.latest:
                parsed.errors.append(wrong(reader.pointer, "in_future", self._not_yet(at)))
        return wanted

    def _not_yet(self, at: datetime) -> str:
        return f"{at.astimezone(self._place.zone).date()} has not come yet."


def _at(name: str) -> str:
    return f"/mapping/fields/{name}"


def _as_attribute(kind: str, value: Any) -> Any:
    if kind == "date":
        return value.isoformat()
    if kind == "number":
        try:
            return float(value)
        except ValueError:
            return value
    return value


def date_finder(mapping: Mapping, columns: list[str], zone: ZoneInfo) -> Callable[[Row], date | None]:
    """A function from a row to the latest date in it, before any shift; for the survey that finds the shift.

    Only what tells of the past counts: a purchase date may lie ahead.
    """
    kind = KINDS[mapping.kind]
    specs = [
        (spec, _at(name))
        for name, spec in mapping.fields.items()
        if name in kind.fields and kind.fields[name].type is Type.INSTANT
    ]
    if mapping.stage is not None:
        specs += [(spec, f"/mapping/stage/passed_at/{key}") for key, spec in mapping.stage.passed_at.items()]
        specs += [(mapping.stage.closed_at, "/mapping/stage/closed_at")] if mapping.stage.closed_at else []
    readers = [compile_value(spec, Field(Type.DAY), columns, Place(zone), at) for spec, at in specs]

    def latest(row: Row) -> date | None:
        days = [day for day in (latest_day(reader, row) for reader in readers) if day is not None]
        return max(days, default=None)

    return latest
