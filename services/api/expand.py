"""What a reader may have sent along with a resource: `expand=` its neighbours, `fields=` no more than these.

An `Expansion` says how to load one kind of neighbour for all rows of an answer at once: one statement each, however
many rows there are. What comes is bounded, is one step away and no further, and is what the caller could have read
by itself: what is deleted, out of reach or beyond the caller's scopes is null.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from sqlalchemy import ColumnElement, Executable, bindparam, column, func, select, true
from sqlalchemy.dialects import postgresql

from services.api.errors import InvalidParameter, wrong
from services.api.resources import Resource
from shared.db import Row, Tx, statement
from shared.tenancy import Principal, Reach, scoped

T = TypeVar("T")
_UUID = postgresql.UUID(as_uuid=True)
MOST_EXPANSIONS = 10
MOST_FIELDS = 80
ALWAYS = ("id", "version")


def _parted(value: Any) -> Any:
    """`a,b` and `a` with `b` given apart are the same list."""
    if not isinstance(value, list):
        return value
    return [part.strip() for text in value for part in text.split(",")] if value else value


def _each_once(names: list[T]) -> list[T]:
    return list(dict.fromkeys(names))


Names = Annotated[list[T], BeforeValidator(_parted), AfterValidator(_each_once), Field(min_length=1)]
FieldNames = Annotated[
    Names[Annotated[str, Field(max_length=64)]],
    Field(
        max_length=MOST_FIELDS,
        description="Only these members of each resource, by name: `fields=name,phone`. `id` and `version` come always,"
        " and what is expanded. Read such an answer as a part: members that are always there otherwise are not.",
    ),
]
_EXPAND = (
    "Neighbours to send along, in `expanded`: `expand=owner,next_task`. What is not the caller's to see is null. The"
    " ETag of the answer then covers them too."
)
Expand = Annotated[Names[T], Field(max_length=MOST_EXPANSIONS, description=_EXPAND)]


class ReadParams(BaseModel):
    """What every read of one resource takes. Unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid")

    fields: FieldNames | None = None


class Several(BaseModel, Generic[T]):
    """The first few of many; the list of that resource, filtered, has them all."""

    data: list[T]
    has_more: bool


def absent(description: str | None = None) -> Any:
    """A member that is there only when it was asked for: optional, and without a default on the wire."""
    return Field(default=None, description=description, json_schema_extra=lambda schema: schema.pop("default", None))


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks, in which transaction and language."""

    tx: Tx
    principal: Principal
    language: str = "en"


Loader = Callable[[Asked, Sequence[Row]], Awaitable[Mapping[UUID, Any]]]


@dataclass(frozen=True, eq=False)
class Expansion:
    """One kind of neighbour. `load` gives what to show by the id of the row it belongs to; else `blank` is shown."""

    name: str
    scope: str
    load: Loader
    blank: Any = None
    # Holds words, and so depends on the reader's language.
    spoken: bool = False


@statement
def _select_by_ids(resource: Resource, reach: Reach) -> Executable:
    table = resource.table
    query = resource.prepare(scoped(table, reach)).where(
        table.c.id == bindparam("ids", type_=postgresql.ARRAY(_UUID)).any_()
    )
    return query.where(table.c.deleted_at.is_(None)) if resource.soft else query


async def by_ids(asked: Asked, resource: Resource, ids: set[UUID]) -> dict[UUID, dict[str, Any]]:
    """What the caller may see of these, as JSON by id."""
    if not ids:
        return {}
    query = _select_by_ids(resource, asked.principal.reach)
    rows = await asked.tx.rows(query, ids=list(ids), **asked.principal.binds)
    return {row["id"]: resource.wire(row) for row in rows}


def _scope(resource: Resource) -> str:
    return f"{resource.path.removeprefix('/v1/').replace('-', '_')}:read"


def to_one(name: str, resource: Resource, named_by: str) -> Expansion:
    """The one that the row's column `named_by` names."""

    async def load(asked: Asked, rows: Sequence[Row]) -> Mapping[UUID, Any]:
        found = await by_ids(asked, resource, {row[named_by] for row in rows if row[named_by] is not None})
        return {row["id"]: found.get(row[named_by]) for row in rows}

    return Expansion(name, _scope(resource), load)


def to_listed(name: str, resource: Resource, named_by: str) -> Expansion:
    """Those whose ids the row lists in `named_by`."""

    async def load(asked: Asked, rows: Sequence[Row]) -> Mapping[UUID, Any]:
        found = await by_ids(asked, resource, {id_ for row in rows for id_ in row[named_by] or ()})
        return {
            row["id"]: {"data": [found[id_] for id_ in row[named_by] or () if id_ in found], "has_more": False}
            for row in rows
        }

    return Expansion(name, _scope(resource), load)


