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
    """A value of the mapping: how to get it from a row, and where to point when it is wrong."""

    read: Get
    pointer: str


def compile_value(spec: ValueSpec, field: Field, columns: list[str], place: Place, at: str) -> Reader:
    """A reader of `spec`; it raises Wrong and nothing else.

    Raises Unreadable where `spec` names a column that the file has not, or where its own default or constant is wrong.
    """
    convert = converter(field, spec, place)
    default = None if spec.default is None else _fixed(convert, spec.default, at, "default")
    pointer = f"/{spec.column}" if spec.column is not None else at.removeprefix("/mapping")
    if spec.column is not None and spec.trim and not (spec.map or spec.empty):
        return Reader(_plain_column(_index(spec.column, columns, at), convert, default), pointer)
    get = _getter(spec, columns, at)
    if spec.constant is not None:
        constant = _fixed(convert, spec.constant, at, "constant")
        return Reader(lambda _: constant, pointer)

    def read(row: Row) -> Any:
        raw = get(row)
        try:
            return default if raw is None else convert(raw)
        except Wrong:
            raise
        except Exception as error:
            raise _inconvertible(raw) from error

    return Reader(read, pointer)


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


def _getter(spec: ValueSpec, columns: list[str], at: str) -> Get:
    """What the row says, None where it says nothing."""
    if spec.constant is not None:
        constant = spec.constant
        return lambda _: constant
    source = _template(spec.template, columns, at) if spec.template is not None else _column(spec.column, columns, at)
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


def _column(name: str | None, columns: list[str], at: str) -> Get:
    index = _index(name, columns, at)
    return lambda row: row[index]


def _index(name: str | None, columns: list[str], at: str) -> int:
    try:
        return columns.index(name or "")
    except ValueError as error:
        raise Unreadable(at, "unknown_column", no_column(name or "", columns)) from error


def _template(text: str, columns: list[str], at: str) -> Get:
    parts: list[tuple[str, Get | None]] = []
    try:
        for literal, name, form, conversion in Formatter().parse(text):
            if form or conversion:
                raise ValueError("only plain column names stand in braces")
            parts.append((literal, None if name is None else _column(name, columns, at)))
    except ValueError as error:
        raise Unreadable(at, "invalid_template", f"The template “{cut(text)}” can't be read: {error}.") from error

    plain = all(get is None for _, get in parts)

    def fill(row: Row) -> str | None:
        filled, found = [], plain
        for literal, get in parts:
            value = get(row) if get else None
            if value.__class__ is ErrorCell:
                raise _of_an_error(value)
            found = found or (value is not None and value != "")
            filled.append(f"{literal}{'' if value is None else value if isinstance(value, str) else as_written(value)}")
        return "".join(filled) if found else None

    return fill


def latest_day(reader: Reader, row: Row) -> date | None:
    """The local day that an instant or day reader finds in a row; None where it finds none or can't."""
    try:
        found = reader.read(row)
    except Wrong:
        return None
    return found if isinstance(found, date) else None
