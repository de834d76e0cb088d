"""From a cell to a value of a field: texts, codes, numbers, days and instants, as files write them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from services.api.fields import EARLIEST_DAY, LATEST_DAY
from services.api.imports.kinds import Field, Type
from services.api.imports.mapping import ValueSpec

Convert = Callable[[Any], Any]
LONGEST = {Type.NAME: 200, Type.SHORT: 500, Type.LONG: 20_000, Type.EMAIL: 320}
MOST_AMOUNT = Decimal(10) ** 14
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
# What a number may be once the mapping's separators are gone. Python's own readers take digits of every script, too,
# and underscores between them.
_PLAIN_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)%?")
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


def as_written(value: Any) -> str:
    """A number or a day as a text; raises Wrong for what only JSON holds and no text says."""
    if isinstance(value, bool | dict | list):
        found = "true or false" if isinstance(value, bool) else "an object" if isinstance(value, dict) else "a list"
        raise Wrong("invalid_type", f"must be a text, and is {found}")
    return str(value)


def _text(kind: Type) -> Convert:
    longest, is_email = LONGEST[kind], kind is Type.EMAIL

    def convert(value: Any) -> str:
        text = value if isinstance(value, str) else as_written(value)
        if len(text) > longest:
            raise Wrong("too_long", f"has {len(text)} characters, at most {longest} are allowed")
        # Most texts can be printed, which is known sooner than what it is that can't be.
        if not text.isprintable() and _CONTROL.search(text):
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
        if not _PLAIN_NUMBER.fullmatch(text):
            raise Wrong("invalid_value", f"“{value[:80]}” is not a plain number, such as 1234.50")
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
        if not text.isascii() and any(each.isdecimal() and not each.isascii() for each in text):
            raise ValueError("digits of another script")
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
