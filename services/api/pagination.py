"""Lists: keyset cursors, signed and bound to the list they came from; documented filters and sorts.

A cursor holds the sort value and the id of the last row shown. It is signed together with the workspace, the caller's
reach, the filters and the sort: used with any other list it is refused.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import ColumnElement, Select, bindparam, tuple_
from sqlalchemy.types import TypeEngine

from services.api.errors import InvalidCursor, InvalidParameter, wrong
from services.api.wire import dump
from shared.db import Query, Row
from shared.tenancy import Principal

DEFAULT_LIMIT, MOST = 50, 200
T = TypeVar("T")
_SIGNATURE = 16


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    data: list[T]
    next_cursor: str | None = Field(description="Give it as `cursor` to read on; null on the last page.")
    has_more: bool


class ListParams(BaseModel):
    """What every list takes. Unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=DEFAULT_LIMIT, ge=1, description=f"Rows a page; more than {MOST} gives {MOST}.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.", max_length=2000)

    @field_validator("limit")
    @classmethod
    def at_most(cls, value: int) -> int:
        return min(value, MOST)


@dataclass(frozen=True)
class Sort:
    """A way to order a list: an expression that is never null, and how its value reads from a row."""

    expression: ColumnElement[Any]
    of_row: Callable[[Row], Any]
    parse: Callable[[Any], Any] = str
    # Where the expression stands in another table: how that is joined, and which of its columns breaks ties.
    prepare: Callable[[Select[Any]], Select[Any]] | None = None
    tie: ColumnElement[Any] | None = None


@dataclass(frozen=True)
class Filter:
    """A condition on a list. `bind` makes it from the parameter it is given; `type_` is the parameter's type."""

    bind: Callable[[ColumnElement[Any]], ColumnElement[bool]]
    type_: TypeEngine[Any]


def ordered(
    query: Select[Any], sort: Sort, id_column: ColumnElement[Any], *, descending: bool, after: bool
) -> Select[Any]:
    """Adds order, limit, and (for a page that is not the first) the place to go on from."""
    if sort.prepare is not None:
        query = sort.prepare(query)
    id_column = id_column if sort.tie is None else sort.tie
    if sort.expression is id_column:
        if after:
            last = bindparam("after_id", type_=id_column.type)
            query = query.where(id_column < last if descending else id_column > last)
        return query.order_by(id_column.desc() if descending else id_column).limit(bindparam("page_limit"))
    key = tuple_(sort.expression, id_column)
    if after:
        place = tuple_(
            bindparam("after_value", type_=sort.expression.type), bindparam("after_id", type_=id_column.type)
        )
        query = query.where(key < place if descending else key > place)
    order = (sort.expression.desc(), id_column.desc()) if descending else (sort.expression, id_column)
    return query.order_by(*order).limit(bindparam("page_limit"))


def choose_sort(sorts: Mapping[str, Sort], wanted: str | None, default: str) -> tuple[str, bool]:
    """`-priority` as ("priority", True); raises InvalidParameter for a sort that is not offered."""
    text = wanted or default
    name, descending = text.removeprefix("-"), text.startswith("-")
    if name not in sorts:
        offered = ", ".join(sorted(sorts))
        message = f"Lists here can be sorted by {offered}; put - before a name to turn the order."
        raise InvalidParameter(message, errors=[wrong("?sort", "unknown_sort", message)])
    return name, descending


class Cursors:
    """Makes and reads cursors; the secret is the installation's."""

    def __init__(self, secret: str) -> None:
        self._key = hashlib.sha256(b"cursor:" + secret.encode()).digest()

    def make(self, binding: bytes, value: Any, row_id: UUID) -> str:
        return self.seal(binding, [_plain(value), str(row_id)])

    def read(self, binding: bytes, cursor: str, parse: Callable[[Any], Any]) -> tuple[Any, UUID]:
        """The place a cursor names; raises InvalidCursor for one of another list, or of none."""
        value, row_id = self.open(binding, cursor)
        try:
            return parse(value), UUID(row_id)
        except (ValueError, TypeError) as error:
            raise _invalid_cursor() from error

    def seal(self, binding: bytes, content: list[Any]) -> str:
        """Any content as an opaque text that only `open` with the same binding reads."""
        body = orjson.dumps(content, default=str)
        return base64.urlsafe_b64encode(self._sign(binding, body) + body).decode().rstrip("=")

    def open(self, binding: bytes, cursor: str) -> list[Any]:
        """What was sealed; raises InvalidCursor for a text of another list, or of none."""
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            signature, body = raw[:_SIGNATURE], raw[_SIGNATURE:]
            if not hmac.compare_digest(signature, self._sign(binding, body)):
                raise _invalid_cursor()
            content: list[Any] = orjson.loads(body)
        except (ValueError, TypeError) as error:
            raise _invalid_cursor() from error
        return content

    def _sign(self, binding: bytes, body: bytes) -> bytes:
        return hmac.new(self._key, binding + b"\n" + body, hashlib.sha256).digest()[:_SIGNATURE]


def _invalid_cursor() -> InvalidCursor:
    message = "The cursor belongs to another list, filter or sort. Begin again without one."
    return InvalidCursor(message, errors=[wrong("?cursor", "invalid_cursor", message)])


def binding_of(principal: Principal, name: str, shape: Mapping[str, Any]) -> bytes:
    """What a cursor is bound to: the workspace, the list, its filters and its sort."""
    filters = {key: _plain(value) for key, value in shape.items() if key not in {"limit", "cursor", "expand", "fields"}}
    return dump([str(principal.workspace_id), str(principal.member_id), name, sorted(filters.items())])


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


@dataclass(frozen=True)
class PageRequest:
    """One page asked for: how many rows, after which place."""

    limit: int
    after: tuple[Any, UUID] | None

    def values(self) -> dict[str, Any]:
        """Parameters of a query made by `ordered`: one row more than shown says whether there is more."""
        given: dict[str, Any] = {"page_limit": self.limit + 1}
        if self.after is not None:
            given["after_value"], given["after_id"] = self.after
        return given


def page_body(
    rows: list[Row],
    page: PageRequest,
    wire: Callable[[Row], dict[str, Any]],
    cursor_of: Callable[[Row], str],
) -> dict[str, Any]:
    has_more = len(rows) > page.limit
    shown = rows[: page.limit]
    return {
        "data": [wire(row) for row in shown],
        "next_cursor": cursor_of(shown[-1]) if has_more else None,
        "has_more": has_more,
    }


__all__ = [
    "Cursors", "Filter", "ListParams", "Page", "PageRequest", "Query", "Sort", "binding_of", "choose_sort", "ordered",
    "page_body",
]  # fmt: skip
