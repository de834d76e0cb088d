"""From cells to values: each value of a mapping compiled once into a plain function of a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from string import Formatter
from typing import Any
from zoneinfo import ZoneInfo

from services.api.imports.conversions import Convert, Place, Wrong, as_written, converter
from services.api.imports.kinds import Field, Type
from services.api.imports.mapping import ValueSpec
from services.api.imports.readers import ErrorCell, Row, Unreadable, cut, no_column

Get = Callable[[Row], Any]


@dataclass(frozen=True, slots=True)
class Reader:
    """A value of the mapping: how to get it from a row, of which cells, and where to point when it is wrong."""

    read: Get
    pointer: str
    cells: tuple[int, ...]


def compile_value(spec: ValueSpec, field: Field, columns: list[str], place: Place, at: str) -> Reader:
    """A reader of `spec`; it raises Wrong and nothing else.

    Raises Unreadable where `spec` names a column that the file has not, or where its own default or constant is wrong.
    """
    convert = converter(field, spec, place)
    default = None if spec.default is None else _fixed(convert, spec.default, at, "default")
    pointer = f"/{spec.column}" if spec.column is not None else at.removeprefix("/mapping")
    if spec.column is not None and spec.trim and not (spec.map or spec.empty):
        index = _index(spec.column, columns, at)
        return Reader(_plain_column(index, convert, default), pointer, (index,))
    if spec.constant is not None:
        constant = _fixed(convert, spec.constant, at, "constant")
        return Reader(lambda _: constant, pointer, ())
    source, cells = _source(spec, columns, at)
    get = _getter(spec, source)

    def read(row: Row) -> Any:
        raw = get(row)
        try:
            return default if raw is None else convert(raw)
        except Wrong:
            raise
        except Exception as error:
            raise _inconvertible(raw) from error

    return Reader(read, pointer, cells)


def _plain_column(index: int, convert: Convert, default: Any) -> Get:
    """The most frequent reader, without a detour: millions of cells pass through it."""

    def read(row: Row) -> Any:
        value = row[index]
        if value.__class__ is str:
            value = value.strip()
            if not value:
                return default
        elif value is None:
            return default
        elif value.__class__ is ErrorCell:
            raise _of_an_error(value)
        try:
            return convert(value)
        except Wrong:
            raise
        except Exception as error:
            raise _inconvertible(value) from error

    return read


def _inconvertible(value: Any) -> Wrong:
    """For what a conversion did not foresee: one cell must not hold up the whole file."""
    return Wrong("invalid_value", f"“{str(value)[:80]}” can't be read")


def _of_an_error(cell: str) -> Wrong:
    return Wrong("invalid_value", f"holds {cell[:80]}, an error of the workbook")


def _fixed(convert: Convert, value: Any, at: str, name: str) -> Any:
    """A value that stands in the mapping itself."""
    try:
        return convert(value)
    except Wrong as error:
        raise Unreadable(f"{at}/{name}", error.code, f"The {name} {error.message}.") from error
    except Exception as error:
        wrong = _inconvertible(value)
        raise Unreadable(f"{at}/{name}", wrong.code, f"The {name} {wrong.message}.") from error


def compile_raw(spec: ValueSpec, columns: list[str], at: str) -> Reader:
    """A reader of the text as it stands, after trimming and mapping."""
    return compile_value(spec, Field(Type.SHORT), columns, Place(ZoneInfo("UTC")), at)


def _getter(spec: ValueSpec, source: Get) -> Get:
    """What the row says, None where it says nothing."""
    trim, empty, renamed = spec.trim, frozenset(("", *spec.empty)), spec.map

    def get(row: Row) -> Any:
        cell = value = source(row)
        if isinstance(value, str):
            if trim:
                value = value.strip()
            if value in empty:
                return None
            if cell.__class__ is ErrorCell and value not in renamed:
                raise _of_an_error(value)
            return renamed.get(value, value) if renamed else value
        if value is not None and (renamed or spec.empty):
            # JSON writes true, spreadsheets and many mappings True.
            texts = (str(value), str(value).lower()) if isinstance(value, bool) else (str(value),)
            if not empty.isdisjoint(texts):
                return None
            return next((renamed[text] for text in texts if text in renamed), value)
        return value

    return get


def _source(spec: ValueSpec, columns: list[str], at: str) -> tuple[Get, tuple[int, ...]]:
    """How to get what the row says as it stands, and of which cells."""
    if spec.template is not None:
        return _template(spec.template, columns, at)
    index = _index(spec.column, columns, at)
    return lambda row: row[index], (index,)


def _index(name: str | None, columns: list[str], at: str) -> int:
    try:
        return columns.index(name or "")
    except ValueError as error:
        raise Unreadable(at, "unknown_column", no_column(name or "", columns)) from error


def _template(text: str, columns: list[str], at: str) -> tuple[Get, tuple[int, ...]]:
    parts: list[tuple[str, int | None]] = []
    try:
        for literal, name, form, conversion in Formatter().parse(text):
            if form or conversion:
                raise ValueError("only plain column names stand in braces")
            parts.append((literal, None if name is None else _index(name, columns, at)))
    except ValueError as error:
        raise Unreadable(at, "invalid_template", f"The template “{cut(text)}” can't be read: {error}.") from error

    cells = tuple(index for _, index in parts if index is not None)

    def fill(row: Row) -> str | None:
        filled, found = [], not cells
        for literal, index in parts:
            filled.append(literal)
            value = None if index is None else row[index]
            if value is None or value == "":
                continue
            if value.__class__ is ErrorCell:
                raise _of_an_error(value)
            found = True
            filled.append(value if isinstance(value, str) else as_written(value))
        return "".join(filled) if found else None

    return fill, cells


def latest_day(reader: Reader, row: Row) -> date | None:
    """The local day that an instant or day reader finds in a row; None where it finds none or can't."""
    try:
        found = reader.read(row)
    except Wrong:
        return None
    return found if isinstance(found, date) else None
