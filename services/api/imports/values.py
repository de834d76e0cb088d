"""From cells to values: each value of a mapping compiled once into a plain function of a row."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from string import Formatter
from typing import Any
from zoneinfo import ZoneInfo

from services.api.fields import EARLIEST_DAY, LATEST_DAY
from services.api.imports.kinds import Field, Type
from services.api.imports.mapping import ValueSpec
from services.api.imports.readers import Row, Unreadable, cut, listed

Get = Callable[[Row], Any]
Convert = Callable[[Any], Any]
LONGEST = {Type.NAME: 200, Type.SHORT: 500, Type.LONG: 20_000, Type.EMAIL: 320}
MOST_AMOUNT = Decimal(10) ** 14
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_CURRENCY = re.compile(r"[A-Z]{3}")
_TRUE, _FALSE = frozenset(("true", "yes", "y", "1", "是")), frozenset(("false", "no", "n", "0", "否"))
_DATES_KEPT = 50_000


class Wrong(Exception):
    """A cell that can't be what the mapping says it is."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True, slots=True)
class Place:
    """Where times of this file are: the zone of those that name none, and by how many days all are moved."""

    zone: ZoneInfo
    shift: timedelta = timedelta()


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
        value = source(row)
        if isinstance(value, str):
            if trim:
                value = value.strip()
            if value in empty:
                return None
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
        words = f"The file has no column “{cut(name or '')}”; it has {listed(columns)}."
        raise Unreadable(at, "unknown_column", words) from error


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
            found = found or (value is not None and value != "")
            filled.append(f"{literal}{'' if value is None else value if isinstance(value, str) else _written(value)}")
        return "".join(filled) if found else None

    return fill


def converter(field: Field, spec: ValueSpec, place: Place) -> Convert:
    """A function from a cell to a value of the field's type; it raises Wrong."""
    kind = field.type
    if kind in LONGEST:
        return _text(kind)
    if kind is Type.CODE:
        return _code(field)
    if kind is Type.AMOUNT:
        return _amount(spec)
    if kind in {Type.SHARE, Type.INTEGER}:
        return _number(field, spec)
    if kind is Type.DAY:
        return _cached(_day(spec, place))
    if kind is Type.INSTANT:
        return _cached(_instant(spec, place))
    return _boolean if kind is Type.BOOLEAN else _currency


def _written(value: Any) -> str:
    """A number or a day as a text; raises Wrong for what only JSON holds and no text says."""
    if isinstance(value, bool | dict | list):
        found = "true or false" if isinstance(value, bool) else "an object" if isinstance(value, dict) else "a list"
        raise Wrong("invalid_type", f"must be a text, and is {found}")
    return str(value)


def _text(kind: Type) -> Convert:
    longest, is_email = LONGEST[kind], kind is Type.EMAIL

    def convert(value: Any) -> str:
        text = value if isinstance(value, str) else _written(value)
        if len(text) > longest:
            raise Wrong("too_long", f"has {len(text)} characters, at most {longest} are allowed")
        if _CONTROL.search(text):
            raise Wrong("invalid_text", "holds control characters")
        if is_email and not _EMAIL.fullmatch(text):
            raise Wrong("invalid_value", f"“{text[:80]}” is not an e-mail address")
        return text

    return convert


def _code(field: Field) -> Convert:
    codes = field.codes or {}

    def convert(value: Any) -> str:
        if value in codes:
            return str(value)
        raise Wrong("unknown_code", f"“{str(value)[:80]}” is none of {', '.join(codes)}; map it in the mapping")

    return convert


def _plain_number(value: Any, spec: ValueSpec) -> str:
    text = str(value).strip()
    if isinstance(value, str):
        if spec.thousands:
            text = text.replace(spec.thousands, "")
        if spec.decimal != ".":
            text = text.replace(spec.decimal, ".")
    return text


