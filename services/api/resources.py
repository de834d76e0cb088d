"""What every resource does alike: read one, list, create, change, delete softly, restore, upsert by external id.

A `Resource` says what differs (its table, how it looks on the wire, how it is filtered and sorted, what must be
judged again when it changes); these functions do the rest, with a constant number of statements, leaving event,
audit entry and dirty marks in `tx.effects`. They hold no rules: those are in each feature's `service.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import Executable, Select, Table, and_, bindparam, insert, select, update

from services.api.errors import Conflict, NotFound, invalid
from services.api.merges.tombstones import refuse_merged, survivor_of
from services.api.pagination import (
    Cursors,
    Filter,
    ListParams,
    PageRequest,
    Sort,
    binding_of,
    choose_sort,
    ordered,
    page_body,
)
from services.api.wire import check_if_match
from shared.db import Row, Tx, statement
from shared.effects import AuditEntry, Event, Mark
from shared.ids import new_id
from shared.tenancy import WORKSPACE, Principal, Reach, scoped, visible

RESTORABLE = timedelta(days=30)
NOT_A_FILTER = {"limit", "cursor", "sort", "include_deleted", "expand", "fields"}
# Changed by every write, and so worth no line in the audit trail.
BOOKKEEPING = frozenset(("version", "updated_at", "recorded_at", "sort_key", "workspace_id"))


@dataclass(frozen=True, eq=False)
class Resource:
    """One kind of thing the api serves. `personal` names the columns whose values stay out of events and audit."""

    name: str
    path: str
    table: Table
    wire: Callable[[Row], dict[str, Any]]
    sorts: Mapping[str, Sort]
    default_sort: str
    filters: Mapping[str, Filter] = field(default_factory=dict)
    personal: Callable[[Row], frozenset[str]] = lambda _: frozenset()
    marks: Callable[[Row], Iterable[Mark]] = lambda _: ()
    # Adds what is shown with a row and stands elsewhere, to the same statement.
    prepare: Callable[[Select[Any]], Select[Any]] = lambda query: query

    @property
    def soft(self) -> bool:
        return "deleted_at" in self.table.c


@statement
def _select_one(resource: Resource, reach: Reach, deleted: bool, lock: bool) -> Executable:
    query = resource.prepare(_one(resource, scoped(resource.table, reach), deleted))
    return query.with_for_update(of=resource.table) if lock else query


@statement
def _select_version(resource: Resource, reach: Reach) -> Executable:
    return _one(resource, scoped(resource.table, reach, resource.table.c.version), False)


def _one(resource: Resource, query: Select[Any], deleted: bool) -> Select[Any]:
    query = query.where(resource.table.c.id == bindparam("id"))
    return query.where(resource.table.c.deleted_at.is_(None)) if resource.soft and not deleted else query


@statement
def _select_page(
    resource: Resource, reach: Reach, filters: tuple[str, ...], sort: str, descending: bool, after: bool, deleted: bool
) -> Executable:
    table = resource.table
    query = resource.prepare(scoped(table, reach))
    if resource.soft and not deleted:
        query = query.where(table.c.deleted_at.is_(None))
    for name in filters:
        spec = resource.filters[name]
        query = query.where(spec.bind(bindparam(f"f_{name}", type_=spec.type_)))
    return ordered(query, resource.sorts[sort], table.c.id, descending=descending, after=after)


@statement
def _insert(resource: Resource, names: tuple[str, ...]) -> Executable:
    table = resource.table
    return insert(table).values({name: bindparam(name, type_=table.c[name].type) for name in names}).returning(*table.c)


@statement
def _update(resource: Resource, names: tuple[str, ...]) -> Executable:
    table = resource.table
    return (
        update(table)
        .where(table.c.workspace_id == WORKSPACE, table.c.id == bindparam("row_id", type_=table.c.id.type))
        .values(
            {name: bindparam(f"v_{name}", type_=table.c[name].type) for name in names}
            | {"version": table.c.version + 1}
        )
        .returning(*table.c)
    )


@statement
def _select_external(resource: Resource, reach: Reach) -> Executable:
    """The row of an external id, and whether it is within reach: one that is not must not be made twice."""
    table = resource.table
    seen = visible(table, reach)
    query = select(table, (seen if seen is not None else table.c.id.is_not(None)).label("within_reach"))
    return query.where(
        and_(
            table.c.workspace_id == WORKSPACE,
            table.c.external_source == bindparam("external_source"),
            table.c.external_id == bindparam("external_id"),
        )
    ).with_for_update(of=table)


async def fetch(
    tx: Tx, principal: Principal, resource: Resource, id_: UUID, *, deleted: bool = False, lock: bool = False
) -> Row:
    """The row; raises NotFound where there is none, or none the caller may see."""
    row = await tx.row(_select_one(resource, principal.reach, deleted, lock), id=id_, **principal.binds)
    if row is None:
        raise await _missing(tx, principal, resource, id_)
    return row


async def fetch_version(tx: Tx, principal: Principal, resource: Resource, id_: UUID) -> int:
    """The version that stands: a read of one row and one number of it; raises NotFound as `fetch` does."""
    version: int | None = await tx.value(_select_version(resource, principal.reach), id=id_, **principal.binds)
    if version is None:
        raise await _missing(tx, principal, resource, id_)
    return version


async def _missing(tx: Tx, principal: Principal, resource: Resource, id_: UUID) -> NotFound:
    """What to say where nothing was found; raises Merged where it has become part of another record."""
    await refuse_merged(tx, principal, resource.table, id_)
    return NotFound(f"There is no such {resource.name.replace('_', ' ')}, or it is not yours to see.")


async def fetch_page(
    tx: Tx,
    principal: Principal,
    resource: Resource,
    params: ListParams,
    cursors: Cursors,
    *,
    fixed: Mapping[str, Any] | None = None,
    wire: Callable[[Row], Any] | None = None,
) -> dict[str, Any]:
    """One page as JSON. `fixed` adds filters that come from the path; `wire` shows rows in another way."""
    given = {name: value for name, value in params.model_dump().items() if value is not None} | dict(fixed or {})
    sort, descending = choose_sort(resource.sorts, given.get("sort"), resource.default_sort)
    filters = tuple(sorted(name for name in given if name not in NOT_A_FILTER))
    binding = binding_of(principal, resource.name, {**given, "sort": f"{sort}{descending}"})
    spec = resource.sorts[sort]
    page = PageRequest(params.limit, cursors.read(binding, params.cursor, spec.parse) if params.cursor else None)
    query = _select_page(
        resource,
        principal.reach,
        filters,
        sort,
        descending,
        page.after is not None,
        bool(given.get("include_deleted")),
    )
    values = {f"f_{name}": given[name] for name in filters}
    rows = await tx.rows(query, **values, **page.values(), **principal.binds)
    return page_body(rows, page, wire or resource.wire, lambda row: cursors.make(binding, spec.of_row(row), row["id"]))


async def create(tx: Tx, resource: Resource, values: Mapping[str, Any]) -> Row:
    """Inserts a row; its id may be the caller's (UUIDv7), made at a time without a connection."""
    check_external_id(values)
    full = {**values, **recorded(tx, values)}
    row = await tx.row(_insert(resource, tuple(sorted(full))), **full)
    assert row is not None  # noqa: S101 - INSERT … RETURNING gives its row or raises
    note(tx, resource, "created", None, row)
    return row


