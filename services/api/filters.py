"""Conditions and sorts that lists share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, ColumnElement, Date, DateTime, Text, and_, cast, func, literal
from sqlalchemy.dialects.postgresql import JSONB

from services.api.pagination import Filter, Sort

EARLIEST = datetime(1, 1, 1, tzinfo=UTC)
LATEST_DAY = date(9999, 12, 31)


def equals(column: ColumnElement[Any]) -> Filter:
    return Filter(lambda value: column == value, column.type)


def at_least(column: ColumnElement[Any]) -> Filter:
    return Filter(lambda value: column >= value, column.type)


def at_most(column: ColumnElement[Any]) -> Filter:
    return Filter(lambda value: column <= value, column.type)


def after(column: ColumnElement[Any]) -> Filter:
    return Filter(lambda value: column > value, column.type)


def is_null(column: ColumnElement[Any]) -> Filter:
    """`unassigned=true`: whether the column is empty."""
    return Filter(lambda value: column.is_(None) == value, Boolean())


def begins_with(column: ColumnElement[Any]) -> Filter:
    """A prefix of a sort key; the caller lowers and spells it as the key is."""
    return Filter(lambda value: func.starts_with(column, value), Text())


def attributes_match(column: ColumnElement[Any]) -> Filter:
    """The conditions of `attributes.values.conditions`, as one jsonb document."""

    def match(value: ColumnElement[Any]) -> ColumnElement[bool]:
        equal, low, high = (
            func.jsonb_extract_path(value, name, type_=JSONB()) for name in ("equal", "at_least", "at_most")
        )
        return and_(column.op("@>")(equal), func.sales.attributes_within(column, low, high))

    return Filter(match, JSONB())


def by_id(column: ColumnElement[Any]) -> Sort:
    """The order in which rows were made, for ids grow with time; the primary key serves it, however many there are."""
    return Sort(column, lambda row: row["id"], UUID)


def by_text(column: ColumnElement[Any], name: str) -> Sort:
    return Sort(column, lambda row: row[name], str)


def by_time(column: ColumnElement[Any], name: str) -> Sort:
    return Sort(column, lambda row: row[name], datetime.fromisoformat)


def by_time_or_earliest(column: ColumnElement[Any], name: str) -> Sort:
    """Rows without the time come as though it were long ago."""
    expression = func.coalesce(column, literal(EARLIEST, DateTime(timezone=True)))
    return Sort(expression, lambda row: row[name] or EARLIEST, datetime.fromisoformat)


def by_day_or_latest(column: ColumnElement[Any], name: str) -> Sort:
    """Rows without the date come as though it were far away."""
    expression = func.coalesce(column, cast(literal(LATEST_DAY), Date))
    return Sort(expression, lambda row: row[name] or LATEST_DAY, date.fromisoformat)


def by_number(
    expression: ColumnElement[Any], of_row: Callable[[Any], Any], parse: Callable[[Any], Any] = Decimal
) -> Sort:
    return Sort(expression, of_row, parse)