@dataclass(frozen=True, eq=False)
class Related:
    """Rows of `resource` that meet `condition` with a parent: the first `most` in `order`.

    `parents` names what the condition needs of a parent, and the columns of the parent's row it is found in.
    """

    resource: Resource
    parents: Mapping[str, str]
    condition: Callable[[Any], ColumnElement[bool]]
    order: tuple[ColumnElement[Any], ...]
    most: int = 1
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", ("id", *self.parents))


@statement
def _select_related(related: Related, reach: Reach) -> Executable:
    """Read parent by parent from an index, in one statement: what a parent has beyond `most` is never looked at."""
    table = related.resource.table
    given = [bindparam(f"of_{name}", type_=postgresql.ARRAY(_UUID)) for name in related.names]
    parent = func.unnest(*given).table_valued(*(column(name, _UUID) for name in related.names), name="parent")
    parent = parent.render_derived()
    nth = func.row_number().over(order_by=related.order).label("nth_of_parent")
    few = related.resource.prepare(scoped(table, reach, *table.c, nth)).where(related.condition(parent.c))
    if related.resource.soft:
        few = few.where(table.c.deleted_at.is_(None))
    found = few.order_by(*related.order).limit(related.most + 1).lateral("found")
    return (
        select(parent.c.id.label("parent_id"), *found.c)
        .select_from(parent.join(found, true()))
        .order_by(parent.c.id, found.c.nth_of_parent)
    )


async def _load_related(asked: Asked, related: Related, rows: Sequence[Row]) -> dict[UUID, list[dict[str, Any]]]:
    query = _select_related(related, asked.principal.reach)
    columns = {"id": "id", **related.parents}
    given = {f"of_{name}": [row[columns[name]] for row in rows] for name in related.names}
    found: dict[UUID, list[dict[str, Any]]] = {}
    for row in await asked.tx.rows(query, **given, **asked.principal.binds) if rows else ():
        found.setdefault(row["parent_id"], []).append(related.resource.wire(row))
    return found


def first(name: str, related: Related) -> Expansion:
    """The first of the related rows."""

    async def load(asked: Asked, rows: Sequence[Row]) -> Mapping[UUID, Any]:
        return {id_: found[0] for id_, found in (await _load_related(asked, related, rows)).items()}

    return Expansion(name, _scope(related.resource), load)


def several(name: str, related: Related) -> Expansion:
    """The first few of the related rows, and whether there are more."""

    async def load(asked: Asked, rows: Sequence[Row]) -> Mapping[UUID, Any]:
        found = await _load_related(asked, related, rows)
        most = related.most
        return {id_: {"data": few[:most], "has_more": len(few) > most} for id_, few in found.items()}

    return Expansion(name, _scope(related.resource), load, blank={"data": [], "has_more": False})


async def expand(
    asked: Asked, known: Mapping[str, Expansion], names: Sequence[str], rows: Sequence[Row]
) -> list[dict[str, Any]]:
    """What `expanded` holds of each row, in the rows' order."""
    columns: list[tuple[str, Callable[[UUID], Any]]] = []
    for name in names:
        expansion = known[name]
        if expansion.scope in asked.principal.scopes:
            found = await expansion.load(asked, rows)
            columns.append((name, _reader(found, expansion.blank)))
        else:
            columns.append((name, lambda _: None))
    return [{name: read(row["id"]) for name, read in columns} for row in rows]


def _reader(found: Mapping[UUID, Any], blank: Any) -> Callable[[UUID], Any]:
    return lambda id_: found.get(id_, blank)


def trimmed(body: dict[str, Any], fields: Sequence[str] | None) -> dict[str, Any]:
    """The members asked for, in the order they always have."""
    if fields is None:
        return body
    wanted = {*ALWAYS, *fields}
    return {name: value for name, value in body.items() if name in wanted}


def check_fields(fields: Sequence[str] | None, known: Sequence[str]) -> None:
    """Raises InvalidParameter where a name is not one of the resource's."""
    unknown = [name for name in fields or () if name not in known]
    if unknown:
        named = ", ".join(each[:50] or "name" for each in unknown[:5])
        said = f"There is no {named} here" if any(unknown) else "Name the fields to be shown, commas between"
        message = f"{said}; there are {', '.join(known)}."
        raise InvalidParameter(message, errors=[wrong("?fields", "unknown_field", message)])