def _amount(spec: ValueSpec) -> Convert:
    def convert(value: Any) -> Decimal:
        try:
            amount = Decimal(_plain_number(value, spec))
        except InvalidOperation as error:
            raise Wrong("invalid_value", f"“{str(value)[:80]}” is not a number") from error
        if not amount.is_finite() or amount < 0 or amount >= MOST_AMOUNT:
            raise Wrong("out_of_range", f"{str(value)[:80]} is not an amount from 0 to 10^14")
        exponent = amount.as_tuple().exponent
        return amount.quantize(Decimal("0.0001")) if isinstance(exponent, int) and exponent < -4 else amount

    return convert


def _number(field: Field, spec: ValueSpec) -> Convert:
    whole = field.type is Type.INTEGER
    low, high = field.range or (0, 1)

    def convert(value: Any) -> float | int:
        text = _plain_number(value, spec)
        share = text.endswith("%") and not whole
        try:
            number = float(text[:-1]) / 100 if share else float(text)
        except ValueError as error:
            raise Wrong("invalid_value", f"“{str(value)[:80]}” is not a number") from error
        if not low <= number <= high:
            raise Wrong("out_of_range", f"{str(value)[:80]} is not within {low} to {high}")
        if whole and number != int(number):
            raise Wrong("invalid_value", f"{str(value)[:80]} is not a whole number")
        return int(number) if whole else number

    return convert


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise Wrong("invalid_value", f"“{str(value)[:80]}” is neither true nor false")


def _currency(value: Any) -> str:
    text = str(value)
    if not _CURRENCY.fullmatch(text):
        raise Wrong("invalid_value", f"“{text[:80]}” is not a currency code such as CNY")
    return text


def _cached(convert: Convert) -> Convert:
    """Files repeat their dates: each distinct text is read once."""
    kept: dict[Any, Any] = {}

    def cached(value: Any) -> Any:
        found = kept.get(value)
        if found is None:
            if len(kept) > _DATES_KEPT:
                kept.clear()
            found = kept[value] = convert(value)
        return found

    return cached


def _moment(value: Any, spec: ValueSpec) -> datetime | date:
    """As the file says it, before any shift."""
    if isinstance(value, datetime | date):
        return value
    text = str(value).strip()
    try:
        if spec.date_format:
            return datetime.strptime(text, spec.date_format)  # noqa: DTZ007 - the zone is added where it is known
        return date.fromisoformat(text) if len(text) <= 10 else datetime.fromisoformat(text)
    except ValueError as error:
        expected = spec.date_format or "ISO 8601, such as 2026-01-31"
        raise Wrong("invalid_date", f"“{text[:80]}” is not a date ({expected})") from error


def _day(spec: ValueSpec, place: Place) -> Convert:
    def convert(value: Any) -> date:
        moment = _moment(value, spec)
        return _shifted(_local(moment, place).date() if isinstance(moment, datetime) else moment, place)

    return convert


def _instant(spec: ValueSpec, place: Place) -> Convert:
    def convert(value: Any) -> datetime:
        moment = _moment(value, spec)
        if not isinstance(moment, datetime):
            moment = datetime.combine(moment, time())
        local = _local(moment, place)
        day = _shifted(local.date(), place)
        return datetime.combine(day, local.time(), place.zone).astimezone(UTC)

    return convert


def _local(moment: datetime, place: Place) -> datetime:
    if moment.tzinfo is None:
        return moment
    try:
        return moment.astimezone(place.zone)
    except OverflowError as error:
        raise _out_of_range(moment.date()) from error


def _shifted(day: date, place: Place) -> date:
    try:
        moved = day + place.shift
    except OverflowError as error:
        raise Wrong("out_of_range", f"{day} can't be moved by {place.shift.days} days") from error
    if not EARLIEST_DAY <= moved <= LATEST_DAY:
        raise _out_of_range(moved)
    return moved


def _out_of_range(day: date) -> Wrong:
    return Wrong("out_of_range", f"{day} is not between {EARLIEST_DAY} and {LATEST_DAY}")


def latest_day(reader: Reader, row: Row) -> date | None:
    """The local day that an instant or day reader finds in a row; None where it finds none or can't."""
    try:
        found = reader.read(row)
    except Wrong:
        return None
    return found if isinstance(found, date) else None