def check_external_id(values: Mapping[str, Any]) -> None:
    """Raises where a record has half an external id: which system it comes from, or what it is called there."""
    source, external_id = values.get("external_source"), values.get("external_id")
    if (source is None) != (external_id is None):
        missing = "external_source" if source is None else "external_id"
        words = "external_source and external_id name a record of another system together: give both or neither."
        raise invalid(f"/{missing}", "required", words)


def recorded(tx: Tx, values: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a new row that follow from the transaction: its id unless given, its workspace, its times."""
    return {
        "id": values.get("id") or new_id(),
        "workspace_id": tx.workspace_id,
        "occurred_at": values.get("occurred_at") or tx.now,
        "recorded_at": tx.now,
        "updated_at": tx.now,
    }


async def change(
    tx: Tx,
    resource: Resource,
    before: Row,
    changes: Mapping[str, Any],
    *,
    action: str = "updated",
) -> Row:
    """Updates a row that `fetch(lock=True)` has read; changing nothing writes nothing and leaves the version."""
    real = {name: value for name, value in changes.items() if before[name] != value}
    if not real:
        return before
    if "external_id" in real or "external_source" in real:
        check_external_id({**dict(before), **real})
    real["updated_at"] = tx.now
    values = {f"v_{name}": value for name, value in real.items()}
    row = await tx.row(_update(resource, tuple(sorted(real))), row_id=before["id"], **values)
    if row is None:
        raise NotFound
    note(tx, resource, action, before, row)
    return row


async def patch(
    tx: Tx,
    principal: Principal,
    resource: Resource,
    id_: UUID,
    changes: Mapping[str, Any],
    if_match: str | None,
) -> Row:
    """Reads with a lock, checks If-Match, changes."""
    before = await fetch(tx, principal, resource, id_, lock=True)
    check_if_match(if_match, before["version"])
    return await change(tx, resource, before, changes)


async def delete(tx: Tx, principal: Principal, resource: Resource, id_: UUID, if_match: str | None) -> Row:
    """Deletes softly: the row stays, restorable for 30 days, and shows as a tombstone to `include_deleted`."""
    before = await fetch(tx, principal, resource, id_, lock=True)
    check_if_match(if_match, before["version"])
    return await change(tx, resource, before, {"deleted_at": tx.now}, action="deleted")


async def restore(tx: Tx, principal: Principal, resource: Resource, id_: UUID) -> Row:
    """Undoes a deletion of the last 30 days; a row that is not deleted stays as it is."""
    before = await fetch(tx, principal, resource, id_, deleted=True, lock=True)
    if before["deleted_at"] is not None and before["deleted_at"] < tx.now - RESTORABLE:
        raise Conflict("It was deleted more than 30 days ago and can't be restored.")
    return await change(tx, resource, before, {"deleted_at": None}, action="restored")


async def find_external(tx: Tx, principal: Principal, resource: Resource, source: str, external_id: str) -> Row | None:
    """The row of an external id, locked; NotFound where it exists but is not the caller's to see.

    The id of a record that was merged into another one is an alias of that one.
    """
    row = await tx.row(
        _select_external(resource, principal.reach),
        external_source=source,
        external_id=external_id,
        **principal.binds,
    )
    if row is not None and resource.soft and row["deleted_at"] is not None:
        survivor_id = await survivor_of(tx, resource.table, row["id"])
        if survivor_id is not None:
            return await fetch(tx, principal, resource, survivor_id, deleted=True, lock=True)
    if row is not None and not row["within_reach"]:
        raise NotFound(f"The {resource.name} of this external id is not yours to see.")
    return row


def note(tx: Tx, resource: Resource, action: str, before: Row | None, after: Row) -> None:
    """Leaves event, audit entry and dirty marks of one change."""
    # What was personal before stays so: a household may become an organisation.
    hidden = resource.personal(after) if before is None else resource.personal(after) | resource.personal(before)
    changed = _changed(before, after)
    data = {name: value for name, value in resource.wire(after).items() if name not in hidden}
    if before is not None:
        data["changed"] = sorted(changed)
    tx.effects.emit(
        Event(
            type=f"{resource.name}.{action}",
            subject_type=resource.name,
            subject_id=after["id"],
            occurred_at=tx.now,
            data=data,
            resource_version=after["version"],
            owner_id=after.get("owner_id"),
        )
    )
    audited = {
        name: None if name in hidden else [None if before is None else before[name], after[name]] for name in changed
    }
    tx.effects.audit.append(
        AuditEntry(f"{resource.name}.{action}", resource.name, after["id"], after["version"], audited)
    )
    for row in (before, after) if before is not None else (after,):
        for mark in resource.marks(row):
            tx.effects.mark(mark)


def _changed(before: Row | None, after: Row) -> list[str]:
    if before is None:
        return [name for name in dict(after) if after[name] is not None and name not in BOOKKEEPING]
    return [name for name in dict(after) if before[name] != after[name] and name not in BOOKKEEPING]


def changes_of(body: BaseModel, not_null: Iterable[str] = ()) -> dict[str, Any]:
    """What a merge-patch asks for: fields given (null clears), and those named in `clear`.

    `clear` serves clients that can't send null. A field that may not be empty can't be cleared either way.
    """
    changes = body.model_dump(exclude_unset=True)
    for name in changes.pop("clear", None) or ():
        if name not in type(body).model_fields or name == "clear":
            raise invalid("/clear", "unknown_field", f"{name} is not a field of this resource.")
        if changes.get(name) is not None:
            raise invalid("/clear", "contradiction", f"{name} is both given and cleared.")
        changes[name] = None
    for name in not_null:
        if name in changes and changes[name] is None:
            raise invalid(f"/{name}", "required", f"{name} can't be empty.")
    return changes
